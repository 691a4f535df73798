"""Splits, statistics and the sample index, on small tables made by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from vln_heatmap.nodes.normalize import (
    TooFewScenesError,
    compute_statistics,
    index_samples,
    split_by_scene,
)
from vln_heatmap.nodes.samples import COLUMNS, current_views
from vln_heatmap.nodes.statistics import RANK_ERROR, Moments
from vln_heatmap.params import (
    CollectParams,
    FinetuneSampleParams,
    LevelParams,
    NormalizeParams,
    PretrainSampleParams,
    SamplingParams,
)
from vln_heatmap.pipelines.normalize import create_pipeline

PIXELS = 100 * 100
#: Wall, chair, table and bed; the ids are 1 to 4.
OBJECTS = [
    ("wall", "", (0, 0, 0), (5, 2.5, 0.1)),
    ("chair", "red", (1, 0, 1), (1.5, 0.9, 1.5)),
    ("table", "white", (2, 0, 1), (3, 0.7, 2)),
    ("bed", "blue", (3, 0, 3), (5, 0.5, 5)),
]


@dataclass(frozen=True)
class TableSequence:
    """What normalize reads of a stored sequence."""

    frames: pd.DataFrame
    metadata: dict[str, Any]

    def column(self, name: str) -> np.ndarray:
        return np.stack(self.frames[name].to_list())


def sequence(length: int, seen: dict[int, list[int]] | None = None, **metadata: Any) -> TableSequence:
    """A walk in which frame t shows ``seen[t]`` (default: wall and chair), each on 400 pixels."""
    rng = np.random.default_rng(length)
    visible = [(seen or {}).get(t, [1, 2]) for t in range(length)]
    velocity = np.concatenate([rng.normal(size=(length - 1, 5)), np.zeros((1, 5))])
    frames = pd.DataFrame(
        {
            "frame_index": np.arange(length),
            "state": list(rng.normal(size=(length, 6)).astype(np.float32)),
            "velocity": list(velocity.astype(np.float32)),
            "action": np.ones(length, np.int8),
            "collided": False,
            "moved_ids": [[]] * length,
            "moved_poses": [[]] * length,
            "visible_ids": visible,
            "visible_pixels": [[400] * len(ids) for ids in visible],
            "visible_u": [[0.1 * i for i in ids] for ids in visible],
            "visible_v": [[0.5] * len(ids) for ids in visible],
            "visible_depth": [[1.0 + i for i in ids] for ids in visible],
        }
    )
    objects = [
        {"id": i, "category": c, "colour": colour, "room": 0, "box_min": list(low), "box_max": list(high)}
        for i, (c, colour, low, high) in enumerate(OBJECTS, start=1)
    ]
    rooms = [{"name": "bedroom", "rectangle": [0, 0, 5, 5]}]
    camera = {"width": 100, "height": 100, "hfov": 90.0}
    metadata = {"camera": camera, "objects": objects, "rooms": rooms, "instructions": [], **metadata}
    return TableSequence(frames, metadata)


def splits_of(sequences: dict[str, TableSequence], split: str = "train") -> pd.DataFrame:
    """All sequences in one split; the scene is the id up to the last underscore."""
    ids = list(sequences)
    return pd.DataFrame({"id": ids, "scene": [i.rsplit("_", 1)[0] for i in ids], "split": split})


def validated(scenes: int, walks: int = 2) -> pd.DataFrame:
    rows = [(f"house_{s:05d}_{w:02d}", f"house_{s:05d}", True) for s in range(scenes) for w in range(walks)]
    return pd.DataFrame(rows, columns=["id", "scene", "accepted"])


def finetune(**changes: Any) -> NormalizeParams:
    """Parameters with fine-tuning samples only."""
    none = PretrainSampleParams(train=0, val=0, test=0)
    return NormalizeParams(finetune=FinetuneSampleParams(**changes), pretrain=none)


#: A collection without levels.
COLLECT = CollectParams()


# --- splits ---------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(scenes=st.integers(3, 60), walks=st.integers(1, 3), seed=st.integers(0, 1000))
def test_every_sequence_has_a_split_and_no_scene_has_two(scenes: int, walks: int, seed: int) -> None:
    index = validated(scenes, walks)
    splits = split_by_scene(index, NormalizeParams(seed=seed))
    assert splits["id"].tolist() == index["id"].tolist()
    assert (splits.groupby("scene")["split"].nunique() == 1).all()
    counts = splits.groupby("split")["scene"].nunique()
    expected = max(1, round(0.1 * scenes))
    assert counts.to_dict() == {"test": expected, "val": expected, "train": scenes - 2 * expected}


def test_split_of_eighty_scenes_is_64_8_8() -> None:
    counts = split_by_scene(validated(80), NormalizeParams()).groupby("split")["scene"].nunique()
    assert counts.to_dict() == {"train": 64, "val": 8, "test": 8}


def test_large_shares_still_leave_a_scene_for_training() -> None:
    splits = split_by_scene(validated(3), NormalizeParams(val_share=0.49, test_share=0.49))
    assert sorted(splits["split"].unique()) == ["test", "train", "val"]


def test_split_depends_on_the_seed_and_not_on_the_order_of_the_index() -> None:
    index = validated(30)
    here = split_by_scene(index, NormalizeParams(seed=1))
    shuffled = split_by_scene(index.sample(frac=1, random_state=0), NormalizeParams(seed=1))
    pd.testing.assert_frame_equal(here, shuffled.sort_values("id").reset_index(drop=True))
    assert (here["split"] != split_by_scene(index, NormalizeParams(seed=2))["split"]).any()


def test_rejected_sequences_are_left_out() -> None:
    index = validated(6)
    index.loc[3, "accepted"] = False
    splits = split_by_scene(index, NormalizeParams())
    assert index["id"][3] not in set(splits["id"])
    assert len(splits) == 11


def test_fewer_than_three_good_scenes_are_refused() -> None:
    index = validated(4)
    index.loc[index["scene"].isin(["house_00000", "house_00003"]), "accepted"] = False
    with pytest.raises(TooFewScenesError, match=r"come from 2 \(.*\) of 4 scenes"):
        split_by_scene(index, NormalizeParams())


def test_an_index_that_was_never_validated_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'accepted': run `kedro run --pipelines=validate` first"):
        split_by_scene(validated(4).drop(columns="accepted"), NormalizeParams())


# --- statistics -----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    cuts=st.lists(st.integers(1, 2999), unique=True, max_size=8),
    scale=st.floats(0.01, 1e4),
)
def test_merged_statistics_are_those_of_the_whole(seed: int, cuts: list[int], scale: float) -> None:
    rng = np.random.default_rng(seed)
    columns = [rng.normal(5, 1, 3000), rng.exponential(1, 3000), rng.integers(0, 4, 3000)]
    rows = np.stack(columns, axis=1) * scale
    merged = reduce(add, map(Moments.of, np.split(rows, sorted(cuts)))).summary(["a", "b", "c"])
    assert merged["count"] == 3000
    np.testing.assert_array_equal(merged["min"], rows.min(0))
    np.testing.assert_array_equal(merged["max"], rows.max(0))
    np.testing.assert_allclose(merged["mean"], rows.mean(0), rtol=1e-9)
    np.testing.assert_allclose(merged["std"], rows.std(0), rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), parts=st.integers(1, 60), share=st.sampled_from([0.01, 0.25, 0.5, 0.99]))
def test_merged_quantiles_are_within_half_a_percent_of_rank(seed: int, parts: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    rows = np.stack(
        [rng.normal(0, 1, 20_000), rng.lognormal(0, 2, 20_000), rng.uniform(-1, 1, 20_000)], axis=1
    )
    merged = reduce(add, map(Moments.of, np.array_split(rows, parts)))
    ranks = (rows <= merged.quantile(share)).mean(0)
    np.testing.assert_allclose(ranks, share, atol=RANK_ERROR)


def test_statistics_are_the_same_every_time() -> None:
    rows = np.random.default_rng(0).normal(size=(5000, 2))
    first, second = (Moments.of(rows[:2000]) + Moments.of(rows[2000:]) for _ in range(2))
    assert first.summary("ab") == second.summary("ab")


def test_one_row_has_no_spread() -> None:
    summary = Moments.of(np.array([[2.0, -1.0]])).summary(["a", "b"])
    assert summary["std"] == [0, 0]
    assert summary["min"] == summary["max"] == summary["mean"] == summary["q01"] == summary["q99"] == [2, -1]


def test_only_training_frames_are_measured_and_no_velocity_of_last_frames() -> None:
    sequences = {f"s{i}_00": sequence(4 + i) for i in range(3)}
    splits = splits_of(sequences)
    splits.loc[2, "split"] = "test"
    statistics = compute_statistics(sequences, splits)
    states = np.concatenate([np.stack(sequences[i].frames["state"]) for i in ("s0_00", "s1_00")])
    moves = np.concatenate([np.stack(sequences[i].frames["velocity"])[:-1] for i in ("s0_00", "s1_00")])
    assert statistics["state"]["count"] == 9
    assert statistics["velocity"]["count"] == 7
    assert (statistics["sequences"], statistics["scenes"]) == (2, 2)
    np.testing.assert_allclose(statistics["state"]["mean"], states.mean(0), rtol=1e-6)
    np.testing.assert_allclose(statistics["velocity"]["std"], moves.std(0), rtol=1e-6)


def test_a_number_that_is_not_finite_names_its_sequence() -> None:
    broken = sequence(5)
    broken.frames.at[2, "state"] = np.array([0, np.nan, 0, 0, 0, 0], np.float32)
    with pytest.raises(ValueError, match="state of bad_00: row 2 has nan in dimension 1"):
        compute_statistics({"bad_00": broken}, splits_of({"bad_00": broken}))


def test_statistics_of_single_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="no sequence of two frames or more with velocity"):
        compute_statistics({"a_00": sequence(1)}, splits_of({"a_00": sequence(1)}))


# --- samples --------------------------------------------------------------------------------------------


def test_candidates_are_the_frames_before_and_the_last_frame_is_a_current_view() -> None:
    sequences = {"a_00": sequence(12), "b_00": sequence(20)}
    samples = index_samples(sequences, splits_of(sequences), finetune(train=5, min_candidates=6), COLLECT)
    assert list(samples.columns) == list(COLUMNS)
    assert samples["sample_id"].tolist() == list(range(10))
    for row in samples.itertuples():
        assert row.candidates == list(range(row.current))
        assert row.current >= 6
    by_sequence = samples.groupby("sequence_id")["current"]
    assert by_sequence.max().to_dict() == {"a_00": 11, "b_00": 19}
    assert (by_sequence.nunique() == 5).all()


def test_later_frames_are_candidates_in_training_only_and_only_if_asked() -> None:
    sequences = {"a_00": sequence(8)}
    params = finetune(train=8, val=8, min_candidates=2, any_frame=True)
    training = index_samples(sequences, splits_of(sequences), params, COLLECT)
    assert sorted(training["current"]) == list(range(8))
    for row in training.itertuples():
        assert row.candidates == [frame for frame in range(8) if frame != row.current]
    validation = index_samples(sequences, splits_of(sequences, "val"), params, COLLECT)
    assert all(max(row.candidates) < row.current for row in validation.itertuples())


def test_short_sequences_give_what_they_can() -> None:
    sequences = {f"s_{n:02d}": sequence(n) for n in (1, 2, 5)}
    samples = index_samples(sequences, splits_of(sequences), finetune(train=4, min_candidates=8), COLLECT)
    views = samples.set_index("sequence_id")["current"].to_dict()
    assert views == {"s_02": 1, "s_05": 4}  # the last frame alone; nothing where there is one frame


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(0, 40),
    count=st.integers(0, 50),
    least=st.integers(1, 20),
    last=st.booleans(),
    any_=st.booleans(),
)
def test_current_views_are_different_and_late_enough(
    length: int, count: int, least: int, last: bool, any_: bool
) -> None:
    params = FinetuneSampleParams(min_candidates=least, include_last=last)
    views = current_views(length, params, np.random.default_rng(0), count=count, any_frame=any_).tolist()
    earliest = 0 if any_ else min(least, max(length - 1, 1))
    assert len(set(views)) == len(views) <= count
    assert all(earliest <= view < length for view in views)
    assert not (last and count and length >= 2) or views[0] == length - 1


def test_without_instructions_everything_is_asked() -> None:
    sequences = {"a_00": sequence(30, {t: [1] for t in range(30)})}  # nothing but a wall
    samples = index_samples(sequences, splits_of(sequences), finetune(train=20, everything=0), COLLECT)
    assert set(samples["kind"]) == {"everything"}
    assert set(samples["instruction"]) == {""}
    assert not samples["referred"].map(len).any()


def test_kinds_come_in_the_shares_of_the_parameters() -> None:
    route = {"text": "walk to the bed", "kind": "route", "instances": [4], "frame": None}
    sequences = {f"s_{i:02d}": sequence(60, instructions=[route]) for i in range(20)}
    params = finetune(train=50, everything=0.5, phrases=0.3, route=0.2, reasoning=0, visible=1.0)
    samples = index_samples(sequences, splits_of(sequences), params, COLLECT)
    kinds = samples["kind"].replace(["category", "attribute", "relation"], "phrase")
    shares = kinds.value_counts(normalize=True)
    assert len(samples) == 1000
    assert shares["everything"] == pytest.approx(0.5, abs=0.05)
    assert shares["phrase"] == pytest.approx(0.3, abs=0.05)
    assert shares["route"] == pytest.approx(0.2, abs=0.05)
    assert set(samples.loc[samples["kind"] == "route", "instruction"]) == {"walk to the bed"}


def test_phrases_are_about_something_in_view_or_honestly_about_nothing() -> None:
    half = {t: [1, 2] if t < 30 else [1, 4] for t in range(60)}  # first the chair, then the bed
    sequences = {f"s_{i:02d}": sequence(60, half) for i in range(20)}
    params = finetune(train=40, everything=0, phrases=1, route=0, reasoning=0, visible=0.7)
    samples = index_samples(sequences, splits_of(sequences), params, COLLECT)
    in_view = [
        bool(set(row.referred) & set(half[row.current])) for row in samples.itertuples() if row.instruction
    ]
    assert len(in_view) > 700
    assert np.mean(in_view) == pytest.approx(0.7, abs=0.06)


def test_what_covers_too_little_of_the_view_is_neither_in_view_nor_absent() -> None:
    tiny = sequence(30)
    tiny.frames["visible_pixels"] = [[400, 20]] * 30  # the chair: 0.2 % of the image
    phrase = {"text": "the chair", "kind": "category", "instances": [2], "frame": None}
    tiny.metadata["instructions"] = [phrase]
    params = finetune(train=20, everything=0, phrases=1, route=0, reasoning=0, new_phrases=0, visible=0.5)
    samples = index_samples({"a_00": tiny}, splits_of({"a_00": tiny}), params, COLLECT)
    assert set(samples["kind"]) == {"everything"}


def test_instructions_that_name_nothing_are_not_used() -> None:
    empty = {"text": "go straight on", "kind": "route", "instances": [], "frame": None}
    sequences = {"a_00": sequence(30, instructions=[empty])}
    params = finetune(train=20, everything=0, phrases=0, route=1, reasoning=0)
    assert set(index_samples(sequences, splits_of(sequences), params, COLLECT)["kind"]) == {"everything"}


def test_pretraining_asks_for_things_seen_in_that_frame() -> None:
    seen = {t: [1, 2, 3] if t % 2 else [1, 4] for t in range(10)}
    recorded = {"text": "the soft thing", "kind": "category", "instances": [4], "frame": 0}
    sequences = {"a_00": sequence(10, seen, instructions=[recorded])}
    none = FinetuneSampleParams(train=0)
    params = NormalizeParams(pretrain=PretrainSampleParams(train=10, phrases=3), finetune=none)
    samples = index_samples(sequences, splits_of(sequences), params, COLLECT)
    assert set(samples["task"]) == {"pretrain"}
    assert set(samples["current"]) == set(range(10))
    for row in samples.itertuples():
        assert set(row.referred) <= set(seen[row.current]) - {1}  # never the wall
        assert row.referred
        assert row.instruction
        assert row.candidates == []
    assert (samples.groupby("current").size() <= 3).all()


def test_a_sequence_has_the_same_samples_whatever_else_there_is() -> None:
    sequences = {f"s_{i:02d}": sequence(25) for i in range(5)}
    together = index_samples(sequences, splits_of(sequences), NormalizeParams(), COLLECT)
    again = index_samples(sequences, splits_of(sequences), NormalizeParams(), COLLECT)
    pd.testing.assert_frame_equal(together, again)
    alone = {"s_03": sequences["s_03"]}
    one = index_samples(alone, splits_of(alone), NormalizeParams(), COLLECT)
    mine = together[together["sequence_id"] == "s_03"].reset_index(drop=True)
    pd.testing.assert_frame_equal(one.drop(columns="sample_id"), mine.drop(columns="sample_id"))
    assert not np.array_equal(together.loc[together["sequence_id"] == "s_01", "current"], mine["current"])


def reasoning(text: str, instances: list[int], frame: int | None) -> dict[str, Any]:
    """A recorded question."""
    answer = {"answer": "yes", "distractors": [], "steps": []}
    known = {"kind": "reasoning", "question": "between", "level": 3, **answer}
    return {"text": text, "instances": instances, "frame": frame, **known}


def test_a_question_about_a_view_goes_with_that_view() -> None:
    asked = [reasoning("what is behind you?", [4], 7), reasoning("what is between them?", [2], None)]
    sequences = {"a_00": sequence(30, instructions=asked)}
    params = finetune(train=25, everything=0, phrases=0, route=0, reasoning=1, new_questions=0)
    samples = index_samples(sequences, splits_of(sequences), params, COLLECT)
    assert set(samples["kind"]) == {"reasoning"}
    assert set(samples["question"]) == {"between"}
    assert set(samples["level"]) == {3}
    bound = samples.loc[samples["instruction"] == "what is behind you?", "current"]
    assert set(bound) <= {7}
    assert (samples["instruction"] == "what is between them?").sum() >= 21


def test_new_questions_are_asked_too() -> None:
    seen = {t: [1, 2, 3, 4] if t < 15 else [1, 3] for t in range(30)}
    sequences = {f"s_{i:02d}": sequence(30, seen) for i in range(4)}
    params = finetune(train=12, everything=0, phrases=0, route=0, reasoning=1)
    samples = index_samples(sequences, splits_of(sequences), params, COLLECT)
    assert samples["question"].nunique() > 1
    assert set(samples.loc[samples["question"] != "", "level"]) <= {2, 3}
    assert (samples.loc[samples["question"] != "", "referred"].map(len) > 0).all()


def test_phrases_have_the_level_of_their_kind() -> None:
    sequences = {"a_00": sequence(40)}
    samples = index_samples(sequences, splits_of(sequences), NormalizeParams(), COLLECT)
    plain = samples[samples["question"] == ""]
    expected = {"everything": 0, "category": 1, "attribute": 1, "relation": 2}
    assert (plain["level"] == plain["kind"].map(expected)).all()


def test_weights_give_the_levels_of_the_losses_their_shares() -> None:
    levels = [["geometric"], ["geometric"], ["geometric", "reasoning"], ["reasoning"], [], []]
    sequences = {f"s{i}_00": sequence(20, scenario={"levels": own}) for i, own in enumerate(levels)}
    splits = splits_of(sequences).assign(split=["train"] * 5 + ["val"])
    shares = {"geometric": {"share": 0.4}, "reasoning": {"share": 0.16}}
    collect = CollectParams.model_construct(levels={k: LevelParams(**v) for k, v in shares.items()})
    samples = index_samples(sequences, splits, NormalizeParams(), collect)
    assert samples["levels"].tolist() == [levels[int(i[1])] for i in samples["sequence_id"]]
    assert (samples.loc[samples["split"] == "val", "weight"] == 1).all()
    for _, rows in samples[samples["split"] == "train"].groupby("task"):
        assert rows["weight"].mean() == pytest.approx(1)
        for name, wanted in shares.items():
            served = rows["levels"].map(lambda own, name=name: name in own)
            assert rows.loc[served, "weight"].sum() / rows["weight"].sum() == pytest.approx(wanted["share"])
    equal = index_samples(sequences, splits, NormalizeParams(sampling=SamplingParams(levels=False)), collect)
    assert (equal["weight"] == 1).all()


def test_good_sequences_are_drawn_more_often_if_asked() -> None:
    sequences = {f"s{i}_00": sequence(20, quality={"overall": score}) for i, score in enumerate((0.5, 1.0))}
    params = finetune(train=4).model_copy(update={"sampling": SamplingParams(quality=2.0)})
    samples = index_samples(sequences, splits_of(sequences), params, COLLECT)
    assert samples.groupby("sequence_id")["weight"].mean().to_dict() == pytest.approx(
        {"s0_00": 0.4, "s1_00": 1.6}
    )


def test_what_was_imported_without_depth_gives_no_samples() -> None:
    sequences = {"a_00": sequence(20), "b_00": sequence(20, absent=["depth"])}
    samples = index_samples(sequences, splits_of(sequences), NormalizeParams(), COLLECT)
    assert set(samples["sequence_id"]) == {"a_00"}


def test_evaluation_splits_have_their_own_fixed_numbers() -> None:
    sequences = {f"s_{i:02d}": sequence(30) for i in range(3)}
    splits = splits_of(sequences).assign(split=["train", "val", "test"])
    samples = index_samples(sequences, splits, finetune(train=9, val=2, test=5), COLLECT)
    assert samples.groupby("split").size().to_dict() == {"train": 9, "val": 2, "test": 5}


def test_nothing_to_sample_is_an_error() -> None:
    sequences = {"a_00": sequence(1, {0: [1]})}
    with pytest.raises(ValueError, match="no samples"):
        index_samples(sequences, splits_of(sequences), NormalizeParams(), COLLECT)


def test_shares_that_are_all_zero_are_refused() -> None:
    with pytest.raises(ValidationError, match="must be above 0"):
        FinetuneSampleParams(everything=0, phrases=0, route=0, reasoning=0)


def test_the_graph_makes_splits_statistics_and_samples() -> None:
    index = validated(5)
    inputs = {
        "validated_index": index,
        "sequences": {sequence_id: sequence(12) for sequence_id in index["id"]},
        "params:normalize": NormalizeParams(),
        "params:collect": COLLECT,
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    made = SequentialRunner().run(create_pipeline(), catalog)
    assert set(made) == {"statistics", "samples"}
    samples, statistics = made["samples"].load(), made["statistics"].load()
    assert set(samples["split"]) == {"train", "val", "test"}
    assert set(samples["task"]) == {"pretrain", "finetune"}
    assert statistics["scenes"] == 3


def test_the_stage_imports_neither_torch_nor_a_video_decoder() -> None:
    heavy = "torch transformers great_expectations mlflow av moderngl embreex numba"
    code = (
        "import sys, vln_heatmap.pipelines.normalize as stage; stage.create_pipeline(); "
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


# --- how hard a sample is ---------------------------------------------------------------------------------


def test_the_overlap_is_the_share_of_the_view_that_its_candidates_show_too() -> None:
    """The last view has wall, chair and table, 400 pixels each; its candidates have two of them, one, none."""
    walk = sequence(4, {0: [1, 2], 1: [3], 2: [4], 3: [1, 2, 3]})
    samples = index_samples(
        {"a_0": walk}, splits_of({"a_0": walk}), finetune(train=1, any_frame=False), COLLECT
    )
    last = samples[samples["current"] == 3].iloc[0]
    assert list(last.candidates) == [0, 1, 2]
    assert last.overlap == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)


def test_single_views_show_all_of_themselves_and_phrases_have_no_distractors() -> None:
    walk = sequence(3)
    samples = index_samples({"a_0": walk}, splits_of({"a_0": walk}), NormalizeParams(), COLLECT)
    assert (samples.query("task == 'pretrain'")["overlap"] == 1).all()
    assert samples["overlap"].between(0, 1).all()


def test_distractors_of_a_question_are_counted() -> None:
    asked = {
        "text": "which chair is nearer?",
        "kind": "reasoning",
        "instances": [2],
        "frame": None,
        "question": "near_far",
        "level": 2,
        "distractors": [7, 8],
    }
    walk = sequence(6, instructions=[asked])
    params = finetune(reasoning=1, phrases=0, route=0, everything=0, new_questions=0)
    samples = index_samples({"a_0": walk}, splits_of({"a_0": walk}), params, COLLECT)
    named = samples[samples["question"] == "near_far"]
    assert len(named)
    assert (named["distractors"] == 2).all()
    assert (samples[samples["question"] == ""]["distractors"] == 0).all()
