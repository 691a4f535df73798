"""What walks: the protocol of a policy, what it is shown, and the baselines that every model is measured against.

Invariant: a policy sees observations and instructions only; what the expert would do is shown to those alone that
ask for it. What a policy does in an episode depends on that episode, not on which others are walked beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.simulators.base import FORWARD, STOP, TURN_LEFT, TURN_RIGHT


@dataclass(frozen=True)
class Observation:
    """What an agent is shown before each action.

    Attributes:
        rgb: [H, W, 3] uint8.
        depth: [H, W] float32 z-depth in metres, 0 = nothing; None without such a sensor.
        camera_to_world: pose [4, 4] (OpenCV camera, any world with +Y up); None without odometry.
        expert: the shortest-path expert's action here; None for policies that do not ask for it.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None = None
    camera_to_world: NDArray[np.float64] | None = None
    expert: Any = None


@runtime_checkable
class Policy(Protocol):
    """Walks several episodes side by side, one action each at a time.

    Attributes:
        fingerprint: names everything that its actions depend on, so that finished episodes are recognised.
        needs_expert: whether observations must hold the expert's action.
    """

    fingerprint: str
    needs_expert: bool

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        """Begin new episodes, one per instruction; ``seeds`` are for what is drawn in each."""

    def act(self, observations: Sequence[Any], done: Sequence[bool]) -> list[Any]:
        """The next action of every episode; where it is ``done``, any, and the observation is a stale one."""

    def notes(self) -> list[dict[str, Any]]:
        """What is worth keeping of each episode beside its actions (JSON)."""


class Baseline:
    """What the simple policies share: no memory of the episode."""

    fingerprint: str
    needs_expert = False

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        self._count = len(instructions)

    def notes(self) -> list[dict[str, Any]]:
        return [{} for _ in range(self._count)]


class Always(Baseline):
    """The same action again and again."""

    def __init__(self, action: int) -> None:
        self.action, self.fingerprint = action, f"always {action}"

    def act(self, observations: Sequence[Observation], done: Sequence[bool]) -> list[int]:
        return [self.action] * self._count


class ForwardOnly(Baseline):
    """FORWARD for as many steps as an expert's way is long at the median, then STOP: what one can reach without
    looking."""

    def __init__(self, steps: int = 20) -> None:
        self.steps, self.fingerprint = steps, f"forward {steps}"

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        super().reset(instructions, seeds=seeds)
        self._taken = 0

    def act(self, observations: Sequence[Observation], done: Sequence[bool]) -> list[int]:
        self._taken += 1
        return [FORWARD if self._taken <= self.steps else STOP] * self._count


class RandomActions(Baseline):
    """Draws actions with fixed probabilities, STOP as often as experts do."""

    def __init__(self, stop: float = 0.03) -> None:
        if not 0 <= stop < 1:
            raise ValueError(f"the probability of STOP must be in [0, 1), got {stop}")
        move = (1 - stop) / 4
        self.probabilities = {STOP: stop, FORWARD: 2 * move, TURN_LEFT: move, TURN_RIGHT: move}
        self.fingerprint = f"random {stop:g}"

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        super().reset(instructions, seeds=seeds)
        self._rngs = [np.random.default_rng(seed) for seed in seeds]

    def act(self, observations: Sequence[Observation], done: Sequence[bool]) -> list[int]:
        actions, chances = list(self.probabilities), list(self.probabilities.values())
        return [
            STOP if over else int(rng.choice(actions, p=chances))
            for rng, over in zip(self._rngs, done, strict=True)
        ]


class ShortestPath(Baseline):
    """The expert, who knows the house: what is possible at all."""

    fingerprint, needs_expert = "expert", True

    def act(self, observations: Sequence[Observation], done: Sequence[bool]) -> list[int]:
        return [STOP if seen.expert is None else seen.expert for seen in observations]


def baselines(names: Sequence[str], experts: Sequence[Sequence[int]]) -> Mapping[str, Policy]:
    """Baselines by name, told how long the ways of such episodes are.

    Args:
        names: of "random", "forward_only", "always_stop", "expert".
        experts: actions of the expert in each episode, whose counts alone are used: random stops as often, and
            forward-only goes as far as the median one.
    """
    forward = [sum(action == FORWARD for action in actions) for actions in experts]
    length = float(np.mean([max(len(actions), 1) for actions in experts])) if experts else 20.0
    known: dict[str, Policy] = {
        "random": RandomActions(round(1 / (length + 1), 4)),
        "forward_only": ForwardOnly(int(np.median(forward)) if forward else 20),
        "always_stop": Always(STOP),
        "expert": ShortestPath(),
    }
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"baselines must be of {', '.join(known)}, got {unknown[0]!r}")
    return {name: known[name] for name in names}
