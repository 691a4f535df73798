"""What holds for every part of the heatmap loss in every form: right gradients, no NaN, means over windows."""

import math
from types import SimpleNamespace
from typing import Any

import loss_worlds
import pytest
import torch
from loss_worlds import SIZE
from torch import Tensor

from vln_heatmap.nodes.losses.heatmap import PARTS, HeatmapLoss
from vln_heatmap.params import LOSS_SETS, LossForms, LossParams, LossWeights

B, N, K, T, C, GRID = 2, 2, 3, 4, 5, 3
ELEMENTARY = ("mask", "dice", "distribution", "classes", "validity", "referred")
FORMS = tuple(LossForms.model_fields)
CASES = [(name, "target") for name in PARTS] + [(name, "published") for name in FORMS]


def numbers(seed: int) -> Any:
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)


def random_output(seed: int = 0, *, n: int = N, k: int = K) -> SimpleNamespace:
    random = numbers(seed)
    evidence = SimpleNamespace(
        geometry=random(B, T, C, 2, 2),
        features=random(B, T, C, GRID, GRID),
        tokens=random(B, T, C, GRID, GRID),
        attention=random(B, n, GRID, GRID),
    )
    return SimpleNamespace(
        mask_logits=random(B, n, k, SIZE, SIZE),
        distribution_logits=random(B, n, k, SIZE, SIZE),
        validity_logits=random(B, n, k),
        class_logits=random(B, n, k, 3, SIZE, SIZE),
        referred_logits=random(B, n, SIZE, SIZE),
        evidence=evidence,
    )


def random_batch(seed: int = 1, *, n: int = N, k: int = K) -> dict[str, Any]:
    """View i of a window is frame 3 - i; its keyframes are the others, the last one is padding."""
    random = numbers(seed)
    mask = random(B, n, k, SIZE, SIZE).sigmoid()
    current = torch.arange(T - 1, T - 1 - n, -1)
    others = [[i for i in range(T) if i != own][:k] for own in current]
    real = torch.ones(B, n, k, dtype=torch.bool)
    real[..., 2:] = False
    return {
        "mask": mask,
        "distribution": mask / mask.sum((-2, -1), keepdim=True),
        "valid": real.clone(),
        "classes": random(B, n, k, 3, SIZE, SIZE).softmax(3),
        "referred": random(B, n, SIZE, SIZE).sigmoid(),
        "pixel_weight": random(B, n, 1, SIZE, SIZE).sigmoid(),
        "keyframe_mask": real,
        "current": current.expand(B, n),
        "keyframes": torch.tensor(others).expand(B, n, k),
        "frames": (random(B, T, 3, 12, 12).sigmoid() * 255).to(torch.uint8),
        "instruction": ["one", "two"],
        "other_instruction": ["three", "four"],
        **loss_worlds.wall(n, B),
    }


def perfect_output(batch: dict[str, Any], **sizes: int) -> SimpleNamespace:
    """The prediction that equals the targets (validity up to saturation)."""
    output = random_output(**sizes)
    output.mask_logits = batch["mask"].logit()
    output.distribution_logits = batch["distribution"].log()
    output.validity_logits = 40.0 * (2 * batch["valid"].double() - 1)
    output.class_logits = batch["classes"].log()
    output.referred_logits = batch["referred"].logit()
    return output


def loss_of(
    names: tuple[str, ...], output: Any, batch: dict[str, Any], *, form: str = "target", wrong: Any = None
) -> tuple[Tensor, dict[str, Tensor]]:
    forms = dict.fromkeys(FORMS, form)
    params = LossParams.model_validate({"forms": forms, "temperature": 1.0})
    given = random_output(7, n=output.mask_logits.shape[1], k=output.mask_logits.shape[2])
    return HeatmapLoss(params)(output, batch, dict.fromkeys(names, 1.0), wrong=wrong or given)


