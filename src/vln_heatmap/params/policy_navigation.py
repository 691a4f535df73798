"""The policy in closed loop: its demonstrations, its training, and how it is driven."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params
from vln_heatmap.params.navigation import EpisodeParams
from vln_heatmap.params.policy import PolicyTrainParams
from vln_heatmap.params.simulation import CameraParams

Task = Literal["point_goal", "object_goal"]


class DemonstrationParams(Params):
    """The continuous expert's walks that the policy learns from."""

    seed: int = Field(0, ge=0, lt=2**32, description="of how it is led astray")
    episodes: EpisodeParams = EpisodeParams(split="train", houses=24, per_house=8, objects=1.0)
    astray: int = Field(2, ge=0, le=100, description="times that a walk is led astray")
    follow: int = Field(16, ge=1, le=1000, description="steps on the way before that, at most")
    wander: int = Field(12, ge=1, le=1000, description="steps astray, at most")
    quality: int = Field(92, ge=1, le=100, description="of JPEG")

    @model_validator(mode="after")
    def _check(self) -> DemonstrationParams:
        if self.episodes.split != "train":
            raise ValueError("demonstrations.episodes.split must be 'train': unseen houses are for measuring")
        return self


class PolicyNavigationParams(Params):
    """Closed loop of the policy. The model is ``policy.model``; episodes, limits and simulators are those of
    ``navigation``."""

    tasks: tuple[Task, ...] = Field(("point_goal", "object_goal"), min_length=1)
    camera: CameraParams = CameraParams(width=64, height=64, hfov=90.0)
    demonstrations: DemonstrationParams = DemonstrationParams()
    previous_action: bool = Field(
        False, description="tell the policy what it did last, in place of policy.model.previous_action"
    )
    train: PolicyTrainParams = PolicyTrainParams(steps=1500, validate_every=250, save_every=250)
    execute: int = Field(
        4, ge=1, le=256, description="actions of a chunk that are done before it is asked again"
    )
    baselines: tuple[Literal["random", "straight", "expert"], ...] = Field(
        ("random", "straight", "expert"), description="straight walks point-goals only"
    )
    drawn: int = Field(3, ge=0, le=20, description="walks of each task in the figure")
