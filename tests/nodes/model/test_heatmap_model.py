"""The whole chain: roles enter by index, every part learns, and a checkpoint brings it back bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from torch import Tensor

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset, CheckpointMismatchError
from vln_heatmap.nodes.losses.heatmap import HeatmapLoss
from vln_heatmap.nodes.model.assemble import checkpoint_meta, model_from_checkpoint
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.params import LossParams, ModelParams

SIZE, FRAMES, KEYFRAMES = 8, 4, 3


def inputs(batch: int = 2, frames: int = FRAMES, *, seed: int = 0) -> dict[str, Any]:
    """Random frames, the last one as the current view."""
    random = torch.Generator().manual_seed(seed)
    return {
        "frames": torch.rand(batch, frames, 3, 28, 28, generator=random),
        "features": torch.randn(
            batch, frames, synthetic.CHANNELS, synthetic.GRID, synthetic.GRID, generator=random
        ),
        "instructions": ["", synthetic.PHRASES[0]][:batch],
        "current": torch.full((batch, 1), frames - 1),
        "keyframes": torch.arange(frames - 1).expand(batch, 1, -1),
    }


def targets(batch: int = 2, views: int = 1, keyframes: int = KEYFRAMES) -> dict[str, Tensor]:
    """Made-up targets of the right shapes; all keyframes are real."""
    random = torch.Generator().manual_seed(5)
    mask = torch.rand(batch, views, keyframes, SIZE, SIZE, generator=random)
    return {
        "mask": mask,
        "distribution": mask / mask.sum((-2, -1), keepdim=True),
        "valid": torch.ones(batch, views, keyframes, dtype=torch.bool),
        "classes": torch.rand(batch, views, keyframes, 3, SIZE, SIZE, generator=random).softmax(3),
        "referred": torch.rand(batch, views, SIZE, SIZE, generator=random),
        "pixel_weight": torch.ones(batch, views, 1, SIZE, SIZE),
        "keyframe_mask": torch.ones(batch, views, keyframes, dtype=torch.bool),
    }


def loss_of(model: HeatmapModel, given: dict[str, Any], wanted: dict[str, Tensor]) -> Tensor:
    weights = {"mask": 1, "dice": 1, "distribution": 1, "classes": 1, "validity": 1, "referred": 1}
    return HeatmapLoss(LossParams.model_validate({"weights": weights}))(model(**given), wanted)[0]


def arrays(output: Any) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in vars(output).items() if value is not None}


def changed(**parts: dict[str, Any]) -> ModelParams:
    """The toy's parameters with other values in some parts."""
    content = synthetic.PARAMS.model_dump()
    return ModelParams.model_validate(
        content | {name: {**content[name], **values} for name, values in parts.items()}
    )


@pytest.fixture(scope="module")
def model() -> HeatmapModel:
    return synthetic.toy_model()


def test_one_heatmap_for_each_keyframe_of_each_view(model: HeatmapModel) -> None:
    given = inputs()
    given["current"] = torch.tensor([[3, 0], [3, 1]])
    given["keyframes"] = torch.tensor([[[0, 1, 2], [1, 2, 3]], [[0, 1, 2], [0, 2, 3]]])
    output = model(**given)
    assert output.mask_logits.shape == output.distribution_logits.shape == (2, 2, 3, SIZE, SIZE)
    assert output.class_logits.shape == (2, 2, 3, 3, SIZE, SIZE)
    assert output.validity_logits.shape == (2, 2, 3)
    assert output.referred_logits.shape == (2, 2, SIZE, SIZE)


def test_the_current_view_is_named_by_its_index_and_by_nothing_else(model: HeatmapModel) -> None:
    """One pass read for two views gives what two passes over the same frames give."""
    given = inputs()
    roles = [
        (torch.tensor([[3]] * 2), torch.tensor([[[0, 1]]] * 2)),
        (torch.tensor([[1]] * 2), torch.tensor([[[0, 2]]] * 2)),
    ]
    both = given | {
        name: torch.cat(parts, 1)
        for name, parts in zip(("current", "keyframes"), zip(*roles, strict=True), strict=True)
    }
    together = arrays(model(**both))
    for view, (current, keyframes) in enumerate(roles):
        alone = arrays(model(**given | {"current": current, "keyframes": keyframes}))
        torch.testing.assert_close(
            {name: value[:, view : view + 1] for name, value in together.items()}, alone, atol=1e-5, rtol=1e-4
        )
    difference = together["mask_logits"][:, 0] - together["mask_logits"][:, 1]
    assert difference.abs().max() > 1e-3


