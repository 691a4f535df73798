"""An episode that is walked in continuous steps, and what a policy is shown of it.

Invariant: what is shown is the same in demonstrations and in evaluation: an image, the prompt, and a state that
knows where the goal lies in point-goal episodes and holds nothing in all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.navigation.episodes import NavigationEpisode
from vln_heatmap.nodes.navigation.evaluate_navigation import ROUTE
from vln_heatmap.nodes.navigation.policy import Observation
from vln_heatmap.nodes.navigation.worlds import World
from vln_heatmap.nodes.policy.pursuit import ACTION_NAMES, DECIMALS, Pursuit
from vln_heatmap.simulation.continuous import Motion, glide, seen_from
from vln_heatmap.simulation.simulators.base import StepResult

POINT_GOAL, OBJECT_GOAL = "point_goal", "object_goal"
PROMPT = "go to the point"
STATE_NAMES = ("known", "distance", "sin_bearing", "cos_bearing")
#: What is more than this in an action's last number ends the episode.
STOP = 0.5


@dataclass(frozen=True)
class Seen(Observation):
    """An ``Observation`` and, in point-goal episodes, where the goal is.

    Attributes:
        goal: metres to the right of the agent and ahead of it; None where the prompt must do.
    """

    goal: tuple[float, float] | None = None

    def state(self) -> NDArray[np.float64]:
        """What a policy reads as its state [4], ``STATE_NAMES``: all 0 without a goal."""
        if self.goal is None:
            return np.zeros(len(STATE_NAMES))
        right, forward = self.goal
        distance = math.hypot(right, forward)
        sine, cosine = (-right / distance, forward / distance) if distance else (0.0, 1.0)
        return np.array([1.0, distance, sine, cosine])


def task_episodes(task: str, episodes: Sequence[NavigationEpisode]) -> list[NavigationEpisode]:
    """Episodes as those of a task: all of them lead to a point; those that name a thing lead to an object.

    A point-goal episode has one goal, the one where the expert went, and no thing to face.

    Raises:
        ValueError: no such task.
    """
    if task == OBJECT_GOAL:
        return [episode for episode in episodes if episode.kind != ROUTE]
    if task != POINT_GOAL:
        raise ValueError(f"task must be {POINT_GOAL} or {OBJECT_GOAL}, got {task!r}")
    return [
        replace(
            episode,
            id=f"{episode.id}_point",
            kind=POINT_GOAL,
            instruction=PROMPT,
            goals=(min(episode.goals, key=lambda goal: math.dist(goal, episode.reference[-1])),),
            target=None,
        )
        for episode in episodes
    ]


class ContinuousWorld(World):
    """A ``World`` whose actions are (Δx, Δz, Δyaw, stop); see ``pursuit``. More than half a stop is one."""

    @property
    def stopped(self) -> bool:
        return bool(self.actions) and self.actions[-1][-1] > STOP

    def _do(self, action: Any) -> StepResult:
        values = np.round(np.asarray(action, np.float64), DECIMALS)
        if values.shape != (len(ACTION_NAMES),) or not np.isfinite(values).all():
            raise ValueError(f"an action must be the finite numbers {ACTION_NAMES}, got {action}")
        self.actions.append(values.tolist())
        if self.stopped:
            return StepResult(self.states[-1], collided=False)
        return glide(self.sim, self.states[-1], Motion(*self.actions[-1][:3]), self.params.agent)

    def _guide(self) -> Pursuit:
        return Pursuit(self.sim, self.params.agent, self.episode.goals, self.episode.target)

    def _look(self) -> Seen:
        seen, episode = self._view(), self.episode
        known = episode.kind == POINT_GOAL
        return Seen(**vars(seen), goal=seen_from(self.states[-1], episode.goals[0]) if known else None)

    def _view(self) -> Observation:
        return super()._look()


class BlindWorld(ContinuousWorld):
    """The same for controllers that do not look: drawing takes most of the time."""

    def _view(self) -> Observation:
        expert = None if self._expert is None else self._expert.action(self.states[-1])
        return Observation(np.zeros((0, 0, 3), np.uint8), expert=expert)
