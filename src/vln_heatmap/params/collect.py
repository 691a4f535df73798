"""What the collect stage records: the plan, the levels that it serves, and how the work is done."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from vln_heatmap.params.base import Params, Share
from vln_heatmap.params.data import QualityParams
from vln_heatmap.params.simulation import (
    AgentParams,
    CameraParams,
    HabitatParams,
    HouseParams,
    SimulatorName,
    VariationParams,
    VideoParams,
)

Name = Annotated[str, Field(min_length=1)]
Weight = Annotated[float, Field(ge=0)]


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def _names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class PlanPart(Params):
    """One part of the collection plan: its size in the full collection, and what it consists of."""

    count: int = Field(ge=0, le=10_000_000, description="sequences in the full plan; scaled to `sequences`")
    scenarios: dict[Name, Weight] = Field(
        min_length=1, description="weights by the name of a scenario, strategy or trajectory"
    )

    @model_validator(mode="after")
    def _check(self) -> PlanPart:
        if self.count and sum(self.scenarios.values()) <= 0:
            raise ValueError(f"at least one scenario needs a weight above 0, got {self.scenarios}")
        return self


class LevelParams(Params):
    """One level of the spatial losses: what data it needs, who makes them, and how much of all data."""

    share: Share = Field(description="least share of the sequences; a sequence may serve several levels")
    requirement: str = ""
    strategies: tuple[Name, ...] = Field((), description="everything filmed with these serves the level")
    scenarios: tuple[Name, ...] = Field((), description="and these scenarios")


class CollectParams(Params):
    """What is recorded. Everything but ``workers``, ``executor`` and ``losses`` decides the content."""

    seed: int = Field(0, ge=0, lt=10_000)
    sequences: int = Field(240, ge=1, le=1_000_000, description="size of the collection; full: 25 000")
    walks_per_scene: int = Field(3, ge=1, le=1000, description="of a generated house")
    scenes_folder: str | None = Field(None, min_length=1, description="take the .glb and .gltf files in here")
    length: Annotated[tuple[int, int], BeforeValidator(_pair)] = Field(
        (16, 64),
        description="least and greatest frames of a walk, rather few: the mean is a third of the way",
    )
    plan: dict[Name, PlanPart] = Field(
        {"navigation": PlanPart(count=1, scenarios={"random_exploration": 0.6, "point_to_point": 0.4})},
        min_length=1,
    )
    parts: Annotated[tuple[Name, ...] | None, BeforeValidator(_names)] = Field(
        None, description="of the plan, these parts alone; the shares of the levels then do not bind"
    )
    levels: dict[Name, LevelParams] = Field({}, description="of the spatial losses: the data they need")
    retries: int = Field(
        3, ge=0, le=100, description="further attempts at a sequence that is not good enough"
    )
    route_distance: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        (1.5, 6.0), description="range of walkable metres from start to goal"
    )
    max_speed: float = Field(0.5, gt=0, le=3, description="of smooth camera motion, m/s")
    max_turn: float = Field(30.0, gt=0, le=360, description="of smooth camera motion, degrees/s")
    instructions: int = Field(8, ge=0, le=1000, description="referring phrases a sequence")
    fps: float = Field(10.0, gt=0, le=240, description="frames a second of the videos and timestamps")
    simulator: SimulatorName = "auto"
    executor: Literal["local", "ray"] = "local"
    workers: int = Field(2, ge=0, le=4096, description="tasks at once; 0 or 1 = in this process (local)")
    losses: int = Field(10, ge=0, le=100_000, description="workers that may die before the run gives up")
    camera: CameraParams = CameraParams()
    agent: AgentParams = AgentParams()
    habitat: HabitatParams = HabitatParams()
    variation: VariationParams = VariationParams()
    video: VideoParams = VideoParams()
    house: HouseParams = HouseParams()
    quality: QualityParams = QualityParams()

    @model_validator(mode="after")
    def _check(self) -> CollectParams:
        if not 2 <= self.length[0] <= self.length[1] <= 100_000:
            raise ValueError(f"length must be (least, most) within 2 .. 100000, got {self.length}")
        if self.route_distance[0] > self.route_distance[1]:
            raise ValueError(f"route_distance must be (least, most), got {self.route_distance}")
        if self.camera.width % 2 or self.camera.height % 2:
            raise ValueError(f"video needs even sizes, got {self.camera.width}x{self.camera.height}")
        if not 10 < self.camera.hfov - self.variation.hfov <= self.camera.hfov + self.variation.hfov < 170:
            raise ValueError(f"hfov must stay in (10, 170), got {self.camera.hfov} +- {self.variation.hfov}")
        return self

    @model_validator(mode="after")
    def _check_scenes(self) -> CollectParams:
        if self.habitat.dataset is not None and self.simulator != "habitat":
            raise ValueError(f"habitat.dataset needs simulator: habitat, got {self.simulator!r}")
        if self.habitat.dataset is not None and self.scenes_folder is not None:
            raise ValueError("scenes come from scenes_folder or from habitat.dataset, not from both")
        return self

    @model_validator(mode="after")
    def _check_plan(self) -> CollectParams:
        for name in self.parts or ():
            if name not in self.plan:
                raise ValueError(f"parts must be of the plan {sorted(self.plan)}, got {name!r}")
        chosen = self.parts or tuple(self.plan)
        if not sum(self.plan[name].count for name in chosen):
            raise ValueError(f"the counts of {', '.join(chosen)} must add up to more than 0")
        return self
