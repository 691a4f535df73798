"""Keyframe samplers: always k, and the coverage that a brute-force search finds."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.model.keyframes import (
    KEYFRAME_SAMPLERS,
    fill_up,
    greedy_coverage,
    make_sampler,
    voxel_sets,
)
from vln_heatmap.params import KeyframeParams

NAMES = sorted(KEYFRAME_SAMPLERS)
SPACE = make_sampler(KeyframeParams(name="space_aware"))
UNIFORM = make_sampler(KeyframeParams(name="uniform"))


def points_of(cells: list[list[tuple[int, int, int]]]) -> np.ndarray:
    """World points [T, 1, n, 3] at the centres of the unit cells each frame sees; repeats fill the rows."""
    width = max(map(len, cells))
    rows = [(frame * width)[:width] for frame in cells]
    return np.array(rows, dtype=float)[:, None] + 0.5


@given(
    st.sampled_from(NAMES),
    st.lists(st.integers(0, 999), min_size=1, max_size=30, unique=True).map(sorted),
    st.integers(1, 40),
    st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_always_k_distinct_candidates_in_order(name: str, candidates: list[int], k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 4, (len(candidates), 2, 2, 3)).astype(float)
    chosen = make_sampler(KeyframeParams(name=name)).sample(candidates, k, points=points, rng=rng)
    assert len(chosen) == min(k, len(candidates))
    assert set(chosen.tolist()) <= set(candidates)
    assert (np.diff(chosen) > 0).all()


def test_uniform_takes_the_middle_of_equal_parts() -> None:
    assert UNIFORM.sample(range(10, 22), 4).tolist() == [11, 14, 17, 20]
    assert UNIFORM.sample(range(3), 1).tolist() == [1]


def test_uniform_with_chance_reaches_every_frame_and_stays_in_its_parts() -> None:
    rng = np.random.default_rng(0)
    draws = np.array([UNIFORM.sample(range(12), 4, rng=rng) for _ in range(200)])
    assert (draws // 3 == np.arange(4)).all()
    assert set(draws.ravel().tolist()) == set(range(12))


def brute_force_greedy(sets: list[set[int]], k: int) -> list[int]:
    chosen: list[int] = []
    covered: set[int] = set()
    for _ in range(k):
        gains = [len(found - covered) for found in sets]
        if max(gains) == 0:
            break
        chosen.append(gains.index(max(gains)))
        covered |= sets[chosen[-1]]
    return chosen


@given(st.lists(st.sets(st.integers(0, 9), max_size=6), min_size=1, max_size=7), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_coverage_equals_brute_force_and_keeps_greedy_s_promise(sets: list[set[int]], k: int) -> None:
    seen = np.array([[cell in found for cell in range(10)] for found in sets])
    chosen = greedy_coverage(seen, k)
    assert chosen == brute_force_greedy(sets, k)
    best = max(len(set().union(*group)) for group in itertools.combinations(sets, min(k, len(sets))))
    assert seen[chosen].any(axis=0).sum() >= (1 - 1 / np.e) * best


def test_space_aware_takes_the_frames_that_cover_most() -> None:
    corners = [(0, 0, 0), (19, 19, 19)]
    frames = [
        [(0, 0, 0)],
        [*corners, (1, 0, 0), (2, 0, 0)],
        [(1, 0, 0), (2, 0, 0)],
        [(9, 0, 0), (9, 1, 0), (9, 2, 0)],
    ]
    assert SPACE.sample([3, 5, 8, 9], 2, points=points_of(frames)).tolist() == [5, 9]


def test_where_coverage_stops_the_least_alike_frames_fill_the_places() -> None:
    everything = [(0, 0, 0), (19, 19, 19), (5, 0, 0), (6, 0, 0)]
    frames = [everything[1:], everything, everything[:1], everything[2:]]
    # frame 1 covers all; likeness to it: 3/4, -, 1/4, 2/4
    assert SPACE.sample(range(4), 2, points=points_of(frames)).tolist() == [1, 2]
    assert SPACE.sample(range(4), 3, points=points_of(frames)).tolist() == [1, 2, 3]


def test_frames_that_show_nothing_come_last() -> None:
    seen = np.array([[False, False], [True, True], [True, False]])
    assert fill_up(seen, [1], 3) == [1, 2, 0]


def test_points_of_little_confidence_or_without_depth_do_not_count() -> None:
    points = points_of([[(0, 0, 0), (19, 19, 19)], [(3, 3, 3), (4, 4, 4)]])
    assert voxel_sets(points, None, KeyframeParams()).sum() == 4
    confidence = np.array([[[5.0, 5.0]], [[5.0, 1.0]]])
    assert voxel_sets(points, confidence, KeyframeParams()).sum() == 3
    assert voxel_sets(points, np.full((2, 1, 2), 0.1), KeyframeParams()).sum() == 0
    points[1, 0, 0] = np.nan
    assert voxel_sets(points, None, KeyframeParams()).sum() == 3


def test_voxels_are_parts_of_the_smallest_side() -> None:
    """A box of 4 x 2 x 8 in 10 parts: cells of 0.2, so 0.25 apart differs and 0.05 apart does not."""
    points = np.array([[[0, 0, 0], [4, 2, 8], [1.02, 1, 1], [1.07, 1, 1], [1.32, 1, 1]]])
    assert voxel_sets(points, None, KeyframeParams(divisions=10)).shape == (1, 4)


def test_torch_and_numpy_points_choose_alike() -> None:
    points = np.random.default_rng(0).normal(size=(9, 4, 4, 3)).astype(np.float32)
    confidence = np.random.default_rng(1).uniform(1, 3, size=(9, 4, 4)).astype(np.float32)
    chosen = SPACE.sample(range(9), 4, points=points, confidence=confidence)
    tensors = {"points": torch.tensor(points, requires_grad=True), "confidence": torch.tensor(confidence)}
    assert SPACE.sample(range(9), 4, **tensors).tolist() == chosen.tolist()


@pytest.mark.parametrize("value", [np.nan, 1.5])
def test_no_usable_or_a_single_place_still_gives_k_frames(value: float) -> None:
    points = np.full((5, 2, 2, 3), value)
    assert len(SPACE.sample(range(5), 3, points=points)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": [1, 2], "k": 0}, "at least 1, got 0"),
        ({"candidates": [2, 1], "k": 1}, "rising order"),
        ({"candidates": [1, 2], "k": 1}, "needs world points"),
        ({"candidates": [1, 2], "k": 1, "points": np.zeros((3, 2, 2, 3))}, "2 candidates, got 3"),
        ({"candidates": [1, 2], "k": 1, "points": np.zeros((2, 2, 2))}, r"must be \[T, h, w, 3\]"),
        (
            {"candidates": [1], "k": 1, "points": np.zeros((1, 2, 2, 3)), "confidence": np.zeros((1, 2))},
            "like points",
        ),
    ],
)
def test_bad_input_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.sample(arguments.pop("candidates"), arguments.pop("k"), **arguments)
