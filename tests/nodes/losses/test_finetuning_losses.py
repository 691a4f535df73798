"""Distinct, varying and spread as the targets are: known values, minima, and what the published forms want."""

import math

import pytest
import torch
from torch import Tensor

from vln_heatmap.nodes.losses.finetuning import distinctness_loss, entropy_loss, temporal_loss


def logits(*maps: list[float]) -> Tensor:
    """Logits of distributions over 2 x 2 cells: [1, 1, K, 2, 2]."""
    return torch.tensor(maps, dtype=torch.float64).view(1, 1, -1, 2, 2).clamp_min(1e-30).log()


def distribution(*maps: list[float]) -> Tensor:
    return torch.tensor(maps, dtype=torch.float64).view(1, 1, -1, 2, 2)


def valid(*flags: bool) -> Tensor:
    return torch.tensor(flags).view(1, 1, -1)


FIRST, SECOND, HALF = [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0.5, 0.5, 0, 0]
YES = valid(True, True)


def test_similarity_is_a_cosine_and_the_published_form_wants_none() -> None:
    assert distinctness_loss(logits(FIRST, SECOND), distribution(HALF, HALF), YES, form="published") < 1e-9
    value = distinctness_loss(logits(FIRST, HALF), distribution(FIRST, HALF), YES, form="published")
    assert value.item() == pytest.approx(1 / math.sqrt(2))


def test_maps_are_distinct_by_as_much_as_their_targets() -> None:
    """Targets of cosine 1/√2 with each other: the perfect maps cost nothing, swapped ones twice the margin."""
    targets, margin = distribution(FIRST, HALF), 1 - 1 / math.sqrt(2)
    assert distinctness_loss(logits(FIRST, HALF), targets, YES).item() == pytest.approx(0, abs=1e-9)
    assert distinctness_loss(logits(HALF, FIRST), targets, YES).item() == pytest.approx(2 * margin)
    # one map for both: the first is too near to the second's target, the second too far by the same
    assert distinctness_loss(logits(FIRST, FIRST), targets, YES).item() == pytest.approx((0 + 2 * margin) / 2)
    same = distribution(HALF, HALF)
    assert distinctness_loss(logits(HALF, HALF), same, YES).item() == pytest.approx(0, abs=1e-9)


def test_variation_is_half_the_mass_that_moves() -> None:
    targets = distribution(FIRST, HALF)  # half of the mass moves
    for maps, change in (((FIRST, SECOND), 1.0), ((FIRST, FIRST), 0.0), ((HALF, FIRST), 0.5)):
        given = logits(*maps)
        assert temporal_loss(given, targets, YES).item() == pytest.approx((change - 0.5) ** 2)
        assert temporal_loss(given, distribution(FIRST, FIRST), YES).item() == pytest.approx(change**2)
        aimed = temporal_loss(given, targets, YES, form="published", variation=0.25)
        assert aimed.item() == pytest.approx((change - 0.25) ** 2)


def test_only_successive_keyframes_that_are_both_valid_vary() -> None:
    given, targets = logits(FIRST, SECOND, SECOND), distribution(FIRST, FIRST, FIRST)
    assert temporal_loss(given, targets, valid(True, True, True)).item() == pytest.approx(0.5)
    assert temporal_loss(given, targets, valid(False, True, True)).item() == 0
    assert temporal_loss(given, targets, valid(True, False, True)).item() == 0


def test_entropy_aims_at_the_targets_own() -> None:
    one, log_2, uniform = valid(True), math.log(2), [0.25] * 4
    assert entropy_loss(logits(HALF), distribution(SECOND), one).item() == pytest.approx(log_2**2)
    assert entropy_loss(logits(HALF), distribution([0, 0, 0.5, 0.5]), one).item() == pytest.approx(
        0, abs=1e-12
    )
    published = entropy_loss(logits(uniform), distribution(HALF), one, form="published", entropy=6.0)
    assert published.item() == pytest.approx((math.log(4) - 6) ** 2)
    far = logits(uniform).requires_grad_()
    entropy_loss(far, distribution(HALF), one, form="published").backward()
    assert far.grad.abs().max() < 1e-9  # 6 nats are out of reach on 4 cells: it stays spread over all of them


def test_a_single_keyframe_is_distinct_and_steady() -> None:
    given, targets = logits(FIRST).requires_grad_(), distribution(HALF)
    for form in ("target", "published"):
        total = distinctness_loss(given, targets, valid(True), form=form)
        total = total + temporal_loss(given, targets, valid(True), form=form)
        total.backward()
        assert total.item() == 0
    assert (given.grad == 0).all()
