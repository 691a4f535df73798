"""Action heads: what each of them can say, learned from a handful of numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vln_heatmap.nodes.model.policy.heads import HEADS, ActionHead, DiscretisedHead, make_head
from vln_heatmap.params.policy import ActionHeadParams

SMALL = {"horizon": 2, "dimension": 1, "width": 16, "depth": 1, "attention_heads": 2, "bins": 16}
N = 64


def head(name: str, **changes: object) -> ActionHead:
    torch.manual_seed(0)
    return make_head(6, ActionHeadParams.model_validate({**SMALL, "name": name, **changes}))


def observation(count: int = N) -> tuple[Tensor, Tensor]:
    return torch.ones(count, 3, 6), torch.ones(count, 3, dtype=torch.bool)


def learned(head: ActionHead, actions: Tensor, *, steps: int) -> ActionHead:
    """The head after training on the same observation with these answers."""
    optimizer = torch.optim.Adam(head.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        head.errors(*observation(len(actions)), actions).mean().backward()
        optimizer.step()
    return head.eval()


def two_modes() -> Tensor:
    """Half of the chunks go left all the way, half right."""
    return torch.where(torch.arange(N) % 2 == 0, 1.0, -1.0)[:, None, None].expand(N, 2, 1)


@torch.no_grad()
def test_flow_says_either_answer_where_regression_says_their_mean() -> None:
    torch.manual_seed(1)
    with torch.enable_grad():
        flow = learned(head("flow_matching"), two_modes(), steps=300)
        mean = learned(head("regression"), two_modes(), steps=60)
    torch.manual_seed(2)
    said = flow.sample(*observation(128))  # [128, 2, 1]
    assert ((said.abs() - 1).abs() < 0.35).float().mean() > 0.8
    assert (said[:, 0] * said[:, 1] > 0).float().mean() > 0.95  # both actions of a chunk go the same way
    assert 0.2 < (said > 0).float().mean() < 0.8
    assert mean.sample(*observation(8)).abs().max() < 0.2


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_learns_a_single_answer(name: str) -> None:
    torch.manual_seed(1)
    answer = torch.tensor([[0.5], [-0.5]]).expand(32, 2, 1)
    taught = learned(head(name), answer, steps=300 if name == "flow_matching" else 100)
    with torch.no_grad():
        torch.testing.assert_close(taught.sample(*observation(4)), answer[:4], atol=0.2, rtol=0)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_padding_is_not_seen_and_shapes_are_those_of_a_chunk(name: str) -> None:
    made = head(name, horizon=3, dimension=4).eval()
    context, seen = torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    seen[:, 3:] = False
    noise = torch.randn(2, 3, 4)
    said = made.sample(context, seen, noise=noise)
    assert said.shape == (2, 3, 4)
    other = context.clone()
    other[:, 3:] = 100.0
    torch.testing.assert_close(made.sample(other, seen, noise=noise), said)
    assert made.errors(context, seen, noise).shape == (2, 3, 4)


def test_bins_divide_the_range_evenly_and_middles_return() -> None:
    made = make_head(
        6,
        ActionHeadParams(name="discretised", horizon=1, dimension=2, bins=4, width=8),
        low=torch.tensor([-1.0, 0.0]),
        high=torch.tensor([1.0, 8.0]),
    )
    assert isinstance(made, DiscretisedHead)
    numbers = torch.tensor([[-1.0, 0.0], [-0.6, 1.9], [0.1, 4.1], [1.0, 8.0], [5.0, -5.0]])
    classes = made.classes(numbers)
    assert classes.tolist() == [[0, 0], [0, 0], [2, 2], [3, 3], [3, 0]]
    assert made.middles(classes)[2].tolist() == [0.25, 5.0]
    assert torch.equal(made.classes(made.middles(classes)), classes)


def test_a_chunk_is_horizon_times_dimension() -> None:
    assert ActionHeadParams(horizon=8, dimension=7, action_dim=56).action_dim == 56
    with pytest.raises(ValueError, match=r"8 \* 7, got 55"):
        ActionHeadParams(horizon=8, dimension=7, action_dim=55)
    with pytest.raises(ValueError, match="must be known"):
        make_head(6, ActionHeadParams())
