"""Building the model from parameters, and from a checkpoint alone.

Invariant: a checkpoint's metadata names everything that its weights need (parameters, tokenizer, layout of the
encoder's features), so that ``model_from_checkpoint`` asks for nothing else. Frozen weights that came from a
file of their own are not stored again: the metadata names that file and its fingerprint, and another one is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointMismatchError, load_into
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.language.lora import MARK
from vln_heatmap.nodes.model.placement import place
from vln_heatmap.nodes.model.tokenizer import make_tokenizer
from vln_heatmap.nodes.model.tuning import adapt
from vln_heatmap.params import ModelParams


def make_model(
    params: ModelParams, tokenizer: dict[str, Any], *, groups: tuple[int, ...], extra: int, seed: int = 0
) -> HeatmapModel:
    """A model with random weights, the same for the same seed, but for parts whose parameters name a source.

    Args:
        params: sizes of the parts, and where they come from.
        tokenizer: content of tokenizer.json.
        groups, extra: layout of the encoder's channels, see ``Encoder2d``.
        seed: of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HeatmapModel(params, groups, extra, make_tokenizer(params.language, tokenizer))
        adapt(model, params.tuning)
    place(model, params.placement)
    return model


def checkpoint_meta(
    model: HeatmapModel, params: ModelParams, tokenizer: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """Metadata with which ``model_from_checkpoint`` can rebuild ``model``."""
    layout = {"groups": list(model.groups), "extra": model.extra}
    return {
        "preset": params.preset,
        "model": params.model_dump(mode="json", exclude={"placement"}),  # that is a matter of the machine
        "tokenizer": tokenizer,
        "features": layout,
        "external": {name: asdict(part.origin) for name, part in _external_parts(model).items()},
        **more,
    }


def stored_weights(model: HeatmapModel, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the weights ``state`` of ``model`` those that a checkpoint has to store."""
    left_out = external_weights(model)
    return {name: value for name, value in state.items() if name not in left_out}


def external_weights(model: HeatmapModel) -> set[str]:
    """Names of the frozen weights that a part has from a source of its own."""
    return {
        f"{part}.{name}"
        for part, module in _external_parts(model).items()
        for name, _ in module.named_parameters()
        if MARK not in name
    }


def _external_parts(model: HeatmapModel) -> dict[str, Any]:
    """Parts whose weights have an ``origin`` and are frozen, adapters apart, which are always stored."""
    return {
        name: module
        for name, module in model.named_children()
        if getattr(module, "origin", None)
        and not any(p.requires_grad for n, p in module.named_parameters() if MARK not in n)
    }


def model_from_checkpoint(checkpoint: Checkpoint, expected: ModelParams | None = None) -> HeatmapModel:
    """Rebuild a trained model, in evaluation mode.

    Args:
        checkpoint: where from.
        expected: parameters that the caller's preset wants; a checkpoint with others is refused.

    Raises:
        CheckpointMismatchError: the checkpoint is of another preset than ``expected``, was made by a version of
            the project with another model, or with other frozen weights than those of the source.
        FileNotFoundError: the source of frozen weights that the checkpoint leaves out is not there.
    """
    model, left_out = untrained(checkpoint, expected)
    load_into(model, checkpoint, preset=model.params.preset, external=left_out)
    return model.eval()


def untrained(checkpoint: Checkpoint, expected: ModelParams | None = None) -> tuple[HeatmapModel, list[str]]:
    """A model of a checkpoint's sizes that has no weights of it yet, and the names of those that it leaves out,
    which the model has from their source.

    Args, raises: as of :func:`model_from_checkpoint`.
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
    external = checkpoint.meta.get("external", {})
    params = _with_source(params, external.get("vggt"))
    model = make_model(params, tokenizer, groups=tuple(layout["groups"]), extra=layout["extra"])
    for part, stored_origin in external.items():
        _check_origin(checkpoint, part, getattr(model, part).origin, stored_origin)
    left_out = [n for n in model.state_dict() if n.partition(".")[0] in external and MARK not in n]
    return model, left_out


def _with_source(params: ModelParams, external: Mapping[str, str] | None) -> ModelParams:
    """Parameters by which VGGT is read from its source if, and only if, the checkpoint leaves its weights out."""
    source = (params.vggt.source or external["source"]) if external else None
    return params.model_copy(update={"vggt": params.vggt.model_copy(update={"source": source})})


def _check_origin(checkpoint: Checkpoint, part: str, origin: Any, stored: Mapping[str, str]) -> None:
    if origin is None or origin.fingerprint != stored["fingerprint"]:
        raise CheckpointMismatchError(
            f"checkpoint {checkpoint.path} was trained on {part} weights from {stored['source']} (fingerprint "
            f"{stored['fingerprint']}), but {_described(origin)}. Set "
            f"model.{part}.source to the weights it was trained on, or train again"
        )


def _described(origin: Any) -> str:
    return f"{origin.source} holds others ({origin.fingerprint})" if origin else "the model has no source"


def _check_alike(checkpoint: Checkpoint, stored: ModelParams, params: ModelParams) -> None:
    """Refuse what the shapes of the weights do not show: other features, other attention heads."""
    free = {
        "vggt": {"source", "size", "dtype", "frozen", "heads", "dense_chunk"},
        "encoder": {"batch"},
        "language": {"source", "grid", "attention", "dtype"},
        "tuning": {"tunable_parts", "gradient_checkpointing"},
    }
    for part, ignored in free.items():
        have, want = (getattr(p, part).model_dump(exclude=ignored) for p in (stored, params))
        for name in have:
            if have[name] != want[name]:
                raise CheckpointMismatchError(
                    f"checkpoint {checkpoint.path} of preset {stored.preset!r} does not fit the model of preset "
                    f"{params.preset!r}: {part}.{name} is {have[name]} in the checkpoint and {want[name]} in the "
                    "model. Choose the preset that the checkpoint was made with, or train this one first"
                )
