"""Episodes that others published, to be walked in the scenes that they were made for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vln_heatmap.params.base import Params


class PublishedEpisodeParams(Params):
    """A split of R2R-CE or RxR-CE, and where its scenes are.

    Scenes are glTF files in world axes (+Y up), or, with ``habitat.dataset``, those of a Habitat data set; files
    with +Z up, as Matterport3D's own, can be read by the simulator ``habitat`` only.
    """

    path: str = Field(min_length=1, description="<split>.json.gz, for RxR <split>_guide.json.gz")
    ground_truth: str | None = Field(
        None,
        min_length=1,
        description="actions and positions of the published expert; null = the file <split>_gt beside it, if any",
    )
    scenes: str = Field(
        "data/scene_datasets",
        min_length=1,
        description="folder below which the scene files are, as the episodes name them",
    )
    benchmark: Literal["auto", "r2r", "rxr"] = "auto"
    languages: tuple[str, ...] = Field((), description="tags such as en-US; none = all")
    most: int | None = Field(
        None, ge=1, le=10_000_000, description="episodes, evenly spread over the file; null = all"
    )
    length: int = Field(500, ge=4, le=5000, description="actions of the expert, at most")
