"""Questions about space, time and change, each with exactly the instances that answer it.

Invariant: a text is made only if every thing that it could mean has a sure verdict; it means all those with a
yes. What cannot be decided from frame table and boxes is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.simulation.questions.change import object_motion, scene_change
from vln_heatmap.simulation.questions.memory import (
    agent_trajectory,
    how_to_reach,
    what_would_i_see_if,
    where_is_from_here,
)
from vln_heatmap.simulation.questions.spatial import (
    above_below,
    behind_in_front,
    between_things,
    inside_outside,
    left_right,
    near_far,
)
from vln_heatmap.simulation.questions.tape import Question, Tape
from vln_heatmap.simulation.scene import Instance, Room

Maker = Callable[[Tape, np.random.Generator], Iterable[Question]]

#: Makers of questions by type; each yields what it can prove of a sequence, in an order drawn at random.
QUESTIONS: dict[str, Maker] = {
    "behind_in_front": behind_in_front,
    "left_right": left_right,
    "above_below": above_below,
    "inside_outside": inside_outside,
    "near_far": near_far,
    "between": between_things,
    "what_would_i_see_if": what_would_i_see_if,
    "where_is_from_here": where_is_from_here,
    "how_to_reach": how_to_reach,
    "object_motion": object_motion,
    "agent_trajectory": agent_trajectory,
    "scene_change": scene_change,
}
_MOST = 200  # questions of a type from which some are chosen


def sequence_questions(
    objects: Sequence[Instance],
    rooms: Sequence[Room],
    frames: pd.DataFrame,
    rng: np.random.Generator,
    *,
    kinds: tuple[str, ...] = tuple(QUESTIONS),
    count: int,
    image_pixels: int,
    camera: PinholeCamera,
    views: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Questions about a sequence, types in turn.

    Args:
        objects, rooms: of the scene.
        frames: frame table of the sequence.
        kinds: keys of ``QUESTIONS``.
        count: at most so many.
        image_pixels: W * H.
        camera: of the frames.
        views: frames in which questions about a view may be asked; None = all.

    Returns:
        Entries of ``metadata["instructions"]`` of kind "reasoning", all texts different.

    Raises:
        ValueError: there is no such type of question.
    """
    if unknown := set(kinds) - QUESTIONS.keys():
        raise ValueError(f"kinds must be some of {sorted(QUESTIONS)}, got {sorted(unknown)}")
    tape = Tape(objects, rooms, frames, camera, image_pixels, views)
    pools = {kind: list(islice(QUESTIONS[kind](tape, rng), _MOST)) for kind in kinds if count}
    return [question.entry() for question in choose(pools, rng, count)]


def choose(pools: dict[str, list[Question]], rng: np.random.Generator, count: int) -> list[Question]:
    """Up to ``count`` questions, types in turn; new things, similar ones and several steps first."""
    pools = {kind: list(pool) for kind, pool in pools.items() if pool}
    chosen: list[Question] = []
    met: dict[tuple[int, ...], int] = {}
    while pools and len(chosen) < count:
        for kind in rng.permutation(sorted(pools))[: count - len(chosen)].tolist():
            weights = np.array(
                [_appeal(question) / (1 + met.get(question.instances, 0)) for question in pools[kind]]
            )
            question = pools[kind].pop(int(rng.choice(len(weights), p=weights / weights.sum())))
            if (question.text, question.frame) not in {(other.text, other.frame) for other in chosen}:
                met[question.instances] = met.get(question.instances, 0) + 2
                chosen.append(question)
        pools = {kind: pool for kind, pool in pools.items() if pool}
    return chosen


def _appeal(question: Question) -> float:
    return (3.0 if question.distractors else 1.0) * question.level


__all__ = ["QUESTIONS", "Maker", "Question", "Tape", "sequence_questions"]
