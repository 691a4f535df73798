"""Running the model as the parts of the loss need it.

Invariant: a second forward pass, and tokens in the output, cost nothing unless a part with weight needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from vln_heatmap.nodes.losses.heatmap import HeatmapLoss
from vln_heatmap.nodes.losses.levels.reasoning import wrong_instructions

#: (network or whatever can be called like it, batch) -> output.
Predict = Callable[[Any, Mapping[str, Any]], Any]


def judged(
    loss: HeatmapLoss,
    predict: Predict,
    network: Any,
    batch: Mapping[str, Any],
    weights: Mapping[str, float] | None = None,
) -> tuple[Tensor, dict[str, Tensor], Any]:
    """Total loss, its parts without weights, and the model's output for a batch.

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
    return *loss(output, batch, weights, wrong=wrong), output
