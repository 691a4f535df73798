"""The heatmap head: what a similarity matrix says in closed form, who may influence whom, exact probabilities."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vln_heatmap.nodes.model.heads import Detail, HeatmapHead, HeatmapOutput, ReferringHead
from vln_heatmap.nodes.model.matchers import TokenMatcher
from vln_heatmap.nodes.model.matching import cell_centres, match_statistics, take
from vln_heatmap.params import HeadParams

PARAMS = HeadParams(heads=2, embed=8, width=16, blocks=2, detail=6, heatmap_size=8)
GRID, DIM, CAMERA, FROZEN = 4, 12, 10, (5, 3)
BEST, ENTROPY, CYCLE, POSITION, DISPLACEMENT, SPREAD = 0, 1, 2, slice(3, 5), slice(5, 7), 7


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def matcher(params: HeadParams = PARAMS) -> TokenMatcher:
    torch.manual_seed(0)
    return TokenMatcher(DIM, CAMERA, len(FROZEN), params).eval()


def tokens(batch: int = 2, frames: int = 5, *, seed: int = 0) -> dict[str, Any]:
    """What the matcher takes of all frames."""
    cells = GRID * GRID
    frozen = [random(batch, frames, cells, c, seed=seed + 2 + c) for c in FROZEN]
    return {
        "tokens": random(batch, frames, cells, DIM, seed=seed),
        "camera": random(batch, frames, CAMERA, seed=seed + 1),
        "frozen": [torch.nn.functional.normalize(f, dim=-1) for f in frozen],
    }


def head(params: HeadParams = PARAMS) -> HeatmapHead:
    torch.manual_seed(0)
    return HeatmapHead(params, params.detail)


def head_inputs(b: int = 2, n: int = 2, k: int = 3) -> dict[str, Tensor]:
    size = PARAMS.heatmap_size
    return {
        "maps": random(b, n, k, PARAMS.width, GRID, GRID),
        "detail": random(b, n, PARAMS.detail, size, size, seed=1),
        "referred": 3 * random(b, n, size, size, seed=2),
        "everything": torch.tensor([True, False][:b]),
    }


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
