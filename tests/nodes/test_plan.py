"""The plan has the parts, scenarios, lengths and levels that the parameters ask for, in houses that fit."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from box_walks import ROOT
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vln_heatmap.nodes.plan import describe_plan, interleave, largest_remainder, plan_collection
from vln_heatmap.params import CollectParams
from vln_heatmap.simulation.filming import filmable
from vln_heatmap.simulation.scenarios import SCENARIOS

DEFAULT = yaml.safe_load((ROOT / "conf/base/parameters_collect.yml").read_text())["collect"]
TWO = {
    "walking": {"count": 300, "scenarios": {"random_exploration": 2, "forward": 1}},
    "houses": {"count": 100, "scenarios": {"vertical_motion": 1, "clutter": 1}},
}


def params(**changes: Any) -> CollectParams:
    return CollectParams.model_validate({"plan": TWO, "sequences": 40, **changes})


# --- counts ---------------------------------------------------------------------------------------------


@given(st.integers(0, 500), st.dictionaries(st.integers(), st.floats(0.01, 100), min_size=1))
def test_largest_remainders_add_up_and_stay_within_one(total: int, weights: dict[int, float]) -> None:
    counts = largest_remainder(total, weights)
    assert sum(counts.values()) == total
    for key, weight in weights.items():
        assert abs(counts[key] - total * weight / sum(weights.values())) < 1 + 1e-6


def test_parts_and_scenarios_have_their_shares() -> None:
    assert describe_plan(plan_collection(params()))["scenarios"] == {
        "random_exploration": 20,
        "forward": 10,
        "vertical_motion": 5,
        "clutter": 5,
    }


def test_the_default_plan_scales_to_the_full_size() -> None:
    plan = describe_plan(plan_collection(CollectParams.model_validate({**DEFAULT, "sequences": 25_000})))
    assert plan["parts"] == {part: entry["count"] for part, entry in DEFAULT["plan"].items()}
    assert set(plan["scenarios"]) == {*SCENARIOS, "coverage_optimisation"}  # 36 and a strategy
    for level, entry in DEFAULT["levels"].items():
        assert plan["levels"][level] >= entry["share"] * 25_000


@pytest.mark.parametrize("size", [5, 12, 240])
def test_every_size_of_the_default_plan_reaches_the_levels(size: int) -> None:
    plan = plan_collection(CollectParams.model_validate({**DEFAULT, "sequences": size}))
    assert len(plan.walks) == len(set(plan.store.ids)) == size
    levels = describe_plan(plan)["levels"]
    for level, entry in DEFAULT["levels"].items():
        assert levels.get(level, 0) >= math.floor(entry["share"] * size)


def test_chosen_parts_alone() -> None:
    plan = plan_collection(params(parts="houses"))
    assert describe_plan(plan)["scenarios"] == {"vertical_motion": 20, "clutter": 20}


def test_levels_shift_the_weights_unless_parts_are_chosen() -> None:
    levels = {"motion": {"share": 0.5, "scenarios": ["forward"], "strategies": ["forward_backward"]}}
    plan = plan_collection(params(levels=levels))
    assert describe_plan(plan)["scenarios"]["forward"] == 20
    assert all((walk.levels == ("motion",)) == (walk.shot.scenario == "forward") for walk in plan.walks)
    alone = plan_collection(params(levels=levels, parts=["walking"]))
    assert describe_plan(alone)["levels"] == {"motion": 13}  # a third of 40, as the weights say


# --- scenes ---------------------------------------------------------------------------------------------


@given(st.dictionaries(st.integers(), st.integers(1, 30), min_size=1, max_size=6))
def test_everything_is_spread_evenly(counts: dict[int, int]) -> None:
    order = interleave(counts)
    assert Counter(order) == counts
    for key, count in counts.items():
        places = [i for i, other in enumerate(order) if other == key]
        gaps = [b - a for a, b in pairwise(places)]
        assert all(gap <= 2 * len(order) / count + len(counts) for gap in gaps)


def test_all_walks_of_a_house_agree_on_it() -> None:
    plan = plan_collection(params(walks_per_scene=3))
    for scene in plan.scenes:
        assert 1 <= len(scene.walks) <= 3
        for walk in scene.walks:
            wanted = dict(filmable()[walk.shot.scenario].house)
            assert {name: getattr(scene.house, name) for name in wanted} == wanted
            assert walk.strategy == filmable()[walk.shot.scenario].strategy
    kinds = Counter(scene.house.storeys for scene in plan.scenes)
    assert kinds[2] == 2  # five walks, three a house
    mixed = [{walk.shot.scenario for walk in scene.walks} for scene in plan.scenes]
    assert {"random_exploration", "forward"} in mixed


def test_house_parameters_of_the_user_stay_where_no_scenario_asks() -> None:
    plan = plan_collection(params(house={"rooms_max": 4, "clutter": "low"}))
    assert {scene.house.rooms_max for scene in plan.scenes} == {4}
    assert {scene.house.clutter for scene in plan.scenes} == {"low", "high"}


def test_ids_and_seeds_never_repeat() -> None:
    plan, other = plan_collection(params()), plan_collection(params(seed=3))
    assert len({scene.seed for scene in plan.scenes}) == len(plan.scenes)
    assert plan.scenes[0].ids[0] == "house_00000_00"
    assert not set(plan.store.ids) & set(other.store.ids)


def test_scene_files_share_the_sequences(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.glb").touch()
    plan = plan_collection(params(scenes_folder=str(tmp_path), sequences=8))
    assert [len(scene.walks) for scene in plan.scenes] == [3, 3, 2]
    assert [scene.name for scene in plan.scenes] == ["a", "b", "c"]
    assert {scene.seed for scene in plan.scenes} == {None}
    few = plan_collection(params(scenes_folder=str(tmp_path), sequences=2))
    assert [scene.name for scene in few.scenes] == ["a", "b"]


def test_lengths_fill_their_range_with_a_mean_of_a_third() -> None:
    lengths = [walk.length for walk in plan_collection(params(sequences=4000)).walks]
    assert (min(lengths), max(lengths)) == (16, pytest.approx(64, abs=2))
    assert np.mean(lengths) == pytest.approx(32, abs=0.7)
    assert {walk.length for walk in plan_collection(params(length=9)).walks} == {9}


def test_only_what_decides_the_content_is_in_the_fingerprint() -> None:
    def fingerprint(**changes: Any) -> str:
        return plan_collection(params(**changes)).fingerprint

    assert len({fingerprint(), fingerprint(workers=7), fingerprint(executor="ray", losses=0)}) == 1
    changed = [{}, {"seed": 1}, {"length": 5}, {"fps": 5}, {"retries": 0}, {"sequences": 41}]
    changed.append({"quality": {"overall_limit": 0.5}})
    assert len({fingerprint(**change) for change in changed}) == len(changed)


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plan": {"p": {"count": 1, "scenarios": {"teleport": 1}}}}, r"plan\.p\.scenarios .*got 'teleport'"),
        ({"levels": {"l": {"share": 0, "scenarios": ["smoth"]}}}, r"levels\.l\.scenarios .*smooth.* 'smoth'"),
        ({"levels": {"l": {"share": 0, "strategies": ["x"]}}}, r"levels\.l\.strategies .*got 'x'"),
        (
            {"levels": {"l": {"share": 0.3, "scenarios": ["clutter"]}}},
            r"'l' needs 12 of 40 .*\['houses'\], which have 10 together: lower levels\.l\.share",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan_collection(params(**change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sequences": 0}, "greater than or equal to 1"),
        ({"scenes": 3}, "Extra inputs"),
        ({"camera": {"width": 33, "height": 24}}, "even sizes, got 33x24"),
        ({"plan": {"p": {"count": 1, "scenarios": {"smooth": 0}}}}, "weight above 0"),
        ({"plan": {"p": {"count": 0, "scenarios": {"smooth": 1}}}}, "add up to more than 0"),
        ({"parts": ["flying"]}, "of the plan .*'walking'.*got 'flying'"),
        ({"levels": {"l": {"share": 1.2}}}, "less than or equal to 1"),
        ({"length": (64, 16)}, r"least, most.*\(64, 16\)"),
        ({"length": 1}, r"within 2"),
        ({"route_distance": (3, 1)}, "least, most"),
        ({"camera": {"hfov": 169}}, "hfov must stay"),
        ({"executor": "slurm"}, "'local' or 'ray'"),
    ],
)
def test_wrong_parameters_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        params(**change)


def test_validate_expects_the_shares_of_the_plan() -> None:
    """The limits of validate repeat the plan as shares: they must not drift apart."""
    expected = yaml.safe_load((ROOT / "conf/base/parameters_validate.yml").read_text())["validate"][
        "collection"
    ]
    plan = CollectParams.model_validate(DEFAULT).plan
    parts = {name: float(part.count) for name, part in plan.items()}
    scenarios = {
        name: part.count * weight / sum(part.scenarios.values())
        for part in plan.values()
        for name, weight in part.scenarios.items()
    }
    for planned, wanted in (
        (parts, expected["parts_as_planned"]["shares"]),
        (scenarios, expected["scenarios_as_planned"]["shares"]),
    ):
        assert planned.keys() == wanted.keys()
        for name, count in planned.items():
            share = wanted[name] / sum(wanted.values())
            assert share == pytest.approx(count / sum(planned.values()), rel=0.02), name
