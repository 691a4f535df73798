"""What pretraining and finetuning share: data, loss, validation and checkpoint around the training loop.

Invariant: the fingerprint of a training names the data, the model and the parameters it depends on, so that
an interrupted run resumes only as what it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from vln_heatmap.datasets.frame_cache import CachedFeatures
from vln_heatmap.datasets.windows import WindowDataset
from vln_heatmap.nodes.metrics.validation import HeatmapValidation
from vln_heatmap.nodes.model.assemble import checkpoint_meta, external_weights
from vln_heatmap.nodes.model.keyframes import make_sampler
from vln_heatmap.nodes.model.keyframes.truth import known_geometry
from vln_heatmap.nodes.sampling import achieved_shares
from vln_heatmap.nodes.training.costs import training_costs
from vln_heatmap.nodes.training.director import make_director
from vln_heatmap.nodes.training.objective import StageLoss, predict
from vln_heatmap.params import LossNeed, ModelParams, StageParams
from vln_heatmap.reporting.training_report import training_report

LEVELS = ("geometric", "correspondence", "coherence", "reasoning", "discrimination")
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
        """The windows of one split. Those that validate a curriculum have two views.

        Raises:
            ValueError: the split has no sample of this task.
        """
        rows = self.samples[(self.samples["task"] == self.task) & (self.samples["split"] == split)]
        if rows.empty:
            raise ValueError(
                f"no {self.task} samples in the {split} split: collect more scenes or raise normalize's counts"
            )
        sampler = make_sampler(model.keyframes)
        directed = _directed(params) and self.task == "finetune" and not training
        budget = params.train.cache_mib * 2**20 // max(1, params.train.num_workers) if training else 0
        features: Any = CachedFeatures(self.features, budget) if budget else self.features
        return WindowDataset(
            rows,
            features,
            params.window,
            sampler.sample,
            keyframes=model.keyframes.count,
            size=model.head.heatmap_size,
            training=training,
            odometry=model.head.odometry,
            needs={"geometry"} if directed else needs_of(params) if training else (),
            known=partial(known_geometry, sampler) if sampler.needs else None,
            views=2 if directed else 1,
        )


class StageResult(NamedTuple):
    """What a stage gives.

    Attributes:
        checkpoint: {state_dict, meta}.
        history: of the run, one row a step; report: the same for people, HTML.
        stopped: why it was stopped; None = it ended as planned.
    """

    checkpoint: dict[str, Any]
    history: pd.DataFrame
    report: str
    stopped: str | None = None


def _directed(params: StageParams) -> bool:
    """Whether anybody acts on what validations say."""
    return params.curriculum is not None and params.curriculum.enabled


def needs_of(params: StageParams) -> frozenset[LossNeed]:
    """What the parts of the loss ask of the windows in any phase."""
    loss, curriculum = params.train.loss, params.curriculum
    needs = loss.needs()
    if curriculum is not None and curriculum.enabled:
        own = loss.weights.model_dump()
        needs = needs.union(*(loss.needs(own | phase.loss) for phase in curriculum.phases.values()))
    return needs


def level_mix(samples: pd.DataFrame) -> Callable[[Any], dict[str, float]]:
    """Share of the drawn samples that serve each level, as a function of their weights (None = their own)."""
    levels = [tuple(row) for row in samples["levels"]]

    def mix(weights: Any) -> dict[str, float]:
        return achieved_shares(levels, samples["weight"] if weights is None else weights, LEVELS)

    return mix


def run_stage(
    network: Any, data: StageData, model: ModelParams, params: StageParams, *, state: Any, tracker: Any
) -> StageResult:
    """Train, in this process or by as many as ``params.train`` says.

    Raises:
        ValueError: a split without samples, or a loss of classes in single views, which have none.
        ProcessFailedError: one of several processes failed.
    """
    if not params.train.several:
        return train_stage(network, data, model, params, state=state, tracker=tracker)
    from vln_heatmap.nodes.training.launch import launched

    return launched(network, data, model, params, state=state, tracker=tracker)


def train_stage(
    network: Any, data: StageData, model: ModelParams, params: StageParams, *, state: Any, tracker: Any
) -> StageResult:
    """Train in this process, or as one of several.

    Raises:
        ValueError: see ``run_stage``.
    """
    from vln_heatmap.nodes.training.loop import train

    if data.task == "pretrain" and params.train.loss.weights.classes:
        raise ValueError(
            "single views have no co-visibility classes: pretrain.train.loss.weights.classes must be 0, "
            f"got {params.train.loss.weights.classes:g}"
        )
    held_out = data.windows("val", model, params, training=False)
    windows = data.windows("train", model, params, training=True)
    loss = StageLoss(params.train.loss, network, mix=level_mix(windows.samples), patch=model.vggt.patch)
    result = train(
        network,
        loss,
        windows,
        params.train,
        director=make_director(
            params.train, params.curriculum, windows.samples, params.monitor, window=params.window
        ),
        state=state,
        tracker=tracker,
        validate=lambda net: validation_metrics(net, held_out, params),
        weights=windows.samples["weight"],
        fingerprint=fingerprint(data, model, params),
        name=data.task,
        leave_out=external_weights(network),
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
        events=[asdict(event) for event in result.events],
    )
    checkpoint = {"state_dict": result.state_dict, "meta": meta}
    report = training_report(result.history, result.events, title=f"Training: {data.task}")
    return StageResult(checkpoint, result.history, report, result.stopped)


def delivered(result: StageResult, state: Any) -> Iterator[tuple[dict[str, Any], pd.DataFrame, str]]:
    """What a node yields; kedro comes back to it when the outputs are stored, and then the state is not needed.

    Raises:
        TrainingStoppedError: the run was stopped; its best weights are stored all the same.
    """
    yield result.checkpoint, result.history, result.report
    state.clear()
    if result.stopped:
        from vln_heatmap.nodes.training.base import TrainingStoppedError

        raise TrainingStoppedError(result.stopped)


def validation_metrics(network: Any, windows: WindowDataset, params: StageParams) -> dict[str, float]:
    """Metrics of ``HeatmapValidation`` over a fixed, evenly spread part of the validation windows."""
    import torch
    from accelerate.utils import send_to_device

    device, found = next(network.parameters()).device, HeatmapValidation()
    chosen = np.unique(
        np.linspace(0, len(windows) - 1, min(len(windows), params.validation_samples)).astype(int)
    )
    for start in range(0, len(chosen), params.train.batch_size):
        part = chosen[start : start + params.train.batch_size]
        samples = [windows.get(int(i), np.random.default_rng(int(i))) for i in part]
        batch = send_to_device(windows.collate(samples), device)
        with torch.inference_mode():
            found.add(predict(network, batch), batch)
    return found.metrics()


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
        "curriculum": params.curriculum.model_dump(mode="json") if params.curriculum else None,
        "monitor": params.monitor.model_dump(mode="json") if params.monitor else None,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
