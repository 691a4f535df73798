"""Numbers of the closed loop: means by hand, intervals over houses, paired tests, and shuffled instructions."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from navigation_world import PARAMS, MemoryStore, Scripted, episodes, picture, record_of

from vln_heatmap.nodes.navigation.episodes import episode_table
from vln_heatmap.nodes.navigation.evaluate_navigation import (
    MODEL,
    SHUFFLED,
    decision_seconds,
    measure_navigation,
    shuffled,
    walk_baselines,
    walk_model,
)


def of(successes: list[int], **options):
    """Two episodes a house."""
    return [
        record_of(k, scene=f"house {k // 2}", success=float(s), **options) for k, s in enumerate(successes)
    ]


def test_means_and_counts_by_hand():
    records = [
        record_of(0, error=2.0),
        record_of(1, success=0.0, error=math.inf),
        record_of(2, scene="b", kind="relation"),
    ]
    section, again, table = measure_navigation(PARAMS, {"random": records})
    json.dumps(section, allow_nan=False)
    assert section == again
    found = section["navigation"]["policies"]["random"]
    assert found["sr"] == pytest.approx(2 / 3)
    assert found["spl"] == pytest.approx(1 / 3)
    assert found["ne"] == pytest.approx(1.25)  # of the two that ended where a way leads on
    assert (found["unreachable"], found["episodes"]) == (1, 3)
    assert found["sr_ci"][0] <= found["sr"] <= found["sr_ci"][1]
    assert set(found["kinds"]) == {"route", "object", "relation"}
    assert found["kinds"]["route"]["sr"] == 0.5
    assert found["kinds"]["object"]["episodes"] == 1
    assert len(table) == 3
    assert set(table["kind"]) == {"route", "relation"}


def test_intervals_resample_whole_houses():
    """All of a house succeed or all fail, so houses are what varies; within a house nothing does."""
    records = {"mixed": of([1, 0] * 6), "apart": of([1, 1, 0, 0] * 3)}
    found = measure_navigation(PARAMS, records)[0]["navigation"]["policies"]
    assert found["mixed"]["sr"] == found["apart"]["sr"] == 0.5
    assert found["mixed"]["sr_ci"] == [0.5, 0.5]
    assert found["apart"]["sr_ci"][1] - found["apart"]["sr_ci"][0] > 0.3


def test_paired_comparisons_by_hand():
    model, other = of([1, 1, 1, 1, 1, 1, 0, 0]), of([0, 0, 0, 0, 0, 1, 1, 0])
    section, *_ = measure_navigation(PARAMS, {"random": other}, {MODEL: model})
    found = section["navigation"]["comparisons"]["random"]
    assert (found["gained"], found["lost"]) == (5, 1)
    assert found["difference"] == pytest.approx(0.5)
    assert found["ratio"] == pytest.approx(3)
    assert found["p"] == pytest.approx(2 * (1 + 6) / 2**6)  # 0 or 1 of 6 coins, either way
    never = measure_navigation(PARAMS, {"random": of([0] * 4)}, {MODEL: of([0] * 4)})[0]["navigation"]
    assert never["comparisons"]["random"]["p"] == 1
    assert never["comparisons"]["random"]["ratio"] is None


def test_comparisons_stand_for_each_type_of_instruction_too():
    """Four routes that the model alone follows, four things that it alone misses: nothing over all of them."""
    kinds = ["route"] * 4 + ["category", "category", "relation", "relation"]
    model = [replace(r, kind=kind) for r, kind in zip(of([1] * 4 + [0] * 4), kinds, strict=True)]
    other = [replace(r, kind=kind) for r, kind in zip(of([0] * 4 + [1] * 4), kinds, strict=True)]
    section, *_ = measure_navigation(PARAMS, {"random": other}, {MODEL: model})
    found = section["navigation"]["comparisons"]["random"]
    assert (found["gained"], found["lost"], found["p"]) == (4, 4, 1)
    assert set(found["kinds"]) == {"route", "object", "category", "relation"}
    assert (found["kinds"]["route"]["gained"], found["kinds"]["route"]["lost"]) == (4, 0)
    assert found["kinds"]["route"]["p"] == pytest.approx(2 / 2**4)
    assert (found["kinds"]["object"]["lost"], found["kinds"]["relation"]["lost"]) == (4, 2)
    assert found["kinds"]["object"]["difference"] == pytest.approx(-1)


def test_policies_must_have_walked_the_same():
    with pytest.raises(ValueError, match="same episodes"):
        measure_navigation(PARAMS, {"random": of([1])}, {MODEL: of([1, 1])})
    with pytest.raises(ValueError, match="same episodes"):
        measure_navigation(PARAMS, {})


def test_shuffling_hands_on_instructions_of_the_same_type():
    mixed = shuffled(episodes(), seed=0)
    assert [episode.id for episode in mixed] == [episode.id for episode in episodes()]
    for before, after in zip(episodes(), mixed, strict=True):
        assert after.instruction != before.instruction
        assert (after.goals, after.start, after.kind) == (before.goals, before.start, before.kind)
    for family in (True, False):
        texts = [
            sorted(e.instruction for e in some if (e.kind == "route") == family)
            for some in (episodes(), mixed)
        ]
        assert texts[0] == texts[1]


def test_the_model_is_walked_with_its_own_and_with_shuffled_instructions():
    store, policy = MemoryStore(), Scripted([0])
    records = walk_model(
        episode_table(episodes()), {MODEL: policy, "student": Scripted([1, 0], "s")}, store, PARAMS
    )
    assert set(records) == {MODEL, "student", SHUFFLED}
    assert [r.instruction for r in records[SHUFFLED]] == [
        e.instruction for e in shuffled(episodes(), PARAMS.seed)
    ]
    assert len(store) == 18
    alone = walk_model(
        episode_table(episodes()), {MODEL: policy}, store, PARAMS.model_copy(update={"shuffled": False})
    )
    assert set(alone) == {MODEL}


def test_baselines_are_walked_and_measured():
    params = PARAMS.model_copy(update={"baselines": ("always_stop", "expert")})
    records = walk_baselines(episode_table(episodes()), MemoryStore(), params)
    section, *_ = measure_navigation(params, records)
    policies = section["navigation"]["policies"]
    assert (policies["expert"]["sr"], policies["always_stop"]["sr"]) == (1, 0)
    assert section["navigation"]["comparisons"] == {}


def test_seconds_are_of_the_steps_that_were_asked_for(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(
        "vln_heatmap.nodes.navigation.evaluate_navigation.time.perf_counter", lambda: clock[0]
    )

    class Slow(Scripted):
        def act(self, observations, done):
            clock[0] += self._turn  # each step takes a second more than the one before
            return super().act(observations, done)

    assert decision_seconds(Slow([1]), [picture()], at=(6, 30)) == {"step_6": 6, "step_30": 30}
