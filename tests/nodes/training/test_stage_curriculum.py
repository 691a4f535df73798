"""A curriculum on the tiny world: every part at work together, resumed exactly; keyframes by any sampler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.nodes.losses.heatmap import HeatmapLoss
from vln_heatmap.nodes.model.keyframes import make_sampler
from vln_heatmap.nodes.model.keyframes.truth import true_geometry
from vln_heatmap.nodes.pretrain import feature_statistics
from vln_heatmap.nodes.training.base import TrainingStoppedError
from vln_heatmap.nodes.training.director import EpochPlan
from vln_heatmap.nodes.training.objective import StageLoss, batch_quality, predict
from vln_heatmap.nodes.training.stage import (
    StageData,
    StageResult,
    delivered,
    level_mix,
    run_stage,
    validation_metrics,
)
from vln_heatmap.params import ModelParams, StageParams

WALKS = synthetic.walks()
SAMPLES = synthetic.sample_table(WALKS)
CURRICULUM: dict[str, Any] = {
    "epoch_scale": 1.0,
    "steps_per_epoch": 2,
    "extension": 0.0,
    "weighting": {"name": "gradnorm", "every": 2},
    "phases": {
        "first": {
            "epochs": 2,
            "data": {"geometric": 1.0},
            "loss": {"geometric": 0.5, "reasoning": 0.3, "correspondence": 0.2},
            "techniques": {"self_training": {}, "hard_negatives": {}},
        },
        "second": {
            "epochs": 2,
            "data": {"geometric": 1.0},
            "lr": 0.5,
            "window": {"views": 3, "mirror": 0.0},
            "techniques": {"distillation": {}, "multi_scale": {}, "adversarial": {"every": 2}},
        },
    },
}
CLOCK = ["samples_per_s", "wait"]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FrameFeatures:
    return synthetic.store_features(tmp_path_factory.mktemp("features"), WALKS)


def stage(**changes: Any) -> StageParams:
    content = synthetic.STAGE.model_dump()
    train = content["train"] | {"save_every": 3} | changes.pop("train", {})
    return StageParams.model_validate(content | {"train": train} | changes)


def run(features: FrameFeatures, params: StageParams, state: Any = None, **model: Any) -> StageResult:
    network = synthetic.toy_model()
    network.set_feature_statistics(*feature_statistics(SAMPLES, features, 0))
    data = StageData("finetune", SAMPLES, features, synthetic.TOKENIZER, {})
    sizes = ModelParams.model_validate(synthetic.PARAMS.model_dump() | model)
    return run_stage(network, data, sizes, params, state=state, tracker=None)


class Metered(FrameFeatures):
    """Gives up after some windows."""

    def __init__(self, features: FrameFeatures, most: int) -> None:
        super().__init__(features.folder, features, features.fingerprint)
        self.left = most

    def __getitem__(self, key: str) -> Any:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().__getitem__(key)


def test_a_curriculum_with_everything_resumes_exactly(features: FrameFeatures, tmp_path: Path) -> None:
    """Cut in the second epoch, and then at the border of the phases; four windows a step."""
    params = stage(curriculum=CURRICULUM, monitor={})
    whole = run(features, params)
    state = TrainingState(tmp_path / "training.safetensors")
    for most in (2 + 3 * 4 + 4 + 3, 2 + 4 + 4 + 2):
        with pytest.raises(KeyboardInterrupt):
            run(Metered(features, most), params, state)
    again = run(features, params, state)
    pd.testing.assert_frame_equal(
        again.history.drop(columns=CLOCK), whole.history.drop(columns=CLOCK), check_exact=True
    )
    first, second = (result.checkpoint["state_dict"] for result in (again, whole))
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_the_history_of_a_curriculum_tells_phases_weights_and_mix(features: FrameFeatures) -> None:
    history = run(features, stage(curriculum=CURRICULUM)).history
    assert history["phase"].tolist() == ["first"] * 4 + ["second"] * 4
    assert history["epoch"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (history["mix/geometric"] == 1).all()
    assert {"loss/geometric", "loss/reasoning", "loss/correspondence"} <= set(history)
    assert history["weight/geometric"].iloc[0] == 0.5
    assert history["weight/geometric"].nunique() > 2  # learned by step
    assert history["norm/mask"].notna().tolist() == [True, False] * 4
    assert {"val/geometric_loss", "val/correspondence_accuracy", "val/iou"} <= set(history)


def test_a_run_without_a_curriculum_is_the_plain_one(features: FrameFeatures) -> None:
    plain, off = run(features, stage()), run(features, stage(curriculum=CURRICULUM | {"enabled": False}))
    assert plain.history["loss"].tolist() == off.history["loss"].tolist()
    assert plain.history["phase"].unique().tolist() == ["train"]


def test_a_stopped_stage_delivers_before_it_fails(tmp_path: Path) -> None:
    state = TrainingState(tmp_path / "training.safetensors")
    state.save("me", {}, {})
    steps = delivered(StageResult({}, pd.DataFrame(), "<html>", "finetune: stopped after step 3: why"), state)
    assert next(steps)[2] == "<html>"
    with pytest.raises(TrainingStoppedError, match="stopped after step 3: why"):
        next(steps)
    assert not state.path.exists()


# --- the objective ----------------------------------------------------------------------------------------


def batch_of(features: FrameFeatures, params: StageParams = synthetic.STAGE, **model: Any) -> Any:
    sizes = ModelParams.model_validate(synthetic.PARAMS.model_dump() | model)
    data = StageData("finetune", SAMPLES, features, synthetic.TOKENIZER, {})
    windows = data.windows("train", sizes, params, training=True)
    return windows.collate([windows.get(i, np.random.default_rng(i)) for i in range(4)])


def plan(**changes: Any) -> EpochPlan:
    weights = synthetic.STAGE.train.loss.weights.model_dump()
    return EpochPlan(0, "train", 1, (1.0,), **{"loss_weights": weights, **changes})


def objective(network: Any) -> StageLoss:
    return StageLoss(synthetic.STAGE.train.loss, network, mix=lambda _: {}, patch=14)


def test_the_plain_objective_is_the_heatmap_loss(features: FrameFeatures) -> None:
    network, batch = synthetic.toy_model(), batch_of(features)
    loss = objective(network)
    loss.begin(plan(), network)
    found = loss(network, batch)
    total, parts = HeatmapLoss(synthetic.STAGE.train.loss)(predict(network, batch), batch)
    assert torch.equal(found.total, total)
    assert all(torch.equal(found.parts[name], part) for name, part in parts.items())
    assert found.samples is not None
    assert found.samples.mean().item() == pytest.approx(total.item(), rel=1e-5)
    assert loss.state_dict() == {}


def test_windows_without_depth_are_counted(features: FrameFeatures) -> None:
    batch = batch_of(features)
    assert [share.item() for share in batch_quality(batch).values()] == [0, 0]
    batch["pixel_weight"] = batch["pixel_weight"].clone()
    batch["pixel_weight"][0] = 0
    batch["pixel_weight"][1] = 0.4
    batch["features"][2, 0, 0, 0, 0] = torch.nan
    low, corrupt = (share.item() for share in batch_quality(batch).values())
    assert (low, corrupt) == (0.5, 0.5)


def test_the_mix_is_of_what_is_drawn() -> None:
    samples = pd.DataFrame({"levels": [["geometric"], ["geometric", "reasoning"]], "weight": [1.0, 3.0]})
    mix = level_mix(samples)
    assert mix(None)["reasoning"] == 0.75
    assert mix(np.array([1.0, 1.0])) == {
        "geometric": 1.0,
        "correspondence": 0.0,
        "coherence": 0.0,
        "reasoning": 0.5,
        "discrimination": 0.0,
    }


# --- keyframes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fast", "quality", "enhanced", "space_aware"])
def test_validation_windows_have_the_keyframes_of_the_sampler(features: FrameFeatures, name: str) -> None:
    sizes = synthetic.PARAMS.model_copy(
        update={"keyframes": synthetic.PARAMS.keyframes.model_copy(update={"name": name})}
    )
    data = StageData("finetune", SAMPLES, features, synthetic.TOKENIZER, {})
    windows = data.windows("val", sizes, synthetic.STAGE, training=False)
    row = windows.samples.iloc[-1]
    candidates = np.array(row.candidates)
    points, poses = true_geometry(features[row.sequence_id], candidates, 32)
    chosen = make_sampler(sizes.keyframes).sample(candidates, 3, points=points, poses=poses)
    window = windows.get(len(windows) - 1, np.random.default_rng(0))
    expected = features[row.sequence_id].read("features", [*chosen, row.current])
    np.testing.assert_array_equal(window["features"], expected.astype(np.float32))


def test_a_training_takes_the_sampler_that_is_named(features: FrameFeatures) -> None:
    keyframes = synthetic.PARAMS.keyframes.model_dump() | {"name": "space_aware"}
    other, plain = run(features, stage(), keyframes=keyframes), run(features, stage())
    assert other.history["loss"].tolist() != plain.history["loss"].tolist()


def test_validation_of_a_curriculum_compares_two_views(features: FrameFeatures) -> None:
    params = stage(curriculum=CURRICULUM)
    data = StageData("finetune", SAMPLES, features, synthetic.TOKENIZER, {})
    windows = data.windows("val", synthetic.PARAMS, params, training=False)
    window = windows.get(0, np.random.default_rng(0))
    assert window["view_depth"].shape == (2, 8, 8)
    network = synthetic.toy_model()
    found = validation_metrics(network, windows, params)
    alone = validation_metrics(
        network, data.windows("val", synthetic.PARAMS, stage(), training=False), stage()
    )
    assert set(found) - set(alone) == {"geometric_loss"}
    assert found["auc"] == pytest.approx(alone["auc"], abs=1e-6)  # of the same first views
