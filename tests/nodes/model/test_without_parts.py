"""The chain with one part taken out or replaced: what is gone has no influence, what is left still learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from torch import Tensor

from vln_heatmap.datasets.checkpoint import CheckpointDataset
from vln_heatmap.nodes.losses.heatmap import HeatmapLoss
from vln_heatmap.nodes.model.assemble import checkpoint_meta, make_model, model_from_checkpoint
from vln_heatmap.nodes.model.describe import describe
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.matchers import MATCHERS
from vln_heatmap.nodes.model.vggt import NoGeometry, make_geometry
from vln_heatmap.params import HeadParams, LossParams, ModelParams, VGGTParams

FRAMES, SIZE = 4, 8
WITHOUT: dict[str, dict[str, dict[str, Any]]] = {
    "vggt": {"vggt": {"name": "none"}},
    "encoder": {"encoder": {"name": "none"}},
    "language": {"language": {"kind": "none"}},
    "similarity": {"head": {"kind": "frozen_cosine"}},
    "matching": {"head": {"kind": "own_tokens"}},
    "everything": {"vggt": {"name": "none"}, "encoder": {"name": "none"}, "language": {"kind": "none"}},
}
every_way = pytest.mark.parametrize("name", WITHOUT)


def params(name: str, **more: dict[str, Any]) -> ModelParams:
    content = synthetic.PARAMS.model_dump()
    changes = WITHOUT.get(name, {}) | more
    return ModelParams.model_validate(content | {part: content[part] | new for part, new in changes.items()})


def model(name: str, **more: dict[str, Any]) -> HeatmapModel:
    chosen = params(name, **more)
    encoder = make_encoder(chosen.encoder)
    own = chosen.encoder.name == "none"
    groups, extra = (encoder.groups, encoder.extra) if own else (synthetic.GROUPS, synthetic.EXTRA)
    return make_model(chosen, synthetic.TOKENIZER, groups=groups, extra=extra).eval()


def inputs(network: HeatmapModel, *, seed: int = 0) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    channels = sum(network.groups) + network.extra
    return {
        "frames": torch.rand(2, FRAMES, 3, 28, 28, generator=random),
        "features": torch.randn(2, FRAMES, channels, synthetic.GRID, synthetic.GRID, generator=random),
        "instructions": synthetic.PHRASES[:2],
        "current": torch.full((2, 1), FRAMES - 1),
        "keyframes": torch.arange(FRAMES - 1).expand(2, 1, -1),
    }


def targets() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(5)
    mask = torch.rand(2, 1, FRAMES - 1, SIZE, SIZE, generator=random)
    return {
        "mask": mask,
        "distribution": mask / mask.sum((-2, -1), keepdim=True),
        "valid": torch.ones(2, 1, FRAMES - 1, dtype=torch.bool),
        "classes": torch.rand(2, 1, FRAMES - 1, 3, SIZE, SIZE, generator=random).softmax(3),
        "referred": torch.rand(2, 1, SIZE, SIZE, generator=random),
        "pixel_weight": torch.ones(2, 1, 1, SIZE, SIZE),
        "keyframe_mask": torch.ones(2, 1, FRAMES - 1, dtype=torch.bool),
    }


@every_way
def test_what_is_left_gives_heatmaps_and_learns(name: str) -> None:
    network = model(name)
    given, wanted = inputs(network), targets()
    weights = {"mask": 1, "dice": 1, "distribution": 1, "classes": 1, "validity": 1, "referred": 1}
    loss = HeatmapLoss(LossParams.model_validate({"weights": weights}))
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(6):
        output = network(**given)
        assert output.mask_logits.shape == (2, 1, FRAMES - 1, SIZE, SIZE)
        total = loss(output, wanted)[0]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < losses[0]


@every_way
def test_a_checkpoint_brings_it_back(name: str, tmp_path: Path) -> None:
    network = model(name)
    dataset = CheckpointDataset(filepath=str(tmp_path / "finetuned"))
    meta = checkpoint_meta(network, network.params, synthetic.TOKENIZER)
    dataset.save({"state_dict": network.state_dict(), "meta": meta})
    restored = model_from_checkpoint(dataset.load())
    given = inputs(network)
    assert torch.equal(restored(**given).mask_logits, network(**given).mask_logits)


@every_way
def test_the_model_card_counts_what_is_left(name: str) -> None:
    card = describe(params(name), weights="none")
    parts = {part.part: part.parameters for part in card.parts}
    assert ("vggt" in parts) == (name not in ("vggt", "everything"))
    assert ("encoder" in parts) == (name not in ("encoder", "everything"))
    if name in ("language", "everything"):
        assert parts["language"] == synthetic.PARAMS.language.dim


def test_without_vggt_the_frames_count_in_the_current_view_only() -> None:
    """There its pixels give the fine structure; all else comes from the features."""
    network = model("vggt")
    given = inputs(network)
    plain = network(**given).mask_logits
    other = given | {"frames": given["frames"].clone()}
    other["frames"][:, :-1] = 0.5
    assert torch.equal(network(**other).mask_logits, plain)
    whole = model("")
    assert not torch.equal(whole(**other).mask_logits, whole(**given).mask_logits)


def test_without_vggt_nothing_else_changes_its_shape() -> None:
    shapes = [{name: p.shape for name, p in model(name).state_dict().items()} for name in ("", "vggt")]
    assert {n: s for n, s in shapes[0].items() if not n.startswith("vggt.")} == shapes[1]


def test_no_geometry_refuses_what_it_cannot_know() -> None:
    with pytest.raises(ValueError, match="neither source nor heads"):
        VGGTParams(name="none", heads=("camera",))
    with pytest.raises(ValueError, match="neither source nor heads"):
        VGGTParams(name="none", source="weights.pt")
    nothing = make_geometry(VGGTParams(name="none"))
    assert isinstance(nothing, NoGeometry)
    with pytest.raises(ValueError, match="head must be one of those built"):
        nothing(torch.zeros(1, 1, 3, 14, 14), heads=("depth",))


def test_without_language_the_words_do_not_matter_but_their_absence_does() -> None:
    network = model("language")
    given = inputs(network)
    plain = network(**given).mask_logits
    assert torch.equal(network(**given | {"instructions": synthetic.PHRASES[2:4]}).mask_logits, plain)
    assert not torch.equal(network(**given | {"instructions": ["", ""]}).mask_logits, plain)
    with pytest.raises(ValueError, match="one instruction a sample"):
        network(**given | {"instructions": [""]})
    with pytest.raises(ValueError, match="no layers for"):
        params("language", tuning={"gradient_checkpointing": True})


def test_without_the_encoder_a_frame_is_its_colours() -> None:
    encoder = make_encoder(params("encoder").encoder)
    assert (encoder.groups, encoder.extra) == ((), 6)
    frames = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    full = make_encoder(synthetic.PARAMS.encoder)
    torch.testing.assert_close(encoder.encode(frames), full.encode(frames)[:, -6:])
    with pytest.raises(ValueError, match="needs colour"):
        params("encoder", encoder={"name": "none", "colour": False})


@pytest.mark.parametrize("odometry", [False, True])
@pytest.mark.parametrize("kind", MATCHERS)
def test_every_head_describes_cells_and_takes_odometry(kind: Any, odometry: bool) -> None:
    head = HeadParams(kind=kind, width=16, embed=8, blocks=1, odometry=odometry)
    matcher = MATCHERS[kind](12, 10, 2, head).eval()
    random = torch.Generator().manual_seed(0)
    frozen = [
        torch.nn.functional.normalize(torch.randn(2, 3, 9, c, generator=random), dim=-1) for c in (4, 5)
    ]
    poses = torch.eye(4).repeat(2, 3, 1, 1)
    poses[:, :, 0, 3] = torch.arange(3.0)
    given = (
        torch.randn(2, 3, 9, 12, generator=random),
        torch.randn(2, 3, 10, generator=random),
        frozen,
        torch.tensor([[2, 1], [2, 0]]),
        torch.tensor([[[0, 1], [0, 2]], [[0, 1], [1, 2]]]),
    )
    maps = matcher(*given, poses)
    assert maps.shape == (2, 2, 2, 16, 3, 3)
    assert (
        torch.equal(matcher(*given, 3 * poses), maps) != odometry
    )  # scaled by three: the same turns, longer ways
    if odometry:
        with pytest.raises(ValueError, match="poses"):
            matcher(*given)


def head_input(current_cells: Tensor, keyframe_cells: Tensor) -> tuple[Any, ...]:
    """One window of a keyframe and a current view, whose tokens are also its only group of features."""
    tokens = torch.stack([keyframe_cells, current_cells])[None]  # [1, 2, P, D]
    frozen = [torch.nn.functional.normalize(tokens, dim=-1)]
    return tokens, torch.zeros(1, 2, 4), frozen, torch.tensor([[1]]), torch.tensor([[[0]]])


def test_own_tokens_follow_the_keyframe_and_nothing_in_the_current_view() -> None:
    """Cells change places, in the current view or in the keyframe: a matching head sees both."""
    random = torch.Generator().manual_seed(1)
    now, then = torch.randn(4, 6, generator=random), torch.randn(4, 6, generator=random)
    for kind in ("own_tokens", "frozen_cosine"):
        matcher = MATCHERS[kind](6, 4, 1, HeadParams(width=16, embed=8, blocks=1))
        plain, turned_now, turned_then = (
            matcher(*head_input(*cells)) for cells in ((now, then), (now.flip(0), then), (now, then.flip(0)))
        )
        assert torch.equal(plain, turned_now) == (kind == "own_tokens")
        assert not torch.equal(plain, turned_then)


def test_the_frozen_cosine_head_is_best_where_cells_show_the_same() -> None:
    """Its comparison of a view with itself: every best cosine is 1, and with another's it is not."""
    matcher = MATCHERS["frozen_cosine"](6, 4, 1, HeadParams(width=16, embed=8, blocks=1))
    random = torch.Generator().manual_seed(1)
    now, then = torch.randn(4, 6, generator=random), torch.randn(4, 6, generator=random)
    _, _, frozen, current, keyframes = head_input(now, now)
    torch.testing.assert_close(matcher.compared(frozen, current, keyframes)[..., 0], torch.ones(1, 1, 1, 4))
    _, _, frozen, current, keyframes = head_input(now, then)
    best = (frozen[0][0, 1] @ frozen[0][0, 0].T).amax(-1)
    torch.testing.assert_close(matcher.compared(frozen, current, keyframes)[0, 0, 0, :, 0], best)
