"""Finetuning: keyframes, current view and instruction to one heatmap per keyframe.

Invariant: it starts from the pretrained checkpoint, of whose preset it must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from vln_heatmap.nodes.training.stage import StageData, delivered, run_stage
from vln_heatmap.params import ModelParams, StageParams


def finetune(
    samples: pd.DataFrame,
    features: Any,
    pretrained: Any,
    model: ModelParams,
    params: StageParams,
    state: Any,
    tracker: Any,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, str]]:
    """Train the whole model on windows of frames.

    Args:
        samples: the sample index.
        features: ``FrameFeatures``.
        pretrained: ``Checkpoint`` to start from.
        model: sizes of the model; they must be the checkpoint's.
        params: window and training parameters of this stage.
        state: ``TrainingState`` handle, from which an interrupted run goes on.
        tracker: ``Tracker`` for live metrics.

    Yields:
        Checkpoint {state_dict, meta}, the history of the run, one row a step, and the same as a page of HTML.

    Raises:
        CheckpointMismatchError: the checkpoint is of another preset.
        TrainingStoppedError: the run was stopped; what it had learned is stored all the same.
    """
    from vln_heatmap.nodes.model.assemble import model_from_checkpoint

    network = model_from_checkpoint(pretrained, expected=model)
    meta = pretrained.meta
    data = StageData(
        "finetune", samples, features, meta["tokenizer"], meta["statistics"], pretrained.path.parent.name
    )
    result = run_stage(network, data, model, params, state=state, tracker=tracker)
    yield from delivered(result, state)
