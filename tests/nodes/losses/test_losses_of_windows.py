"""The parts on real windows and on the whole model: exact targets agree across views, and everything learns."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from torch import Tensor

from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.datasets.windows import WindowDataset, augmented
from vln_heatmap.nodes.losses.heatmap import PARTS, HeatmapLoss
from vln_heatmap.nodes.losses.levels.reasoning import wrong_instructions
from vln_heatmap.nodes.losses.objective import judged
from vln_heatmap.nodes.losses.warping import view_warps
from vln_heatmap.nodes.model.keyframes import UniformSampler
from vln_heatmap.params import LOSS_SETS, LossParams, WindowParams

PLAIN = WindowParams(views=3, sampled=48, sigma=0.6, mirror=0, colour=0, feature_noise=0)
SAMPLER = UniformSampler(synthetic.PARAMS.keyframes)
NEEDS = frozenset({"geometry", "contrast"})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FrameFeatures:
    return synthetic.store_features(tmp_path_factory.mktemp("walks"), synthetic.walks())


def windows(store: FrameFeatures, size: int) -> WindowDataset:
    table = synthetic.sample_table(synthetic.walks())
    rows: pd.DataFrame = table[(table["task"] == "finetune") & (table["split"] == "train")]
    roles: dict[str, Any] = {"keyframes": 3, "size": size, "training": True, "needs": NEEDS}
    return WindowDataset(rows, store, PLAIN, SAMPLER.sample, **roles)


def batch_of(dataset: WindowDataset, count: int, *, mirror: bool = False) -> dict[str, Any]:
    chosen = [dataset.get(i, np.random.default_rng(i)) for i in range(count)]
    if mirror:
        params = PLAIN.model_copy(update={"mirror": 1.0})
        chosen = [augmented(window, params, np.random.default_rng(0)) for window in chosen]
    return dataset.collate(chosen)


def own_disagreement(batch: dict[str, Any]) -> float:
    """Level 1, published form, of heatmaps that are the exact targets."""
    output = SimpleNamespace(mask_logits=batch["mask"].logit(eps=1e-6))
    params = LossParams.model_validate({"forms": {"geometric": "published"}})
    return HeatmapLoss(params)(output, batch, {"geometric": 1.0})[0].item()


@pytest.mark.parametrize("mirror", [False, True])
def test_exact_targets_agree_across_views_and_only_with_the_right_geometry(
    store: FrameFeatures, mirror: bool
) -> None:
    batch = batch_of(windows(store, 24), 6, mirror=mirror)
    own = own_disagreement(batch)
    assert 0 < own < 0.03
    flip = torch.tensor([-1.0, 1, 1, 1])
    turned = batch | {"view_pose": batch["view_pose"] * flip.outer(flip)}  # the mirror, of the poses only
    still = batch | {"view_pose": torch.eye(4).expand_as(batch["view_pose"])}
    assert min(own_disagreement(turned), own_disagreement(still)) > 4 * own


def test_most_of_what_two_views_share_is_found(store: FrameFeatures) -> None:
    """A walk through one empty room: views that look the same way share most of the image."""
    batch = batch_of(windows(store, 24), 6)
    geometry = (batch["view_depth"], batch["view_pose"], batch["intrinsics"])
    warps = view_warps(*geometry, occlusion=0.05)
    width = 24
    inside = ((warps.places > 0.5) & (warps.places < width - 0.5)).all(-1)
    assert 0.97 < warps.visible[inside].float().mean() <= 1  # nothing in the room hides anything
    assert inside.float().mean() > 0.2


def test_every_part_trains_the_whole_model(store: FrameFeatures) -> None:
    batch, model = batch_of(windows(store, 8), 3), synthetic.toy_model()
    loss = HeatmapLoss(LossParams())

    def run(instructions: list[str]) -> Any:
        roles = (batch["current"], batch["keyframes"])
        return model(batch["frames"].float() / 255, batch["features"], instructions, *roles, evidence=True)

    output, wrong = run(batch["instruction"]), run(wrong_instructions(batch))
    evidence = output.evidence
    assert evidence.geometry.shape[:3] == (3, 4, model.vggt.channels)
    assert evidence.features.shape == batch["features"].shape
    assert evidence.tokens.shape == (3, 4, synthetic.PARAMS.fusion.width, synthetic.GRID, synthetic.GRID)
    assert evidence.attention.shape == (3, 3, synthetic.GRID, synthetic.GRID)
    total, parts = loss(output, batch, dict.fromkeys(PARTS, 1.0), wrong=wrong)
    total.backward()
    assert all(np.isfinite(part.item()) and part.item() >= 0 for part in parts.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)

    def reached(name: str) -> float:
        gradients: list[Tensor] = [p.grad for p in getattr(model, name).parameters() if p.grad is not None]
        return max(gradient.abs().max().item() for gradient in gradients)

    assert min(map(reached, ("vggt", "fusion", "language", "matcher", "referring", "head"))) > 0


def test_evidence_comes_on_demand_and_changes_no_heatmap(store: FrameFeatures) -> None:
    batch, model = batch_of(windows(store, 8), 2), synthetic.toy_model()
    given = (batch["frames"].float() / 255, batch["features"], batch["instruction"])
    roles = (batch["current"], batch["keyframes"])
    with torch.inference_mode():
        plain, more = model(*given, *roles), model(*given, *roles, evidence=True)
    assert plain.evidence is None
    assert torch.equal(plain.mask_logits, more.mask_logits)
    single = model(
        given[0][:, :1], given[1][:, :1], given[2], roles[0] * 0, roles[1][..., :1] * 0, evidence=True
    )
    assert single.evidence.attention.shape[2:] == (synthetic.GRID, synthetic.GRID)


def test_the_model_runs_twice_only_for_the_part_that_compares_instructions(store: FrameFeatures) -> None:
    batch, model, calls = batch_of(windows(store, 8), 2), synthetic.toy_model(), []

    def predict(network: Any, given: Any) -> Any:
        calls.append(given["instruction"])
        frames = given["frames"].float() / 255
        return network(frames, given["features"], given["instruction"], given["current"], given["keyframes"])

    loss = HeatmapLoss(LossParams())
    for weights, times, evidence in (({"mask": 1.0}, 1, False), (LOSS_SETS["levels"], 2, True)):
        calls.clear()
        total, parts, samples, output = judged(loss, predict, model, batch, weights)
        assert len(calls) == times
        assert (output.evidence is not None) == evidence
        assert total.item() == pytest.approx(
            sum(w * parts[name].item() for name, w in weights.items()), rel=1e-5
        )
        assert samples.shape == (2,)
        assert samples.mean().item() == pytest.approx(total.item(), rel=1e-5)
    assert calls == [batch["instruction"], batch["other_instruction"]]
