"""Validation metrics against plain loops, and what they do not depend on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import naive_success as naive
import numpy as np
import pytest

from vln_heatmap.datasets.windows import WindowDataset
from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.nodes.metrics.validation import HeatmapValidation, view_pairs
from vln_heatmap.params import WindowParams

B, N, K, SIZE = 3, 2, 3, 6


def intrinsics() -> np.ndarray:
    return np.array([[SIZE / 2, 0, SIZE / 2], [0, SIZE / 2, SIZE / 2], [0, 0, 1.0]])  # 90 degrees


def batch(seed: int = 0) -> tuple[Any, dict[str, Any]]:
    """Outputs and targets at random; the views stand side by side before a wall, one cell apart."""
    rng = np.random.default_rng(seed)
    mask = rng.random((B, N, K, SIZE, SIZE))
    shares = rng.dirichlet(np.ones(3), (B, N, K, SIZE, SIZE))
    keyframe_mask = np.ones((B, N, K), bool)
    keyframe_mask[1, :, 2] = False
    referred = (rng.random((B, N, SIZE, SIZE)) < 0.5).astype(np.float32)
    referred[0] = 1  # this window means everything
    step = 2.0 / (SIZE / 2)  # metres that move a wall at 2 m by one cell
    poses = np.stack([look_pose((step * i, 1.0, 0.0), yaw=0.0) for i in range(N)])
    output = SimpleNamespace(
        mask_logits=rng.normal(size=(B, N, K, SIZE, SIZE)),
        class_logits=rng.normal(size=(B, N, K, 3, SIZE, SIZE)),
    )
    truth = {
        "mask": mask,
        "classes": np.moveaxis(shares, -1, 3),
        "referred": referred,
        "pixel_weight": (rng.random((B, N, 1, SIZE, SIZE)) < 0.9).astype(np.float32),
        "keyframe_mask": keyframe_mask,
        "keyframes": np.tile(
            np.array([[2, 3, 4], [4, 3, 0]]), (B, 1, 1)
        ),  # two in common, one of them padding
        "current": np.tile(np.arange(N), (B, 1)),
        "view_depth": np.full((B, N, SIZE, SIZE), 2.0, np.float32),
        "view_pose": np.tile(poses, (B, 1, 1, 1)),
        "intrinsics": np.tile(intrinsics(), (B, 1, 1)),
    }
    return output, truth


def metrics(*batches: tuple[Any, dict[str, Any]]) -> dict[str, float]:
    validation = HeatmapValidation()
    for output, truth in batches:
        validation.add(output, truth)
    return validation.metrics()


def rows(output: Any, truth: dict[str, Any], chosen: Any) -> tuple[Any, dict[str, Any]]:
    part = SimpleNamespace(**{name: values[chosen] for name, values in vars(output).items()})
    return part, {name: values[chosen] for name, values in truth.items()}


def test_they_agree_with_plain_loops() -> None:
    output, truth = batch()
    real = [(b, k) for b in range(B) for k in range(K) if truth["keyframe_mask"][b, 0, k]]
    scores = np.array([output.mask_logits[b, 0, k] for b, k in real])
    hot = np.array([truth["mask"][b, 0, k] > 0.5 for b, k in real])
    known = np.array([truth["pixel_weight"][b, 0, 0] > 0 for b, _ in real])
    told = np.array([output.class_logits[b, 0, k].argmax(0) == 0 for b, k in real])
    seen = np.array([truth["classes"][b, 0, k].argmax(0) == 0 for b, k in real])
    named = np.array([known[i] & seen[i] & (b > 0) for i, (b, _) in enumerate(real)])
    expected = {
        "auc": naive.auc((s, h) for s, h, k in naive.cells(scores, hot, known) if k),
        "iou": max(
            (hot & known & (scores >= t)).sum() / (known & (hot | (scores >= t))).sum()
            for t in np.unique(scores[known])
        ),
        "correspondence_accuracy": naive.balanced(told == seen, seen, known),
        "reasoning_accuracy": naive.choice(scores, hot, named),
        "geometric_loss": geometric_loss(output, truth),
    }
    assert metrics((output, truth)) == pytest.approx(expected)


def geometric_loss(output: Any, truth: dict[str, Any]) -> float:
    """Cell (i, j) of the left view is cell (i, j - 1) of the right one: nothing lies between cells."""
    error, hot, known = [], [], []
    probability = 1 / (1 + np.exp(-output.mask_logits))
    for b in range(B):
        for here, there, shift in ((0, 1, -1), (1, 0, 1)):
            for k in range(K):
                for m in range(K):
                    keys, real = truth["keyframes"][b], truth["keyframe_mask"][b]
                    if keys[here, k] != keys[there, m] or not (real[here, k] and real[there, m]):
                        continue
                    for i in range(SIZE):
                        for j in range(SIZE):
                            if 0 <= j + shift < SIZE:
                                t = truth["mask"][b, here, k, i, j]
                                p, q = probability[b, here, k, i, j], probability[b, there, m, i, j + shift]
                                error.append(((p - t) ** 2 + (q - t) ** 2) / 2)
                                hot.append(t > 0.5)
                                known.append(truth["pixel_weight"][b, here, 0, i, j] > 0)
    return naive.balanced(error, hot, known)


def test_batches_do_not_matter() -> None:
    output, truth = batch()
    split = [rows(output, truth, slice(0, 1)), rows(output, truth, slice(1, None))]
    assert metrics(*split) == pytest.approx(metrics((output, truth)))


def test_tensors_are_taken_as_arrays_are() -> None:
    torch = pytest.importorskip("torch")
    output, truth = batch()
    tensors = SimpleNamespace(
        **{name: torch.tensor(v, requires_grad=True) for name, v in vars(output).items()}
    )
    given = {name: torch.tensor(values) for name, values in truth.items()}
    assert metrics((tensors, given)) == pytest.approx(metrics((output, truth)))


def test_more_views_change_the_geometric_loss_only() -> None:
    output, truth = batch()
    first = {n: v[:, :1] if n != "intrinsics" else v for n, v in truth.items()}
    single = SimpleNamespace(**{name: values[:, :1] for name, values in vars(output).items()})
    several = metrics((output, truth))
    assert metrics((single, first)) == {n: v for n, v in several.items() if n != "geometric_loss"}


def test_what_cannot_be_told_is_left_out() -> None:
    output, truth = batch()
    output.class_logits = None
    truth["referred"] = np.ones_like(truth["referred"])
    del truth["view_depth"]
    assert set(metrics((output, truth))) == {"auc", "iou"}


def test_nothing_to_tell_apart_is_chance() -> None:
    output, truth = batch()
    truth["mask"] = np.zeros_like(truth["mask"])
    assert metrics((output, truth))["auc"] == 0.5


def test_the_truth_is_without_geometric_loss_and_a_constant_is_not() -> None:
    """Masks that are painted on the wall: what is seen twice is hot twice."""
    output, truth = batch()
    wall = np.random.default_rng(1).random((B, K, SIZE, SIZE + 1)) > 0.5
    keys = truth["keyframes"]
    for view in range(N):
        for k in range(K):
            picture = wall[:, int(keys[0, view, k]) % K, :, view : view + SIZE]
            truth["mask"][:, view, k] = picture
    output.mask_logits = np.where(truth["mask"] > 0.5, 50.0, -50.0)
    assert metrics((output, truth))["geometric_loss"] == pytest.approx(0, abs=1e-12)
    for constant, loss in ((0.0, 0.25), (50.0, 0.5), (-50.0, 0.5)):
        output.mask_logits = np.full_like(truth["mask"], constant)
        assert metrics((output, truth))["geometric_loss"] == pytest.approx(loss)


def test_what_hides_behind_something_is_not_compared() -> None:
    output, truth = batch()
    truth["view_depth"][:, 1, :, :3] = 1.0  # something near before the left half of the right view
    seen = view_pairs(output.mask_logits, truth)["seen"]
    weight = truth["pixel_weight"][:, 0, 0].copy()
    weight[..., :4] = 0  # columns 1 to 3 fall onto it, column 0 outside
    assert len(seen) == 10  # two keyframes in common, but one in the window with padding; both ways
    np.testing.assert_array_equal(seen[5:], weight[[0, 0, 1, 2, 2]] > 0)  # of the left view, the second way


def test_windows_of_a_walk_hold_what_it_takes(tmp_path: Path) -> None:
    """Exact targets as an answer: nothing contradicts itself but for cells that lie across a border."""
    synthetic = pytest.importorskip("synthetic")
    walks = synthetic.walks()
    features = synthetic.store_features(tmp_path, walks)
    samples = synthetic.sample_table(walks).query("task == 'finetune'")
    options = {"keyframes": 3, "size": 14, "training": False, "needs": ("geometry",), "views": 2}
    params = WindowParams(sampled=28, sigma=0)
    dataset = WindowDataset(samples, features, params, lambda candidates, k: candidates[-k:], **options)
    truth = dataset.collate([dataset.get(i, np.random.default_rng(0)) for i in range(len(dataset))])
    losses = []
    for target in (truth["mask"], 0 * truth["mask"] + 0.5):
        logits = target.clamp(1e-6, 1 - 1e-6).logit()
        validation = HeatmapValidation()
        validation.add(SimpleNamespace(mask_logits=logits, class_logits=truth["classes"]), truth)
        losses.append(validation.metrics()["geometric_loss"])
        assert validation.metrics()["correspondence_accuracy"] == 1
    assert losses[0] < 0.03
    assert losses[1] == pytest.approx(0.25, abs=0.05)


def test_no_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="no windows"):
        HeatmapValidation().metrics()
