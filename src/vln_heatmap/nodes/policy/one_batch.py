"""One batch of a policy followed from the files to the loss: what each step makes, and how long it takes.

For finding out where numbers go wrong or time is lost, before a training. Invariant: the steps are those of the
training itself, and their loss is its loss.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.datasets.episode_windows import EpisodeWindows
from vln_heatmap.nodes.policy.data import gather_episodes, learn_policy_tokenizer, policy_statistics
from vln_heatmap.nodes.policy.sources.cells import image_bytes
from vln_heatmap.params.policy import PolicyParams

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
COLUMNS = ("step", "what", "shape", "dtype", "low", "high", "mean", "milliseconds")


class Trace:
    """Rows of the table, one for each thing that a step makes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def step(self, name: str, make: Callable[[], T], *, of: Callable[[T], Any] | None = None) -> T:
        """Do a step and describe what it makes: an array or tensor, or several by name (``of`` says which)."""
        start = time.perf_counter()
        made = make()
        spent = (time.perf_counter() - start) * 1e3
        shown = made if of is None else of(made)
        for number, (what, value) in enumerate(
            (shown if isinstance(shown, Mapping) else {"": shown}).items()
        ):
            row = {"step": name, "what": what, **_described(value)}
            self.rows.append(row | {"milliseconds": round(spent, 3) if number == 0 else np.nan})
        return made

    def table(self) -> pd.DataFrame:
        """One row a thing; the time of a step stands at its first."""
        return pd.DataFrame(self.rows, columns=list(COLUMNS))


def _described(value: Any) -> dict[str, Any]:
    array = value.detach().float().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    dtype = str(getattr(value, "dtype", array.dtype)).removeprefix("torch.")
    numbers = array.astype(np.float64)
    sizes = {name: float(getattr(numbers, name)()) for name in ("min", "max", "mean")} if array.size else {}
    return {
        "shape": "x".join(map(str, array.shape)) or "number",
        "dtype": dtype,
        "low": sizes.get("min"),
        "high": sizes.get("max"),
        "mean": sizes.get("mean"),
    }


def analyse_batch(own: Any, params: PolicyParams) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Follow the first batch of the training split.

    Args:
        own: gives our own sequences and their splits when it is called.
        params: of the policy stage; ``warm_start`` names the weights, else they are random.

    Returns:
        The table (see ``COLUMNS``), and a report: lengths of prompts and prefixes, how much of the batch is
        known, and the loss as a whole, by dimension and along the chunk.

    Raises:
        ValueError: data that cannot be opened or read.
    """
    import torch

    from vln_heatmap.nodes.model.policy.assemble import make_policy, warm_start

    trace = Trace()
    episodes, _ = gather_episodes(own, params)
    statistics = policy_statistics(episodes, params)
    tokenizer = learn_policy_tokenizer(episodes, params)
    policy = make_policy(params.model, tokenizer, statistics, seed=params.train.seed)
    if params.warm_start is not None:
        warm_start(policy, Checkpoint.open(params.warm_start, made_by="policy"))
    batch = _read(trace, episodes.windows("train", params), params)
    with torch.no_grad():
        report = _computed(trace, policy.eval(), batch)
    report["loss_by_dimension"] = dict(
        zip(statistics["action"]["names"], report["loss_by_dimension"], strict=True)
    )
    table = trace.table()
    _LOG.info("\n%s", table.to_string(index=False, na_rep="", float_format="%.4g"))
    _LOG.info("loss %.6g, by dimension %s", report["loss"], report["loss_by_dimension"])
    return table, report


def _read(trace: Trace, windows: EpisodeWindows, params: PolicyParams) -> dict[str, Any]:
    """From files to a batch; the first window is looked at closely."""
    source, (number, start) = windows.source, windows.places[0]
    episode = windows.episodes[number]
    stop = start + 1
    camera = source.cameras[0]
    if cells := getattr(source, "cells", None):
        trace.step(
            "bytes of an image",
            lambda: np.frombuffer(image_bytes(cells(episode, camera, start, stop)[0]), np.uint8),
        )
    trace.step("decoded image", lambda: source.images(episode, camera, start, stop)[0])
    trace.step(
        "numbers of a step",
        lambda: source.numbers(episode, start, stop),
        of=lambda rows: {"state": rows.state, "action": rows.action},
    )
    count = min(params.train.batch_size, len(windows))
    samples = trace.step(
        f"{count} windows",
        lambda: [windows.get(index, np.random.default_rng(index)) for index in range(count)],
        of=lambda made: {name: made[0][name] for name in ("images", "state", "target", "mask")},
    )
    return trace.step(
        "batch",
        lambda: windows.collate(samples),
        of=lambda made: {name: made[name] for name in ("images", "state", "previous", "target", "mask")},
    )


def _computed(trace: Trace, policy: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """From a batch to the loss, by the parts of ``policy_loss``."""
    from vln_heatmap.nodes.model.policy.flow_matching import path, velocity
    from vln_heatmap.nodes.policy.objective import draw_of, observation_of, policy_loss, steps_of

    steps = trace.step("steps that are no padding", lambda: steps_of(batch))
    seen = trace.step("observations", lambda: observation_of(batch, steps), of=lambda o: {"images": o.images})
    trace.step("normalised state", lambda: policy.state_scale.normalised(seen.state))
    target = batch["target"].flatten(0, 1)[steps]  # [N, H, A]
    actions = trace.step("normalised actions", lambda: policy.action_scale.normalised(target))
    visual = trace.step("visual tokens", lambda: policy.visual_tokens(seen.images))
    prompt = trace.step(
        "prompt",
        lambda: policy.language.build_prompt(seen.prompts, visual.shape[1], visual.shape[2]),
        of=lambda made: {"ids": made.ids, "prefix length": made.attention.sum(1)},
    )
    trace.step("state token", lambda: policy.state_token(seen))
    context, there = trace.step("tokens read", lambda: policy.read(seen), of=lambda read: read.tokens)
    draw = draw_of(batch, steps, *target.shape[1:])
    if policy.params.head.name == "flow_matching" and draw is not None:
        trace.step("noise and time", lambda: draw, of=lambda made: made._asdict())
        point = trace.step("point on the path", lambda: path(actions, *draw))
        trace.step("velocity wanted", lambda: velocity(actions, draw.noise))
        trace.step("velocity said", lambda: policy.head.velocity(context, there, point, draw.time))
    errors = trace.step("error of each number", lambda: policy.errors(seen, target, draw=draw))  # [N, H, A]
    loss = trace.step("loss", lambda: policy_loss(policy, batch).total)
    known = batch["target_mask"].flatten(0, 1)[steps].float()[..., None]  # [N, H, 1]
    lengths = prompt.attention.sum(1)
    text = [len(policy.language.tokenizer(words)["input_ids"]) for words in seen.prompts]
    return {
        "windows": len(batch["mask"]),
        "steps": len(steps),
        "actions_known": float(known.mean()),
        "prefix_length": [int(lengths.min()), int(lengths.max())],
        "prompt_tokens": [min(text), max(text)],
        "visual_tokens": int(np.prod(visual.shape[1:4])),
        "loss": float(loss),
        "loss_by_dimension": ((errors * known).sum((0, 1)) / known.sum()).tolist(),
        "loss_by_step": ((errors * known).sum((0, 2)) / known.sum((0, 2)) / errors.shape[2]).tolist(),
    }
