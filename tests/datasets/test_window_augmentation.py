"""Training windows: what is random in them, the mirror, and batches."""

import numpy as np
import pytest
import torch
from box_walks import walk
from wall_windows import MIRROR, SIZE, columns, get, shown, windows

from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.datasets.windows import augmented, mirrored_text, view_targets
from vln_heatmap.params import WindowParams
from vln_heatmap.simulation import instructions

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
