"""Perturbations along the gradient raise the loss of a linear model by what theory says, within their ball."""

from __future__ import annotations

from typing import Any

import pytest
import synthetic
import torch
from technique_batches import Linear, context, random_batch

from vln_heatmap.nodes.losses.weighting import window_mean
from vln_heatmap.nodes.training.stage import predict
from vln_heatmap.nodes.training.techniques.adversarial import Adversarial, per_window, perturbed, transformed
from vln_heatmap.nodes.training.techniques.base import Batch
from vln_heatmap.params.techniques import AdversarialParams

FRAMES, FEATURES = 2 / 255, 0.1


def grey_batch() -> Batch:
    """Far from black and white, so that frames may change in both directions. In double precision."""
    batch = random_batch()
    return batch | {
        "frames": (batch["frames"].double() / 4 + 100).round(),
        "features": batch["features"].double(),
    }


def params(**changes: Any) -> AdversarialParams:
    return AdversarialParams.model_validate({"frames": FRAMES, "features": FEATURES, **changes})


def channel_std(batch: Batch) -> torch.Tensor:
    return batch["features"].movedim(2, 0).flatten(1).std(1)[:, None, None]  # [C, 1, 1]


@pytest.mark.parametrize("steps", [{"steps": 1}, {"steps": 4, "step_size": 0.25}])
def test_the_loss_of_a_linear_model_rises_by_the_radius_times_the_1_norm(steps: dict[str, Any]) -> None:
    """Once by FGSM, and by PGD in four quarters."""
    model, batch = Linear().double(), grey_batch()

    def loss(b: Batch) -> torch.Tensor:
        return model(b).mean()

    rise = loss(perturbed(batch, loss, params(**steps))) - loss(batch)
    features = (channel_std(batch) * model.weights["features"]).abs().sum()
    expected = FRAMES * 255 * model.weights["frames"].abs().sum() + FEATURES * features
    assert rise.item() == pytest.approx(expected.item(), rel=1e-4)


def test_in_the_mean_square_ball_it_rises_by_the_radius_times_the_2_norm() -> None:
    """Of n values with root mean square r: r sqrt(n) |w|_2."""
    model, batch = Linear().double(), grey_batch()

    def loss(b: Batch) -> torch.Tensor:
        return model(b).mean()

    rise = loss(perturbed(batch, loss, params(norm="l2", features=0))) - loss(batch)
    weight = model.weights["frames"]
    expected = FRAMES * 255 * weight.numel() ** 0.5 * weight.norm()
    assert rise.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [False, True])
def test_many_steps_stay_in_the_ball_and_frames_stay_images(norm: str, random_start: bool) -> None:
    torch.manual_seed(0)
    model, batch = Linear(), random_batch()  # frames from black to white
    attack = params(norm=norm, steps=5, step_size=2, random_start=random_start, frames=0.2)
    changed = perturbed(batch, lambda b: model(b).square().mean(), attack)
    assert 0 <= changed["frames"].min() <= changed["frames"].max() <= 255
    moved = {
        "frames": (changed["frames"] - batch["frames"]) / 255,
        "features": (changed["features"] - batch["features"]) / channel_std(batch),
    }
    for name, radius in (("frames", 0.2), ("features", FEATURES)):
        size = (
            moved[name].abs().amax()
            if norm == "linf"
            else moved[name].square().flatten(1).mean(1).sqrt().amax()
        )
        assert 0.3 * radius < size < radius * (1 + 1e-4)
    assert all(torch.equal(changed[n], batch[n]) for n in ("mask", "current", "classes"))


def test_no_weight_gets_a_gradient_from_the_attack() -> None:
    model = Linear()
    changed = perturbed(random_batch(), lambda b: model(b).mean(), params())
    assert all(p.grad is None for p in model.parameters())
    assert not changed["frames"].requires_grad
    assert not changed["features"].requires_grad


def test_where_nothing_depends_on_the_input_nothing_moves() -> None:
    batch = random_batch()
    for norm in ("linf", "l2"):
        changed = perturbed(
            batch, lambda b: (0 * b["frames"]).sum() + (0 * b["features"]).sum(), params(norm=norm)
        )
        assert torch.equal(changed["frames"], batch["frames"].float())
        assert torch.equal(changed["features"], batch["features"])


# --- as a technique ---------------------------------------------------------------------------------------


def brightness(output: Any, batch: Batch) -> torch.Tensor:
    """An objective that sees where the loss of each window comes from: the mean of its (known) target mask."""
    return window_mean(batch["mask"], batch["pixel_weight"])


def real_objective(output: Any, batch: Batch) -> torch.Tensor:
    error = (output.mask_logits.sigmoid() - batch["mask"]).square()
    return window_mean(error, batch["keyframe_mask"][..., None, None] * batch["pixel_weight"])


def test_the_loss_of_every_window_alone() -> None:
    batch = random_batch()
    output = predict(synthetic.toy_model(), batch)
    alone = per_window(real_objective, output, batch)
    assert alone.shape == (3,)
    assert alone.mean().item() == pytest.approx(real_objective(output, batch).item(), rel=1e-5)


def test_the_worst_candidate_of_each_window_is_learned() -> None:
    model, batch = synthetic.toy_model(), random_batch()
    technique = Adversarial(params(candidates=8), context(model, predict, brightness))
    torch.manual_seed(0)
    found = per_window(brightness, None, technique.worst_view(model, batch) | {"instruction": [""] * 3})
    torch.manual_seed(0)
    candidates = [technique._transformation(batch) for _ in range(8)]
    tried = torch.stack([per_window(brightness, None, transformed(batch, *c)) for c in candidates])  # [8, B]
    torch.testing.assert_close(found, tried.amax(0))
    assert (tried.argmax(0) != 0).any()


def test_losses_come_every_so_many_steps_and_train_the_model() -> None:
    model, batch = synthetic.toy_model().train(), random_batch()
    technique = Adversarial(params(every=2), context(model, predict, real_objective))
    output = predict(model, batch)
    torch.manual_seed(0)
    losses = technique.loss(model, batch, output)
    assert set(losses) == {"adversarial", "spatial"}
    assert losses["adversarial"] > 0.5 * real_objective(output, batch)  # weight 0.5: worse than the clean one
    sum(losses.values()).backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    assert model.training
    technique.after_step(model)
    assert technique.loss(model, batch, output) == {}
    technique.after_step(model)
    assert technique.loss(model, batch, output)


@pytest.mark.parametrize(("off", "left"), [({"weight": 0}, "spatial"), ({"spatial": 0}, "adversarial")])
def test_a_kind_of_weight_0_is_left_out(off: dict[str, float], left: str) -> None:
    model, batch = synthetic.toy_model(), random_batch()
    technique = Adversarial(params(**off), context(model, predict, real_objective))
    assert set(technique.loss(model, batch, None)) == {left}
