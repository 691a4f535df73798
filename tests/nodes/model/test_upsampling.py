"""Fine heatmaps: plain interpolation until trained, and then edges that only pixels show."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.model.upsampling import Guides, Upsampling, doublings


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("start", "size", "steps"),
    [
        (28, 28, 0),
        (28, 55, 0),
        (28, 56, 1),
        (28, 112, 2),
        (28, 224, 3),
        (56, 112, 1),
        (64, 112, 0),
        (28, 7, 0),
    ],
)
def test_a_grid_doubles_as_long_as_it_is_no_finer_than_the_heatmap(start: int, size: int, steps: int) -> None:
    assert doublings(start, size) == steps
    assert steps == 0 or start << steps <= size < start << (steps + 1)


def test_without_steps_it_is_one_bilinear_jump_and_has_no_weights() -> None:
    plain, maps = Upsampling(3, 8, 0), random(2, 3, 4, 4)
    assert not list(plain.parameters())
    assert not list(Guides(3, 4, 0).parameters())
    wanted = F.interpolate(maps, size=(8, 8), mode="bilinear", align_corners=False)
    assert torch.equal(plain(maps), wanted)


def test_untrained_steps_are_bilinear_too() -> None:
    maps, guides = random(2, 3, 4, 4), [random(2, 3, s, s, seed=s) for s in (8, 16)]
    wanted = maps
    for _ in guides:
        wanted = F.interpolate(wanted, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.equal(Upsampling(3, 16, 2)(maps, guides), wanted)
    assert Upsampling(3, 20, 2)(maps, guides).shape == (2, 3, 20, 20)  # what no doubling reaches


def test_guides_show_the_view_at_each_resolution_where_it_is() -> None:
    torch.manual_seed(0)
    guides, frames = Guides(3, 4, 2), torch.full((2, 3, 64, 64), 0.5)
    before = guides(frames)
    assert [g.shape for g in before] == [(2, 3, 8, 8), (2, 3, 16, 16)]
    frames[1, :, 40:44, 8:12] = 1.0  # cell (10, 2) of 16
    changed = [(a - b).abs().amax(1) for a, b in zip(guides(frames), before, strict=True)]
    assert all(one[0].max() == 0 for one in changed)  # the other view
    rows, columns = changed[1][1].nonzero().T
    assert {8, 9, 10, 11, 12} >= set(rows.tolist()) > {10}
    assert {0, 1, 2, 3, 4} >= set(columns.tolist()) > {2}


def test_each_view_s_guide_serves_its_own_keyframes() -> None:
    torch.manual_seed(0)
    model, maps = Upsampling(3, 8, 1), random(6, 3, 4, 4)  # 2 views with 3 keyframes
    nn.init.normal_(model.steps[0].correct.weight)  # type: ignore[arg-type, union-attr]
    guide = random(2, 3, 8, 8, seed=1)
    before = model(maps, [guide])
    guide[1] += 1
    moved = (model(maps, [guide]) - before).abs().amax((1, 2, 3)) > 1e-4
    assert moved.tolist() == [False, False, False, True, True, True]


def test_edges_finer_than_the_tokens_are_learned_from_the_pixels_alone() -> None:
    """The maps say nothing; stripes as wide as a cell of the heatmap are in the view, at any phase."""
    torch.manual_seed(0)
    guides, model = Guides(8, 4, 2), Upsampling(8, 16, 2)
    out = nn.Conv2d(8, 1, 1)
    parts = nn.ModuleList([guides, model, out])
    optimizer = torch.optim.Adam(parts.parameters(), lr=0.02)
    bits = (torch.rand(16, 1, 1, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    target = bits.expand(-1, 1, 16, 16)
    frames = target.repeat_interleave(4, -1).repeat_interleave(4, -2).expand(-1, 3, -1, -1)
    maps = torch.zeros(16, 8, 4, 4)
    for _ in range(80):
        loss = F.binary_cross_entropy_with_logits(out(model(maps, guides(frames))), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = ((out(model(maps, guides(frames))) > 0) == target.bool()).float().mean()
    assert right > 0.97
    assert all(p.grad is not None and p.grad.any() for p in model.steps[1].parameters())


def test_the_number_of_guides_must_fit() -> None:
    with pytest.raises(ValueError, match=r"one guide a step \(2\), got 1"):
        Upsampling(3, 16, 2)(random(1, 3, 4, 4), [random(1, 3, 8, 8)])
