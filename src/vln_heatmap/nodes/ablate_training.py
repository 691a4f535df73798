"""Training one variant with one seed, or finding that it was done before.

Invariant: the key of a training names its samples, features, tokenizer, parameters and where it starts from,
so that two variants share a training exactly if it would be the same.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.datasets.trial_store import TrialStore
from vln_heatmap.nodes.ablate_variants import Trial
from vln_heatmap.nodes.finetune import finetune
from vln_heatmap.nodes.pretrain import feature_statistics, pretrain
from vln_heatmap.nodes.training.base import TrainingStoppedError
from vln_heatmap.params import StageParams

log = logging.getLogger(__name__)
_NOTHING: dict[str, float] = {"steps": 0, "seconds": 0.0}


@dataclass(frozen=True)
class Material:
    """What a trial is trained on.

    Attributes:
        samples: the sample index.
        chosen: the same with ``keyframes``, where the variant's sampler has chosen them; else as it is.
        features: as the variant's model takes them.
        tokenizer, statistics: see ``pretrain``.
    """

    samples: pd.DataFrame
    chosen: pd.DataFrame
    features: Any
    tokenizer: dict[str, Any]
    statistics: dict[str, Any]


def trained(trial: Trial, material: Material, store: TrialStore, tracker: Any) -> tuple[str, Checkpoint]:
    """Key and checkpoint of a trial: pretrained if it has steps for that, then finetuned.

    The checkpoint's metadata has under ``trial`` the ``steps`` of both trainings, the ``seconds`` they took, and
    the ``step_seconds`` of the last one: the median.
    """
    first, last = training_keys(trial, material)
    done = store.checkpoint(last)
    if done is not None:
        return last, done
    start = store.checkpoint(first) or _pretrained(trial, material, store, first, tracker)
    curves = tracker.under(f"{trial.name}/finetune") if tracker else None
    steps = finetune(
        material.chosen,
        material.features,
        start,
        trial.model,
        trial.finetune,
        store.state(last),
        curves,
    )
    return last, _kept(steps, trial.finetune, store, last, curves, before=start.meta["trial"])


def _pretrained(trial: Trial, material: Material, store: TrialStore, key: str, tracker: Any) -> Checkpoint:
    """What finetuning starts from."""
    if not trial.settings.pretrain_steps:
        return store.keep(key, untrained(trial, material))
    curves = tracker.under(f"{trial.name}/pretrain") if tracker else None
    steps = pretrain(
        material.samples,
        material.features,
        material.tokenizer,
        material.statistics,
        trial.model,
        trial.pretrain,
        store.state(key),
        curves,
    )
    return _kept(steps, trial.pretrain, store, key, curves)


def _kept(
    stage: Iterable[Any],
    params: StageParams,
    store: TrialStore,
    key: str,
    curves: Any,
    *,
    before: Mapping[str, float] = _NOTHING,
) -> Checkpoint:
    """The checkpoint that a stage yields, stored before the stage forgets its state."""
    try:
        for checkpoint, history, *_ in stage:
            seconds = params.train.batch_size / history["samples_per_s"]
            spent = {
                "steps": before["steps"] + len(history),
                "seconds": before["seconds"] + float(seconds.sum()),
                "step_seconds": float(seconds.median()),
            }
            kept = store.keep(key, {**checkpoint, "meta": {**checkpoint["meta"], "trial": spent}})
    except TrainingStoppedError as error:  # its best weights are kept, and are what the variant has to show
        log.warning("%s: %s", key, error)
    if curves:
        curves.flush()
    return kept


def untrained(trial: Trial, material: Material) -> dict[str, Any]:
    """A checkpoint of random weights, which knows the statistics of the features."""
    from vln_heatmap.nodes.model.assemble import checkpoint_meta, make_model, stored_weights
    from vln_heatmap.nodes.model.encoder2d import make_encoder

    encoder, seed = make_encoder(trial.model.encoder), trial.pretrain.train.seed
    network = make_model(
        trial.model, material.tokenizer, groups=encoder.groups, extra=encoder.extra, seed=seed
    )
    network.set_feature_statistics(*feature_statistics(material.samples, material.features, seed))
    more = {"statistics": material.statistics, "stage": "random", "metrics": {}, "trial": _NOTHING}
    meta = checkpoint_meta(network, trial.model, material.tokenizer, **more)
    return {"state_dict": stored_weights(network, network.state_dict()), "meta": meta}


def samples_digest(samples: pd.DataFrame) -> str:
    """Hash of everything in the samples that are trained on."""
    rows = samples[samples["split"].isin(("train", "val"))].astype(str)
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


def training_keys(trial: Trial, material: Material) -> tuple[str, str]:
    """Names of pretraining and finetuning; single views know no keyframes, so samplers share the first."""
    common = [material.features.fingerprint, material.tokenizer]
    sizes = trial.model.model_dump(mode="json", exclude={"placement"})
    alone = {name: part for name, part in sizes.items() if name != "keyframes"}
    steps = trial.settings.pretrain_steps
    start = _digest(samples_digest(material.samples), *common, alone, _identity(trial.pretrain), steps)
    end = _digest(samples_digest(material.chosen), *common, sizes, _identity(trial.finetune), start)
    return f"pretrain-{start[:16]}", f"finetune-{end[:16]}"


def _identity(params: StageParams) -> dict[str, Any]:
    """What of a stage's parameters its result depends on: alerts are obeyed by a curriculum only."""
    directed = params.curriculum is not None and params.curriculum.enabled
    unread = set() if directed else {"curriculum", "monitor"}
    return {**params.model_dump(mode="json", exclude=unread), "train": params.train.identity()}


def _digest(*things: Any) -> str:
    from vln_heatmap.nodes.training.state import digest

    return digest(*things)
