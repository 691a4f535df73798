"""A walk is filmed until its scenario holds and its quality is good; else it is marked, or skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.datasets.sequence_shards import SequenceStore
from vln_heatmap.datasets.sequence_store import store_sequence
from vln_heatmap.nodes import attempts, collect
from vln_heatmap.nodes.collect_report import summarise_collection
from vln_heatmap.nodes.plan import PlannedWalk, SceneTask, Shot
from vln_heatmap.params import CollectParams, QualityParams
from vln_heatmap.simulation.scenarios import ScenarioNotPossibleError
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import TRAJECTORIES

PARAMS = CollectParams.model_validate(
    {
        "camera": {"width": 32, "height": 24},
        "house": {"light": False, "texture_size": 16, "rooms_max": 3, "side_min": 6, "side_max": 7},
        "retries": 3,
    }
)


@dataclass
class Scripted:
    """A scenario whose attempts go as written: a number is its measure, an exception is raised by its film."""

    script: list[Any]
    name: str = "scripted"
    strategy: str = "random_exploration"
    limit: tuple[float, float] = (1.0, float("inf"))
    unit: str = "things"
    questions: tuple[str, ...] = ()
    seeds: list[int | None] = field(default_factory=list)
    draws: list[float] = field(default_factory=list)

    def film(self, sim: Any, scene: Any, rng: np.random.Generator, request: Any) -> Take:
        self.seeds.append(scene.seed)
        self.draws.append(rng.uniform())
        if isinstance(self.script[len(self.seeds) - 1], Exception):
            raise self.script[len(self.seeds) - 1]
        return Take(TRAJECTORIES[self.strategy](sim, rng, request), focus=(2,))

    def measure(self, sequence: Sequence) -> float:
        assert sequence.metadata["scenario"]["focus"] == [2]
        return self.script[len(self.seeds) - 1]

    def holds(self, value: float) -> bool:
        return self.limit[0] <= value <= self.limit[1]


class Judge:
    """A quality controller to whom everything is worth 0.8."""

    def __init__(self, params: QualityParams) -> None:
        self.limit = params.overall_limit

    def assess(self, sequence: Sequence, *, scene_ids: list[int]) -> Judge:
        assert {entry["id"] for entry in sequence.metadata["objects"]} == set(scene_ids)
        return self

    def summary(self) -> dict[str, Any]:
        return {"overall": 0.8, "passed": self.limit <= 0.8, "recommendation": "keep"}


@pytest.fixture(autouse=True)
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "QualityController", Judge)


Run = Callable[..., tuple[dict[str, Any], Scripted]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Collect one walk whose attempts go as written: its stored metadata, or why it was skipped."""

    def collected(*script: Any, params: CollectParams = PARAMS) -> tuple[dict[str, Any], Scripted]:
        scenario = Scripted(list(script))
        monkeypatch.setattr(attempts, "filmable", lambda: {"scripted": scenario})
        (encoded,) = collect.collect_scene(task(), params=params, simulator="auto")
        (content,) = (
            encoded.files.get(name) for name in ("metadata.json", "skipped.json") if name in encoded.files
        )
        return json.loads(content), scenario

    return collected


def task() -> SceneTask:
    walk = PlannedWalk(0, Shot("part", "scripted"), "random_exploration", ("reasoning",), 6)
    return SceneTask("house_00000", 0, None, PARAMS.house, (walk,))


def test_a_good_first_attempt_is_the_only_one(run: Run) -> None:
    metadata, scenario = run(1.5)
    assert (metadata["attempt"], metadata["attempts"], len(scenario.seeds)) == (0, 1, 1)
    assert metadata["scenario"] == {
        "name": "scripted",
        "part": "part",
        "strategy": "random_exploration",
        "levels": ["reasoning"],
        "focus": [2],
        "measure": 1.5,
        "unit": "things",
        "limit": [1, None],
        "holds": True,
    }
    assert metadata["quality"]["passed"] is True


