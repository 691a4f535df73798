"""Who walks in continuous steps: a trained policy by receding horizon, and what it is measured against.

Invariant: of a chunk the first ``execute`` actions are done before the policy looks again, or those before a
stop: a stop cannot be taken back, so it is done only if the policy says it at once. What a policy draws in an
episode follows from that episode's seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.datasets.episode_windows import resized
from vln_heatmap.nodes.navigation.policy import Baseline, Policy
from vln_heatmap.nodes.policy.closed_loop_world import STOP, Seen
from vln_heatmap.nodes.policy.pursuit import STILL, Action, moving, towards
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.continuous import Motion


class RandomMotions(Baseline):
    """Draws motions within the agent's limits, more ahead than aside, and stops as often as experts do."""

    def __init__(self, agent: AgentParams, stop: float) -> None:
        if not 0 <= stop < 1:
            raise ValueError(f"the probability of a stop must be in [0, 1), got {stop}")
        self.agent, self.stop, self.fingerprint = agent, stop, f"continuous random {stop:g}"

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        super().reset(instructions, seeds=seeds)
        self._rngs = [np.random.default_rng(seed) for seed in seeds]

    def act(self, observations: Sequence[Seen], done: Sequence[bool]) -> list[Action]:
        return [STILL if over else self._draw(rng) for rng, over in zip(self._rngs, done, strict=True)]

    def _draw(self, rng: np.random.Generator) -> Action:
        step, turn = self.agent.forward_step, math.radians(self.agent.turn_angle)
        motion = Motion(rng.uniform(-step, step) / 2, rng.uniform(0, step), rng.uniform(-turn, turn))
        return STILL if rng.random() < self.stop else moving(motion)


class StraightToGoal(Baseline):
    """Turns to the goal and goes there as the crow flies, sliding along what is in the way; for point-goals."""

    fingerprint = "continuous straight"

    def __init__(self, agent: AgentParams) -> None:
        self.agent = agent

    def act(self, observations: Sequence[Seen], done: Sequence[bool]) -> list[Action]:
        return [self._to(seen.goal) for seen in observations]

    def _to(self, goal: tuple[float, float] | None) -> Action:
        if goal is None:
            raise ValueError("the straight controller needs a goal in the observation, got none")
        near = math.hypot(*goal) <= self.agent.forward_step
        return STILL if near else moving(towards(*goal, self.agent))


class ContinuousExpert(Baseline):
    """Does what the expert of the world says."""

    fingerprint, needs_expert = "continuous expert", True

    def act(self, observations: Sequence[Seen], done: Sequence[bool]) -> list[Action]:
        return [STILL if seen.expert is None else seen.expert for seen in observations]


class ChunkPolicy:
    """A trained policy, asked again whenever the part of its chunk that is to be done has been done.

    Args:
        model: ``PolicyModel`` in evaluation mode, with one camera.
        execute: actions of a chunk that are done, at most its horizon.
        fingerprint: of its weights.

    Raises:
        ValueError: ``execute`` is not in [1, horizon].
    """

    needs_expert = False

    def __init__(self, model: Any, *, execute: int, fingerprint: str) -> None:
        if not 1 <= execute <= model.head.horizon:
            raise ValueError(f"execute must be in [1, {model.head.horizon}], got {execute}")
        self.model, self.execute = model, execute
        self.fingerprint = f"continuous chunks of {execute}: {fingerprint}"

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        import torch

        self._prompts = list(instructions)
        self._left: list[list[Action]] = [[] for _ in instructions]
        self._last: list[Action | None] = [None] * len(self._left)
        self._asked = [0] * len(self._left)
        self._noise = [torch.Generator().manual_seed(seed) for seed in seeds]

    def act(self, observations: Sequence[Seen], done: Sequence[bool]) -> list[Action]:
        asked = [k for k, over in enumerate(done) if not over and not self._left[k]]
        if asked:
            for k, chunk in zip(asked, self._ask(asked, observations), strict=True):
                self._left[k] = until_stop(chunk[: self.execute])
                self._asked[k] += 1
        for k, over in enumerate(done):
            if not over:
                self._last[k] = self._left[k].pop(0)
        return [STILL if action is None else action for action in self._last]

    def notes(self) -> list[dict[str, Any]]:
        """``asked``: how often the policy was."""
        return [{"asked": count} for count in self._asked]

    def _ask(self, asked: Sequence[int], observations: Sequence[Seen]) -> NDArray[np.float64]:
        """Chunks [N, horizon, A] for some of the episodes."""
        import torch

        from vln_heatmap.nodes.model.policy.policy_model import Observation

        model, head = self.model, self.model.head
        device = next(model.parameters()).device
        images = np.stack([resized(observations[k].rgb, model.vision.image_size) for k in asked])
        last = [self._last[k] for k in asked]
        before = np.stack([np.zeros(head.dimension) if action is None else action for action in last])
        read = Observation(
            torch.from_numpy(images.transpose(0, 3, 1, 2)[:, None].copy()).to(device),
            [self._prompts[k] for k in asked],
            torch.from_numpy(np.stack([observations[k].state() for k in asked])).float().to(device),
            torch.from_numpy(before).float().to(device),
            torch.tensor([action is not None for action in last], device=device),
        )
        noise = [torch.randn(head.horizon, head.dimension, generator=self._noise[k]) for k in asked]
        with torch.inference_mode():
            return model(read, torch.stack(noise).to(device)).double().cpu().numpy()


def until_stop(chunk: NDArray[np.float64]) -> list[Action]:
    """Those actions [4] of a chunk [H, 4] that come before its first stop; a stop that comes first is kept."""
    stops = np.flatnonzero(chunk[:, 3] > STOP)
    return list(chunk[: max(int(stops[0]), 1)] if len(stops) else chunk)


def chunk_policy(checkpoint: Checkpoint, *, execute: int) -> ChunkPolicy:
    """The policy of a checkpoint.

    Raises:
        CheckpointMismatchError: it is of something else.
    """
    from vln_heatmap.nodes.model.policy.assemble import policy_from_checkpoint
    from vln_heatmap.nodes.navigation.dialogue_policy import weights_fingerprint

    model = policy_from_checkpoint(checkpoint)
    return ChunkPolicy(model, execute=execute, fingerprint=weights_fingerprint(checkpoint))


def controllers(
    names: Sequence[str], agent: AgentParams, experts: Sequence[Sequence[int]]
) -> Mapping[str, Policy]:
    """Baselines by name.

    Args:
        names: of "random", "straight", "expert".
        agent: limits of a step.
        experts: actions of the expert in each episode, whose number alone is used: random stops as often.
    """
    length = float(np.mean([max(len(actions), 1) for actions in experts])) if experts else 20.0
    known: dict[str, Policy] = {
        "random": RandomMotions(agent, round(1 / (length + 1), 4)),
        "straight": StraightToGoal(agent),
        "expert": ContinuousExpert(),
    }
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"baselines must be of {', '.join(known)}, got {unknown[0]!r}")
    return {name: known[name] for name in names}
