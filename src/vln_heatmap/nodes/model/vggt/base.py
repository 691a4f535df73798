"""What the rest of the model may expect of a geometry model, whichever it is.

Invariant: a head that was not asked for has not run. Poses are camera-from-world with OpenCV axes, and the
world is the frame of reference of the first camera, in the model's own scale.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from vln_heatmap.params import VGGTParams

Head = Literal["camera", "depth", "points"]


@dataclass(frozen=True)
class VGGTOutput:
    """What a geometry model knows of frames [B, T, 3, H, W]; a head that was not asked for leaves None.

    Attributes:
        layers: tokens after the pairs that dense heads read, each [B, T, specials + h*w, 2C]; may be empty.
        patch_tokens: patches after the last pair, row by row [B, T, h*w, 2C].
        camera_tokens: camera tokens after the last pair [B, T, 2C].
        grid: (h, w), patches down and across.
        pose_encodings: after each refinement round, the last is the answer, each [B, T, 9]; see
            :mod:`vln_heatmap.nodes.model.vggt.camera`.
        depth: z-depth in the scene's own scale [B, T, H, W].
        depth_confidence: at least 1 [B, T, H, W].
        points: in the frame of reference of the first camera [B, T, H, W, 3].
        points_confidence: at least 1 [B, T, H, W].
    """

    layers: list[Tensor]
    patch_tokens: Tensor
    camera_tokens: Tensor
    grid: tuple[int, int]
    pose_encodings: list[Tensor] | None = None
    depth: Tensor | None = None
    depth_confidence: Tensor | None = None
    points: Tensor | None = None
    points_confidence: Tensor | None = None


@dataclass(frozen=True)
class Origin:
    """Where weights come from.

    Attributes:
        source: file, folder or hub id, as configured.
        fingerprint: of the weights themselves, wherever they lie.
    """

    source: str
    fingerprint: str


class GeometryModel(Protocol):
    """A module that turns frames into tokens that know the scene's geometry, and on demand into maps.

    Attributes:
        params: sizes; ``patch`` and ``heads`` tell what may be asked for.
        channels: of every token that leaves.
        origin: where the weights come from; None for random ones.
    """

    params: VGGTParams
    channels: int
    origin: Origin | None

    def __call__(self, frames: Tensor, heads: Collection[Head] = ()) -> VGGTOutput:
        """Tokens of frames [B, T, 3, H, W] in [0, 1], and the outputs of ``heads`` and no others."""
        ...


def check_request(params: VGGTParams, frames: Tensor, heads: Collection[Head]) -> None:
    """Refuse frames or heads that a model of these sizes cannot serve.

    Raises:
        ValueError: frames of another shape, sides that are no multiples of the patch, a head unknown or not
            built.
    """
    patch = params.patch
    if frames.ndim != 5 or frames.shape[1] < 1 or frames.shape[2] != 3:
        raise ValueError(f"frames must be [B, T >= 1, 3, H, W], got {list(frames.shape)}")
    if any(side < patch or side % patch for side in frames.shape[-2:]):
        height, width = frames.shape[-2:]
        raise ValueError(f"frame sides must be multiples of the patch ({patch}), got {height}x{width}")
    for head in heads:
        if head not in params.heads:
            raise ValueError(f"head must be one of those built {list(params.heads)}, got {head!r}")
