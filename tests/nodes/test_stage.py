"""Pretraining and finetuning end to end on a tiny world: they learn, resume only as themselves, fail clearly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

from vln_heatmap.datasets.checkpoint import (
    CheckpointDataset,
    CheckpointMismatchError,
    TrainingState,
)
from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.nodes.finetune import finetune
from vln_heatmap.nodes.model.assemble import model_from_checkpoint
from vln_heatmap.nodes.pretrain import feature_statistics, learn_tokenizer, pretrain
from vln_heatmap.nodes.training.stage import StageData, fingerprint, run_stage, validation_metrics
from vln_heatmap.params import StageParams

WALKS = synthetic.walks()
SAMPLES = synthetic.sample_table(WALKS)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FrameFeatures:
    return synthetic.store_features(tmp_path_factory.mktemp("features"), WALKS)


def stage(**train: Any) -> StageParams:
    content = synthetic.STAGE.model_dump()
    weights = {"classes": train.pop("classes", 1.0)}
    loss = {"weights": content["train"]["loss"]["weights"] | weights}
    return StageParams.model_validate(content | {"train": content["train"] | {"loss": loss} | train})


def data(features: Any, task: Any = "finetune", samples: pd.DataFrame = SAMPLES, **more: Any) -> StageData:
    return StageData(task, samples, features, synthetic.TOKENIZER, {"state": {"mean": [0.5]}}, **more)


def run(features: FrameFeatures, task: Any, params: StageParams, state: Any = None, **more: Any) -> Any:
    network = synthetic.toy_model()
    network.set_feature_statistics(*feature_statistics(SAMPLES, features, 0))
    what = data(features, task, **more)
    return run_stage(network, what, synthetic.PARAMS, params, state=state, tracker=None)[:2]


class Metrics:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: Any, step: int) -> None:
        self.logged.append((step, dict(metrics)))


# --- learning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["finetune", "pretrain"])
def test_a_few_steps_learn_the_tiny_world(features: FrameFeatures, task: str) -> None:
    params = stage(steps=40, validate_every=20, ema_decay=0.8, classes=float(task == "finetune"))
    checkpoint, history = run(features, task, params)
    loss = history["loss"]
    assert len(history) == 40
    assert loss.tail(8).mean() < 0.8 * loss.head(4).mean()
    numbers = history.drop(columns=["phase", *(c for c in history if c.startswith("val/"))])
    assert np.isfinite(numbers).all(axis=None)
    assert history["val/auc"].dropna().index.tolist() == [19, 39]
    assert checkpoint["meta"]["metrics"]["auc"] == history["val/auc"].max()
    assert checkpoint["meta"]["metrics"]["auc"] > 0.65  # on walks that were not trained on; 0.5 is chance
    assert checkpoint["meta"]["stage"] == task


class Metered(FrameFeatures):
    """Counts how often a sequence is looked at, and fails when that is more than it may be."""

    def __init__(self, features: FrameFeatures, most: int = 10**6) -> None:
        super().__init__(features.folder, features, features.fingerprint)
        self.most, self.reads = most, 0

    def __getitem__(self, key: str) -> Any:
        self.reads += 1
        if self.reads > self.most:
            raise KeyboardInterrupt
        return super().__getitem__(key)


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(features: FrameFeatures, tmp_path: Path) -> None:
    """Each step reads four samples, each validation (every two steps) four; a state is saved every two steps."""
    whole, history = run(features, "finetune", stage(steps=6))
    state = TrainingState(tmp_path / "training.safetensors")
    walks = 2  # of training, read once for their statistics
    for most in (walks + 2 * 4 + 4 + 3, walks + 3):  # until the middle of step 3, and there once more
        with pytest.raises(KeyboardInterrupt):
            run(Metered(features, most), "finetune", stage(steps=6), state)
    rest = Metered(features)
    resumed, again = run(rest, "finetune", stage(steps=6), state)
    assert rest.reads == walks + 4 * 4 + 2 * 4
    assert again["loss"].tolist() == history["loss"].tolist()
    assert all(torch.equal(resumed["state_dict"][name], value) for name, value in whole["state_dict"].items())


def test_samples_are_drawn_as_often_as_their_weights_say(features: FrameFeatures) -> None:
    """With all the weight on two samples of a task, a window of nothing else is ever made."""
    finetuned = SAMPLES.index[(SAMPLES["task"] == "finetune") & (SAMPLES["split"] == "train")]
    chosen = finetuned[:1]
    weights = pd.Series(1.0, SAMPLES.index)
    weights[finetuned] = 0.0
    weights[chosen] = 1.0
    read: list[str] = []

    class Read(FrameFeatures):
        def __getitem__(self, key: str) -> Any:
            read.append(key)
            return super().__getitem__(key)

    watched = Read(features.folder, features, features.fingerprint)
    params = stage(steps=3, validate_every=3)
    run(watched, "finetune", params, samples=SAMPLES.assign(weight=weights))
    trained = read[2 : 2 + 3 * params.train.batch_size]  # after the statistics of two walks
    assert set(trained) == set(SAMPLES.loc[chosen, "sequence_id"])


# --- fingerprint ------------------------------------------------------------------------------------------


def other_samples(column: str, value: Any) -> pd.DataFrame:
    changed = SAMPLES.copy()
    changed[column] = [value if row == 4 else old for row, old in enumerate(changed[column])]
    return changed


class Features:
    fingerprint = "toy"


@pytest.mark.parametrize(
    "change",
    [
        {"samples": SAMPLES.iloc[:-1]},
        {"samples": SAMPLES.iloc[::-1]},
        {"samples": other_samples("instruction", "the other wall")},
        {"samples": other_samples("candidates", [0, 1, 2, 3, 5])},
        {"samples": other_samples("referred", [1, 12])},
        {"samples": other_samples("current", 6)},
        {"samples": other_samples("levels", ["reasoning"])},
        {"samples": other_samples("weight", 2.0)},
        {"task": "pretrain"},
        {"start": "2026-01-01T00.00.00.000Z"},
        {"features": "newer"},
        {"model": {"head": {"frozen_scale": 13.0}}},
        {"model": {"keyframes": {"count": 4}}},
        {"params": {"window": {"sigma": 0.7}}},
        {"params": {"train": {"optimizer": {"lr": 0.1}}}},
        {"params": {"train": {"seed": 1}}},
    ],
    ids=lambda change: str({k: "..." if k == "samples" else v for k, v in change.items()}),
)
def test_whatever_the_weights_depend_on_changes_the_fingerprint(change: dict[str, Any]) -> None:
    plain = fingerprint(data(Features()), synthetic.PARAMS, synthetic.STAGE)
    source = Features()
    source.fingerprint = change.get("features", "toy")
    given = {name: change[name] for name in ("samples", "task", "start") if name in change}
    model = merged(synthetic.PARAMS, change.get("model", {}))
    params = merged(synthetic.STAGE, change.get("params", {}))
    assert fingerprint(data(source, **given), model, params) != plain


def merged(params: Any, changes: dict[str, Any]) -> Any:
    """Parameters with some values changed, at any depth."""

    def merge(old: Any, new: Any) -> Any:
        return {**old, **{k: merge(old[k], v) for k, v in new.items()}} if isinstance(new, dict) else new

    return type(params).model_validate(merge(params.model_dump(), changes))


def test_how_it_is_computed_and_stored_leaves_the_fingerprint(tmp_path: Path) -> None:
    plain = fingerprint(data(Features()), synthetic.PARAMS, synthetic.STAGE)
    operational = {"train": {"num_workers": 2, "save_every": 9, "threads": None, "log_every": 1}}
    assert fingerprint(data(Features()), synthetic.PARAMS, merged(synthetic.STAGE, operational)) == plain
    SAMPLES.to_parquet(tmp_path / "samples.parquet")
    loaded = pd.read_parquet(tmp_path / "samples.parquet")
    assert fingerprint(data(Features(), samples=loaded), synthetic.PARAMS, synthetic.STAGE) == plain


# --- validation -------------------------------------------------------------------------------------------


class Oracle(torch.nn.Module):
    """Answers with the truth, or with its opposite."""

    def __init__(self, windows: Any, sign: float) -> None:
        super().__init__()
        self.anywhere = torch.nn.Parameter(torch.zeros(1))
        self.windows, self.sign, self.seen = windows, sign, 0

    def forward(self, frames: torch.Tensor, *_: Any) -> Any:
        batch = [self.windows.get(self.seen + i, np.random.default_rng(0)) for i in range(len(frames))]
        self.seen += len(frames)

        class Output:
            class_logits = None
            mask_logits = self.sign * torch.from_numpy(np.stack([w["mask"] for w in batch]))

        return Output()


@pytest.mark.parametrize(("sign", "auc"), [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.5)])
def test_validation_is_the_auc_of_the_masks(features: FrameFeatures, sign: float, auc: float) -> None:
    params = stage().model_copy(update={"validation_samples": 100})
    windows = data(features).windows("val", synthetic.PARAMS, params, training=False)
    assert validation_metrics(Oracle(windows, sign), windows, params)["auc"] == pytest.approx(auc)


class WrongInPadding(Oracle):
    def forward(self, frames: torch.Tensor, *rest: Any) -> Any:
        start = self.seen
        output = super().forward(frames, *rest)
        real = [
            self.windows.get(start + i, np.random.default_rng(0))["keyframe_mask"] for i in range(len(frames))
        ]
        output.mask_logits = torch.where(
            torch.from_numpy(np.stack(real))[..., None, None], output.mask_logits, -output.mask_logits
        )
        return output


def test_validation_looks_at_real_keyframes_only(features: FrameFeatures) -> None:
    few = SAMPLES.assign(candidates=[[0, 3]] * len(SAMPLES))  # of three keyframes
    params = stage().model_copy(update={"validation_samples": 100})
    windows = data(features, samples=few).windows("val", synthetic.PARAMS, params, training=False)
    assert validation_metrics(WrongInPadding(windows, 1.0), windows, params)["auc"] == 1.0


def test_where_all_is_alike_there_is_nothing_to_rank(features: FrameFeatures) -> None:
    same = SAMPLES.assign(candidates=[[row] for row in SAMPLES["current"]], referred=[[]] * len(SAMPLES))
    windows = data(features, samples=same).windows("val", synthetic.PARAMS, stage(), training=False)
    assert validation_metrics(Oracle(windows, 1.0), windows, stage())["auc"] == 0.5


# --- nodes ------------------------------------------------------------------------------------------------


def test_pretrain_then_finetune_through_stored_checkpoints(features: FrameFeatures, tmp_path: Path) -> None:
    tokenizer = learn_tokenizer(SAMPLES, synthetic.PARAMS)
    state, statistics, tracker = TrainingState(tmp_path / "state"), {"action": {"mean": [1.0]}}, Metrics()
    params = (stage(steps=2, classes=0.0, log_every=1), stage(steps=2))
    arguments: list[Any] = [
        SAMPLES,
        features,
        tokenizer,
        statistics,
        synthetic.PARAMS,
        params[0],
        state,
        tracker,
    ]
    # the toy's features are not the encoder's: the model must be told their layout as the encoder would
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vln_heatmap.nodes.model.encoder2d.make_encoder", lambda _: ToyEncoder())
        pretrained = stored(tmp_path / "pretrained", pretrain(*arguments), state)
    assert {"loss", "val/auc"} <= {name for _, metrics in tracker.logged for name in metrics}
    assert pretrained.meta["statistics"] == statistics
    mean, std = feature_statistics(SAMPLES, features, 0)
    torch.testing.assert_close(model_from_checkpoint(pretrained).feature_mean, mean)
    torch.testing.assert_close(model_from_checkpoint(pretrained).feature_std, std.clamp_min(1e-3))
    steps = finetune(SAMPLES, features, pretrained, synthetic.PARAMS, params[1], state, None)
    finetuned = stored(tmp_path / "finetuned", steps, state)
    assert finetuned.meta["stage"] == "finetune"
    assert finetuned.meta["statistics"] == statistics
    before, after = pretrained.state_dict(), finetuned.state_dict()
    assert torch.equal(after["feature_mean"], before["feature_mean"])
    assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith("matcher"))


class ToyEncoder:
    groups, extra = synthetic.GROUPS, synthetic.EXTRA


def stored(folder: Path, steps: Any, state: TrainingState) -> Any:
    """What kedro does with a training node: take what it yields, store it, come back to it."""
    checkpoint, history, report = next(steps)
    assert report.lower().startswith("<!doctype html>")
    assert len(history) == 2
    assert state.path.is_file()  # until the result is safe
    dataset = CheckpointDataset(filepath=str(folder))
    dataset.save(checkpoint)
    assert next(steps, None) is None
    assert not state.path.is_file()
    return dataset.load()


def test_statistics_are_of_training_scenes_only(features: FrameFeatures) -> None:
    mean, std = feature_statistics(SAMPLES, features, 0)
    train = [features[name].read("features").astype(np.float64) for name in list(WALKS)[:2]]
    values = np.concatenate(train).transpose(1, 0, 2, 3).reshape(synthetic.CHANNELS, -1)
    np.testing.assert_allclose(mean, values.mean(1), atol=1e-4)
    np.testing.assert_allclose(std, values.std(1), atol=1e-4)


def test_the_tokenizer_never_reads_a_test_phrase() -> None:
    secret = other_samples("instruction", "zyxwv zyxwv zyxwv").assign(
        split=SAMPLES["split"].where(SAMPLES.index != 4, "test")
    )
    plain = SAMPLES.drop(index=4)
    assert learn_tokenizer(secret, synthetic.PARAMS) == learn_tokenizer(plain, synthetic.PARAMS)


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["pretrain", "finetune"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_samples_is_named_before_anything_is_trained(
    features: FrameFeatures, task: str, split: str
) -> None:
    left = SAMPLES[~((SAMPLES["task"] == task) & (SAMPLES["split"] == split))]
    params = stage(classes=float(task == "finetune"), steps=1)
    with pytest.raises(ValueError, match=f"no {task} samples in the {split} split: collect more scenes"):
        run(features, task, params, samples=left)


def test_without_a_training_scene_there_are_no_statistics(features: FrameFeatures) -> None:
    with pytest.raises(ValueError, match="no samples in the train split"):
        feature_statistics(SAMPLES.assign(split="val"), features, 0)


def test_single_views_have_no_classes_to_learn(features: FrameFeatures) -> None:
    with pytest.raises(ValueError, match=r"loss\.weights\.classes must be 0, got 1"):
        run(features, "pretrain", stage())


def test_finetune_refuses_a_checkpoint_of_another_preset(features: FrameFeatures, tmp_path: Path) -> None:
    dataset = CheckpointDataset(filepath=str(tmp_path / "pretrained"))
    dataset.save(run(features, "pretrain", stage(steps=1, classes=0.0))[0])
    other = merged(synthetic.PARAMS, {"fusion": {"width": 16}, "preset": "grand"})
    steps = finetune(SAMPLES, features, dataset.load(), other, stage(), None, None)
    with pytest.raises(CheckpointMismatchError, match=r"'toy'.*'grand'"):
        next(steps)


def test_a_sequence_without_features_is_named(features: FrameFeatures) -> None:
    with pytest.raises(KeyError, match="house_00009_00"):
        run(features, "finetune", stage(), samples=SAMPLES.assign(sequence_id="house_00009_00"))
