"""What pretraining and finetuning share: data, loss, validation and checkpoint around the training loop.

Invariant: the fingerprint of a training names the data, the model and the parameters it depends on, so that
an interrupted run resumes only as what it was.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from vln_heatmap.datasets.windows import WindowDataset
from vln_heatmap.nodes.losses.heatmap import HeatmapLoss
from vln_heatmap.nodes.model.assemble import checkpoint_meta, stored_weights
from vln_heatmap.nodes.model.keyframes import UniformSampler
from vln_heatmap.nodes.training.costs import training_costs
from vln_heatmap.params import ModelParams, StageParams

TARGETS = ("mask", "distribution", "valid", "classes", "referred", "pixel_weight", "keyframe_mask")
_LISTS = {"candidates": int, "referred": int, "levels": str}  # columns of lists of the samples


@dataclass(frozen=True)
class StageData:
    """What a stage trains on and hands on in its checkpoint."""

    task: Literal["pretrain", "finetune"]
    samples: pd.DataFrame
    features: Any
    tokenizer: dict[str, Any]
    statistics: dict[str, Any]
    start: str = "random"  # version of the checkpoint that the weights come from

    def windows(
        self, split: str, model: ModelParams, params: StageParams, *, training: bool
    ) -> WindowDataset:
        """The windows of one split.

        Raises:
            ValueError: the split has no sample of this task.
        """
        rows = self.samples[(self.samples["task"] == self.task) & (self.samples["split"] == split)]
        if rows.empty:
            raise ValueError(
                f"no {self.task} samples in the {split} split: collect more scenes or raise normalize's counts"
            )
        return WindowDataset(
            rows,
            self.features,
            params.window,
            UniformSampler(model.keyframes).sample,
            keyframes=model.keyframes.count,
            size=model.head.heatmap_size,
            training=training,
            odometry=model.head.odometry,
        )


def run_stage(
    network: Any, data: StageData, model: ModelParams, params: StageParams, *, state: Any, tracker: Any
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Train, and return (checkpoint, history).

    Raises:
        ValueError: a split without samples, or a loss of classes in single views, which have none.
    """
    from vln_heatmap.nodes.training.loop import train

    if data.task == "pretrain" and params.train.loss.weights.classes:
        raise ValueError(
            "single views have no co-visibility classes: pretrain.train.loss.weights.classes must be 0, "
            f"got {params.train.loss.weights.classes:g}"
        )
    loss = HeatmapLoss(params.train.loss)
    held_out = data.windows("val", model, params, training=False)
    windows = data.windows("train", model, params, training=True)
    result = train(
        network,
        lambda net, batch: loss(predict(net, batch), {name: batch[name] for name in TARGETS}),
        windows,
        params.train,
        state=state,
        tracker=tracker,
        validate=lambda net: validation_metrics(net, held_out, params),
        weights=windows.samples["weight"],
        fingerprint=fingerprint(data, model, params),
        name=data.task,
    )
    metrics = {"step": result.best.step, **result.best.metrics} if result.best else {}
    meta = checkpoint_meta(
        network,
        model,
        data.tokenizer,
        statistics=data.statistics,
        stage=data.task,
        metrics=metrics,
        training=training_costs(result.history, len(windows)),
    )
    return {"state_dict": stored_weights(network, result.state_dict), "meta": meta}, result.history


def predict(network: Any, batch: dict[str, Any]) -> Any:
    """Model output for a batch of windows."""
    frames, features = batch["frames"].float() / 255, batch["features"]
    poses = {"poses": batch["poses"]} if "poses" in batch else {}
    return network(frames, features, batch["instruction"], batch["current"], batch["keyframes"], **poses)


def validation_metrics(network: Any, windows: WindowDataset, params: StageParams) -> dict[str, float]:
    """Pixel AUC of the masks over a fixed, evenly spread part of the validation windows."""
    import torch
    from accelerate.utils import send_to_device
    from sklearn.metrics import roc_auc_score

    device = next(network.parameters()).device
    chosen = np.unique(
        np.linspace(0, len(windows) - 1, min(len(windows), params.validation_samples)).astype(int)
    )
    scores, truths = [], []
    for start in range(0, len(chosen), params.train.batch_size):
        part = chosen[start : start + params.train.batch_size]
        samples = [windows.get(int(i), np.random.default_rng(int(i))) for i in part]
        batch = send_to_device(windows.collate(samples), device)
        with torch.inference_mode():
            logits = predict(network, batch).mask_logits.float()
        known = (batch["keyframe_mask"][..., None, None] & (batch["pixel_weight"] > 0)).expand(logits.shape)
        scores.append(logits[known].numpy(force=True))
        truths.append((batch["mask"][known] > 0.5).numpy(force=True))
    truth, score = np.concatenate(truths), np.concatenate(scores)
    if truth.all() or not truth.any():
        return {"auc": 0.5}  # nothing to tell apart
    return {"auc": float(roc_auc_score(truth, score))}


def fingerprint(data: StageData, model: ModelParams, params: StageParams) -> str:
    """Hash of everything that the trained weights depend on."""
    texts = {
        name: data.samples[name].map(lambda row, kind=kind: str(list(map(kind, row))))
        for name, kind in _LISTS.items()
    }
    rows = pd.util.hash_pandas_object(data.samples.assign(**texts), index=False)
    content = {
        "task": data.task,
        "start": data.start,
        "samples": hashlib.sha256(rows.to_numpy().tobytes()).hexdigest(),
        "features": data.features.fingerprint,
        "tokenizer": data.tokenizer,
        "model": model.model_dump(mode="json", exclude={"placement"}),
        "train": params.train.identity(),
        "window": params.window.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
