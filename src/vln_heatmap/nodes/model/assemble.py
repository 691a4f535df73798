"""Building the model from parameters, and from a checkpoint alone.

Invariant: a checkpoint's metadata names everything that its weights need (parameters, tokenizer, layout of the
encoder's features), so that ``model_from_checkpoint`` asks for nothing else.
"""

from __future__ import annotations

from typing import Any

import torch

from vln_heatmap.datasets.checkpoint import Checkpoint, load_into
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.tokenizer import make_tokenizer
from vln_heatmap.params import ModelParams


def make_model(
    params: ModelParams, tokenizer: dict[str, Any], *, groups: tuple[int, ...], extra: int, seed: int = 0
) -> HeatmapModel:
    """A model with random weights, the same for the same seed.

    Args:
        params: sizes of the parts.
        tokenizer: content of tokenizer.json.
        groups, extra: layout of the encoder's channels, see ``Encoder2d``.
        seed: of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HeatmapModel(params, groups, extra, make_tokenizer(params.language, tokenizer))


def checkpoint_meta(
    model: HeatmapModel, params: ModelParams, tokenizer: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """Metadata with which ``model_from_checkpoint`` can rebuild ``model``."""
    layout = {"groups": list(model.groups), "extra": model.extra}
    return {
        "preset": params.preset,
        "model": params.model_dump(mode="json"),
        "tokenizer": tokenizer,
        "features": layout,
        **more,
    }


def model_from_checkpoint(checkpoint: Checkpoint, expected: ModelParams | None = None) -> HeatmapModel:
    """Rebuild a trained model, in evaluation mode.

    Args:
        checkpoint: where from.
        expected: parameters that the caller's preset wants; a checkpoint with others is refused.

    Raises:
        CheckpointMismatchError: the checkpoint is of another preset than ``expected``.
    """
    meta = checkpoint.meta
    params = expected or ModelParams.model_validate(meta["model"])
    layout = meta["features"]
    model = make_model(params, meta["tokenizer"], groups=tuple(layout["groups"]), extra=layout["extra"])
    load_into(model, checkpoint, preset=params.preset)
    return model.eval()
