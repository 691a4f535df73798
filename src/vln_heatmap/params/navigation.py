"""Episodes in houses, how they are walked in closed loop, and what is measured and drawn of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params, Share
from vln_heatmap.params.navigation_episodes import PublishedEpisodeParams
from vln_heatmap.params.simulation import (
    AgentParams,
    CameraParams,
    HabitatParams,
    HouseParams,
    SimulatorName,
)

#: Actions of a model's reply that are done before it looks again, here and on a robot.
EXECUTE = 4
Metres = Annotated[float, Field(gt=0, le=100)]


class EpisodeParams(Params):
    """Instructions with a start and a goal, in generated houses that no collection contains."""

    split: Literal["train", "unseen"] = Field(
        "unseen", description="two sets of houses that have none in common"
    )
    seed: int = Field(0, ge=0, lt=10_000, description="of houses and ways")
    houses: int = Field(24, ge=1, le=100_000)
    per_house: int = Field(5, ge=1, le=1000, description="episodes of a house")
    objects: Share = Field(
        0.5, description="share of episodes that name the goal alone; the others tell the way"
    )
    distance: tuple[Metres, Metres] = Field((2.5, 7.0), description="range of walkable metres to the goal")
    length: int = Field(80, ge=4, le=1000, description="actions of the shortest way, at most")
    reach: float = Field(
        1.0, gt=0, le=5, description="metres within which floor belongs to the thing that it is beside"
    )
    house: HouseParams = HouseParams()
    published: PublishedEpisodeParams | None = Field(
        None, description="episodes of R2R-CE or RxR-CE in their own scenes, in place of generated ones"
    )

    @model_validator(mode="after")
    def _check(self) -> EpisodeParams:
        if self.distance[0] > self.distance[1]:
            raise ValueError(f"distance must be (least, most), got {self.distance}")
        return self


class VideoSheetParams(Params):
    """Films of episodes."""

    episodes: int = Field(3, ge=0, le=1000, description="filmed of each of the chosen policies")
    policies: tuple[str, ...] = Field(("model", "expert"), description="those of them that were measured")
    size: int = Field(320, ge=64, le=1080, multiple_of=2, description="height of the pictures in pixels")
    fps: float = Field(4.0, gt=0, le=60)
    crf: int = Field(22, ge=0, le=51, description="x264's constant rate factor, 0 = lossless")
    rerun: bool = Field(True, description="write .rrd recordings too, if rerun-sdk is installed")


class DaggerParams(Params):
    """When the expert takes over from the student, and how much of that becomes data."""

    enabled: bool = Field(True, description="correct the student between the two stages of training")
    errors: Share = Field(
        0.6, description="share of the last steps on which the expert disagreed, from which it takes over"
    )
    window: int = Field(10, ge=1, le=1000, description="those last steps")
    least: int = Field(2, ge=1, le=1000, description="corrected steps that make an episode worth keeping")
    episodes: EpisodeParams = EpisodeParams(split="train")

    @model_validator(mode="after")
    def _check(self) -> DaggerParams:
        if self.episodes.split != "train":
            raise ValueError("dagger.episodes.split must be 'train': unseen houses are for measuring")
        return self


class NavigationParams(Params):
    """Closed-loop evaluation. Everything but ``workers`` and ``slots`` decides what comes out."""

    seed: int = Field(0, ge=0, lt=2**32, description="of policies that draw, of shuffling, of the bootstrap")
    success_distance: float = Field(1.5, gt=0, le=10, description="metres to the goal that count as there")
    execute: int = Field(
        EXECUTE, ge=1, le=64, description="actions of a model's reply that are done before it looks again"
    )
    tryout: bool = Field(
        True, description="let a model do nothing senseless in front of obstacles; needs depth: true"
    )
    max_steps: int = Field(120, ge=1, le=10_000, description="actions after which an episode is ended")
    slots: int = Field(8, ge=1, le=256, description="episodes that are walked at once")
    workers: int = Field(2, ge=0, le=256, description="processes that simulate; 0 = this one")
    baselines: tuple[Literal["random", "forward_only", "always_stop", "expert"], ...] = Field(
        ("random", "forward_only", "always_stop", "expert")
    )
    shuffled: bool = Field(True, description="walk the model's episodes with each other's instructions too")
    resamples: int = Field(1000, ge=10, le=100_000, description="bootstrap resamples of the houses")
    depth: bool = Field(
        True, description="give depth and pose to the policy, as a robot with such sensors has"
    )
    simulator: SimulatorName = "auto"
    camera: CameraParams = CameraParams()
    agent: AgentParams = AgentParams()
    habitat: HabitatParams = HabitatParams()
    episodes: EpisodeParams = EpisodeParams()
    videos: VideoSheetParams = VideoSheetParams()
    dagger: DaggerParams = DaggerParams()

    @model_validator(mode="after")
    def _check(self) -> NavigationParams:
        if self.episodes.split != "unseen":
            raise ValueError("navigation.episodes.split must be 'unseen': what is measured must be new")
        if self.episodes.published is None and self.episodes.distance[0] <= self.success_distance:
            raise ValueError(
                f"episodes.distance must begin beyond success_distance ({self.success_distance} m), or standing "
                f"still would do; got {self.episodes.distance}"
            )
        return self