def test_what_does_not_hold_is_filmed_again_with_other_draws(run: Run) -> None:
    metadata, scenario = run(0.0, float("nan"), 3.0)
    assert (metadata["attempt"], metadata["attempts"]) == (2, 3)
    assert metadata["scenario"]["measure"] == 3
    assert scenario.seeds == [0, 0, 0]  # in the same house
    assert len(set(scenario.draws)) == 3


def test_the_best_of_the_failed_is_kept_and_marked(run: Run) -> None:
    metadata, scenario = run(0.0, 0.5, -1.0, float("-inf"))
    assert len(scenario.seeds) == metadata["attempts"] == 4
    assert metadata["scenario"]["holds"] is metadata["quality"]["passed"] is False
    assert "scripted does not hold" in metadata["quality"]["recommendation"]
    strict = PARAMS.model_copy(update={"quality": PARAMS.quality.model_copy(update={"overall_limit": 1.0})})
    metadata, scenario = run(0.0, 5.0, 0.0, 0.0, params=strict)
    assert (metadata["attempt"], metadata["attempts"]) == (1, 4)  # the one that holds
    assert (metadata["scenario"]["holds"], metadata["quality"]["passed"]) == (True, False)


def test_what_a_house_cannot_give_is_filmed_in_the_next(run: Run) -> None:
    metadata, scenario = run(ScenarioNotPossibleError("no table"), ScenarioNotPossibleError("no chair"), 2.0)
    assert scenario.seeds == [0, 200_000, 400_000]
    assert (metadata["scene"], metadata["seed"]) == ("house_00000", 400_000)
    assert (metadata["attempt"], metadata["attempts"]) == (2, 3)


def test_a_house_that_gave_an_occasion_is_not_left(run: Run) -> None:
    metadata, scenario = run(0.0, ScenarioNotPossibleError("bad luck"), 2.0)
    assert scenario.seeds == [0, 0, 0]
    assert metadata["attempt"] == 2


def test_what_is_never_possible_is_skipped_and_said(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    skipped, scenario = run(*[ScenarioNotPossibleError("no table")] * 4)
    assert len(scenario.seeds) == 4
    assert skipped == {"reason": "scripted is not possible in 4 attempts: no table"}
    assert "house_00000_00 is skipped" in caplog.text


def test_the_report_tells_attempts_quality_and_levels(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name, script in (("a", [2.0]), ("b", [0.0, 2.0]), ("c", [0.0] * 4)):
        scenario = Scripted(script)
        monkeypatch.setattr(attempts, "filmable", lambda scenario=scenario: {"scripted": scenario})
        scene = SceneTask(f"house_{name}", 0, None, PARAMS.house, task().walks)
        (encoded,) = collect.collect_scene(scene, params=PARAMS, simulator="auto")
        store_sequence(tmp_path, encoded)
    levels = {"reasoning": {"share": 0.5}, "geometric": {"share": 0}}
    params = CollectParams.model_validate({**PARAMS.model_dump(), "levels": levels})
    index, report = summarise_collection(SequenceStore(tmp_path), params)
    assert index["attempt"].tolist()[:2] == [0, 1]
    assert index["levels"].tolist() == [["reasoning"]] * 3
    assert index["passed"].tolist() == [True, True, False]
    assert report["attempts"] == {"1": 1, "2": 1, "4": 1}
    assert report["quality"]["passed"] == pytest.approx(2 / 3, abs=1e-4)
    assert report["levels"] == {
        "reasoning": {"share": 1, "least": 0.5},
        "geometric": {"share": 0, "least": 0},
    }
    told = {"part": "part", "sequences": 3, "passed": 2, "hold": 2, "attempts": round(7 / 3, 3)}
    assert report["scenarios"] == {"scripted": told}
    by_kind = report["bytes_per_frame_by_kind"]
    assert sum(by_kind.values()) == pytest.approx(report["bytes_per_frame"], abs=0.3)
    full = report["full_size"]
    assert full["frames"] == 25_000 * 6
    assert full["gigabytes"] == pytest.approx(25_000 * index["bytes"].mean() / 1e9, abs=0.01)
    assert full["hours"] is None  # no run is on record
