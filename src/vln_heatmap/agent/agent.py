"""An agent that follows one instruction: ``reset(instruction)``, then ``act(observation)`` until it says STOP.

Invariant: an action is given only for a whole, well-formed observation of an episode that has begun and is not
over; a call that is refused changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vln_heatmap.nodes.navigation.policy import Observation, Policy
from vln_heatmap.params.navigation import EXECUTE
from vln_heatmap.simulation.simulators.base import ACTION_NAMES, STOP

#: Longest instruction in characters, and the largest side of an image in pixels.
MAX_INSTRUCTION, MAX_SIDE = 2000, 2048


class EpisodeOverError(RuntimeError):
    """There is no episode to act in: none was begun, or it ended by STOP."""


class VLNAgent:
    """A policy for one episode at a time.

    Args:
        policy: who decides; it must not be shared with another agent at the same time.
        max_steps: actions after which the agent stops by itself.

    Example:
        >>> from vln_heatmap.nodes.navigation.policy import ForwardOnly
        >>> agent = VLNAgent(ForwardOnly(2))
        >>> agent.reset("go to the red chair")
        >>> [agent.act(Observation(np.zeros((48, 64, 3), np.uint8))) for _ in range(3)]
        [1, 1, 0]
    """

    def __init__(self, policy: Policy, *, max_steps: int = 500) -> None:
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}")
        if policy.needs_expert:
            raise ValueError("this policy needs the simulator's expert and cannot act on its own")
        self.policy, self.max_steps = policy, max_steps
        self._steps: int | None = None  # taken in this episode; None if there is none

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, *, device: str = "cpu", max_steps: int = 500, execute: int | None = EXECUTE
    ) -> VLNAgent:
        """The agent of a trained action dialogue.

        Args:
            path: checkpoint folder.
            device: torch device.
            max_steps: actions after which the agent stops by itself.
            execute: actions of a reply that are done before it looks again; None = all.

        Raises:
            MissingCheckpointError, CorruptCheckpointError, CheckpointMismatchError: as they say.
        """
        from vln_heatmap.datasets.checkpoint import Checkpoint
        from vln_heatmap.nodes.navigation.dialogue_policy import dialogue_policies

        make = dialogue_policies(Checkpoint.open(path, made_by="navigation"), device=device, execute=execute)
        return cls(make(), max_steps=max_steps)

    @property
    def steps(self) -> int:
        """Actions given in this episode."""
        return self._steps or 0

    def reset(self, instruction: str, *, seed: int = 0) -> None:
        """Begin an episode.

        Args:
            instruction: what to do, free text.
            seed: for policies that draw.

        Raises:
            ValueError: no text, or more than 2000 characters.
        """
        check_instruction(instruction)
        self.policy.reset([instruction], seeds=[seed])
        self._steps = 0

    def act(self, observation: Observation) -> int:
        """The next action: 0 STOP, 1 FORWARD 0.25 m, 2 LEFT or 3 RIGHT by 15 degrees.

        Raises:
            EpisodeOverError: no episode was begun, or it is over.
            ValueError: an image, depth or pose of another shape or type.
        """
        if self._steps is None:
            raise EpisodeOverError(
                "there is no episode: call reset(instruction) first, and again after a STOP"
            )
        check_observation(observation)
        (action,) = self.policy.act([observation], [False])
        self._steps += 1
        if self._steps >= self.max_steps:
            action = STOP
        if action == STOP:
            self._steps = None
        return int(action)


def action_name(action: int) -> str:
    """ "forward" of 1."""
    return ACTION_NAMES[action]


def check_instruction(instruction: Any) -> None:
    """See that an instruction is a text that one could follow.

    Raises:
        ValueError: it is none, empty or too long.
    """
    if not isinstance(instruction, str) or not instruction.strip():
        raise ValueError(f"the instruction must be a text, got {instruction!r:.80}")
    if len(instruction) > MAX_INSTRUCTION:
        raise ValueError(
            f"the instruction has {len(instruction)} characters, at most {MAX_INSTRUCTION} are read"
        )


def check_observation(observation: Observation) -> None:
    """See that an observation is what it should be.

    Raises:
        ValueError: the message names what is wrong.
    """
    rgb, depth, pose = observation.rgb, observation.depth, observation.camera_to_world
    sides = rgb.shape[:2] if isinstance(rgb, np.ndarray) and rgb.ndim == 3 and rgb.shape[2] == 3 else ()
    if not sides or rgb.dtype != np.uint8 or not 1 <= min(sides) <= max(sides) <= MAX_SIDE:
        got = f"{getattr(rgb, 'shape', type(rgb))} {getattr(rgb, 'dtype', '')}"
        raise ValueError(f"rgb must be [H, W, 3] uint8 of at most {MAX_SIDE} pixels a side, got {got}")
    if depth is not None and (depth.shape != sides or not np.isfinite(depth).all() or depth.min() < 0):
        raise ValueError(f"depth must be metres >= 0 of the size of the image {sides}, got {depth.shape}")
    if pose is not None and (np.shape(pose) != (4, 4) or not np.isfinite(pose).all()):
        raise ValueError(f"camera_to_world must be a finite 4x4 matrix, got shape {np.shape(pose)}")
