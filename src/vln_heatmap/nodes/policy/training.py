"""Training of a policy in the loop of all stages, and of the heads that it is compared with.

Invariant: a comparison differs from the policy in its head and in nothing else: same data, same order, same
initial weights of all that is made before the head.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.datasets.episode_windows import EpisodeWindows
from vln_heatmap.nodes.policy.data import PolicyEpisodes, data_fingerprint
from vln_heatmap.params.policy import PolicyParams


def train_policy(
    episodes: PolicyEpisodes,
    statistics: dict[str, Any],
    tokenizer: dict[str, Any],
    params: PolicyParams,
    state: Any,
    tracker: Any,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Train the policy.

    Args:
        episodes: with their splits.
        statistics: of the training split; they travel in the checkpoint.
        tokenizer: content of tokenizer.json.
        params: of the stage.
        state: ``TrainingState`` handle, from which an interrupted run goes on.
        tracker: ``Tracker`` for live metrics.

    Yields:
        Checkpoint {state_dict, meta} and the history of the run, one row a step.

    Raises:
        CheckpointMismatchError: ``warm_start`` does not fit.
    """
    from vln_heatmap.nodes.model.policy.assemble import policy_meta
    from vln_heatmap.nodes.training.costs import training_costs

    data = PolicyTraining(episodes, statistics, tokenizer, params)
    policy, result = _trained(data, state=state, tracker=tracker)
    meta = policy_meta(
        policy,
        tokenizer,
        statistics,
        stage="policy",
        metrics=result.metrics,
        training=training_costs(result.history, len(episodes.windows("train", params))),
    )
    yield {"state_dict": result.state_dict, "meta": meta}, result.history
    state.clear()  # kedro comes back here when the outputs are stored


def train_comparisons(
    episodes: PolicyEpisodes,
    statistics: dict[str, Any],
    tokenizer: dict[str, Any],
    params: PolicyParams,
    tracker: Any,
) -> dict[str, Any]:
    """The policy with each of the heads ``params.compare`` (but its own), trained in the same way, by name."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(params.compare):
        if name != params.model.head.name:
            data = PolicyTraining(episodes, statistics, tokenizer, with_head(params, name))
            policy, result = _trained(data, state=None, tracker=tracker.under(name))
            policy.load_state_dict(result.state_dict, strict=False)
            found[name] = policy.eval()
    return found


def with_head(params: PolicyParams, name: str) -> PolicyParams:
    """The same parameters with another head."""
    head = params.model.head.model_copy(update={"name": name})
    return params.model_copy(update={"model": params.model.model_copy(update={"head": head})})


@dataclass(frozen=True)
class PolicyTraining:
    """What a policy is trained on, and how."""

    episodes: PolicyEpisodes
    statistics: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    params: PolicyParams


class Trained(NamedTuple):
    """Result of a training: the weights to store, one row a step, and the best validation with its ``step``."""

    state_dict: dict[str, Any]
    history: pd.DataFrame
    metrics: dict[str, float]


def _trained(data: PolicyTraining, *, state: Any, tracker: Any) -> tuple[Any, Trained]:
    """A policy (whose own weights may be anything now) and the result of its training."""
    from vln_heatmap.nodes.model.policy.assemble import make_policy, warm_start

    params = data.params
    policy = make_policy(params.model, data.tokenizer, data.statistics, seed=params.train.seed)
    start = "random"
    if params.warm_start is not None:
        checkpoint = Checkpoint.open(params.warm_start, made_by="policy")
        warm_start(policy, checkpoint)
        start = str(checkpoint.path)
    if params.train.several:
        from vln_heatmap.nodes.policy.worker import launched

        return policy, launched(policy, data, start=start, state=state, tracker=tracker)
    return policy, train_here(policy, data, start=start, state=state, tracker=tracker)


def train_here(policy: Any, data: PolicyTraining, *, start: str, state: Any, tracker: Any) -> Trained:
    """Train in this process, or as one of several; ``start`` names the weights that the policy has."""
    from vln_heatmap.nodes.model.policy.assemble import external_weights
    from vln_heatmap.nodes.policy.objective import policy_loss
    from vln_heatmap.nodes.training.loop import train

    episodes, params = data.episodes, data.params
    held_out = episodes.windows("val", params)
    result = train(
        policy,
        policy_loss,
        episodes.windows("train", params),
        params.train,
        state=state,
        tracker=tracker,
        validate=lambda net: validation_metrics(net, held_out, data.statistics, params),
        fingerprint=_fingerprint(data, start),
        name=f"policy ({params.model.head.name})",
        leave_out=external_weights(policy),
    )
    metrics = {"step": result.best.step, **result.best.metrics} if result.best else {}
    return Trained(result.state_dict, result.history, metrics)


def validation_metrics(
    policy: Any, windows: EpisodeWindows, statistics: Mapping[str, Any], params: PolicyParams
) -> dict[str, float]:
    """``mse`` and ``mae`` of sampled actions in deviations of the training actions, and the ``loss``.

    They are taken over a fixed, evenly spread part of the windows, with the same noise every time.
    """
    import torch
    from accelerate.utils import send_to_device

    from vln_heatmap.nodes.policy.objective import policy_loss, sampled_actions

    device, generator = next(policy.parameters()).device, torch.Generator().manual_seed(params.evaluate.seed)
    std = np.array(statistics["action"]["std"])
    apart, losses = [], []
    for part in parts(windows, params.evaluate.validation_windows, params.train.batch_size):
        batch = send_to_device(windows.collate([windows.get(int(i)) for i in part]), device)
        chunks, steps = sampled_actions(policy, batch, samples=1, generator=generator)
        known = batch["target_mask"].flatten(0, 1)[steps]  # [N, H]
        truth = batch["target"].flatten(0, 1)[steps]
        apart.append((chunks[0] - truth)[known].double().cpu().numpy())  # [M, A]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.evaluate.seed)
            losses += [policy_loss(policy, batch).total.item()] * len(part)
    relative = np.concatenate(apart)[:, std > 0] / std[std > 0]
    return {
        "mse": float((relative**2).mean()),
        "mae": float(np.abs(relative).mean()),
        "loss": float(np.mean(losses)),
    }


def parts(windows: EpisodeWindows, count: int, size: int) -> Iterator[np.ndarray]:
    """Indices of at most ``count`` windows, evenly spread, at most ``size`` at a time."""
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(count, len(windows))).astype(int))
    return (chosen[start : start + size] for start in range(0, len(chosen), size))


def _fingerprint(data: PolicyTraining, start: str) -> str:
    """Hash of everything that the trained weights depend on."""
    params = data.params
    content = {
        "data": data_fingerprint(data.episodes, data.statistics),
        "tokenizer": data.tokenizer,
        "start": start,
        "params": params.model_dump(mode="json", exclude={"train", "compare", "warm_start"}),
        "train": params.train.identity(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
