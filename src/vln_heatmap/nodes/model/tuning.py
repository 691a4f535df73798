"""What of the model is trained: the only place that freezes parts.

Invariant: what trains is float32; what was frozen by its part's own parameters stays frozen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import nn

from vln_heatmap.nodes.model.language.lora import add_lora
from vln_heatmap.nodes.model.parts import PARTS, part_of
from vln_heatmap.params import TuningParams

_LOG = logging.getLogger(__name__)


class PartCount(NamedTuple):
    """Numbers of a part."""

    part: str
    parameters: int
    trained: int


def adapt(model: Any, params: TuningParams) -> None:
    """Add adapters and gradient checkpointing to the language model, and freeze what is not to be trained.

    Args:
        model: a ``HeatmapModel``, changed in place.
        params: see there; without ``tunable_parts`` all parts train, but with LoRA the language model's own
            weights do not.
    """
    if params.lora is not None:
        add_lora(model.language, params.lora)
    if params.gradient_checkpointing:
        model.language.model.gradient_checkpointing_enable({"use_reentrant": False})
    counts = tune(model, [part for part in PARTS if params.trains(part)])
    if params != TuningParams():
        _LOG.info("parameters by part:\n%s", format_parts(counts))


def tune(model: nn.Module, parts: Iterable[str]) -> list[PartCount]:
    """Let these parts train and freeze all others; returns what that comes to.

    peft's injection froze the whole language model, so its weights are set anew; elsewhere freezing is only
    ever added.
    """
    chosen = set(parts)
    for name, parameter in model.named_parameters():
        part = part_of(name)
        free = parameter.requires_grad or part in ("language", "lora")
        parameter.requires_grad_(free and part in chosen)
        if parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.float()
    return count_parts(model)


def count_parts(model: nn.Module) -> list[PartCount]:
    """Parameters of each part that the model has, in the order of ``PARTS``, and how many are trained."""
    counts: dict[str, list[int]] = {part: [0, 0] for part in PARTS}
    for name, parameter in model.named_parameters():
        count = counts.setdefault(part_of(name), [0, 0])
        count[0] += parameter.numel()
        count[1] += parameter.numel() * parameter.requires_grad
    return [PartCount(part, *count) for part, count in counts.items() if count[0]]


def format_parts(counts: Iterable[PartCount]) -> str:
    """The counts as a table of text."""
    counts = list(counts)
    whole = PartCount("all", sum(c.parameters for c in counts), sum(c.trained for c in counts))
    lines = [f"{'part':<10}{'parameters':>16}{'trained':>16}"]
    lines += [f"{c.part:<10}{c.parameters:>16,}{c.trained:>16,}" for c in (*counts, whole)]
    return "\n".join(lines)
