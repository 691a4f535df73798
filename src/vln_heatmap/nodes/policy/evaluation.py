"""What the trained policy is worth on episodes that it never saw, beside what anybody could say without it.

Baselines: ``hold_last`` repeats the action that was taken last (at the beginning, the mean), ``mean_action`` says
the mean of the training actions; other heads were trained beside the policy. Invariant: all methods are asked
about the same steps, and scores follow from the table of predictions alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.nodes.metrics.actions import action_scores
from vln_heatmap.nodes.model.policy.normalisation import normalisers
from vln_heatmap.nodes.policy.data import PolicyEpisodes
from vln_heatmap.nodes.policy.training import parts
from vln_heatmap.params.policy import PolicyParams
from vln_heatmap.reporting.policy_figures import error_plot

#: Columns of the predictions that are no method.
PLACE = ("episode", "row", "step", "truth")


def predict_actions(
    checkpoint: Checkpoint,
    comparisons: Mapping[str, Any],
    episodes: PolicyEpisodes,
    statistics: dict[str, Any],
    params: PolicyParams,
) -> pd.DataFrame:
    """Ask every method about steps of the test split.

    Args:
        checkpoint: of the policy.
        comparisons: policies with other heads, by name.
        episodes: with their splits.
        statistics: of the data's training split.
        params: how many windows, how many samples.

    Returns:
        One row an action: ``episode``, ``row`` of the step that was asked about, ``step`` of the chunk, ``truth``
        and, in a column each, what the methods say: lists of numbers in the units of the data. Of a random head
        there is one sample and, as ``<head>_mean``, the mean of ``evaluate.samples``.

    Raises:
        StatisticsMismatchError: the checkpoint was trained with other statistics.
    """
    from vln_heatmap.nodes.model.policy.assemble import policy_from_checkpoint

    policy = policy_from_checkpoint(checkpoint, statistics=statistics)
    policies = {policy.params.head.name: policy, **comparisons}
    windows = episodes.windows("test", params)
    chosen = list(parts(windows, params.evaluate.windows, params.train.batch_size))
    tables = []
    for number, part in enumerate(tqdm(chosen, "policy", unit="batch", disable=None)):
        batch = windows.collate([windows.get(int(i)) for i in part])
        said = _baselines(batch, statistics)
        for name, asked in policies.items():
            said |= _asked(name, asked, batch, params, seed=params.evaluate.seed + number)
        tables.append(_table(batch, said))
    return pd.concat(tables, ignore_index=True)


def _asked(
    name: str, policy: Any, batch: Mapping[str, Any], params: PolicyParams, *, seed: int
) -> dict[str, NDArray]:
    """Chunks [N, H, A] by method."""
    import torch
    from accelerate.utils import send_to_device

    from vln_heatmap.nodes.policy.objective import sampled_actions

    random = name == "flow_matching"
    chunks, _ = sampled_actions(
        policy.eval(),
        send_to_device(dict(batch), next(policy.parameters()).device),
        samples=params.evaluate.samples if random else 1,
        generator=torch.Generator().manual_seed(seed),
    )
    found = {name: chunks[0].double().cpu().numpy()}
    return found | ({f"{name}_mean": chunks.double().mean(0).cpu().numpy()} if random else {})


def _baselines(batch: Mapping[str, Any], statistics: Mapping[str, Any]) -> dict[str, NDArray]:
    """Chunks [N, H, A] that need no model."""
    keep = batch["mask"].flatten().numpy()
    previous, known = (
        batch[name].flatten(0, 1).numpy()[keep] for name in ("previous", "has_previous")
    )  # [N, A], [N]
    mean = np.array(statistics["action"]["mean"])
    horizon = batch["target"].shape[2]
    held = np.where(known[:, None], previous, mean)
    return {
        "hold_last": np.repeat(held[:, None], horizon, axis=1),
        "mean_action": np.broadcast_to(mean, (len(held), horizon, len(mean))),
    }


def _table(batch: Mapping[str, Any], said: Mapping[str, NDArray]) -> pd.DataFrame:
    """Rows of the actions that are known."""
    mask = batch["mask"].numpy()  # [B, L]
    window, place = np.nonzero(mask)  # [N]
    known = batch["target_mask"].flatten(0, 1).numpy()[mask.ravel()]  # [N, H]
    truth = batch["target"].flatten(0, 1).numpy()[mask.ravel()].astype(np.float64)
    which, step = np.nonzero(known)  # [R]
    rows = {
        "episode": [batch["episode"][number] for number in window[which]],
        "row": np.array(batch["start"])[window[which]] + place[which],
        "step": step,
        "truth": list(truth[which, step]),
    }
    return pd.DataFrame(rows | {name: list(chunks[which, step]) for name, chunks in said.items()})


def score_actions(
    predictions: pd.DataFrame,
    checkpoint: Checkpoint,
    episodes: PolicyEpisodes,
    statistics: dict[str, Any],
    params: PolicyParams,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scores of all methods.

    Args:
        predictions: see ``predict_actions``.
        checkpoint: of the policy, whose speed is measured.
        episodes: with their splits.
        statistics: of the training split.
        params: bins of the accuracy.

    Returns:
        The results, and the same as the section ``policy`` of the results of all stages.
    """
    action = statistics["action"]
    _, normaliser = normalisers(statistics)
    low, high = (normaliser.denormalised(limit) for limit in (normaliser.low, normaliser.high))
    truth, step = np.stack(predictions["truth"].to_list()), predictions["step"].to_numpy()
    methods = {
        name: action_scores(
            np.stack(predictions[name].to_list()),
            truth,
            step,
            std=np.array(action["std"]),
            low=low,
            high=high,
            bins=params.evaluate.bins,
            names=action["names"],
        )
        for name in predictions.columns
        if name not in PLACE
    }
    results = {
        "methods": methods,
        "head": params.model.head.name,
        "data": {
            "format": params.data.format,
            "episodes": int(predictions["episode"].nunique()),
            "steps": len(predictions[predictions["step"] == 0]),
            "actions": len(predictions),
        },
        "seconds_per_chunk": seconds_per_chunk(checkpoint, episodes, params),
    }
    return results, {"policy": results}


def seconds_per_chunk(checkpoint: Checkpoint, episodes: PolicyEpisodes, params: PolicyParams) -> float:
    """Median time of five single chunks, from decoded images to actions."""
    from vln_heatmap.nodes.policy.inference import Policy

    policy = Policy.open(checkpoint)
    windows = episodes.windows("test", params)
    window = windows.get(0)
    images = list(window["images"][0].transpose(0, 2, 3, 1))
    spent = []
    for _ in range(6):
        start = time.perf_counter()
        policy.act(images, window["prompt"][0], window["state"][0])
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[1:]))


def draw_errors(results: dict[str, Any]) -> Figure:
    """Errors along the horizon and by dimension."""
    return error_plot(results)
