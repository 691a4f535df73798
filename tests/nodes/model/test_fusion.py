"""Fusion: cells of different grids that cover the same image area meet in one token."""

import pytest
import torch

from vln_heatmap.nodes.model.fusion import FUSIONS, align_grid
from vln_heatmap.params import FusionParams


def ramp(grid: int) -> torch.Tensor:
    """Horizontal position of cell centres, as a share of the image's width: [1, grid, grid]."""
    return ((torch.arange(grid) + 0.5) / grid).expand(1, grid, grid).contiguous()


KINDS = sorted(FUSIONS)
PER_CELL = [kind for kind in KINDS if kind != "gated_cross_attention"]


def fusion(kind: str = "concat_mlp", *, seed: int = 0, gate: float = 0.7) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = FUSIONS[kind](10, 6, FusionParams(width=8)).eval()
    if hasattr(model, "gate"):
        torch.nn.init.constant_(model.gate, gate)
    return model


def sources(frames: int = 2, geometry: int = 4, semantic: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return (
        torch.randn(1, frames, 10, geometry, geometry, generator=random),
        torch.randn(1, frames, 6, semantic, semantic, generator=random),
    )


@pytest.mark.parametrize(("have", "want"), [(14, 16), (16, 14), (37, 14), (7, 14), (28, 14), (3, 3), (14, 1)])
def test_image_positions_stay_where_they_are(have: int, want: int) -> None:
    """A ramp of coordinates on one grid is the ramp of coordinates on another, to a tenth of a cell."""
    across = align_grid(ramp(have), (want, want))
    error = (across - ramp(want)).abs() * min(have, want)  # in cells of the coarser grid
    assert want <= 4 or error[:, :, 2:-2].max() < 0.1
    assert error.max() < 0.5  # beyond the outermost centres there is nothing to go on
    down = align_grid(ramp(have).transpose(1, 2), (want, want))
    torch.testing.assert_close(down, across.transpose(1, 2))


@pytest.mark.parametrize(("have", "want"), [(28, 14), (12, 4), (6, 1)])
def test_whole_blocks_are_averaged_exactly(have: int, want: int) -> None:
    maps = torch.randn(2, 3, have, have, generator=torch.Generator().manual_seed(0))
    blocks = maps.unflatten(-1, (want, -1)).unflatten(-3, (want, -1)).mean((-1, -3))
    torch.testing.assert_close(align_grid(maps, (want, want)), blocks)


@pytest.mark.parametrize(("have", "want"), [(37, 14), (16, 5), (28, 14)])
def test_no_cell_is_skipped_on_the_way_down(have: int, want: int) -> None:
    maps = torch.zeros(1, have, have, requires_grad=True)
    align_grid(maps, (want, want)).sum().backward()
    assert maps.grad is not None
    assert maps.grad.min() > 0.3 * (want / have) ** 2  # every cell counts for about its share


@pytest.mark.parametrize("want", [(5, 5), (9, 9), (3, 11), (11, 3), (7, 7)])
def test_constants_mirrors_types_and_leading_axes_are_kept(want: tuple[int, int]) -> None:
    maps = torch.randn(2, 1, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        align_grid(torch.full_like(maps, 3.0), want), torch.full((2, 1, 3, *want), 3.0)
    )
    torch.testing.assert_close(align_grid(maps.flip(-1), want), align_grid(maps, want).flip(-1))
    torch.testing.assert_close(align_grid(maps, want)[1, 0], align_grid(maps[1, 0], want))
    assert align_grid(maps.bfloat16(), want).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("geometry", "semantic"), [(4, 4), (8, 7), (2, 7), (6, 3)])
def test_fused_tokens_lie_on_the_encoders_grid(geometry: int, semantic: int, kind: str) -> None:
    fused = fusion(kind)(*sources(geometry=geometry, semantic=semantic))
    assert fused.shape == (1, 2, 8, semantic, semantic)


@pytest.mark.parametrize("kind", PER_CELL)
@pytest.mark.parametrize("which", [0, 1])
def test_a_cell_of_a_source_reaches_its_own_cell_and_frame_only(which: int, kind: str) -> None:
    model, inputs = fusion(kind), sources()
    before = model(*inputs)
    inputs[which][0, 1, :, 2, 3] += 1
    changed = (model(*inputs) != before).any(2)  # [1, T, g, g]
    assert changed.nonzero().tolist() == [[0, 1, 2, 3]]


def test_on_a_coarser_encoder_grid_a_block_of_geometry_cells_is_one_token() -> None:
    """VGGT at twice the encoder's grid: what matters of a block of 2 x 2 projected tokens is their mean."""
    model, (geometry, semantic) = fusion(), sources(geometry=8)
    shuffled = geometry.clone()
    shuffled[..., 2:4, 4:6] = geometry[..., 2:4, 4:6].flip(-1, -2)  # cells of one block change places
    torch.testing.assert_close(model(shuffled, semantic), model(geometry, semantic))
    shuffled[:, :, 0, 2, 4] += 1
    changed = ((model(shuffled, semantic) - model(geometry, semantic)).abs() > 1e-5).any(2)
    assert changed[0].any(0).nonzero().tolist() == [[1, 2]]


def test_cross_attention_reaches_its_whole_frame_and_no_other() -> None:
    model, inputs = fusion("gated_cross_attention"), sources()
    before = model(*inputs)
    inputs[0][0, 1, ::2, 2, 3] += 1  # not all channels: the norm takes out what they share
    changed = (model(*inputs) != before).any(2)[0]  # [T, g, g]
    assert not changed[0].any()
    assert changed[1].all()


def test_a_closed_gate_lets_no_geometry_in() -> None:
    model, (geometry, semantic) = fusion("gated_cross_attention", gate=0.0), sources()
    torch.testing.assert_close(model(geometry, semantic), model(torch.randn_like(geometry), semantic))


def test_cross_attention_is_the_textbook_formula() -> None:
    model, (geometry, semantic) = fusion("gated_cross_attention"), sources(frames=1)
    geo = model.geometry(geometry[0, 0].flatten(1).T)  # [P, 8]
    sem = model.semantic(semantic[0, 0].flatten(1).T)
    q, (k, v) = model.ask(sem + geo), model.answer(geo).chunk(2, dim=-1)
    found = []
    for head in range(4):
        part = slice(2 * head, 2 * head + 2)
        found.append(torch.softmax(q[:, part] @ k[:, part].T / 2**0.5, dim=-1) @ v[:, part])
    expected = sem + torch.tanh(model.gate) * model.leave(torch.cat(found, dim=-1))
    torch.testing.assert_close(model(geometry, semantic)[0, 0].flatten(1).T, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_both_sources_reach_the_result_and_get_gradients(kind: str) -> None:
    model, inputs = fusion(kind), sources(geometry=3)
    for source in inputs:
        source.requires_grad_()
    model(*inputs).square().sum().backward()
    assert all(source.grad is not None and source.grad.abs().amax((0, 1, 2)).min() > 0 for source in inputs)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
