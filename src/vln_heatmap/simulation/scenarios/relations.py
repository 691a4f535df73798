"""Films of spatial relations: two or three things of which one is in front of, left of, over … the other.

Invariant: the relation holds by geometry in rendered views at both ends of the way and between, before it is
filmed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import combinations

import numpy as np

from vln_heatmap.simulation.relations import YES, Thing, in_front_of, left_of
from vln_heatmap.simulation.scenarios import measures_things
from vln_heatmap.simulation.scenarios.base import Film, Measure, Scenario
from vln_heatmap.simulation.scenarios.recorded import SEEN_WELL
from vln_heatmap.simulation.scenarios.stage import (
    MOST_SURVEYED,
    Stage,
    draw,
    filming,
    gazing_path,
    nearest_pairs,
    share_of,
)
from vln_heatmap.simulation.scene import Instance
from vln_heatmap.simulation.simulators.base import Observation
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories.walks import path_length

PART = "spatial_reasoning"
_WELL = 1.3 * SEEN_WELL
_MOST_PAIRS = 40
_FARTHEST = 3.5  # metres between two things that are filmed together
Holds = Callable[[Thing, Thing], bool]
Group = tuple[Instance, ...]


@filming(tries=50)
def film_in_front(stage: Stage) -> Take | None:
    """Past two things of which one is in front of the other."""
    return _seen_pair(stage, lambda a, b: YES in (in_front_of(a, b), in_front_of(b, a)))


@filming(tries=50)
def film_beside(stage: Stage) -> Take | None:
    """Past two things of which one is left of the other."""
    return _seen_pair(stage, lambda a, b: YES in (left_of(a, b), left_of(b, a)))


@filming(tries=50)
def film_near_far(stage: Stage) -> Take | None:
    """Past two things of which one is much farther away than the other."""
    return _seen_pair(stage, measures_things.is_nearer)


@filming(tries=80)
def film_above(stage: Stage) -> Take | None:
    """Past two things of which one is on or over the other."""
    first = draw(stage, stage.things)
    if first is None:
        return None
    near = [item for item in stage.things if _close((first, item))]
    return _any_group(stage, [(first, item) for item in near if measures_things.is_above(first, item)])


@filming(tries=80)
def film_between(stage: Stage) -> Take | None:
    """Past three things of which the second is between the others."""
    first = draw(stage, stage.things)
    if first is None:
        return None
    pairs = list(combinations([item for item in stage.things if _close((first, item))], 2))
    tried = [pairs[i] for i in stage.rng.permutation(len(pairs))[:_MOST_PAIRS]]
    triples = [(a, first, b) for a, b in tried if _close((a, b)) and measures_things.is_between(first, a, b)]
    return _any_group(stage, triples)


@filming(tries=40)
def film_inside_outside(stage: Stage) -> Take | None:
    """From a room into another or out of it, looking at a thing in one of them."""
    thing = draw(stage, [item for item in stage.things if item.room >= 0])
    if thing is None:
        return None
    spots = stage.around(thing, 0.6, 5.0)
    rooms = np.array([stage.scene.room_at(x, z, y) for x, y, z in spots])
    ends = []
    for side in (rooms == thing.room, (rooms != thing.room) & (rooms >= 0)):
        rows = stage.gaze(spots[side][: MOST_SURVEYED // 2], thing.centre)
        ends.append([row for row in rows if share_of(stage.view(row), thing.id) >= _WELL])
    for inside, outside in nearest_pairs(*ends):
        path = stage.path(inside[:3], outside[:3])
        line = stage.gaze(path, thing.centre)
        if len(line) and path_length(path) >= 1.0 and stage.fits(line):
            take = stage.take(line if stage.rng.random() < 0.5 else line[::-1].copy(), focus=(thing.id,))
            if _in_and_out(stage, take, thing):
                return take
    return None


def _in_and_out(stage: Stage, take: Take, thing: Instance) -> bool:
    """Whether 2 frames or more show the thing from its room, and as many from another."""
    counts = [0, 0]
    for step in take.walk.steps:
        x, y, z = step.state.position
        room = stage.scene.room_at(x, z, y)
        row = np.array([x, y, z, step.state.yaw, step.tilt, step.lift])
        if room >= 0 and share_of(stage.view(row), thing.id) >= _WELL:
            counts[int(room == thing.room)] += 1
    return min(counts) >= 2


def _seen_pair(stage: Stage, holds: Holds) -> Take | None:
    """Past two things whose relation holds in a view from a random place."""
    spot = stage.spots[int(stage.rng.integers(len(stage.spots)))]
    yaw = stage.rng.uniform(-math.pi, math.pi)
    things = list(stage.things_in(stage.view(np.array([*spot, yaw, -0.15, 0.0])), least=_WELL).values())
    wanted = {item.id for item in stage.things}
    pairs = [(a, b) for a, b in combinations(things, 2) if {a.id, b.id} <= wanted and holds(a, b)]
    pairs = [(a, b) for a, b in pairs if _close((a.instance, b.instance))]
    if not pairs:
        return None
    a, b = pairs[int(stage.rng.integers(len(pairs)))]

    def accept(view: Observation) -> bool:
        seen = stage.things_in(view, least=_WELL)
        return a.id in seen and b.id in seen and holds(seen[a.id], seen[b.id])

    return _film_group(stage, (a.instance, b.instance), accept)


def _any_group(stage: Stage, groups: Iterable[Group]) -> Take | None:
    """Past one of these groups of things, all of them in view."""
    options = list(groups)
    if not options:
        return None
    group = options[int(stage.rng.integers(len(options)))]

    def accept(view: Observation) -> bool:
        return all(share_of(view, item.id) >= _WELL for item in group)

    return _film_group(stage, group, accept)


def _film_group(stage: Stage, group: Group, accept: Callable[[Observation], bool]) -> Take | None:
    middle = np.mean([item.centre for item in group], axis=0)
    rows = gazing_path(stage, middle, accept, near=0.3, far=4.5)
    return None if rows is None else stage.take(rows, focus=tuple(item.id for item in group))


def _close(group: Group) -> bool:
    """Whether two things differ, are in one room and near enough to be seen together."""
    a, b = group
    return a.id != b.id and a.room == b.room and float(np.linalg.norm(a.centre - b.centre)) <= _FARTHEST


def _entry(
    name: str, strategy: str, film: Film, measure: Measure, about: str, *, least: float = 3.0
) -> Scenario:
    return Scenario(
        name, PART, strategy, film, measure, (least, math.inf), "frames", about, questions=(name,)
    )


SCENARIOS: tuple[Scenario, ...] = (
    _entry(
        "behind_in_front", "spatial_relationship", film_in_front, measures_things.frames_in_front,
        "Frames that show two things well, one of them clearly in front of the other.",
    ),
    _entry(
        "left_right", "spatial_relationship", film_beside, measures_things.frames_beside,
        "Frames that show two things well, one of them clearly left of the other.",
    ),
    _entry(
        "above_below", "spatial_relationship", film_above, measures_things.frames_above,
        "Frames that show two things well, one of them on or over the other.",
    ),
    _entry(
        "inside_outside", "room_transition", film_inside_outside, measures_things.inside_and_out,
        "Frames that show a thing well from its own room, or from another: the fewer of the two.", least=2.0,
    ),
    _entry(
        "near_far", "spatial_relationship", film_near_far, measures_things.frames_near_far,
        "Frames that show two things well, one 1.5 times as far away as the other and 1 m more.",
    ),
    _entry(
        "between", "spatial_relationship", film_between, measures_things.frames_between,
        "Frames that show three things well, the second of them between the others.",
    ),
)  # fmt: skip
