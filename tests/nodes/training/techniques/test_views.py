"""Shifted and mirrored windows: the target goes where the image goes."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from technique_batches import GRID, SIDE, SIZE, random_batch

from vln_heatmap.datasets.windows import WindowDataset, augmented
from vln_heatmap.nodes.model.heatmap_model import HeatmapOutput
from vln_heatmap.nodes.training.techniques.base import Batch
from vln_heatmap.nodes.training.techniques.views import (
    cells_to_shift,
    covered,
    first_view,
    mirrored,
    moved,
    shifted,
    window,
)
from vln_heatmap.params import WindowParams

cells = st.integers(-GRID + 1, GRID - 1)


def drawn(batch: Batch) -> Batch:
    """Targets of the first view that are functions of its image: the mean red of each heatmap cell."""
    own = batch["frames"][torch.arange(3), batch["current"][:, 0], :1].float() / 255  # [B, 1, S, S]
    red = F.adaptive_avg_pool2d(F.interpolate(own, size=(2 * SIDE, 2 * SIDE)), SIZE)[
        :, :, None
    ]  # [B, 1, 1, h, w]
    maps = red.expand(-1, -1, 3, -1, -1)
    changed = first_view(batch) | {"mask": maps, "referred": red[:, :, 0]}
    return changed | {"distribution": maps / maps.sum((-2, -1), keepdim=True)}


@settings(max_examples=40, deadline=None)
@given(rows=cells, columns=cells)
def test_the_target_of_a_shifted_image_is_the_shifted_target(rows: int, columns: int) -> None:
    """Targets drawn from the shifted image and shifted targets agree wherever there is a truth."""
    shift = torch.tensor([[rows, columns], [0, 0], [columns, rows]])
    given_ = drawn(random_batch())
    changed = shifted(given_, shift)
    expected = drawn({**random_batch(), "frames": changed["frames"]})
    known = changed["pixel_weight"] > 0  # [B, 1, 1, h, w]
    assert known.float().mean((1, 2, 3, 4))[0] == (1 - abs(rows) / GRID) * (1 - abs(columns) / GRID)
    torch.testing.assert_close(changed["mask"] * known, expected["mask"] * known)
    torch.testing.assert_close(changed["referred"] * known[:, :, 0], expected["referred"] * known[:, :, 0])
    inside = expected["mask"] * known
    torch.testing.assert_close(changed["distribution"], inside / inside.sum((-2, -1), keepdim=True))
    assert torch.equal(changed["frames"][1], given_["frames"][1])  # not shifted


def test_only_the_current_view_moves() -> None:
    batch = random_batch()
    changed = shifted(batch, torch.tensor([[1, -2]] * 3))
    assert torch.equal(changed["frames"][:, :3], batch["frames"][:, :3])
    assert torch.equal(changed["features"][:, :3], batch["features"][:, :3])
    own, new = batch["features"][:, 3], changed["features"][:, 3]
    assert torch.equal(new[..., 1:, :-2], own[..., :-1, 2:])  # down by one, left by two
    assert torch.equal(new[..., :, -1], new[..., :, -2])  # the border is repeated
    assert changed["current"].shape == (3, 1)
    assert changed["keyframes"].shape == (3, 1, 3)


def test_there_and_back_again() -> None:
    maps = torch.rand(1, 2, GRID, GRID)
    there = moved(maps, torch.tensor([[1, 1]]), GRID)
    back = moved(there, torch.tensor([[-1, -1]]), GRID)
    assert torch.equal(back[..., :-1, :-1], maps[..., :-1, :-1])
    assert covered(torch.tensor([[1, 0]]), GRID, GRID)[0].sum(1).tolist() == [0, 4, 4, 4]


def test_a_target_that_leaves_the_view_is_not_valid() -> None:
    batch = random_batch()
    batch["mask"] = torch.zeros_like(batch["mask"])
    batch["mask"][..., 0, 0] = 1
    batch["distribution"] = batch["mask"]
    changed = shifted(batch, torch.tensor([[-1, 0], [1, 1], [0, 0]]))
    assert changed["valid"][:, 0].all(1).tolist() == [False, True, True]
    assert changed["distribution"].sum((-2, -1))[:, 0, 0].tolist() == [0, 1, 1]
    assert changed["distribution"][1, 0, 0, 2, 2] == 1  # a cell of features is two of the heatmap


def test_points_and_their_pixels_move_together() -> None:
    """x = fx X / Z + cx: with shifted intrinsics a point is seen two cells lower and four to the left."""
    matrix = torch.tensor([[6.0, 0, 4], [0, 6, 4], [0, 0, 1]])
    batch = random_batch() | {"intrinsics": matrix.expand(3, 3, 3)}
    changed = shifted(batch, torch.tensor([[1, -2]] * 3))["intrinsics"]
    assert (changed - matrix)[0].tolist() == [[0, 0, -4], [0, 0, 2], [0, 0, 0]]
    other = mirrored(
        batch | {"intrinsics": (matrix + torch.tensor([[0, 0, 1.0], [0, 0, 0], [0, 0, 0]])).expand(3, 3, 3)},
        torch.tensor([True, False, False]),
    )["intrinsics"]
    assert other[:, 0, 2].tolist() == [3, 5, 5]  # 8 - 5


def test_shifts_are_whole_cells_of_both_grids() -> None:
    batch = random_batch()
    assert cells_to_shift(batch) == 1
    assert (
        cells_to_shift(batch | {"features": torch.zeros(3, 4, 1, 6, 6)}) == 3
    )  # 6 cells against 8: in halves
    assert (
        cells_to_shift(batch | {"features": torch.zeros(3, 4, 1, 5, 5)}) == 5
    )  # nothing but the whole image


# --- mirrored ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> WindowDataset:
    walks = synthetic.walks()
    features = synthetic.store_features(tmp_path_factory.mktemp("features"), walks)
    samples = synthetic.sample_table(walks).query("task == 'finetune'")
    return WindowDataset(
        samples,
        features,
        WindowParams(views=2, sampled=24, mirror=1, colour=0, feature_noise=0),
        lambda candidates, k, rng=None: candidates[:k],
        keyframes=3,
        size=SIZE,
        training=False,
        odometry=True,
        needs=("geometry", "contrast"),
    )


def test_the_mirror_is_that_of_the_data(windows: WindowDataset) -> None:
    """The same windows as the augmentation of the training data gives, exact targets and poses included."""
    plain = [windows.get(i, np.random.default_rng(0)) for i in (0, 1)]
    turned = [augmented(w, windows.params, np.random.default_rng(0)) for w in plain]
    expected = windows.collate([plain[0], turned[1]])
    changed = mirrored(windows.collate(plain), torch.tensor([False, True]))
    assert set(changed) == set(expected)
    for name, value in expected.items():
        if torch.is_tensor(value):
            torch.testing.assert_close(changed[name], value, msg=name)
        else:
            assert changed[name] == value


def test_left_becomes_right() -> None:
    batch = random_batch() | {"instruction": ["the left wall"] * 3}
    changed = mirrored(batch, torch.tensor([True, False, True]))
    assert changed["instruction"] == ["the right wall", "the left wall", "the right wall"]
    assert torch.equal(changed["mask"][0], batch["mask"][0].flip(-1))
    assert torch.equal(changed["mask"][1], batch["mask"][1])
    twice = mirrored(changed, torch.tensor([True, False, True]))
    assert twice["instruction"] == batch["instruction"]
    assert all(torch.equal(twice[n], v) for n, v in batch.items() if torch.is_tensor(v))


def test_one_window_of_anything() -> None:
    batch = random_batch()
    output = HeatmapOutput(*(torch.arange(3.0) for _ in range(3)), None, torch.arange(3.0))
    one = window({"a": [batch["mask"], ("x", "y", "z")], "output": output, "n": 3}, 1)
    assert torch.equal(one["a"][0], batch["mask"][1:2])
    assert one["a"][1] == ("y",)
    assert one["output"].mask_logits.tolist() == [1]
    assert one["output"].class_logits is None
    assert one["n"] == 3