def leaves(output: SimpleNamespace) -> dict[str, Tensor]:
    """What gradients may flow to."""
    own = {name: value for name, value in vars(output).items() if name != "evidence"}
    return own | {"tokens": output.evidence.tokens, "attention": output.evidence.attention}


def rebuilt(output: SimpleNamespace, values: dict[str, Tensor]) -> SimpleNamespace:
    """The output with other leaves."""
    inner = {name: values.pop(name) for name in ("tokens", "attention")}
    return SimpleNamespace(**values, evidence=SimpleNamespace(**(vars(output.evidence) | inner)))


@pytest.mark.parametrize(("name", "form"), CASES)
def test_every_gradient_is_right(name: str, form: str) -> None:
    output, batch, wrong = random_output(), random_batch(), random_output(3)
    used = {
        "alignment": ["tokens"],
        "reasoning": ["attention", "mask_logits"],
        "validity": ["validity_logits"],
        "classes": ["class_logits"],
        "referred": ["referred_logits"],
    }
    own = (
        "distribution_logits"
        if name in {"distribution", "distinctness", "temporal", "entropy"}
        else "mask_logits"
    )
    keys = used.get(name, [own])

    def value(*tensors: Tensor) -> Tensor:
        changed = rebuilt(output, leaves(output) | dict(zip(keys, tensors, strict=True)))
        return loss_of((name,), changed, batch, form=form, wrong=wrong)[0]

    inputs = tuple(leaves(output)[key].clone().requires_grad_() for key in keys)
    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)
    gradients = torch.autograd.grad(value(*inputs), inputs)
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients)


def test_no_part_is_less_than_at_the_target() -> None:
    names = tuple(
        name for name in PARTS if name not in {"alignment", "reasoning"}
    )  # those ask for other things
    batch = random_batch()
    _, lowest = loss_of(names, perfect_output(batch), batch)
    for name in set(names) - set(ELEMENTARY):
        assert lowest[name].item() == pytest.approx(0, abs=1e-9), name
    for seed in range(5):
        near = perfect_output(batch)
        for name, noise in leaves(random_output(seed)).items():
            if name in vars(near):
                setattr(near, name, getattr(near, name) + 0.1 * noise)
        _, parts = loss_of(names, near, batch)
        assert all(parts[name] >= lowest[name] - 1e-12 for name in names)
        assert all(parts[name] > lowest[name] for name in ("gradient", "temporal", "entropy", "geometric"))


@pytest.mark.parametrize(
    "name", ["gradient", "continuity", "geometric", "coherence", "discrimination", "entropy"]
)
def test_published_forms_want_something_else_than_the_target(name: str) -> None:
    batch = random_batch()
    constant = perfect_output(batch)
    constant.mask_logits = torch.full_like(constant.mask_logits, -8.0)
    constant.distribution_logits = torch.zeros_like(constant.distribution_logits)
    if name == "discrimination":  # maps that share no cell
        constant.mask_logits = -40.0 + 50 * torch.eye(SIZE**2).view(-1, SIZE, SIZE)[:K].expand_as(
            constant.mask_logits
        )
    losses = {
        form: [
            loss_of((name,), output, batch, form=form)[0].item()
            for output in (perfect_output(batch), constant)
        ]
        for form in ("target", "published")
    }
    assert losses["target"][0] <= losses["target"][1] + 1e-12
    assert losses["published"][1] < losses["published"][0]


