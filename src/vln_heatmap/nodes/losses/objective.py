"""Running the model as the parts of the loss need it.

Invariant: a second forward pass, and tokens in the output, cost nothing unless a part with weight needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from vln_heatmap.nodes.losses.heatmap import HeatmapLoss
from vln_heatmap.nodes.losses.levels.reasoning import wrong_instructions
from vln_heatmap.nodes.losses.weighting import weighted_sum

#: (network or whatever can be called like it, batch) -> output.
Predict = Callable[[Any, Mapping[str, Any]], Any]


class Judged(NamedTuple):
    """Total loss, its parts without weights (scalars), the total of each window [B] without gradient, and the
    model's output."""

    total: Tensor
    parts: dict[str, Tensor]
    samples: Tensor
    output: Any


def judged(
    loss: HeatmapLoss,
    predict: Predict,
    network: Any,
    batch: Mapping[str, Any],
    weights: Mapping[str, float] | None = None,
) -> Judged:
    """Run the model on a batch as the parts with weight need it, and judge what it says.

    Args:
        loss: the parts; weights: by name, in place of the parameters' (None).
        predict: calls the network on a batch.
        network: the model; batch: see ``HeatmapLoss``.
    """
    needs = loss.params.needs(weights)
    output = predict(partial(network, evidence=True) if "evidence" in needs else network, batch)
    wrong = None
    if "contrast" in needs:
        wrong = predict(network, {**batch, "instruction": wrong_instructions(batch)})
    windows = loss.windows(output, batch, weights, wrong=wrong)
    samples = weighted_sum(windows, loss.chosen(weights))  # [B]
    parts = {name: part.mean() for name, part in windows.items()}
    return Judged(weighted_sum(parts, loss.chosen(weights)), parts, samples.detach(), output)