def test_the_order_of_the_keyframe_indices_only_orders_the_maps(model: HeatmapModel) -> None:
    given, order = inputs(), torch.tensor([2, 0, 1])
    plain = arrays(model(**given))
    mixed = arrays(model(**given | {"keyframes": given["keyframes"][..., order]}))
    referred = plain.pop("referred_logits"), mixed.pop("referred_logits")
    torch.testing.assert_close(*referred)
    torch.testing.assert_close(mixed, {name: value[:, :, order] for name, value in plain.items()})


def test_an_empty_instruction_means_everything_that_is_seen(model: HeatmapModel) -> None:
    output = model(**inputs() | {"instructions": ["", "  \n"]})
    seen = output.class_logits.softmax(3)[:, :, :, 0]
    torch.testing.assert_close(output.mask_logits.sigmoid(), seen)
    spoken = model(**inputs() | {"instructions": [synthetic.PHRASES[0]] * 2})
    named = spoken.referred_logits.sigmoid()[:, :, None]
    product = spoken.class_logits.softmax(3)[:, :, :, 0] * named
    torch.testing.assert_close(spoken.mask_logits.sigmoid(), product)
    assert (product < spoken.class_logits.softmax(3)[:, :, :, 0]).all()


def test_an_instruction_reaches_its_own_window_only(model: HeatmapModel) -> None:
    one = arrays(model(**inputs()))
    other = arrays(model(**inputs() | {"instructions": ["", synthetic.PHRASES[4]]}))
    for name, value in one.items():
        torch.testing.assert_close(value[0], other[name][0])
        assert (value[1] - other[name][1]).abs().max() > 1e-6, name


def test_single_views_show_where_the_instruction_points(model: HeatmapModel) -> None:
    output = model(**inputs(frames=1) | {"keyframes": torch.zeros(2, 1, 1, dtype=torch.long)})
    assert output.class_logits is None
    assert output.mask_logits.shape == (2, 1, 1, SIZE, SIZE)
    torch.testing.assert_close(output.mask_logits[:, :, 0], output.referred_logits)


def test_training_and_evaluation_mode_agree(model: HeatmapModel) -> None:
    losses = [loss_of(model.train(mode), inputs(), targets()).item() for mode in (True, False)]
    assert losses[0] == losses[1]


