"""Which windows are drawn, and that what is called true of them is."""

import numpy as np
import pytest
from evaluation_world import FRAMES, GROUPS, SIDE, PaintedWalk, PaintedWorld, painted_world, strip

from vln_heatmap.nodes.evaluation_windows import draw_windows, read_window, window_truth
from vln_heatmap.params import EvaluateParams

PARAMS = EvaluateParams(
    windows=8, validation_windows=4, training_windows=100, keyframes=3, size=14, sampled=SIDE, sigma=0
)


@pytest.fixture(scope="module")
def world():
    return painted_world()


def _row(samples, current: int, referring: bool):
    rows = samples[(samples["current"] == current) & ((samples["referred"].map(len) > 0) == referring)]
    windows = draw_windows(rows, PARAMS)
    return next(windows[windows["split"] == "test"].itertuples(index=False))


def test_windows_are_of_their_split_and_finetuning(world):
    windows = draw_windows(world[1], PARAMS)
    assert windows.groupby("split").size().to_dict() == {"test": 8, "train": 18, "val": 4}
    assert (windows["task"] == "finetune").all()
    assert windows["sample_id"].is_unique
    by_id = world[1].set_index("sample_id").loc[windows["sample_id"]]
    assert (by_id["split"].to_numpy() == windows["split"].to_numpy()).all()


def test_windows_are_shared_evenly_between_scenes_and_kinds(world):
    test = draw_windows(world[1], PARAMS).query("split == 'test'")
    assert test.groupby(["scene", "kind"]).size().tolist() == [1] * 8


def test_windows_do_not_depend_on_the_order_of_the_samples(world):
    shuffled = world[1].sample(frac=1, random_state=3)
    assert draw_windows(world[1], PARAMS).equals(draw_windows(shuffled, PARAMS))


def test_another_seed_draws_other_windows(world):
    other = draw_windows(world[1], PARAMS.model_copy(update={"seed": 1}))
    assert not draw_windows(world[1], PARAMS)["sample_id"].equals(other["sample_id"])


def test_keyframes_rise_and_come_from_the_candidates(world):
    for row in draw_windows(world[1], PARAMS).itertuples():
        assert len(row.keyframes) == 3
        assert (np.diff(row.keyframes) > 0).all()
        assert set(row.keyframes) <= set(row.candidates)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_samples_is_an_error_that_says_what_to_do(world, split):
    samples = world[1][world[1]["split"] != split]
    with pytest.raises(ValueError, match=f"'{split}' split.*collect more scenes"):
        draw_windows(samples, PARAMS)


def test_samples_without_candidates_are_left_out(world):
    samples = world[1].copy()
    samples["candidates"] = [
        [] if c == 4 else row for c, row in zip(samples["current"], samples["candidates"], strict=True)
    ]
    assert 4 not in set(draw_windows(samples, PARAMS)["current"])


def test_truth_is_the_strip_that_a_keyframe_saw(world):
    window = read_window(_row(world[1], 7, False), world[0], world[0], GROUPS)
    truth = window_truth(window, 5, PARAMS)
    expected = np.stack([strip(7, k) for k in window.keyframes])[:, ::4, ::4]  # cells are 4 x 4 pixels
    np.testing.assert_array_equal(truth.targets.mask, expected)
    np.testing.assert_array_equal(truth.targets.classes, np.where(expected, 0, 2))
    assert truth.targets.known.all()
    assert truth.targets.scene.tolist() == [5, 5, 5]
    assert not truth.targets.referring.any()
    assert truth.targets.oldest.tolist() == [True, True, False]


def test_referred_ids_restrict_the_mask_but_not_the_classes(world):
    everything = window_truth(read_window(_row(world[1], 4, False), world[0], world[0]), 0, PARAMS).targets
    window = read_window(_row(world[1], 4, True), world[0], world[0])
    named = window_truth(window, 0, PARAMS).targets
    left = np.arange(SIDE)[::4] + 8 * 4 < 40  # current frame 4 starts at column 32 of the wall
    np.testing.assert_array_equal(named.mask, everything.mask & left)
    np.testing.assert_array_equal(named.classes, everything.classes)
    assert named.referring.all()


def test_what_has_moved_into_view_was_not_seen_before(world):
    row = _row(world[1], 4, False)
    walk = PaintedWalk(0)
    walk.arrays["poses"] = world[0][row.sequence_id].poses
    far = np.tile(np.eye(4), (FRAMES, 1, 1, 1))
    far[:4, 0, 1, 3] = 100.0  # the left part of the wall (1) came down from above before frame 4
    walk.arrays |= {"moved_ids": np.array([1], np.int32), "moved_poses": far}
    moved = window_truth(read_window(row, {row.sequence_id: walk}, {row.sequence_id: walk}), 0, PARAMS)
    plain = window_truth(read_window(row, world[0], world[0]), 0, PARAMS)
    left = np.arange(SIDE)[::4] + 8 * 4 < 40
    np.testing.assert_array_equal(moved.targets.mask, plain.targets.mask & ~left)
    assert (moved.targets.classes[..., left] == 2).all()


def test_pixels_without_depth_are_unknown(world):
    window = read_window(_row(world[1], 7, False), world[0], world[0])
    window.depth[-1, :, : SIDE // 2] = 0
    known = window_truth(window, 0, PARAMS).targets.known
    assert not known[:, :, :7].any()
    assert known[:, :, 7:].all()


def test_frames_are_read_in_their_order(world):
    window = read_window(_row(world[1], 6, False), world[0], world[0], GROUPS)
    assert window.current == 6
    assert len(window) == 3
    walk = world[0][window.sequence_id]
    np.testing.assert_array_equal(window.rgb[-1], walk.images[6])
    np.testing.assert_array_equal(window.rgb[0], walk.images[window.keyframes[0]])
    assert window.frames.max() < FRAMES


def test_sequences_collected_anew_are_refused(world):
    row = _row(world[1], 6, False)
    other = PaintedWorld(world[0])
    other[row.sequence_id] = PaintedWalk(99)
    other[row.sequence_id].arrays["poses"] = other[row.sequence_id].poses + 0.01
    for sequences in (other, PaintedWorld()):
        with pytest.raises(ValueError, match=f"{row.sequence_id} is not the one.*run normalize"):
            read_window(row, sequences, world[0])
