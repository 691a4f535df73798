"""The heatmap head: exact probabilities, where the instruction points, and detail."""

import math

import pytest
import torch
from torch import Tensor, nn
from toy_heads import DIM, GRID, PARAMS, head, head_inputs, matcher, random, tokens

from vln_heatmap.nodes.model.heads import Detail, HeatmapOutput, ReferringHead

# --- reading the maps -------------------------------------------------------------------------------------


def probabilities(output: HeatmapOutput, everything: Tensor) -> Tensor:
    """p(co-visible) p(referred), in double precision, as the definition has it."""
    assert output.class_logits is not None
    seen = output.class_logits.double().softmax(3)[:, :, :, 0]
    named = output.referred_logits.double().sigmoid()[:, :, None].expand_as(seen)
    return seen * torch.where(everything[:, None, None, None, None], 1.0, named)


class Says(nn.Module):
    """A last layer that gives these class logits [M, 3, h, w], and a flat shape, whatever it is asked."""

    def __init__(self, classes: Tensor) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, _: Tensor) -> Tensor:
        return torch.cat([self.classes, torch.zeros_like(self.classes[:, :1])], dim=1)


def test_shapes_and_meaning_of_what_is_read() -> None:
    inputs = head_inputs()
    output = head()(**inputs)
    size = PARAMS.heatmap_size
    assert output.mask_logits.shape == output.distribution_logits.shape == (2, 2, 3, size, size)
    assert output.validity_logits.shape == (2, 2, 3)
    assert output.class_logits is not None
    assert output.class_logits.shape == (2, 2, 3, 3, size, size)
    torch.testing.assert_close(output.referred_logits, inputs["referred"])


def test_a_mask_is_the_product_of_seen_and_referred() -> None:
    inputs = head_inputs()
    output = head()(**inputs)
    torch.testing.assert_close(
        output.mask_logits.double(),
        torch.logit(probabilities(output, inputs["everything"])),
        atol=1e-4,
        rtol=1e-4,
    )


def test_everything_leaves_what_is_seen_whatever_the_referring_head_says() -> None:
    inputs = head_inputs() | {"everything": torch.tensor([True, True])}
    output = head()(**inputs)
    assert output.class_logits is not None
    seen = output.class_logits.softmax(3)[:, :, :, 0]
    torch.testing.assert_close(output.mask_logits.sigmoid(), seen, atol=1e-6, rtol=1e-5)
    other = head()(**inputs | {"referred": torch.full_like(inputs["referred"], -1e4)})
    torch.testing.assert_close(other.mask_logits, output.mask_logits, atol=0, rtol=0)


@pytest.mark.parametrize("seen", [-300.0, -30.0, 0.0, 30.0, 300.0])
@pytest.mark.parametrize("named", [-300.0, -30.0, 0.0, 30.0, 300.0, "everything"])
def test_extreme_logits_stay_exact_and_can_be_unlearned(seen: float, named: float | str) -> None:
    """However sure: the logit is finite and right, and the cross-entropy's gradient reaches it unweakened."""
    model, everything = head(), named == "everything"
    classes = torch.tensor([seen, 0.0, -1e4]).view(1, 1, 1, 3, 1, 1).expand(1, 1, 1, 3, 8, 8).clone()
    referred = torch.full((1, 1, 8, 8), 0.0 if everything else float(named))
    classes.requires_grad_(), referred.requires_grad_()
    model.out = Says(classes[0, 0])  # type: ignore[assignment]
    inputs = head_inputs(1, 1, 1) | {"referred": referred, "everything": torch.tensor([everything])}
    output = model(**inputs)
    # logit(p q) = -log((1 - p q) / (p q)) = -log(e^-seen + e^-named + e^-(seen + named))
    terms = [-seen] if everything else [-seen, -float(named), -seen - float(named)]
    exact = -torch.logsumexp(torch.tensor(terms, dtype=torch.double), 0)
    torch.testing.assert_close(
        output.mask_logits.double(), exact.expand_as(output.mask_logits), atol=1e-4, rtol=1e-5
    )
    wrong = (output.mask_logits < 0).float()
    torch.nn.functional.binary_cross_entropy_with_logits(
        output.mask_logits, wrong, reduction="sum"
    ).backward()
    parts = [classes.grad] if everything else [classes.grad, referred.grad]
    assert all(part is not None and part.isfinite().all() for part in parts)
    assert max(part.abs().max().item() for part in parts if part is not None) > 0.2
    assert all(value.isfinite().all() for value in vars(output).values() if value is not None)


def test_a_view_alone_shows_what_is_referred_to() -> None:
    referred = torch.tensor([-300.0, -3.0, 0.0, 3.0, 300.0]).view(5, 1, 1).repeat(1, 8, 8).requires_grad_()
    output = head().alone(referred)
    assert output.class_logits is None
    torch.testing.assert_close(output.mask_logits[:, 0, 0], referred)
    torch.testing.assert_close(output.referred_logits[:, 0], referred)
    assert output.validity_logits.shape == (5, 1, 1)
    torch.nn.functional.binary_cross_entropy_with_logits(
        output.mask_logits, (output.mask_logits < 0).float(), reduction="sum"
    ).backward()
    assert referred.grad is not None
    assert (referred.grad.abs() >= 0.5 - 1e-6).all()


