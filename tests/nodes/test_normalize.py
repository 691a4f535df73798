"""The sample index, on small tables made by hand."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError
from table_sequences import COLLECT, finetune, sequence, splits_of, validated

from vln_heatmap.nodes.normalize import index_samples
from vln_heatmap.nodes.samples import COLUMNS, current_views
from vln_heatmap.params import (
    CollectParams,
    FinetuneSampleParams,
    LevelParams,
    NormalizeParams,
    PretrainSampleParams,
    SamplingParams,
)
from vln_heatmap.pipelines.normalize import create_pipeline

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
    class Stored(dict[str, Any]):
        version = "v1"

    index = validated(5)
    inputs = {
        "validated_index": index,
        "sequences": Stored({sequence_id: sequence(12) for sequence_id in index["id"]}),
        "params:normalize": NormalizeParams(),
        "params:collect": COLLECT,
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    made = SequentialRunner().run(create_pipeline(), catalog)
    assert set(made) == {"statistics", "samples", "own_episodes"}
    assert made["own_episodes"].load() == {"sequences": "v1", "episodes": len(index)}
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
