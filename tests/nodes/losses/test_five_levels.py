"""The five spatial levels on cases that can be worked out on paper."""

import math

import loss_worlds
import pytest
import torch
from loss_worlds import SIZE
from torch import Tensor

from vln_heatmap.nodes.losses.levels.coherence import coherence_loss, view_images
from vln_heatmap.nodes.losses.levels.correspondence import correspondence_loss, token_similarity
from vln_heatmap.nodes.losses.levels.discrimination import discrimination_loss
from vln_heatmap.nodes.losses.levels.geometric import distinct_pairs, geometric_loss
from vln_heatmap.nodes.losses.levels.reasoning import (
    attention_loss,
    contrast_loss,
    differing,
    wrong_instructions,
)
from vln_heatmap.nodes.losses.warping import view_warps

# --- 1, geometric ---------------------------------------------------------------------------------------------


def geometric(field: Tensor, target: Tensor, **changes: Tensor) -> float:
    """Level 1 of maps [1, N, K, h, w] on the wall; published form where there is no target."""
    _, n, k = field.shape[:3]
    given = {
        "keyframes": torch.arange(10, 10 + k).expand(1, n, k),
        "real": torch.ones(1, n, k, dtype=torch.bool),
        "current": torch.arange(n)[None],
        **changes,
    }
    warps = view_warps(*loss_worlds.wall(n).values(), occlusion=0.05)
    pairs = distinct_pairs(given["current"], warps)
    maps = (field, target, torch.ones_like(field))
    form = "target" if target.any() else "published"
    return geometric_loss(*maps, given["keyframes"], given["real"], warps, pairs, form=form).item()


def test_views_that_see_one_picture_agree() -> None:
    picture = torch.stack([loss_worlds.painted(3, seed=s) for s in range(2)], dim=2)  # [1, 3, 2, h, w]
    assert geometric(picture, torch.zeros_like(picture)) == pytest.approx(0, abs=1e-9)


def test_a_constant_difference_between_views_is_the_loss() -> None:
    field = torch.zeros(1, 3, 1, SIZE, SIZE, dtype=torch.float64)
    field[:, 1] = 0.3  # of 6 ordered pairs 4 differ by 0.3; pairs of neighbours share 5 columns, the others 4
    assert geometric(field, torch.zeros_like(field)) == pytest.approx(0.3 * (4 * 5) / (4 * 5 + 2 * 4))


def test_the_targets_own_disagreement_is_no_error() -> None:
    target = torch.zeros(1, 2, 1, SIZE, SIZE, dtype=torch.float64)
    target[:, 1] = 0.3
    assert geometric(target, target) == pytest.approx(0, abs=1e-12)
    assert geometric(target + 0.2, target) == pytest.approx(0, abs=1e-12)
    assert geometric(torch.zeros_like(target), target) == pytest.approx(0.3)


def test_keyframes_are_compared_by_their_frame_and_not_by_their_slot() -> None:
    """View 0 has the keyframes 7, 8 and 9, view 1 has 9, 7 and padding."""
    field = torch.zeros(1, 2, 3, SIZE, SIZE, dtype=torch.float64)
    field[0, 0] = torch.tensor([0.7, 0.8, 0.9])[:, None, None]
    field[0, 1] = torch.tensor([0.9, 0.7, 0.1])[:, None, None]
    frames = torch.tensor([[[7, 8, 9], [9, 7, 8]]])
    real = torch.tensor([[[True, True, True], [True, True, False]]])
    assert geometric(field, 0 * field, keyframes=frames, real=real) == pytest.approx(0, abs=1e-9)
    field[0, 1, 0] = 0.4
    assert geometric(field, 0 * field, keyframes=frames, real=real) == pytest.approx(0.5 / 2)
    nothing = geometric(field, 0 * field, keyframes=frames + torch.tensor([[[0], [50]]]), real=real)
    assert nothing == 0  # no keyframe in common


def test_one_frame_twice_and_single_views_say_nothing() -> None:
    field = torch.rand(1, 2, 1, SIZE, SIZE, dtype=torch.float64)
    assert geometric(field, 0 * field, current=torch.tensor([[4, 4]])) == 0
    assert geometric(field[:, :1], 0 * field[:, :1]) == 0