@pytest.mark.parametrize("form", ["target", "published"])
@pytest.mark.parametrize(
    "emptied", ["mask", "valid", "keyframe_mask", "pixel_weight", "view_depth", "referred"]
)
@pytest.mark.parametrize("constant", [None, 0.0, 80.0, -80.0])
def test_nothing_is_nan_when_nothing_is_there(form: str, emptied: str, constant: float | None) -> None:
    output, batch = random_output(), random_batch()
    batch[emptied] = torch.zeros_like(batch[emptied])
    if emptied == "mask":
        batch["distribution"] = torch.zeros_like(batch["distribution"])
        batch["valid"] = torch.zeros_like(batch["valid"])
    values = {
        name: torch.full_like(v, constant) if constant is not None else v
        for name, v in leaves(output).items()
    }
    values = {name: value.requires_grad_() for name, value in values.items()}
    if constant is not None:
        output.evidence.geometry = output.evidence.geometry * 0 + constant
    total, parts = loss_of(tuple(PARTS), rebuilt(output, dict(values)), batch, form=form)
    total.backward()
    assert all(math.isfinite(part.item()) for part in parts.values())
    assert all(value.grad.isfinite().all() for value in values.values())
    if emptied == "keyframe_mask":
        assert all(
            parts[name].item() == 0 for name in parts if name not in {"referred", "alignment", "reasoning"}
        )
    if emptied == "view_depth":
        assert parts["geometric"].item() == parts["alignment"].item() == 0


@pytest.mark.parametrize("form", ["target", "published"])
def test_single_views_with_a_single_keyframe_give_numbers(form: str) -> None:
    output, batch = random_output(n=1, k=1), random_batch(n=1, k=1)
    values = {name: value.requires_grad_() for name, value in leaves(output).items()}
    total, parts = loss_of(tuple(PARTS), rebuilt(output, dict(values)), batch, form=form)
    total.backward()
    assert math.isfinite(total.item())
    assert all(value.grad is None or value.grad.isfinite().all() for value in values.values())
    pairs = ("geometric", "alignment", "distinctness", "discrimination", "temporal", "continuity")
    assert all(parts[name].item() == 0 for name in pairs)


@pytest.mark.parametrize("form", ["target", "published"])
def test_what_a_model_writes_into_padding_changes_nothing(form: str) -> None:
    batch, clean, dirty = random_batch(), random_output(), random_output()
    wrong = random_output(5)
    for output in (dirty, wrong):
        for name in ("mask_logits", "distribution_logits", "validity_logits", "class_logits"):
            getattr(output, name)[:, :, 2] = math.nan
    values = {name: value.requires_grad_() for name, value in leaves(dirty).items()}
    total, parts = loss_of(tuple(PARTS), rebuilt(dirty, dict(values)), batch, form=form, wrong=wrong)
    _, expected = loss_of(tuple(PARTS), clean, batch, form=form, wrong=random_output(5))
    for name, part in parts.items():
        torch.testing.assert_close(part, expected[name], msg=name)
    total.backward()
    assert all(value.grad.isfinite().all() for value in values.values())
    assert (values["mask_logits"].grad[:, :, 2] == 0).all()


@pytest.mark.parametrize("form", ["target", "published"])
def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_windows(form: str) -> None:
    output, batch, wrong = random_output(), random_batch(), random_output(3)
    batch["valid"][0, :, 1] = False  # windows with unlike numbers of valid maps
    batch["view_depth"][1, 0, :, :3] = 0

    def window(given: Any, b: int) -> Any:
        if isinstance(given, SimpleNamespace):
            return SimpleNamespace(**{name: window(value, b) for name, value in vars(given).items()})
        return given[b : b + 1]

    singles = [
        loss_of(
            tuple(PARTS),
            window(output, b),
            {name: value[b : b + 1] for name, value in batch.items()},
            form=form,
            wrong=window(wrong, b),
        )[1]
        for b in range(B)
    ]
    _, parts = loss_of(tuple(PARTS), output, batch, form=form, wrong=wrong)
    for name, part in parts.items():
        torch.testing.assert_close(part, torch.stack([single[name] for single in singles]).mean(), msg=name)