def test_a_likelier_cell_is_never_less_likely_looked_at() -> None:
    """The distribution starts as the mask sharpened: with the same shape, more mask is more weight."""
    model = head()
    log_mask = torch.linspace(-9, -0.1, 64).view(1, 1, 1, 8, 8)
    log_rest, flat = torch.log(-torch.expm1(log_mask)), torch.zeros_like(log_mask)
    output = model.read(log_mask, log_rest, flat, flat[:, :, 0], None)
    weight = output.distribution_logits.flatten().softmax(0)
    assert (weight.diff() > 0).all()
    assert weight.sum().item() == pytest.approx(1)


def output_of(distribution_logits: Tensor) -> HeatmapOutput:
    """An output of which the distribution alone is of interest."""
    none = torch.zeros(0)
    return HeatmapOutput(none, distribution_logits, none, None, none)


def test_a_sure_distribution_says_where_to_look() -> None:
    """All weight in one cell: its centre, x to the right and y downward, without entropy."""
    logits = torch.zeros(1, 2, 1, 4, 4)
    logits[0, 0, 0, 1, 3] = logits[0, 1, 0, 3, 0] = 200
    output = output_of(logits)
    torch.testing.assert_close(output.position[0, :, 0], torch.tensor([[0.75, -0.25], [-0.75, 0.75]]))
    torch.testing.assert_close(output.entropy, torch.zeros(1, 2, 1))
    torch.testing.assert_close(output.distribution.sum((-2, -1)), torch.ones(1, 2, 1))


@pytest.mark.parametrize("cells", [2, 7])
def test_an_even_distribution_is_everywhere(cells: int) -> None:
    output = output_of(torch.full((2, 1, 3, cells, cells), -4.0))
    torch.testing.assert_close(output.position, torch.zeros(2, 1, 3, 2))
    torch.testing.assert_close(output.entropy, torch.ones(2, 1, 3))


def test_two_places_meet_in_the_middle_by_their_weights() -> None:
    logits = torch.full((1, 1, 1, 4, 4), -1e4)
    logits[..., 0, 0], logits[..., 0, 3] = math.log(0.25), math.log(0.75)
    output = output_of(logits)
    torch.testing.assert_close(output.position.flatten(), torch.tensor([0.375, -0.75]))
    wanted = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / math.log(16)
    assert output.entropy.item() == pytest.approx(wanted)


def test_the_position_of_half_precision_and_its_gradient_are_finite() -> None:
    logits = (50 * random(1, 1, 2, 8, 8)).bfloat16().requires_grad_()
    output = output_of(logits)
    assert output.position.dtype == output.entropy.dtype == torch.float32
    (output.position.sum() + output.entropy.sum()).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_no_number_is_read_back_from_a_tensor() -> None:
    """On the meta device there is none to read; on a GPU it would mean to wait for it."""
    model = matcher().to("meta")
    given_tokens = {
        name: [f.to("meta") for f in part] if isinstance(part, list) else part.to("meta")
        for name, part in tokens().items()
    }
    roles = {
        "current": torch.zeros(2, 1, dtype=torch.long),
        "keyframes": torch.ones(2, 1, 3, dtype=torch.long),
    }
    maps = model(**given_tokens, **{name: index.to("meta") for name, index in roles.items()})
    assert maps.shape == (2, 1, 3, PARAMS.width, GRID, GRID)
    read = head().to("meta")(**{name: part.to("meta") for name, part in head_inputs().items()})
    assert read.mask_logits.shape == (2, 2, 3, 8, 8)
    assert read.position.shape == (2, 2, 3, 2)


# --- where the instruction points, and detail ---------------------------------------------------------------


def test_referring_needs_the_instruction_and_the_view_and_keeps_places() -> None:
    torch.manual_seed(0)
    model = ReferringHead(DIM, 10, PARAMS.detail, PARAMS).eval()
    inputs = [random(2, DIM, GRID, GRID), random(2, 10, GRID, GRID, seed=1), random(2, 10, seed=2)]
    detail = random(2, PARAMS.detail, 8, 8, seed=3)
    logits = model(*inputs, detail)
    assert logits.shape == (2, 8, 8)
    for changed in range(3):
        others = [value + (i == changed) for i, value in enumerate(inputs)]
        assert (model(*others, detail) - logits).abs().max() > 1e-4
    moved = detail.clone()
    moved[0, :, 5, 6] += 1
    assert (model(*inputs, moved) != logits).nonzero().tolist() == [[0, 5, 6]]


@pytest.mark.parametrize(("side", "size"), [(32, 8), (28, 7), (28, 8), (112, 28), (56, 9)])
def test_detail_lies_on_the_heatmap_grid_where_the_pixels_are(side: int, size: int) -> None:
    torch.manual_seed(0)
    model, frames = Detail(6, size), torch.full((1, 3, side, side), 0.5)
    flat = model(frames)
    assert flat.shape == (1, 6, size, size)
    frames[..., : side // 4, -(side // 4) :] = 1.0  # light in the upper right quarter of a quarter
    changed = (model(frames) - flat).abs().amax(1)[0]  # [size, size]
    assert changed[: size // 2, size // 2 :].max() > 0
    assert changed[size // 2 + 1 :].max() == 0
    assert changed[:, : size // 2 - 1].max() == 0
