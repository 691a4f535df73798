"""Training windows: targets against geometry done by hand, roles of frames, and the mirror."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from box_walks import walk
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.frame_features import FeatureStream, FrameFeatureDataset, FrameFeatures
from vln_heatmap.datasets.windows import WindowDataset, augmented, mirrored_text, view_targets
from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.nodes.model.keyframes import UniformSampler
from vln_heatmap.params import KeyframeParams, LossNeed, WindowParams
from vln_heatmap.simulation import instructions

PLAIN = WindowParams(views=1, sampled=32, sigma=0, mirror=0, colour=0, feature_noise=0)
SIDE, SIZE, FRAMES = 32, 8, 10
SAMPLER = UniformSampler(KeyframeParams())


def wall_arrays() -> dict[str, np.ndarray]:
    """A wall 2 m ahead, seen by a camera (90 degrees) that steps 0.25 m to the right from frame to frame.

    Camera t stands at x = t / 4 and sees the wall from x - 2 to x + 2. Left of x = 1 the wall is instance 1,
    right of it instance 2. In frame 4 a panel 1 m ahead (instance 3) fills the left half of the image, and
    frame 8 has no depth in its upper quarter. Every pixel of a frame's image says which frame it is.
    """
    x = np.arange(FRAMES) / 4
    places = x[:, None] + (np.arange(SIDE) + 0.5) / SIDE * 4 - 2  # [T, W] on the wall
    instance = np.where(places < 1, 1, 2).astype(np.uint16)[:, None].repeat(SIDE, 1)  # [T, H, W]
    depth = np.full((FRAMES, SIDE, SIDE), 2000, np.uint16)
    depth[4, :, : SIDE // 2], instance[4, :, : SIDE // 2] = 1000, 3
    depth[8, : SIDE // 4] = 0
    number = np.arange(FRAMES, dtype=np.uint8)
    return {
        "features": number.astype(np.float16)[:, None, None, None] + np.zeros((1, 5, 4, 4), np.float16),
        "frames": np.broadcast_to(number[:, None, None, None], (FRAMES, 3, 28, 28)),
        "depth": depth,
        "instance": instance,
        "poses": np.stack([look_pose((float(place), 1.25, 0.0), 0.0) for place in x]),
        "hfov": np.array([90.0]),
        "moved_ids": np.zeros(0, np.int32),
        "moved_poses": np.zeros((FRAMES, 0, 4, 4)),
    }


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> FrameFeatures:
    dataset = FrameFeatureDataset(filepath=str(tmp_path_factory.mktemp("wall")))
    dataset.save(FeatureStream("wall", ("wall",), lambda ids: ((i, wall_arrays()) for i in ids)))
    return dataset.load()


def windows(
    features: FrameFeatures,
    *rows: dict[str, Any],
    params: WindowParams = PLAIN,
    keyframes: int = 3,
    training: bool = False,
    odometry: bool = False,
    needs: tuple[LossNeed, ...] = (),
    views: int = 1,
) -> WindowDataset:
    table = pd.DataFrame([synthetic.sample_row("wall", **row) for row in rows])
    roles: dict[str, Any] = {"keyframes": keyframes, "size": SIZE, "training": training}
    roles |= {"odometry": odometry, "needs": needs, "views": views}
    return WindowDataset(table, features, params, SAMPLER.sample, **roles)


def get(dataset: WindowDataset, index: int = 0, seed: int = 0) -> dict[str, Any]:
    return dataset.get(index, np.random.default_rng(seed))


def columns(*values: float) -> np.ndarray:
    """A map [SIZE, SIZE] with the same row of values from top to bottom."""
    return np.tile(np.array(values, np.float32), (SIZE, 1))


def shown(window: dict[str, Any]) -> list[int]:
    """Numbers of the window's frames in the sequence, by their images."""
    return window["frames"][:, 0, 0, 0].tolist()


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


# --- determinism, batches ---------------------------------------------------------------------------------


