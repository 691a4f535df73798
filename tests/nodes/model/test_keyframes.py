"""Keyframe samplers: always k, and the coverage that a brute-force search finds."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.nodes.model.keyframes import KEYFRAME_SAMPLERS, make_sampler
from vln_heatmap.nodes.model.keyframes.views import pose_distances
from vln_heatmap.nodes.model.keyframes.voxels import (
    coverage,
    cubes,
    fill_up,
    greedy_coverage,
    improve,
    likeness,
    redundancy,
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
    poses = np.array([look_pose(rng.normal(size=3), *rng.uniform(-1, 1, 2)) for _ in candidates])
    sampler = make_sampler(KeyframeParams(name=name))
    chosen = sampler.sample(candidates, k, points=points, poses=poses, rng=rng)
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


FAST = make_sampler(KeyframeParams(name="fast"))
QUALITY = make_sampler(KeyframeParams(name="quality"))


def poses_at(*places: tuple[float, float]) -> np.ndarray:
    """Cameras at (x, yaw)."""
    return np.array([look_pose((x, 0, 0), yaw) for x, yaw in places])


def test_poses_are_apart_by_metres_and_radians() -> None:
    distances = pose_distances(poses_at((0, 0), (2, 0), (0, 1), (3, 0.5)))
    np.testing.assert_allclose(distances[0], [0, 2, 1, 3.5], atol=1e-6)
    np.testing.assert_allclose(distances, distances.T)


def test_fast_takes_the_farthest_camera_each_time() -> None:
    poses = poses_at((0, 0), (0.1, 0), (5, 0), (2, 0), (0.2, 0))
    assert FAST.sample([2, 4, 6, 8, 10], 2, poses=poses).tolist() == [6, 10]
    assert FAST.sample([2, 4, 6, 8, 10], 3, poses=poses).tolist() == [6, 8, 10]


@given(st.integers(2, 7), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_fast_is_within_twice_the_best_radius(count: int, k: int, seed: int) -> None:
    """Gonzalez (1985): farthest-point sampling is a 2-approximation of the k-centre problem."""
    rng = np.random.default_rng(seed)
    poses = np.array([look_pose(rng.normal(size=3), rng.uniform(-3, 3)) for _ in range(count)])
    distances = pose_distances(poses)
    k = min(k, count)

    def radius(rows: object) -> float:
        return float(distances[list(rows)].min(axis=0).max())  # type: ignore[call-overload]

    best = min(radius(group) for group in itertools.combinations(range(count), k))
    assert radius(FAST.sample(range(count), k, poses=poses)) <= 2 * best + 1e-9


@given(st.lists(st.sets(st.integers(0, 9), max_size=5), min_size=2, max_size=7), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_exchanges_end_where_no_single_one_helps(sets: list[set[int]], k: int) -> None:
    seen = np.array([[cell in found for cell in range(10)] for found in sets])
    k = min(k, len(sets))
    start = fill_up(seen, greedy_coverage(seen, k), k)
    rows = improve(seen, start)
    assert len(set(rows)) == k
    covered = seen[rows].any(axis=0).sum()
    assert covered >= seen[start].any(axis=0).sum()
    for place, other in itertools.product(range(k), range(len(sets))):
        swapped = [*rows[:place], other, *rows[place + 1 :]]
        assert seen[swapped].any(axis=0).sum() <= covered


def test_quality_finds_what_greed_misses() -> None:
    """Two frames tile everything; greed takes the largest one, which is neither of them."""
    left, right = [(x, 0, 0) for x in range(4)], [(x, 0, 0) for x in range(4, 8)]
    large = [*left[1:], *right[:2]]
    far = (0, 19, 19)
    frames = [[*left, far], large + [(8, 19, 19)], right]
    seen = voxel_sets(points_of(frames), None, KeyframeParams())
    assert coverage(seen, QUALITY.sample(range(3), 2, points=points_of(frames))) == max(
        coverage(seen, list(pair)) for pair in itertools.combinations(range(3), 2)
    )


def brute_force_enhanced(seen: np.ndarray, distances: np.ndarray, k: int, weights: tuple) -> list[int]:
    sets = [set(np.flatnonzero(row).tolist()) for row in seen]
    chosen: list[int] = []
    while len(chosen) < k:
        scores = []
        for row in range(len(sets)):
            old = set().union(*(sets[i] for i in chosen))
            diverse = min((distances[row, i] / distances.max() for i in chosen), default=1.0)
            alike = [len(sets[row] & sets[i]) / (len(sets[row] | sets[i]) or 1) for i in chosen]
            parts = (diverse, len(sets[row] - old) / seen.shape[1], 1 - max(alike, default=0.0))
            score = sum(weight * part for weight, part in zip(weights, parts, strict=True))
            scores.append(-np.inf if row in chosen else score)
        chosen.append(int(np.argmax(scores)))
    return sorted(chosen)


@given(st.integers(2, 8), st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_enhanced_equals_brute_force(count: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses = np.array([look_pose(rng.normal(size=3), rng.uniform(-3, 3)) for _ in range(count)])
    points = rng.integers(0, 4, (count, 3, 3, 3)).astype(float)
    params = KeyframeParams(name="enhanced", diversity=0.5, coverage=0.2, novelty=0.3)
    seen = voxel_sets(points, None, params)
    expected = brute_force_enhanced(seen, pose_distances(poses), min(k, count), (0.5, 0.2, 0.3))
    assert make_sampler(params).sample(range(count), k, points=points, poses=poses).tolist() == expected


def test_coverage_and_redundancy_have_their_closed_forms() -> None:
    seen = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0]], bool)
    assert coverage(seen, [0, 1]) == 3 / 4  # nobody sees the last column
    assert redundancy(seen, [0, 1]) == pytest.approx(1 / 3)
    assert redundancy(seen, [0, 1, 2]) == pytest.approx(1 / 9)
    assert redundancy(seen, [1]) == 0
    np.testing.assert_allclose(likeness(seen)[0], [1, 1 / 3, 0])


@pytest.mark.parametrize("name", ["fast", "enhanced"])
def test_missing_or_unfit_poses_are_refused(name: str) -> None:
    sampler, points = make_sampler(KeyframeParams(name=name)), np.zeros((2, 2, 2, 3))
    with pytest.raises(ValueError, match=f"the {name} sampler needs camera_to_world poses"):
        sampler.sample([1, 2], 1, points=points)
    with pytest.raises(ValueError, match=r"finite \[2, 4, 4\], got \[3, 4, 4\]"):
        sampler.sample([1, 2], 1, points=points, poses=np.zeros((3, 4, 4)))


def test_cubes_have_the_edge_that_is_asked_for() -> None:
    """Points in a row, 0.25 apart: as many cubes as fit, whatever else is seen."""
    row = np.zeros((1, 1, 8, 3))
    row[0, 0, :, 0] = np.arange(8) / 4
    assert cubes(row, 0.25).shape == (1, 8)
    assert cubes(row, 0.5).shape == (1, 4)
    assert cubes(row + 17.3, 4.0).shape == (1, 1)
    both = np.concatenate([row, row + [1.0, 0, 0]])
    np.testing.assert_array_equal(cubes(both, 0.5), [[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]])
    far = np.concatenate([both, np.full((1, 1, 8, 3), 100.0)])
    np.testing.assert_array_equal(cubes(far, 0.5).sum(1), [4, 4, 1])  # other frames change no size
    both[1] = np.nan
    np.testing.assert_array_equal(cubes(both, 0.5), [[1, 1, 1, 1], [0, 0, 0, 0]])
    assert cubes(both[1:], 0.5).shape == (1, 0)
    for edge in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="edge of a voxel must be positive"):
            cubes(row, edge)
