"""Pretraining: in single views, find what a phrase refers to.

Invariant: it touches the training and validation scenes only, and leaves the matching of frames, which needs
several views, to finetuning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.nodes.training.stage import StageData, delivered, run_stage
from vln_heatmap.params import ModelParams, StageParams


def learn_tokenizer(samples: pd.DataFrame, model: ModelParams) -> dict[str, Any]:
    """Byte-level BPE of the training instructions (any text can be encoded), as tokenizer.json content.

    With an official language model (``model.language.source``) its own tokenizer is taken instead.
    """
    from vln_heatmap.nodes.model.tokenizer import train_tokenizer

    texts = sorted(set(samples.loc[samples["split"] == "train", "instruction"]) - {""})
    return train_tokenizer(texts, model.language.vocab_size)


def pretrain(
    samples: pd.DataFrame,
    features: Any,
    tokenizer: dict[str, Any],
    statistics: dict[str, Any],
    model: ModelParams,
    params: StageParams,
    state: Any,
    tracker: Any,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, str]]:
    """Train the referring part on single views.

    Args:
        samples: the sample index.
        features: ``FrameFeatures``.
        tokenizer: content of tokenizer.json.
        statistics: of states and actions; they travel in the checkpoint.
        model: sizes of the model.
        params: window and training parameters of this stage.
        state: ``TrainingState`` handle, from which an interrupted run goes on.
        tracker: ``Tracker`` for live metrics.

    Yields:
        Checkpoint {state_dict, meta}, the history of the run, one row a step, and the same as a page of HTML.
    """
    from vln_heatmap.nodes.model.assemble import make_model
    from vln_heatmap.nodes.model.encoder2d import make_encoder

    encoder = make_encoder(model.encoder)
    network = make_model(model, tokenizer, groups=encoder.groups, extra=encoder.extra, seed=params.train.seed)
    network.set_feature_statistics(*feature_statistics(samples, features, params.train.seed))
    data = StageData("pretrain", samples, features, tokenizer, statistics)
    result = run_stage(network, data, model, params, state=state, tracker=tracker)
    yield from delivered(result, state)


def feature_statistics(
    samples: pd.DataFrame, features: Any, seed: int, *, sequences: int = 64
) -> tuple[Any, Any]:
    """Mean and standard deviation [C] of the encoder's channels over training sequences.

    Raises:
        ValueError: there is no training sequence.
    """
    import torch

    ids = sorted(samples.loc[samples["split"] == "train", "sequence_id"].unique())
    if not ids:
        raise ValueError("no samples in the train split: collect more scenes, then run normalize again")
    chosen = np.random.default_rng(seed).permutation(ids)[:sequences]
    arrays = [features[key].read("features").astype(np.float32) for key in chosen]
    stacked = np.concatenate(arrays).transpose(1, 0, 2, 3).reshape(arrays[0].shape[1], -1)  # [C, M]
    return torch.from_numpy(stacked.mean(1)), torch.from_numpy(stacked.std(1))