def test_mixed_precision_does_not_reach_the_losses() -> None:
    """Logits and tokens of half precision under autocast: the numbers of the same values in full precision."""
    output, batch, wrong = random_output(), random_batch(), random_output(3)
    batch = {k: v.float() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in batch.items()}

    def cast(given: Any, *types: torch.dtype) -> Any:
        if isinstance(given, SimpleNamespace):
            return SimpleNamespace(**{name: cast(value, *types) for name, value in vars(given).items()})
        for dtype in types:
            given = given.to(dtype)
        return given

    half, full = (torch.bfloat16,), (torch.bfloat16, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, parts = loss_of(tuple(PARTS), cast(output, *half), batch, wrong=cast(wrong, *half))
    _, expected = loss_of(tuple(PARTS), cast(output, *full), batch, wrong=cast(wrong, *full))
    for name, part in parts.items():
        assert part.dtype == torch.float32, name
        torch.testing.assert_close(part, expected[name], msg=name)


# --- choosing parts -------------------------------------------------------------------------------------------


def test_sets_of_weights_go_where_no_weight_is_given() -> None:
    given = {"sets": ["finetuning", "levels"], "weights": {"mask": 2.0, "reasoning": 0.1}}
    params = LossParams.model_validate(given)
    weights = params.weights
    assert (weights.geometric, weights.correspondence, weights.coherence) == (1.0, 0.8, 0.6)
    assert (weights.reasoning, weights.discrimination) == (0.1, 0.5)
    assert (weights.distribution, weights.distinctness, weights.temporal, weights.entropy) == (
        1.0,
        0.3,
        0.6,
        0.4,
    )
    assert (weights.mask, weights.dice, weights.gradient) == (2.0, LossWeights().dice, 0)
    assert LossParams.model_validate(params.model_dump()) == params
    one = LossParams.model_validate({"sets": "levels", "weights": LossWeights(mask=3.0)})
    assert (one.weights.mask, one.weights.geometric, one.sets) == (3.0, 1.0, ("levels",))
    with pytest.raises(ValueError, match="pretraining"):
        LossParams.model_validate({"sets": "all"})


def test_every_weight_has_its_part_and_new_parts_are_off() -> None:
    assert list(LossWeights.model_fields) == list(PARTS)
    assert {name for weights in LOSS_SETS.values() for name in weights} <= set(PARTS)
    default = LossWeights().model_dump()
    assert all(default[name] == 0 for name in PARTS if name not in ELEMENTARY)


def test_parts_say_what_they_need_and_those_without_weight_need_nothing() -> None:
    params = LossParams()
    assert (
        params.needs() == params.needs({"gradient": 1.0, "coherence": 1.0, "geometric": 0.0}) == frozenset()
    )
    assert params.needs({"geometric": 0.5}) == {"geometry"}
    assert params.needs(LOSS_SETS["levels"]) == {"geometry", "evidence", "contrast"}
    assert LossParams(contrast=0).needs({"reasoning": 1}) == {"evidence"}


def test_weights_of_a_call_replace_the_parameters() -> None:
    output, batch = random_output(), random_batch()
    loss = HeatmapLoss(LossParams())
    total, parts = loss(output, batch, {"dice": 0.5, "entropy": 2.0, "mask": 0.0})
    assert set(parts) == {"dice", "entropy"}
    torch.testing.assert_close(total, 0.5 * parts["dice"] + 2 * parts["entropy"])
    assert set(loss(output, batch)[1]) == {"mask", "dice", "distribution", "classes", "validity"}


def test_what_is_missing_is_named() -> None:
    output, batch, loss = random_output(), random_batch(), HeatmapLoss(LossParams())
    with pytest.raises(KeyError, match=r"'reasoning' needs .*wrong_instructions"):
        loss(output, batch, {"reasoning": 1.0})
    output.evidence = None
    with pytest.raises(KeyError, match=r"'correspondence' needs .*evidence=True"):
        loss(output, batch, {"correspondence": 1.0})
    del batch["view_depth"]
    with pytest.raises(KeyError, match="'geometric' needs 'view_depth'"):
        loss(output, batch, {"geometric": 1.0})
    with pytest.raises(KeyError, match="got 'geometry'"):
        loss(output, batch, {"geometry": 1.0})
    with pytest.raises(ValueError, match="must add up to 1"):
        LossParams(similarity=(0.6, 0.6))
