"""Similarities of tokens: what their statistics say, and who may see whom."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_heads import (
    BEST,
    CYCLE,
    DISPLACEMENT,
    ENTROPY,
    FROZEN,
    GRID,
    PARAMS,
    POSITION,
    SPREAD,
    matcher,
    random,
    tokens,
)

from vln_heatmap.nodes.model.matchers import TokenMatcher
from vln_heatmap.nodes.model.matching import cell_centres, match_statistics, take

# --- statistics of a similarity matrix --------------------------------------------------------------------


def test_cell_centres_tile_the_square_row_by_row() -> None:
    centres = cell_centres(4)
    assert centres[0].tolist() == [-0.75, -0.75]
    assert centres[1].tolist() == [-0.25, -0.75]  # x first, along a row
    assert centres[4].tolist() == [-0.75, -0.25]
    torch.testing.assert_close(centres.mean(0), torch.zeros(2))


@pytest.mark.parametrize("grid", [2, 5])
def test_a_sure_match_says_where_each_cell_went(grid: int) -> None:
    centres = cell_centres(grid)
    goal = torch.randperm(grid * grid, generator=torch.Generator().manual_seed(0))
    statistics, assignment = match_statistics(60 * torch.eye(grid * grid)[goal], centres)
    torch.testing.assert_close(statistics[:, BEST], torch.full((grid * grid,), 60.0))
    torch.testing.assert_close(statistics[:, ENTROPY], torch.zeros(grid * grid))
    torch.testing.assert_close(statistics[:, CYCLE], torch.ones(grid * grid))
    torch.testing.assert_close(statistics[:, POSITION], centres[goal])
    torch.testing.assert_close(statistics[:, DISPLACEMENT], centres[goal] - centres)
    assert statistics[:, SPREAD].max() < 2e-3
    torch.testing.assert_close(assignment, torch.eye(grid * grid)[goal])


def test_identical_views_do_not_move() -> None:
    cells = torch.nn.functional.normalize(random(25, 16), dim=-1)
    statistics, _ = match_statistics(200 * cells @ cells.T, cell_centres(5))
    torch.testing.assert_close(statistics[:, DISPLACEMENT], torch.zeros(25, 2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("grid", [2, 5])
def test_without_any_hint_the_match_is_everywhere(grid: int) -> None:
    centres, cells = cell_centres(grid), grid * grid
    statistics, _ = match_statistics(torch.full((cells, cells), 0.3), centres)
    torch.testing.assert_close(statistics[:, ENTROPY], torch.ones(cells))
    torch.testing.assert_close(statistics[:, CYCLE], torch.full((cells,), 1 / cells))
    torch.testing.assert_close(statistics[:, POSITION], torch.zeros(cells, 2))
    torch.testing.assert_close(statistics[:, DISPLACEMENT], -centres)
    spread = math.sqrt(2 * (grid**2 - 1) / (3 * grid**2))  # of g equal steps in [-1, 1], along two axes
    torch.testing.assert_close(statistics[:, SPREAD], torch.full((cells,), spread))


def test_two_equal_matches_meet_in_the_middle() -> None:
    similarity = torch.full((16, 16), -100.0)
    similarity[:, [0, 3]] = 0.0  # the ends of the first row
    statistics, _ = match_statistics(similarity, cell_centres(4))
    assert statistics[0, ENTROPY].item() == pytest.approx(math.log(2) / math.log(16))
    assert statistics[0, POSITION].tolist() == pytest.approx([0, -0.75], abs=1e-6)
    assert statistics[0, SPREAD].item() == pytest.approx(0.75)


def test_the_cycle_is_shared_by_cells_that_go_to_the_same_place() -> None:
    """Cells 0 and 1 both go to cell 2 of the keyframe, from where either is as likely; cell 2 goes to 3 alone."""
    similarity = torch.zeros(4, 4)
    similarity[[0, 1, 2, 3], [2, 2, 3, 1]] = 60
    statistics, _ = match_statistics(similarity, cell_centres(2))
    torch.testing.assert_close(statistics[:, CYCLE], torch.tensor([0.5, 0.5, 1.0, 1.0]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(0.0, 80.0), shift=st.floats(-50, 50))
def test_statistics_keep_their_bounds_and_only_the_best_knows_the_level(
    seed: int, scale: float, shift: float
) -> None:
    similarity = scale * random(3, 9, 9, seed=seed)
    statistics, assignment = match_statistics(similarity, cell_centres(3))
    assert statistics.isfinite().all()
    assert (statistics[..., [ENTROPY, CYCLE]] > -1e-5).all()
    assert (statistics[..., [ENTROPY, CYCLE]] < 1 + 1e-5).all()
    assert (statistics[..., POSITION].abs() < 2 / 3 + 1e-5).all()
    torch.testing.assert_close(assignment.sum(-1), torch.ones(3, 9))
    shifted, _ = match_statistics(similarity + shift, cell_centres(3))
    torch.testing.assert_close(shifted[..., BEST], statistics[..., BEST] + shift)
    torch.testing.assert_close(shifted[..., 1:], statistics[..., 1:], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.0, 1.0, 60.0, 5000.0])
def test_statistics_have_finite_gradients_however_sure_the_match(scale: float) -> None:
    similarity = (scale * torch.eye(16)).requires_grad_()
    match_statistics(similarity, cell_centres(4))[0].sum().backward()
    assert similarity.grad is not None
    assert similarity.grad.isfinite().all()


# --- matcher ----------------------------------------------------------------------------------------------


def test_frames_are_taken_by_index() -> None:
    frames = torch.arange(2 * 4 * 3).view(2, 4, 3)
    index = torch.tensor([[[0, 3], [1, 1]], [[2, 0], [3, 2]]])  # [B, N, K]
    taken = take(frames, index)
    assert taken.shape == (2, 2, 2, 3)
    for where in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        assert taken[tuple(where)].tolist() == frames[where[0], index[tuple(where)]].tolist()


def test_the_order_of_the_keyframes_does_not_matter() -> None:
    model, given_tokens = matcher(), tokens()
    current, keyframes = torch.tensor([[4], [2]]), torch.tensor([[[0, 1, 2, 3]], [[0, 1, 3, 4]]])
    order = torch.tensor([2, 0, 3, 1])
    plain = model(**given_tokens, current=current, keyframes=keyframes)
    mixed = model(**given_tokens, current=current, keyframes=keyframes[..., order])
    torch.testing.assert_close(mixed, plain[:, :, order])
    assert (plain[:, :, 0] - plain[:, :, 1]).abs().max() > 1e-3  # but which keyframe it is does


def test_frames_without_a_role_do_not_matter() -> None:
    model, given_tokens = matcher(), tokens()
    roles = {"current": torch.tensor([[4], [4]]), "keyframes": torch.tensor([[[0, 2]], [[0, 2]]])}
    before = model(**given_tokens, **roles)
    for part in (given_tokens["tokens"], given_tokens["camera"], *given_tokens["frozen"]):
        part[:, [1, 3]] = 7.0
    torch.testing.assert_close(model(**given_tokens, **roles), before, rtol=0, atol=0)


def test_views_and_windows_of_a_batch_do_not_see_each_other() -> None:
    model, given_tokens = matcher(), tokens()
    current, keyframes = (
        torch.tensor([[4, 1], [2, 0]]),
        torch.tensor([[[0, 1], [0, 3]], [[0, 4], [1, 2]]]),
    )
    together = model(**given_tokens, current=current, keyframes=keyframes)
    for b in range(2):
        own = {name: part[b : b + 1] for name, part in given_tokens.items() if name != "frozen"}
        own["frozen"] = [f[b : b + 1] for f in given_tokens["frozen"]]
        for n in range(2):
            roles = {
                "current": current[b : b + 1, n : n + 1],
                "keyframes": keyframes[b : b + 1, n : n + 1],
            }
            torch.testing.assert_close(model(**own, **roles)[0, 0], together[b, n], atol=1e-5, rtol=1e-4)


def test_a_keyframe_named_twice_changes_nothing() -> None:
    """Padding by repeating all keyframes alike: mean and maximum over the keyframes stay what they were."""
    model, given_tokens = matcher(), tokens()
    current, keyframes = torch.tensor([[4], [4]]), torch.tensor([[[0, 2]], [[1, 3]]])
    once = model(**given_tokens, current=current, keyframes=keyframes)
    twice = model(**given_tokens, current=current, keyframes=keyframes.repeat(1, 1, 2))
    torch.testing.assert_close(twice, once.repeat(1, 1, 2, 1, 1, 1), atol=1e-5, rtol=1e-4)


def dense_learned(model: TokenMatcher, frames: Tensor, current: Tensor, keyframes: Tensor) -> Any:
    """``TokenMatcher._learned`` by one big product, without checkpoints."""
    shape = (model.heads, model.embed)
    query = torch.nn.functional.normalize(model.query(frames).unflatten(-1, shape), dim=-1)
    key = torch.nn.functional.normalize(model.key(frames).unflatten(-1, shape), dim=-1)
    similarity = torch.einsum(
        "bnpse,bnkqse->bnkspq", take(query * model.log_scale.exp(), current), take(key, keyframes)
    )
    statistics, assignment = match_statistics(similarity, cell_centres(GRID))  # [B, N, K, S, P, 8]
    found = assignment.mean(3) @ take(model.value(frames), keyframes)
    return statistics.movedim(3, 4).flatten(4), found


def test_matching_view_by_view_equals_one_dense_product_with_its_gradients() -> None:
    model, frames = matcher(), tokens()["tokens"]
    current, keyframes = torch.tensor([[4, 1], [2, 0]]), torch.tensor([[[0, 1, 2], [0, 3, 4]]] * 2)
    results, gradients = [], []
    for compute in (model._learned, lambda *args: dense_learned(model, args[0], *args[2:])):
        leaf = frames.clone().requires_grad_()
        parts = compute(leaf, cell_centres(GRID), current, keyframes)
        model.zero_grad()
        sum(part.square().sum() for part in parts).backward()
        results.append(parts)
        learned = (model.query.weight, model.key.weight, model.value.weight, model.log_scale)
        gradients.append([leaf.grad, *(p.grad.clone() for p in learned)])  # type: ignore[union-attr]
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-3, rtol=1e-3)


def test_frozen_similarities_are_plain_cosines_that_training_cannot_spoil() -> None:
    model, given_tokens = matcher(), tokens()
    frozen = [f.requires_grad_() for f in given_tokens["frozen"]]
    current, keyframes = torch.tensor([[4], [2]]), torch.tensor([[[0, 1]], [[1, 3]]])
    plain = model._plain(frozen, cell_centres(GRID), current, keyframes)
    assert plain.shape == (2, 1, 2, GRID * GRID, len(FROZEN) + 8)
    assert not plain.requires_grad
    for group, feature in enumerate(frozen):
        cosine = feature[1, 2] @ feature[1, 3].T  # current frame 2 against keyframe 3
        torch.testing.assert_close(plain[1, 0, 1, :, group], cosine.amax(-1))
    mean = torch.stack([f[0, 4] @ f[0, 1].T for f in frozen]).mean(0)
    torch.testing.assert_close(
        plain[0, 0, 1, :, len(FROZEN) :], match_statistics(PARAMS.frozen_scale * mean, cell_centres(GRID))[0]
    )
