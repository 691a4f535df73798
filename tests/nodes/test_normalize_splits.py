"""Splits by house, and statistics of the training split."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_sequences import sequence, splits_of, validated

from vln_heatmap.nodes.normalize import TooFewScenesError, compute_statistics, split_by_scene
from vln_heatmap.nodes.statistics import RANK_ERROR, Moments
from vln_heatmap.params import NormalizeParams

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
