"""What one sees of stairs: treads, risers, posts and handrails.

Invariant: pieces are in the frame of their ``Stairs``; railings stand on open edges only and leave the entry
and the arrival free.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from vln_heatmap.simulation.houses.meshes import Part, box, box_between, rod
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Piece, Placed
from vln_heatmap.simulation.houses.plan import SIDE_YAWS, FloorPlan, Rectangle
from vln_heatmap.simulation.houses.stairs import Stairs, Step, open_edges

_RAIL = 0.9  # height of a handrail
_NOSING = 0.02  # by how much a tread sticks out over its riser


def stair_pieces(rng: np.random.Generator, plan: FloorPlan, palette: Palette) -> list[Placed]:
    """What a storey has of the house's stairs: flights and their railing below, the well's railing above."""
    if plan.well is None:
        return []
    hall = plan.inner(0)
    if plan.floor:
        pieces = _well_railing(rng, plan.well, hall, palette)
    else:
        pieces = _flight_pieces(rng, plan.well, hall, plan.height, palette)
    yaw = SIDE_YAWS[plan.well.side]
    return [Placed(piece, plan.well.x, 0.0, plan.well.z, yaw, 0) for piece in pieces]


def _flight_pieces(
    rng: np.random.Generator, stairs: Stairs, hall: Rectangle, ceiling: float, palette: Palette
) -> list[Piece]:
    """The stairs, and the railing on their open edges, of the lower storey."""
    tread, body = palette.pick(rng, "wood"), palette.pick(rng, "trim", "white", "wood")
    parts = []
    for step in stairs.steps:
        x0, z0, x1, z1 = step.rectangle
        parts.append(box_between((x0, 0.0, z0), (x1, step.height - 0.03, z1), body))
        front = (z0 - _NOSING * (step.front < 0), z1 + _NOSING * (step.front > 0))
        parts.append(box_between((x0, step.height - 0.03, front[0]), (x1, step.height, front[1]), tread))
    pieces = [Piece("stairs", tuple(parts), tread)]
    rail, post = palette.pick(rng, "wood", "metal", "trim"), palette.pick(rng, "white", "metal", "wood")
    rails = []
    open_at = open_edges(stairs, stairs.footprint, hall)
    for name, sign in (("-x", 0), ("+x", 2)):
        if open_at[name]:
            rails += _flight_rail(stairs, stairs.footprint[sign], ceiling + 0.1, rail, post)
    if stairs.inner is not None:
        upper = [s for s in stairs.steps if s.front < 0]
        rails += _rail_parts(_posts(upper, stairs.inner), math.inf, rail, post)
    return [*pieces, Piece("railing", tuple(rails), rail)] if rails else pieces


def _flight_rail(stairs: Stairs, x: float, most: float, rail: str, post: str) -> list[Part]:
    """Railing of the outer edge at ``x``; no higher than ``most``, where the slab's edge begins."""
    return _rail_parts(
        _posts([s for s in stairs.steps if x in (s.rectangle[0], s.rectangle[2])], x), most, rail, post
    )


def _posts(steps: list[Step], x: float) -> list[tuple[float, float, float]]:
    """(x, height of the tread, z) of posts by the edge at ``x``, one a tread and more on a landing."""
    posts = []
    for step in steps:
        x0, z0, x1, z1 = step.rectangle
        count = max(1, round((z1 - z0) / 0.27))
        at = x + math.copysign(0.03, (x0 + x1) / 2 - x)
        posts += [(at, step.height, z0 + (k + 0.5) * (z1 - z0) / count) for k in range(count)]
    return posts


def _rail_parts(posts: list[tuple[float, float, float]], most: float, rail: str, post: str) -> list[Part]:
    """Posts of 0.9 m, or up to ``most``, and a handrail over those that are not cut."""
    parts = [
        box((0.025, min(_RAIL, most - y), 0.025), (x, y, z), post) for x, y, z in posts if most - y > 0.05
    ]
    posts = sorted((p for p in posts if p[1] + _RAIL <= most), key=lambda p: p[1])
    for (x0, y0, z0), (x1, y1, z1) in pairwise(posts):
        parts.append(rod(0.026, (x0, y0 + _RAIL, z0), (x1, y1 + _RAIL, z1), rail, sections=6))
    return parts


def _well_railing(rng: np.random.Generator, stairs: Stairs, hall: Rectangle, palette: Palette) -> list[Piece]:
    """The railing round the hole on the upper storey, open where one arrives."""
    rail, post = palette.pick(rng, "wood", "metal", "trim"), palette.pick(rng, "white", "metal", "wood")
    x0, z0, x1, z1 = stairs.hole
    out = 0.03
    ends = {
        "-x": ((x0 - out, z0), (x0 - out, z1)),
        "+x": ((x1 + out, z0), (x1 + out, z1)),
        "-z": ((x0, z0 - out), (x1, z0 - out)),
        "+z": ((x0, z1 + out), (x1, z1 + out)),
    }
    if stairs.inner is None:
        del ends["-z"]  # here one arrives
    else:
        ends["+z"] = ((stairs.entry[0], z1 + out), (stairs.entry[2], z1 + out))
    open_at = open_edges(stairs, stairs.hole, hall)
    parts: list[Part] = []
    for name, (a, b) in ends.items():
        if open_at[name]:
            parts += _level_rail(a, b, rail, post)
    return [Piece("railing", tuple(parts), rail)] if parts else []


def _level_rail(a: tuple[float, float], b: tuple[float, float], rail: str, post: str) -> list[Part]:
    """Balusters and two rails from one floor point to another."""
    length = math.dist(a, b)
    count = max(2, round(length / 0.14) + 1)
    parts = []
    for t in np.linspace(0, 1, count):
        x, z = a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])
        thick = 0.05 if t in (0, 1) else 0.02
        parts.append(box((thick, _RAIL + 0.03 * (thick > 0.02), thick), (x, 0, z), post))
    for y, radius in ((_RAIL, 0.026), (0.08, 0.014)):
        parts.append(rod(radius, (a[0], y, a[1]), (b[0], y, b[1]), rail, sections=6))
    return parts
