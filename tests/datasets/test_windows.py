"""Training windows: targets against geometry done by hand, and roles of frames."""

from pathlib import Path

import numpy as np
import synthetic
from box_walks import walk
from hypothesis import given, settings
from hypothesis import strategies as st
from wall_windows import FRAMES, MIRROR, PLAIN, SAMPLER, SIDE, SIZE, columns, get, shown, wall_arrays, windows

from vln_heatmap.datasets.frame_features import FeatureStream, FrameFeatureDataset, FrameFeatures
from vln_heatmap.datasets.windows import augmented, view_targets
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import WindowParams


def test_keyframes_that_were_chosen_before_take_the_place_of_the_sampler_s(wall: FrameFeatures) -> None:
    """Always when nothing is random, half the time in training."""
    row = {"current": 9, "candidates": list(range(9)), "keyframes": (0, 1, 8)}
    assert shown(get(windows(wall, row))) == [0, 1, 8, 9]
    drawn = [tuple(shown(get(windows(wall, row, training=True), seed=seed))[:3]) for seed in range(200)]
    assert 80 < drawn.count((0, 1, 8)) < 125
    assert len(set(drawn)) > 30


# --- targets ----------------------------------------------------------------------------------------------


def test_targets_are_what_one_calculates_on_paper() -> None:
    """The current view (frame 4, at x = 1) sees the wall from -1 to 3 in eight columns of 0.5 m.

    Keyframe 0 (at x = 0) saw it from -2 to 2: the first six columns. Of these, columns 4 and 5 are instance 2.
    """
    arrays = wall_arrays()
    arrays["depth"][4], arrays["instance"][4] = 2000, arrays["instance"][3]  # without the panel
    arrays["instance"][4] = np.where(np.arange(SIDE) < SIDE // 2, 1, 2)
    target = view_targets(
        arrays["depth"][[0, 4]].astype(np.float32) / 1000,
        arrays["instance"][[0, 4]],
        arrays["poses"][[0, 4]],
        PinholeCamera(SIDE, SIDE, 90.0),
        (1, np.array([0])),
        np.array([2]),
        size=SIZE,
        sampled=SIDE,
        sigma=0.0,
    )
    np.testing.assert_array_equal(target["mask"][0], columns(0, 0, 0, 0, 1, 1, 0, 0))
    np.testing.assert_allclose(target["distribution"][0], columns(0, 0, 0, 0, 1, 1, 0, 0) / 16, rtol=1e-6)
    np.testing.assert_array_equal(target["classes"][0, 0], columns(1, 1, 1, 1, 1, 1, 0, 0))
    np.testing.assert_array_equal(target["classes"][0, 1], columns(0, 0, 0, 0, 0, 0, 0, 0))
    np.testing.assert_array_equal(target["classes"][0, 2], columns(0, 0, 0, 0, 0, 0, 1, 1))
    np.testing.assert_array_equal(target["referred"], columns(0, 0, 0, 0, 1, 1, 1, 1))
    np.testing.assert_array_equal(target["pixel_weight"], np.ones((1, SIZE, SIZE)))
    assert target["valid"].tolist() == [True]


def test_each_keyframe_has_its_own_three_classes(wall: FrameFeatures) -> None:
    """Current view: frame 8, at x = 2, sees 0 to 4; keyframe 0 saw up to 2, and frame 4 from -1 to 3.

    In frame 4 the panel hides all of the wall left of x = 1: the first two columns.
    """
    window = get(windows(wall, {"current": 8, "candidates": [0, 4]}, keyframes=2))
    below = slice(SIZE // 4, None)  # where the current view has depth
    assert window["classes"].shape == (1, 2, 3, SIZE, SIZE)
    for keyframe, (seen, hidden) in enumerate(
        [((1, 1, 1, 1, 0, 0, 0, 0), (0,) * 8), ((0, 0, 1, 1, 1, 1, 0, 0), (1, 1) + (0,) * 6)]
    ):
        outside = 1 - np.array(seen) - np.array(hidden)
        expected = np.stack([columns(*seen), columns(*hidden), columns(*outside)])
        np.testing.assert_array_equal(window["classes"][0, keyframe, :, below], expected[:, below])
        np.testing.assert_array_equal(window["mask"][0, keyframe, below], columns(*seen)[below])
    for name in ("pixel_weight", "mask", "classes"):
        assert window[name][..., : SIZE // 4, :].max() == 0, name
    assert window["pixel_weight"][..., below, :].min() == 1
    assert window["valid"].tolist() == [[True, True]]
    np.testing.assert_allclose(window["distribution"].sum((-2, -1)), 1, rtol=1e-5)


def test_a_thing_that_moves_is_looked_for_where_it_was(tmp_path: Path) -> None:
    """The current view (frame 4) sees the panel in columns 0 to 3. Until frame 2 it was 6 m to the left: out of
    view; then it stood where it is, and frame 3 sees it move into its image by a quarter of a metre."""
    arrays = wall_arrays()
    arrays["depth"][0], arrays["instance"][0] = arrays["depth"][2], arrays["instance"][2]
    poses = np.tile(np.eye(4), (FRAMES, 1, 1, 1))  # [T, 1, 4, 4]
    poses[:3, 0, 0, 3] = -6.0
    arrays |= {"moved_ids": np.array([3], np.int32), "moved_poses": poses}
    dataset = FrameFeatureDataset(filepath=str(tmp_path))
    dataset.save(FeatureStream("moved", ("wall",), lambda ids: ((i, arrays) for i in ids)))
    row = {"current": 4, "candidates": [0, 3], "referred": [3]}
    window = get(windows(dataset.load(), row, keyframes=2))
    assert window["valid"].tolist() == [[False, True]]
    np.testing.assert_array_equal(window["classes"][0, 0, 2, :, :4], np.ones((SIZE, 4)))  # outside
    np.testing.assert_array_equal(window["mask"][0, 1], columns(1, 1, 1, 1, 0, 0, 0, 0))


def test_what_is_not_seen_is_valid_nowhere(wall: FrameFeatures) -> None:
    """Instance 1 ends at x = 1, frame 8 sees from x = 0: keyframe 4 looked at it through the panel."""
    window = get(windows(wall, {"current": 8, "candidates": [0, 4], "referred": [1]}, keyframes=2))
    assert window["valid"].tolist() == [[True, False]]
    assert window["mask"][0, 1].max() == window["distribution"][0, 1].max() == 0
    np.testing.assert_array_equal(window["referred"][0], columns(1, 1, 0, 0, 0, 0, 0, 0))
    nothing = get(windows(wall, {"current": 8, "candidates": [0, 4], "referred": [77]}, keyframes=2))
    assert not nothing["valid"].any()
    assert nothing["referred"].max() == 0


def test_a_cell_that_is_known_in_part_is_judged_by_that_part() -> None:
    """Every second row of the current view has no depth: half weight, half the area, the same classes."""
    arrays = wall_arrays()
    depth = arrays["depth"][[0, 6]].astype(np.float32) / 1000
    depth[1, ::2] = 0
    target = view_targets(
        depth,
        arrays["instance"][[0, 6]],
        arrays["poses"][[0, 6]],
        PinholeCamera(SIDE, SIDE, 90.0),
        (1, np.array([0])),
        np.array([], dtype=np.int64),
        size=SIZE,
        sampled=SIDE,
        sigma=0.0,
    )
    np.testing.assert_array_equal(target["pixel_weight"], np.full((1, SIZE, SIZE), 0.5))
    np.testing.assert_allclose(target["classes"][0, 0], columns(1, 1, 1, 1, 1, 0, 0, 0))
    np.testing.assert_allclose(target["classes"].sum(1), 1)
    np.testing.assert_array_equal(target["referred"], np.ones((SIZE, SIZE)))  # no instance named: everything
    np.testing.assert_allclose(target["mask"][0], columns(1, 1, 1, 1, 1, 0, 0, 0) / 2)


def test_a_wide_image_gives_square_targets(tmp_path: Path) -> None:
    """64 x 48 pixels: cells are stretched, so that heatmap and features cover the same image."""
    store = synthetic.store_features(tmp_path, {"wall": walk("wall")})
    window = get(
        windows(store, {"current": 8, "candidates": [8]}, params=PLAIN.model_copy(update={"sampled": 16}))
    )
    assert window["mask"].shape == (1, 3, SIZE, SIZE)
    np.testing.assert_array_equal(window["mask"][0, 0], np.ones((SIZE, SIZE)))  # a view sees what it sees


# --- roles of the frames ----------------------------------------------------------------------------------


def test_frames_are_the_keyframes_in_order_of_time_and_then_the_current_view(wall: FrameFeatures) -> None:
    window = get(windows(wall, {"current": 9, "candidates": list(range(9))}))
    assert shown(window) == [*SAMPLER.sample(range(9), 3), 9]
    assert window["features"][:, 0, 0, 0].tolist() == shown(window)
    assert window["current"].tolist() == [3]
    assert window["keyframes"].tolist() == [[0, 1, 2]]
    assert window["keyframe_mask"].all()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_roles_hold_for_any_candidates(wall: FrameFeatures, data: st.DataObject, seed: int) -> None:
    current = data.draw(st.integers(0, FRAMES - 1))
    candidates = sorted(
        data.draw(st.sets(st.integers(0, FRAMES - 1).filter(lambda i: i != current), min_size=1))
    )
    k, views = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    params = PLAIN.model_copy(update={"views": views, "sampled": SIZE})
    row = {"current": current, "candidates": candidates}
    window = get(windows(wall, row, params=params, keyframes=k, training=True), seed=seed)
    frames, real = shown(window), min(k, len(candidates))
    assert len(frames) == k + 1
    assert frames[real] == current
    assert set(frames[:real]) <= set(candidates)
    assert frames[:real] == sorted(set(frames[:real]))
    assert set(frames[real:]) == {current}  # padding repeats a frame
    assert window["current"].shape == (views,)
    assert window["current"][0] == real  # the first view is the sample's own
    assert len(set(window["current"][: real + 1].tolist())) == min(
        views, real + 1
    )  # then as many others as there are
    for view, own in enumerate(window["current"]):
        known = window["keyframes"][view][window["keyframe_mask"][view]]
        assert own not in window["keyframes"][view]
        assert known.tolist() == [i for i in range(real + 1) if i != own]  # all others, once each, in order
        assert set(window["keyframes"][view]) == set(known)
    assert not window["valid"][~window["keyframe_mask"]].any()


def test_every_view_of_a_window_has_the_targets_that_it_has_alone(wall: FrameFeatures) -> None:
    row = {"current": 8, "candidates": [0, 3, 4], "referred": [2]}
    params = PLAIN.model_copy(update={"views": 3})
    window = get(windows(wall, row, params=params, training=True))
    for view, own in enumerate(window["current"]):
        frames = np.array(shown(window))
        alone = {"current": frames[own], "candidates": frames[window["keyframes"][view]], "referred": [2]}
        single = get(windows(wall, alone))
        for name in ("mask", "distribution", "classes", "valid", "referred", "pixel_weight"):
            np.testing.assert_array_equal(window[name][view], single[name][0], err_msg=name)


def test_a_frame_without_candidates_is_all_padding(wall: FrameFeatures) -> None:
    for training in (False, True):
        window = get(windows(wall, {"current": 2, "candidates": []}, training=training))
        assert shown(window) == [2] * 4
        assert not window["keyframe_mask"].any()
        assert not window["valid"].any()


def test_single_views_are_their_own_keyframe(wall: FrameFeatures) -> None:
    row = {"task": "pretrain", "current": 4, "candidates": [], "instruction": "the panel", "referred": [3]}
    for training in (False, True):
        window = get(windows(wall, row, training=training))
        assert shown(window) == [4]
        assert window["current"].tolist() == [0]
        assert window["keyframes"].tolist() == [[0]]
        assert window["keyframe_mask"].tolist() == window["valid"].tolist() == [[True]]
        np.testing.assert_array_equal(window["mask"][0, 0], columns(1, 1, 1, 1, 0, 0, 0, 0))
        np.testing.assert_array_equal(window["mask"][0], window["referred"])
        np.testing.assert_array_equal(window["classes"][0, 0, 0], np.ones((SIZE, SIZE)))


def test_without_training_the_other_views_are_keyframes_at_even_steps(wall: FrameFeatures) -> None:
    row = {"current": 9, "candidates": [0, 2, 4, 6, 8]}
    for views, expected in ((1, [9]), (2, [9, 4]), (3, [9, 2, 6]), (7, [9, 0, 2, 4, 4, 6, 8])):
        window = get(windows(wall, row, keyframes=5, views=views))
        assert [shown(window)[i] for i in window["current"]] == expected
        np.testing.assert_array_equal(window["mask"][0], get(windows(wall, row, keyframes=5))["mask"][0])


# --- what some losses need --------------------------------------------------------------------------------


def test_depth_and_cameras_of_the_views_come_if_asked_for_and_change_nothing_else(
    wall: FrameFeatures,
) -> None:
    row = {"current": 8, "candidates": [0, 4, 6]}
    params = WindowParams(views=3, sampled=16)
    plain = get(windows(wall, row, params=params, training=True), seed=3)
    window = get(windows(wall, row, params=params, training=True, needs=("geometry",)), seed=3)
    assert window.keys() - plain.keys() == {"view_depth", "view_pose", "intrinsics"}
    for name, value in plain.items():
        np.testing.assert_array_equal(window[name], value)


def test_the_views_geometry_is_that_of_their_cells(wall: FrameFeatures) -> None:
    """Frame 8 (at x = 2) sees the wall 2 m ahead, frame 4 the panel at 1 m in its left half."""
    row = {"current": 8, "candidates": [4]}
    params = PLAIN.model_copy(update={"views": 2})
    window = get(windows(wall, row, params=params, keyframes=1, training=True, needs=("geometry",)))
    assert [shown(window)[i] for i in window["current"]] == [8, 4]
    np.testing.assert_array_equal(
        window["view_depth"][0], 2 * np.repeat([0, 1], [2, 6])[:, None].repeat(8, 1)
    )
    np.testing.assert_array_equal(window["view_depth"][1], columns(1, 1, 1, 1, 2, 2, 2, 2))
    np.testing.assert_allclose(window["view_pose"][:, :3, 3], [[2, 1.25, 0], [1, 1.25, 0]])
    np.testing.assert_allclose(window["intrinsics"], [[4, 0, 4], [0, 4, 4], [0, 0, 1]], atol=1e-6)
    turned = augmented(window, MIRROR, np.random.default_rng(0))
    np.testing.assert_array_equal(turned["view_depth"][1], columns(2, 2, 2, 2, 1, 1, 1, 1))
    np.testing.assert_allclose(turned["view_pose"][:, :3, 3], [[-2, 1.25, 0], [-1, 1.25, 0]])
    np.testing.assert_allclose(np.linalg.det(turned["view_pose"][:, :3, :3]), 1)


def test_what_moves_within_a_window_has_no_depth_there(tmp_path: Path) -> None:
    arrays = wall_arrays()
    poses = np.tile(np.eye(4), (FRAMES, 1, 1, 1))  # [T, 1, 4, 4]
    poses[:3, 0, 0, 3] = -6.0  # the panel stands still from frame 3 on
    arrays |= {"moved_ids": np.array([3], np.int32), "moved_poses": poses}
    dataset = FrameFeatureDataset(filepath=str(tmp_path))
    dataset.save(FeatureStream("moved", ("wall",), lambda ids: ((i, arrays) for i in ids)))
    for candidate, left in ((2, 0), (3, 1)):
        row = {"current": 4, "candidates": [candidate]}
        window = get(windows(dataset.load(), row, keyframes=1, needs=("geometry",)))
        np.testing.assert_array_equal(window["view_depth"][0], columns(*[left] * 4, *[2] * 4))


def test_another_instruction_is_of_something_else(wall: FrameFeatures) -> None:
    right = {"current": 9, "candidates": [4], "instruction": "left of 2", "referred": [2]}
    rows = [
        right,
        right | {"current": 8},
        right | {"instruction": "the same in other words"},
        right | {"instruction": "right of 1", "referred": [1]},
        right | {"instruction": "", "referred": []},
    ]
    dataset = windows(wall, *rows, needs=("contrast",))
    assert {get(dataset, i, seed)["other_instruction"] for i in range(3) for seed in range(5)} == {
        "right of 1"
    }
    batch = dataset.collate([get(dataset, 0), get(dataset, 3)])
    assert batch["instruction"] == ["left of 2", "right of 1"]
    assert batch["other_instruction"][0] == "right of 1"
    turned = augmented(get(dataset, 0), MIRROR, np.random.default_rng(0))
    assert turned["other_instruction"] == "left of 1"
    alone = windows(wall, right, needs=("contrast",))
    assert get(alone)["other_instruction"] == "left of 2"