def test_padding_that_is_masked_has_no_part_in_the_loss(model: HeatmapModel) -> None:
    """Whatever the model says of a masked keyframe, and whatever the targets say, loss and gradient stay."""
    results = []
    for filling in (0.0, 1.0):
        given, wanted = inputs(), targets()
        wanted["keyframe_mask"][:, :, 2] = False
        for name in ("mask", "distribution", "classes"):
            wanted[name][:, :, 2] = filling
        wanted["valid"][:, :, 2] = bool(filling)
        model.zero_grad()
        loss = loss_of(model, given, wanted)
        loss.backward()
        results.append((loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(results[0], results[1], atol=0, rtol=0)
    output = model(**inputs())
    output.mask_logits.retain_grad()
    wanted = targets()
    wanted["keyframe_mask"][:, :, 2] = False
    HeatmapLoss(LossParams())(output, wanted)[0].backward()
    assert output.mask_logits.grad[:, :, 2].abs().max() == 0
    assert output.mask_logits.grad[:, :, :2].abs().min() > 0


@pytest.mark.parametrize("instruction", ["", synthetic.PHRASES[2]])
def test_the_gradient_reaches_every_weight(model: HeatmapModel, instruction: str) -> None:
    model.zero_grad()
    loss_of(model, inputs() | {"instructions": [instruction] * 2}, targets()).backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == {"vggt.aggregator.patch_embed.mask_token"}  # official weights have it, nothing uses it
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_mask_of_single_views_teaches_the_referring_part() -> None:
    model = synthetic.toy_model()
    given = inputs(frames=1) | {"keyframes": torch.zeros(2, 1, 1, dtype=torch.long)}
    model(**given).mask_logits.square().sum().backward()
    trained = {
        name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert trained == {
        "vggt",
        "fusion",
        "language",
        "enter_language",
        "leave_language",
        "detail",
        "referring",
    }


def test_the_seed_fixes_the_weights_and_nothing_else() -> None:
    torch.manual_seed(1)
    first, state = synthetic.toy_model(), torch.get_rng_state()
    torch.manual_seed(2)
    second, other = synthetic.toy_model(), synthetic.toy_model(seed=1)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # making a model draws none of the caller's numbers
    weights = first.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in second.state_dict().items())
    assert any(not torch.equal(value, weights[name]) for name, value in other.state_dict().items())


def test_features_are_standardised_by_the_statistics_of_training() -> None:
    """Shifted and scaled features with statistics to match are the same features."""
    model, given = synthetic.toy_model(), inputs()
    plain = arrays(model(**given))
    scale = torch.linspace(0.5, 3, synthetic.CHANNELS)
    shift = torch.linspace(-2, 2, synthetic.CHANNELS)
    model.set_feature_statistics(shift, scale)
    moved = given | {"features": given["features"] * scale[:, None, None] + shift[:, None, None]}
    torch.testing.assert_close(arrays(model(**moved)), plain, atol=1e-3, rtol=1e-3)
    far = [given | {"features": given["features"].index_fill(2, torch.tensor([3]), v)} for v in (6.0, 1e5)]
    model.set_feature_statistics(torch.zeros_like(shift), torch.ones_like(scale))
    torch.testing.assert_close(
        arrays(model(**far[0])), arrays(model(**far[1]))
    )  # beyond 6 sigma all is alike
    given["features"][:, :, 3] = 0  # a channel that never varies
    model.set_feature_statistics(torch.zeros_like(shift), torch.zeros_like(scale))
    assert all(value.isfinite().all() for value in arrays(model(**given)).values())


@pytest.mark.parametrize(("size", "steps"), [(16, 1), (32, 2), (40, 2)])
def test_finer_heatmaps_are_refined_by_what_the_current_view_shows(size: int, steps: int) -> None:
    """The encoder's features stay: what changes comes from the pixels, and every weight of it learns."""
    model, given = synthetic.toy_model(changed(head={"heatmap_size": size})), inputs()
    output = model(**given)
    assert output.mask_logits.shape == (2, 1, 3, size, size)
    assert output.class_logits.shape == (2, 1, 3, 3, size, size)
    assert output.referred_logits.shape == (2, 1, size, size)
    assert len(model.head.finer.steps) == len(model.referring.finer.steps) == steps
    for step in (*model.head.finer.steps, *model.referring.finer.steps):
        torch.nn.init.normal_(step.correct.weight)  # as if trained
    loss_of(model, given, targets() | fine_targets(size)).backward()
    refined = {name: p for name, p in model.named_parameters() if "finer" in name or "guides" in name}
    assert len(refined) == 2 * 8 * steps + 2 * steps
    assert all(p.grad is not None and p.grad.any() for p in refined.values())
    alone = model(**inputs(frames=1) | {"keyframes": torch.zeros(2, 1, 1, dtype=torch.long)})
    assert alone.mask_logits.shape == (2, 1, 1, size, size)


def fine_targets(size: int) -> dict[str, Tensor]:
    """The made-up targets on another grid."""
    wanted = {name: value for name, value in targets().items() if value.is_floating_point()}
    finer = {
        name: torch.nn.functional.interpolate(value.flatten(0, -4), size=(size, size)).unflatten(
            0, value.shape[:-3]
        )
        for name, value in wanted.items()
    }
    finer["distribution"] /= finer["distribution"].sum((-2, -1), keepdim=True)
    return finer


# --- checkpoints ------------------------------------------------------------------------------------------


def saved(folder: Path, model: HeatmapModel, params: ModelParams = synthetic.PARAMS) -> Checkpoint:
    dataset = CheckpointDataset(filepath=str(folder / "finetuned"))
    meta = checkpoint_meta(model, params, synthetic.TOKENIZER, statistics={"state": [1.0]})
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    return dataset.load()


def test_a_checkpoint_alone_gives_the_same_model_bit_for_bit(tmp_path: Path) -> None:
    model = synthetic.toy_model(seed=3)
    model.set_feature_statistics(torch.rand(synthetic.CHANNELS), torch.rand(synthetic.CHANNELS) + 0.5)
    checkpoint = saved(tmp_path, model)
    restored = model_from_checkpoint(checkpoint)
    assert not restored.training
    for frames in (1, FRAMES):
        given = inputs(frames=frames) | (
            {"keyframes": torch.zeros(2, 1, 1, dtype=torch.long)} if frames == 1 else {}
        )
        want, have = arrays(model(**given)), arrays(restored(**given))
        assert want.keys() == have.keys()
        assert all(torch.equal(value, have[name]) for name, value in want.items())
    assert checkpoint.meta["statistics"] == {"state": [1.0]}
    assert model_from_checkpoint(checkpoint, expected=synthetic.PARAMS).params == synthetic.PARAMS


@pytest.mark.parametrize(
    "other",
    [
        changed(fusion={"width": 16}),
        changed(head={"width": 24}),
        changed(vggt={"attention_heads": 1}),
        changed(language={"depth": 2}),
        changed(language={"attention_heads": 4, "kv_heads": 2}),  # the same shapes, but they mean other heads
        changed(encoder={"blocks": (2,)}),
        changed(encoder={"input_size": 96}),
    ],
    ids=["fusion", "head", "vggt", "depth", "attention_heads", "blocks", "input_size"],
)
def test_a_checkpoint_of_another_preset_is_refused_by_both_names(tmp_path: Path, other: ModelParams) -> None:
    checkpoint = saved(tmp_path, synthetic.toy_model())
    with pytest.raises(CheckpointMismatchError, match=r"'toy'.*'grand'"):
        model_from_checkpoint(checkpoint, expected=other.model_copy(update={"preset": "grand"}))


def test_what_no_weight_depends_on_may_differ_from_the_checkpoint(tmp_path: Path) -> None:
    """Other keyframes, more frames at a time, a finer heatmap: the weights serve them all."""
    checkpoint = saved(tmp_path, synthetic.toy_model())
    other = changed(keyframes={"count": 7}, encoder={"batch": 9}, head={"heatmap_size": 12})
    model = model_from_checkpoint(checkpoint, expected=other)
    assert model.params == other
    assert model(**inputs()).mask_logits.shape[-2:] == (12, 12)


@pytest.mark.parametrize("damage", ["key", "value", "missing"])
def test_a_checkpoint_of_another_version_of_the_model_is_refused_with_its_path(
    tmp_path: Path, damage: str
) -> None:
    checkpoint = saved(tmp_path, synthetic.toy_model())
    if damage == "missing":
        del checkpoint.meta["features"]
    else:
        checkpoint.meta["model"]["head"]["wings" if damage == "key" else "heads"] = -2
    for expected in (None, synthetic.PARAMS):
        with pytest.raises(CheckpointMismatchError, match=str(checkpoint.path)):
            model_from_checkpoint(checkpoint, expected=expected)


# --- the residual of plain cosines ------------------------------------------------------------------------


def test_the_residual_adds_plain_cosines_to_the_co_visible_logits_and_to_nothing_else() -> None:
    given = inputs()
    learned = synthetic.toy_model()
    added = synthetic.toy_model(changed(head={"residual": 4.0}))
    added.load_state_dict(learned.state_dict())
    before, after = learned(**given), added(**given)
    difference = after.class_logits - before.class_logits  # [B, N, K, 3, h, w]
    assert not difference[:, :, :, 1:].any()
    channels = synthetic.CHANNELS - learned.extra
    cells = given["features"][:, :, :channels].flatten(-2)  # [B, T, C, P]
    cosines = 0
    for group in cells.split(learned.groups, dim=2):
        unit = group / group.norm(dim=2, keepdim=True)
        cosines = cosines + torch.einsum("bcp,bkcq->bkpq", unit[:, -1], unit[:, :-1])
    best = (cosines / len(learned.groups)).amax(-1).unflatten(-1, (synthetic.GRID,) * 2)  # [B, K, g, g]
    wanted = torch.nn.functional.interpolate(
        4 * (best - best.mean((1, 2, 3), keepdim=True)), size=(SIZE, SIZE), mode="bilinear"
    )
    torch.testing.assert_close(difference[:, 0, :, 0], wanted, atol=1e-4, rtol=1e-4)


def test_the_residual_knows_no_training_and_needs_none() -> None:
    """Statistics of training features do not move it, and it hands on no gradient of its own."""
    model, given = synthetic.toy_model(changed(head={"residual": 4.0})), inputs()
    features = given["features"]
    first = model._residual(features, given["current"], given["keyframes"])
    model.set_feature_statistics(torch.full((synthetic.CHANNELS,), 3.0), torch.ones(synthetic.CHANNELS))
    again = model._residual(features, given["current"], given["keyframes"])
    torch.testing.assert_close(first, again)
    assert not first.requires_grad
    same = {**given, "features": features[:, :1].expand_as(features)}
    everywhere = model._residual(same["features"], given["current"], given["keyframes"])
    torch.testing.assert_close(everywhere, torch.zeros_like(everywhere), atol=1e-5, rtol=0)