# --- 2, correspondence ------------------------------------------------------------------------------------------


def test_similarity_is_the_best_cosine_above_the_mean() -> None:
    """Frame 0 shows a and b, frame 1 a and c, frame 2 a twice (codes at right angles, less their mean)."""
    a, b, c = torch.eye(3)
    tokens = torch.stack([torch.stack(cells, -1) for cells in ((a, b), (a, c), (a, a))])[None, :, :, None]
    flat = torch.stack([a, b, a, c, a, a])
    a, b, c = (x - flat.mean(0) for x in (a, b, c))
    found = token_similarity(
        tokens, torch.tensor([[0]]), torch.tensor([[[1, 2, 0]]]), (1, 2)
    )  # [1, 1, 3, 1, 2]
    cosine = torch.nn.functional.cosine_similarity
    b_in_1 = max(cosine(b, a, 0).item(), cosine(b, c, 0).item(), 0)
    b_in_2 = max(cosine(b, a, 0).item(), 0)
    expected = torch.tensor([[1, b_in_1], [1, b_in_2], [1, 1]])
    torch.testing.assert_close(found[0, 0, :, 0], expected)
    assert b_in_1 < 0.5


def test_constant_tokens_are_like_nothing() -> None:
    found = token_similarity(torch.ones(1, 2, 3, 2, 2), torch.tensor([[1]]), torch.tensor([[[0]]]), (4, 4))
    assert found.abs().max() < 1e-6
    assert found.shape == (1, 1, 1, 4, 4)


def test_heat_without_correspondence_costs_what_is_too_much_of_it() -> None:
    p, t = (torch.full((1, 1, 1, 2, 2), value, dtype=torch.float64) for value in (0.8, 0.5))
    similarity, weight = torch.full_like(p, 0.25), torch.ones_like(p)
    assert correspondence_loss(p, t, weight, similarity).item() == pytest.approx(0.3 * 0.75)
    assert correspondence_loss(p, t, weight, similarity, form="published").item() == pytest.approx(0.8 * 0.75)
    assert correspondence_loss(t, t, weight, similarity).item() == 0
    assert correspondence_loss(p, t, weight, torch.ones_like(p)).item() == 0


# --- 3, coherence -----------------------------------------------------------------------------------------------


def step(high: float) -> Tensor:
    """A map [1, 1, 1, 2, 4] that jumps to ``high`` in the middle: a third of the neighbours across differ."""
    return high * torch.tensor([0, 0, 1.0, 1.0], dtype=torch.float64).expand(1, 1, 1, 2, 4)


def test_an_edge_is_excused_by_an_edge_of_the_image() -> None:
    p, t, weight = step(0.9), step(0.0), torch.ones(1, 1, 1, 2, 4, dtype=torch.float64)
    dark = torch.zeros(1, 1, 3, 2, 4, dtype=torch.float64)
    assert coherence_loss(p, t, weight, dark, form="published").item() == pytest.approx(0.3)
    assert coherence_loss(p, t, weight, dark).item() == pytest.approx(0.3)
    image = step(0.2)[:, :, 0, None].expand_as(dark)
    assert coherence_loss(p, t, weight, image, edges=10).item() == pytest.approx(0.3 * math.exp(-2))


def test_only_edges_steeper_than_the_targets_cost() -> None:
    weight, dark = torch.ones(1, 1, 1, 2, 4, dtype=torch.float64), torch.zeros(1, 1, 3, 2, 4)
    assert coherence_loss(step(0.9), step(0.6), weight, dark).item() == pytest.approx(0.1)
    for p in (step(0.6), step(0.2)):
        assert coherence_loss(p, step(0.6), weight, dark).item() == 0
    assert coherence_loss(step(0.6), step(0.6), weight, dark, form="published").item() == pytest.approx(0.2)


def test_images_are_those_of_the_views() -> None:
    frames = torch.arange(4, dtype=torch.uint8)[None, :, None, None, None].expand(1, 4, 3, 8, 8) * 51
    images = view_images(frames, torch.tensor([[3, 0]]), (4, 4))
    assert images.shape == (1, 2, 3, 4, 4)
    torch.testing.assert_close(images[0, :, 0, 0, 0], torch.tensor([0.6, 0.0]))
    torch.testing.assert_close(view_images(frames.double(), torch.tensor([[3, 0]]), (4, 4)), images)