def test_a_window_depends_on_its_arguments_only(wall: FrameFeatures) -> None:
    params = WindowParams(views=3, sampled=16)
    rows = [{"current": 9, "candidates": list(range(9))}, {"current": 8, "candidates": list(range(8))}]
    dataset = windows(wall, *rows, params=params, training=True)
    first = get(dataset, 1, 7)
    np.random.random(5)  # noqa: NPY002
    get(dataset, 0, 3)
    for again in (get(dataset, 1, 7), get(windows(wall, *rows, params=params, training=True), 1, 7)):
        assert first.keys() == again.keys()
        for name, value in first.items():
            np.testing.assert_array_equal(value, again[name])
    seen = {
        tuple(
            shown(
                get(
                    windows(wall, *rows, params=params.model_copy(update={"colour": 0.0}), training=True),
                    1,
                    seed,
                )
            )
        )
        for seed in range(12)
    }
    assert len(seen) > 3


def test_training_keyframes_are_the_samplers_with_noise_or_any(wall: FrameFeatures) -> None:
    """Half of the windows have one keyframe of each third of the time before; of the others, 27 in 84 do."""
    dataset = windows(wall, {"current": 9, "candidates": list(range(9))}, training=True)
    chosen = [tuple(shown(get(dataset, seed=seed))[:3]) for seed in range(200)]
    spread = np.mean([sorted(frame // 3 for frame in frames) == [0, 1, 2] for frames in chosen])
    assert 0.5 < spread < 0.8  # 0.66 is expected
    assert np.mean([frames == (1, 4, 7) for frames in chosen]) < 0.15  # the middles, by chance


def test_without_training_nothing_is_random(wall: FrameFeatures) -> None:
    dataset = windows(wall, {"current": 9, "candidates": list(range(9))}, params=WindowParams(sampled=16))
    one, two = get(dataset, seed=1), get(dataset, seed=2)
    assert all(np.array_equal(value, two[name]) for name, value in one.items())
    assert one["current"].shape == (1,)


def test_windows_of_any_length_make_one_batch(wall: FrameFeatures) -> None:
    rows = [
        {"current": 9, "candidates": list(range(9)), "instruction": "all"},
        {"current": 1, "candidates": [0]},
    ]
    dataset = windows(wall, *rows, params=WindowParams(views=2, sampled=16), training=True)
    assert len(dataset) == 2
    batch = dataset.collate([get(dataset, 0), get(dataset, 1)])
    assert batch["instruction"] == ["all", ""]
    shapes = {name: tuple(value.shape) for name, value in batch.items() if name != "instruction"}
    assert shapes == {
        "frames": (2, 4, 3, 28, 28),
        "features": (2, 4, 5, 4, 4),
        "scene": (2,),
        "current": (2, 2),
        "keyframes": (2, 2, 3),
        "keyframe_mask": (2, 2, 3),
        "mask": (2, 2, 3, SIZE, SIZE),
        "distribution": (2, 2, 3, SIZE, SIZE),
        "valid": (2, 2, 3),
        "classes": (2, 2, 3, 3, SIZE, SIZE),
        "referred": (2, 2, SIZE, SIZE),
        "pixel_weight": (2, 2, 1, SIZE, SIZE),
    }
    types = {name: batch[name].dtype for name in ("frames", "features", "current", "valid", "mask")}
    assert types == {
        "frames": torch.uint8,
        "features": torch.float32,
        "current": torch.int64,
        "valid": torch.bool,
        "mask": torch.float32,
    }


# --- augmentation -----------------------------------------------------------------------------------------

MIRROR = WindowParams(mirror=1, colour=0, feature_noise=0)


def test_the_mirror_undoes_itself_and_turns_images_targets_and_words(wall: FrameFeatures) -> None:
    row = {
        "current": 8,
        "candidates": [0, 4],
        "referred": [1],
        "instruction": "the part left of the right one",
    }
    window = get(windows(wall, row))
    window["features"] = np.random.default_rng(0).normal(size=window["features"].shape)
    random = np.random.default_rng(0)
    turned = augmented(window, MIRROR, random)
    assert turned["instruction"] == "the part right of the left one"
    np.testing.assert_array_equal(turned["referred"][0], columns(0, 0, 0, 0, 0, 0, 1, 1))
    np.testing.assert_array_equal(turned["features"], window["features"][..., ::-1])
    back = augmented(turned, MIRROR, random)
    for name, value in window.items():
        np.testing.assert_array_equal(back[name], value)


def test_poses_come_with_odometry_alone_and_are_mirrored_with_the_images(wall: FrameFeatures) -> None:
    row = {"current": 8, "candidates": [0, 4], "referred": [1]}
    assert "poses" not in get(windows(wall, row))
    dataset = windows(wall, row, odometry=True)
    window = get(dataset)
    read = wall["wall"].read("poses", [0, 4, 8])
    np.testing.assert_allclose(window["poses"][:3], read, atol=1e-6)
    assert dataset.collate([window, window])["poses"].shape == (2, 4, 4, 4)
    window["poses"] = window["poses"].copy()
    window["poses"][0, :3, 3] = [1, 2, 3]  # 1 to the right in the world
    window["poses"][0, :3, 0] = [0.8, 0.0, -0.6]
    turned = augmented(window, MIRROR, np.random.default_rng(0))["poses"]
    flip = np.diag([-1.0, 1, 1, 1])
    np.testing.assert_allclose(turned, flip @ window["poses"] @ flip)


def test_the_mirrored_targets_are_those_of_the_mirrored_world() -> None:
    """Cameras and images turned about a vertical plane, targets computed anew: the same as turned targets."""
    sequence = walk()
    flip = np.diag([-1.0, 1, 1, 1])
    roles, referred = (8, np.array([0, 3, 5])), np.array([1, 5])
    options = {"size": SIZE, "sampled": 64, "sigma": 0.7}  # all pixels: to pick some is not symmetric
    plain = view_targets(
        sequence.depth, sequence.instance, sequence.poses, sequence.camera, roles, referred, **options
    )
    other = view_targets(
        sequence.depth[..., ::-1],
        sequence.instance[..., ::-1],
        flip @ sequence.poses @ flip,
        sequence.camera,
        roles,
        referred,
        **options,
    )
    for name in ("mask", "classes", "referred", "pixel_weight"):
        np.testing.assert_allclose(other[name], plain[name][..., ::-1], atol=0.03, err_msg=name)
    assert 0.05 < plain["mask"].mean() < 0.95


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("the chair left of the table", "the chair right of the table"),
        ("turn left, then right", "turn right, then left"),
        ("where is the leftmost lamp?", "where is the rightmost lamp?"),
        ("the right-hand door, leftwards", "the left-hand door, rightwards"),
        ("Left of the bed", "Right of the bed"),
        ("the bright leftover by the copyright", "the bright leftover by the copyright"),
        ("", ""),
    ],
)
def test_words_in_the_mirror(text: str, mirrored: str) -> None:
    assert mirrored_text(text) == mirrored
    assert mirrored_text(mirrored) == text


def test_every_word_for_a_side_that_instructions_use_is_turned() -> None:
    words = [name for name, *_ in instructions._SUPERLATIVES] + ["left of", "right of"]
    sided = [word for word in words if "left" in word or "right" in word]
    assert len(sided) >= 4
    assert all(mirrored_text(word) in sided and mirrored_text(word) != word for word in sided)


def test_noise_is_relative_and_leaves_the_targets_alone(wall: FrameFeatures) -> None:
    window = get(windows(wall, {"current": 8, "candidates": [4]}))
    noisy = augmented(window, WindowParams(mirror=0, colour=0.2, feature_noise=0.1), np.random.default_rng(0))
    for name in window:
        same = np.array_equal(noisy[name], window[name])
        assert same is (name not in {"frames", "features"}), name
    assert (noisy["features"][window["features"] == 0] == 0).all()
    ratio = noisy["features"][window["features"] > 0] / window["features"][window["features"] > 0]
    assert 0.07 < ratio.std() < 0.13
    assert noisy["frames"].dtype == np.uint8
    assert window["frames"].max() == 8  # the original stays as it was


def test_windows_of_one_scene_have_one_number(wall: FrameFeatures) -> None:
    rows = [{"scene": name} for name in ("here", "there", "here")]
    dataset = windows(wall, *rows, training=False)
    assert [int(get(dataset, i)["scene"]) for i in range(3)] == [0, 1, 0]
