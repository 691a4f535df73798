"""What a policy is trained by: the errors of its head over the steps and actions that there are.

Invariant: padding changes nothing; the loss is the mean over windows of the mean over a window's known numbers,
the same in training and in evaluation mode. In training a window brings the seed of its noise, so that neither
micro-batches nor processes change what it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vln_heatmap.nodes.model.policy.flow_matching import Draw, sample_time
from vln_heatmap.nodes.model.policy.policy_model import Observation
from vln_heatmap.nodes.training.base import Losses


def steps_of(batch: Mapping[str, Any]) -> Tensor:
    """Numbers [N] of the steps of a batch of B windows of L places that are no padding, in [0, B * L)."""
    return batch["mask"].flatten().nonzero()[:, 0]


def observation_of(batch: Mapping[str, Any], steps: Tensor) -> Observation:
    """The observations of some steps."""
    prompts = [text for window in batch["prompt"] for text in window]
    flat = {
        name: batch[name].flatten(0, 1)[steps] for name in ("images", "state", "previous", "has_previous")
    }
    return Observation(
        flat["images"],
        [prompts[step] for step in steps.tolist()],
        flat["state"],
        flat["previous"],
        flat["has_previous"],
    )


def draw_of(batch: Mapping[str, Any], steps: Tensor, horizon: int, dimension: int) -> Draw | None:
    """Noise and times of some steps, of the seeds that the windows bring; None if they bring none."""
    if "seed" not in batch:
        return None
    places = batch["mask"].shape[1]
    noise, time = [], []
    for seed in batch["seed"]:
        generator = torch.Generator().manual_seed(seed)
        noise.append(torch.randn(places, horizon, dimension, generator=generator))
        time.append(sample_time(places, generator=generator))
    return Draw(torch.cat(noise).to(steps.device)[steps], torch.cat(time).to(steps.device)[steps])


def policy_loss(policy: Any, batch: Mapping[str, Any]) -> Losses:
    """Loss of a batch of B windows.

    Args:
        policy: ``PolicyModel``.
        batch: as ``EpisodeWindows`` collates it.
    """
    steps = steps_of(batch)
    target = batch["target"].flatten(0, 1)[steps]  # [N, H, A]
    known = batch["target_mask"].flatten(0, 1)[steps].float()  # [N, H]
    draw = draw_of(batch, steps, *target.shape[1:])
    errors = policy.errors(observation_of(batch, steps), target, draw=draw).mean(-1)  # [N, H]
    window = steps // batch["mask"].shape[1]  # [N]
    none = errors.new_zeros(len(batch["mask"]))
    sums = none.index_add(0, window, (errors * known).sum(1))
    counts = none.index_add(0, window, known.sum(1))
    samples = sums / counts.clamp_min(1)  # [B]
    total = samples.mean()
    return Losses(total, {policy.params.head.name: total}, samples)


@torch.no_grad()
def sampled_actions(
    policy: Any, batch: Mapping[str, Any], *, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Chunks [samples, N, H, A] for the N steps of a batch, in the units of the data, and the steps [N].

    The observations are read once for all samples; the noise comes from ``generator``, on the CPU.
    """
    steps = steps_of(batch)
    read = policy.read(observation_of(batch, steps))
    head = policy.head
    chunks = []
    for _ in range(samples):
        noise = torch.randn(len(steps), head.horizon, head.dimension, generator=generator).to(steps.device)
        chunks.append(policy.action_scale.denormalised(head.sample(*read, noise=noise)))
    return torch.stack(chunks), steps
