"""Building the model from parameters, and from a checkpoint alone.

Invariant: a checkpoint's metadata names everything that its weights need (parameters, tokenizer, layout of the
encoder's features), so that ``model_from_checkpoint`` asks for nothing else.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import ValidationError

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointMismatchError, load_into
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
        CheckpointMismatchError: the checkpoint is of another preset than ``expected``, or was made by a version
            of the project with another model.
    """
    try:
        stored = ModelParams.model_validate(checkpoint.meta["model"])
        tokenizer, layout = checkpoint.meta["tokenizer"], checkpoint.meta["features"]
    except (KeyError, ValidationError) as error:
        raise CheckpointMismatchError(
            f"checkpoint {checkpoint.path} does not describe a model of this version: {error}. Train it again"
        ) from error
    params = expected or stored
    _check_alike(checkpoint, stored, params)
    model = make_model(params, tokenizer, groups=tuple(layout["groups"]), extra=layout["extra"])
    load_into(model, checkpoint, preset=params.preset)
    return model.eval()


def _check_alike(checkpoint: Checkpoint, stored: ModelParams, params: ModelParams) -> None:
    """Refuse what the shapes of the weights do not show: other features, other attention heads."""
    free = {"encoder": {"batch"}, "language": {"grid"}}
    for part, ignored in free.items():
        have, want = (getattr(p, part).model_dump(exclude=ignored) for p in (stored, params))
        for name in have:
            if have[name] != want[name]:
                raise CheckpointMismatchError(
                    f"checkpoint {checkpoint.path} of preset {stored.preset!r} does not fit the model of preset "
                    f"{params.preset!r}: {part}.{name} is {have[name]} in the checkpoint and {want[name]} in the "
                    "model. Choose the preset that the checkpoint was made with, or train this one first"
                )