# --- 4, reasoning -----------------------------------------------------------------------------------------------


def test_attention_is_to_be_spread_over_what_is_referred_to() -> None:
    referred = torch.zeros(1, 1, 4, 4)
    referred[..., :2, :] = 1.0  # the upper two of four tokens
    weight = torch.ones_like(referred)
    assert attention_loss(torch.zeros(1, 1, 2, 2), referred, weight).item() == pytest.approx(math.log(2))
    best = torch.tensor([[[[9.0, 9.0], [-50, -50]]]])
    assert attention_loss(best, referred, weight).item() == pytest.approx(0, abs=1e-6)
    one = torch.tensor([[[[2.0, 0.0], [-50, -50]]]])
    share = 1 / (1 + math.exp(-2))
    expected = -math.log(2) - (math.log(share) + math.log(1 - share)) / 2
    assert attention_loss(one, referred, weight).item() == pytest.approx(expected, rel=1e-5)
    assert attention_loss(one, 0 * referred, weight).item() == 0
    assert attention_loss(one, referred, 0 * weight).item() == 0


def test_the_right_instruction_must_win_by_the_margin() -> None:
    target = torch.ones(2, 1, 1, 2, 2, dtype=torch.float64)
    undecided, weight = torch.zeros_like(target), torch.ones_like(target)
    wrong = torch.full_like(target, -math.log(3))  # p = 1/4: costs log 4 instead of log 2
    both = torch.tensor([True, True])

    def loss(right: Tensor, other: Tensor, differs: Tensor = both, weight: Tensor = weight) -> list[float]:
        return contrast_loss(right, other, target, weight, differs, margin=0.1).tolist()

    lost = 0.1 + math.log(2)
    assert loss(undecided, undecided) == pytest.approx([0.1, 0.1])
    assert loss(undecided, wrong) == [0, 0]
    assert loss(wrong, undecided) == pytest.approx([lost, lost])
    assert loss(wrong, undecided, torch.tensor([True, False])) == pytest.approx([lost, 0])
    assert loss(wrong, undecided, weight=0 * weight) == [0, 0]


def test_wrong_instructions_are_the_windows_own_or_the_batchs_rolled() -> None:
    batch = {"instruction": ["a", "b", "b"]}
    assert wrong_instructions(batch) == ["b", "a", "b"]
    assert differing(batch, torch.device("cpu")).tolist() == [True, True, False]
    own = batch | {"other_instruction": ["c", "b ", "a"]}
    assert wrong_instructions(own) == ["c", "b ", "a"]
    assert differing(own, torch.device("cpu")).tolist() == [True, False, True]
    assert not differing({"instruction": ["a"]}, torch.device("cpu")).any()


# --- 5, discrimination ------------------------------------------------------------------------------------------


def test_similarity_beyond_the_targets_is_punished_and_nothing_else() -> None:
    left, right, whole = (torch.tensor([x], dtype=torch.float64) for x in ([1.0, 0], [0, 1.0], [1.0, 1.0]))

    def loss(p: tuple[Tensor, Tensor], t: tuple[Tensor, Tensor], form: str = "target") -> float:
        maps, targets = (torch.stack(m)[None, None] for m in (p, t))  # [1, 1, 2, 1, 2]
        every = torch.ones(1, 1, 2, dtype=torch.bool)
        return discrimination_loss(maps, targets, torch.ones_like(maps), every, form=form).item()

    cosine = 1 / math.sqrt(2)
    assert loss((left, whole), (left, right)) == pytest.approx(cosine)
    assert loss((left, whole), (left, whole)) == pytest.approx(0, abs=1e-9)
    assert loss((left, right), (whole, whole)) == 0
    assert loss((whole, whole), (left, whole)) == pytest.approx(1 - cosine)
    assert loss((left, whole), (left, whole), "published") == pytest.approx(cosine)


def test_keyframes_in_which_nothing_is_seen_need_not_differ() -> None:
    same = torch.full((1, 1, 3, 2, 2), 0.1, dtype=torch.float64)
    one = torch.tensor([[[True, False, False]]])
    for form in ("target", "published"):
        assert discrimination_loss(same, 0 * same, torch.ones_like(same), one, form=form).item() == 0
