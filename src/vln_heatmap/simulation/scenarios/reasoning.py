"""Films that answer what is asked about places out of view: what one would see, where a thing is, how one gets
there and how one came.

Invariant: the answer is in the recording: the described view is visited, the target was seen, the way is walked.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.simulation.scenarios import measures_motion, measures_things
from vln_heatmap.simulation.scenarios.base import Scenario
from vln_heatmap.simulation.scenarios.recorded import SEEN_WELL, angle_between
from vln_heatmap.simulation.scenarios.stage import Rows, Stage, draw, filming, gazing_path, share_of
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import NoRouteError, point_to_point
from vln_heatmap.simulation.trajectories.free_motion import (
    frames_needed,
    free_walk,
    looking_ahead,
    paced,
)

PART = "spatial_reasoning"
_HELD = 3  # frames for which a view rests
_TURNS = (math.pi / 2, -math.pi / 2, math.pi)
_LEAST_DEPTH = 0.8  # metres: median depth of a view that is worth describing
_OTHER_SIDE = 80.0  # degrees between two sides of a thing
_WELL = 1.5 * SEEN_WELL
_AWAY = (math.radians(75), math.radians(150))  # off the view at the end


@filming(tries=40)
def film_what_if(stage: Stage) -> Take | None:
    """A view that rests, then the one after a turn (left, right, around) or from a thing's other side."""
    other_side = stage.length >= 24 and stage.rng.random() < 0.5
    return _from_the_other_side(stage) if other_side else _after_a_turn(stage)


def _after_a_turn(stage: Stage) -> Take | None:
    spot = stage.spots[int(stage.rng.integers(len(stage.spots)))]
    yaw, turn = stage.rng.uniform(-math.pi, math.pi), _TURNS[int(stage.rng.integers(3))]
    rows = np.array([[*spot, yaw, 0.0, 0.0], [*spot, yaw + turn, 0.0, 0.0]])
    views = [stage.view(row) for row in rows]
    seen = [stage.things_in(view, least=_WELL) for view in views]
    if min(float(np.median(view.depth)) for view in views) < _LEAST_DEPTH or not all(seen):
        return None
    fine = np.linspace(0, 1, 91)[:, None] * (rows[1] - rows[0]) + rows[0]
    return _held_at_ends(stage, fine, focus=tuple(sorted(seen[1]))[:1])


def _from_the_other_side(stage: Stage) -> Take | None:
    thing = draw(stage, stage.things)
    if thing is None:
        return None

    def turned(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        sides = [(row[:3] - thing.centre) * (1, 0, 1) for row in (a, b)]
        angle = angle_between(*sides)
        return angle if angle >= _OTHER_SIDE else -1.0

    rows = gazing_path(stage, thing, lambda view: share_of(view, thing.id) >= _WELL, far=2.5, prefer=turned)
    return None if rows is None else _held_at_ends(stage, rows, focus=(thing.id,))


def _held_at_ends(stage: Stage, rows: Rows, *, focus: tuple[int, ...]) -> Take | None:
    """A take that rests at both ends of a line of poses, for at least ``_HELD`` frames each."""
    moving = max(frames_needed(rows, stage.limits), (stage.length - 2 * _HELD) // 2)
    rest = stage.length - moving
    if rest < 2 * _HELD:
        return None
    first = int(stage.rng.integers(_HELD, rest - _HELD + 1))
    line = paced(rows, moving, stage.limits)
    held = (np.tile(line[0], (first, 1)), line, np.tile(line[-1], (rest - first, 1)))
    return Take(free_walk(np.concatenate(held)), focus=focus)


@filming(tries=60)
def film_where_is(stage: Stage) -> Take | None:
    """Look at a thing, walk on, and end with it out of view."""
    thing = draw(stage, stage.things)
    spots = stage.around(thing, 0.8, 4.0) if thing is not None else np.zeros((0, 3))
    if thing is None or not len(spots):
        return None
    start = stage.gaze(spots[:1], thing.centre)[0]
    far = np.linalg.norm(spots - start[:3], axis=1)
    goals = spots[(far >= 0.5) & (far <= 0.4 * stage.limits.step * (stage.length - 1))]
    path = stage.path(start[:3], goals[0]) if len(goals) else goals
    if len(path) < 10 or share_of(stage.view(start), thing.id) < _WELL:
        return None
    ahead = looking_ahead(path)
    target = stage.gaze(path[-1:], thing.centre)[0, 3]
    away = target + stage.rng.uniform(*_AWAY) * stage.rng.choice([-1, 1])
    rows = np.concatenate([_turn(start, ahead[0, 3]), ahead, _turn(ahead[-1], away)])
    walking = stage.length - 4
    if walking < 2 or frames_needed(rows, stage.limits) > walking:
        return None
    line = paced(rows, walking, stage.limits)
    line = np.concatenate([line[[0, 0]], line, line[[-1, -1]]])
    hidden = share_of(stage.view(line[-1]), thing.id) == 0
    return Take(free_walk(line), focus=(thing.id,)) if hidden else None


def _turn(row: NDArray[np.float64], yaw: float) -> Rows:
    """Poses [31, 6] of a turn on the spot to a heading, the short way, and to level."""
    end = row.copy()
    end[3], end[4] = row[3] + wrap_angle(yaw - row[3]), 0.0
    return row + np.linspace(0, 1, 31)[:, None] * (end - row)


@filming(tries=40)
def film_how_to_reach(stage: Stage) -> Take | None:
    """A walk by discrete actions along the shortest path to a thing, round at least one corner."""
    thing = draw(stage, stage.things)
    if thing is None:
        return None
    try:
        walk = point_to_point(stage.sim, stage.rng, replace(stage.request, targets=[thing.centre]))
    except NoRouteError:
        return None
    path = np.array([step.state.position for step in walk.steps])[:, [0, 2]]
    return Take(walk, focus=(thing.id,)) if measures_motion.count_legs(path) >= 2 else None


@filming(tries=60)
def film_agent_trajectory(stage: Stage) -> Take | None:
    """A camera on its way from one place to another, round at least one corner."""
    start = stage.spots[int(stage.rng.integers(len(stage.spots)))]
    away = np.linalg.norm(stage.spots - start, axis=1)
    reach = 0.8 * stage.limits.step * (stage.length - 1)
    goals = stage.spots[(away >= 1.0) & (away <= reach)]
    if not len(goals):
        return None
    rows = looking_ahead(stage.path(start, goals[0]))
    bent = measures_motion.count_legs(rows[:, [0, 2]]) >= 2
    return stage.take(rows) if bent and stage.fits(rows) else None


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "what_would_i_see_if", PART, "viewpoint_diversity", film_what_if, measures_motion.held_view_change,
        (60.0, 180.0), "degrees", "The change between two resting views of one place or one thing.",
        questions=("what_would_i_see_if",),
    ),
    Scenario(
        "where_is_from_here", PART, "random_exploration", film_where_is, measures_things.angle_off_view,
        (50.0, 180.0), "degrees", "The angle between the last view and a thing that was seen before.",
        questions=("where_is_from_here",),
    ),
    Scenario(
        "how_to_reach", PART, "point_to_point", film_how_to_reach, measures_motion.route_legs,
        (2.0, math.inf), "legs", "The straight legs of a route that ends at its goal.",
        questions=("how_to_reach",),
    ),
    Scenario(
        "agent_trajectory", PART, "point_to_point", film_agent_trajectory, measures_motion.legs,
        (2.0, math.inf), "legs", "The straight legs of the way of the camera.",
        questions=("agent_trajectory",),
    ),
)  # fmt: skip
