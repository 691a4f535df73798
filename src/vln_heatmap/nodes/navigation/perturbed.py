"""The expert's walk, perturbed: now and then something else is done for some steps, and the expert goes on from
wherever that has led.

Who has only seen perfect walks knows no way back from a wall. Noise in the expert's walk shows such ways before
anybody has been trained, and at every step the expert says what it would have done (Laskey et al. 2017, DART,
arXiv:1703.09327). Invariant: a walk depends on its episode and the parameters alone, and is all that was done.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from vln_heatmap.nodes.navigation.episodes import NavigationEpisode
from vln_heatmap.nodes.navigation.expert import Expert
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.params.navigation_training import PerturbationParams
from vln_heatmap.simulation.simulators.base import FORWARD, STOP, TURN_LEFT, TURN_RIGHT, Simulator

_MOVES = (FORWARD, TURN_LEFT, TURN_RIGHT)


@dataclass(frozen=True)
class Perturbed:
    """A walk: the action at each step, what the expert would have done there, and whether it ended by STOP."""

    actions: tuple[int, ...]
    expert: tuple[int, ...]
    stopped: bool


def perturbed_walk(
    sim: Simulator, episode: NavigationEpisode, params: NavigationParams, how: PerturbationParams
) -> Perturbed:
    """Walk an episode with perturbations.

    Args:
        sim: with the episode's scene.
        episode: start, goals and what to face.
        params: agent, and greatest number of steps.
        how: how often, how long, and how many times at most.
    """
    rng = np.random.default_rng([how.seed, zlib.crc32(episode.id.encode())])
    guide, state = Expert(sim, params.agent, episode.goals, episode.target), episode.start
    actions, expert, ahead, left = list[int](), list[int](), list[int](), how.times
    while len(actions) < params.max_steps:
        expert.append(guide.action(state))
        if not ahead and left and rng.random() < how.rate:
            ahead, left = _perturbation(rng, how), left - 1
        actions.append(ahead.pop() if ahead else expert[-1])
        if actions[-1] == STOP:
            return Perturbed(tuple(actions), tuple(expert), True)
        state = sim.step(state, actions[-1]).state
    return Perturbed(tuple(actions), tuple(expert), False)


def _perturbation(rng: np.random.Generator, how: PerturbationParams) -> list[int]:
    """Straight on (half of them), round and round, or anything."""
    steps, kind = int(rng.integers(1, how.steps + 1)), rng.random()
    if kind < 0.5:
        return [FORWARD] * steps
    if kind < 0.8:
        return [int(rng.choice(_MOVES[1:]))] * steps
    return [int(action) for action in rng.choice(_MOVES, steps)]
