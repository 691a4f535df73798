"""Does a simulator keep the conventions of this project on this machine?

Invariant: every expected value is a closed form of a room that is built here; nothing is compared with what
another simulator answers. ``python -m vln_heatmap.simulation.selfcheck --simulator habitat``
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.params import AgentParams, HabitatParams
from vln_heatmap.simulation.scene import Instance, Room, Scene
from vln_heatmap.simulation.simulators import SIMULATORS, make_simulator
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    TURN_LEFT,
    AgentState,
    Observation,
    Simulator,
    SimulatorUnavailableError,
)

Corner = tuple[float, float, float]

WIDTH, DEPTH, HEIGHT = 6.0, 8.0, 2.6  # metres; the room spans x 0..6, z 0..8, y 0..2.6
EYE = (3.0, 1.25, 5.0)
CAMERA = PinholeCamera(96, 64, 90.0)
AGENT = AgentParams()
#: category, colour, box: what stands in the room besides its six sides.
BLOCK = (
    "box",
    (220, 30, 30),
    (4.0, 0.0, 2.0),
    (4.6, 1.6, 2.6),
)  # on the right of somebody who looks along -Z


@dataclass(frozen=True)
class Check:
    """One convention: what it says, whether it holds, and what was measured."""

    about: str
    holds: bool
    measured: str


def build_room() -> Scene:
    """A room of six sides and one red block, each an instance of its own, untextured but coloured."""
    boxes: list[tuple[str, tuple[int, int, int], Corner, Corner]] = [
        ("floor", (130, 110, 90), (0, -0.1, 0), (WIDTH, 0, DEPTH)),
        ("ceiling", (230, 230, 230), (0, HEIGHT, 0), (WIDTH, HEIGHT + 0.1, DEPTH)),
        ("wall", (60, 120, 200), (0, 0, -0.1), (WIDTH, HEIGHT, 0)),  # ahead at yaw 0
        ("wall", (80, 180, 80), (0, 0, DEPTH), (WIDTH, HEIGHT, DEPTH + 0.1)),
        ("wall", (200, 200, 60), (-0.1, 0, 0), (0, HEIGHT, DEPTH)),  # on the left
        ("wall", (160, 80, 160), (WIDTH, 0, 0), (WIDTH + 0.1, HEIGHT, DEPTH)),
        BLOCK,
    ]
    parts = [_box(np.array(low, float), np.array(high, float)) for _, _, low, high in boxes]
    count = len(boxes)
    textures = np.array([colour for _, colour, _, _ in boxes], np.uint8)
    return Scene(
        name="selfcheck_room",
        seed=None,
        vertices=np.concatenate([vertices for vertices, _ in parts]).astype(np.float32),
        normals=np.concatenate([normals for _, normals in parts]).astype(np.float32),
        uvs=np.full((24 * count, 2), 0.5, np.float32),
        faces=np.concatenate([_FACES + 24 * k for k in range(count)]).astype(np.int32),
        face_instance=np.repeat(np.arange(1, count + 1), 12).astype(np.int32),
        face_texture=np.repeat(np.arange(count), 12).astype(np.int32),
        textures=np.broadcast_to(textures[:, None, None], (count, 4, 4, 3)).copy(),
        instances=tuple(
            Instance(k + 1, category, "", 0, low, high, category == "box")
            for k, (category, _, low, high) in enumerate(boxes)
        ),
        rooms=(Room("room", (0.0, 0.0, WIDTH, DEPTH)),),
    )


def run_checks(sim: Simulator) -> Iterator[Check]:
    """Every convention in turn; the room is loaded first."""
    sim.load(build_room())
    for check in (_pose_checks, _image_checks, _change_checks, _floor_checks, _walk_checks):
        yield from check(sim)


def _pose_checks(sim: Simulator) -> Iterator[Check]:
    ahead = sim.render(look_pose(EYE, 0.0))
    middle = _middle(ahead.depth)
    yield _near("yaw 0 looks along -Z, and depth is in metres", middle, EYE[2])
    left = sim.render(look_pose(EYE, math.pi / 2))
    yield _near("a positive yaw turns left, towards -X", _middle(left.depth), EYE[0])
    aside = ahead.depth[CAMERA.height // 2, 22]  # where a ray to the wall is 5.7 m long
    yield _near("depth is z-depth: the same all over a wall that is seen head-on", float(aside), EYE[2])
    up = sim.render(look_pose(EYE, 0.0, math.pi / 4))
    expected = (HEIGHT - EYE[1]) * math.sqrt(2)
    yield _near("a positive pitch looks up", _middle(up.depth), expected, 0.1)
    far = sim.render(look_pose((EYE[0], EYE[1], 30.0), math.pi))  # outside, turned away
    nothing = float((far.depth == 0).mean())
    yield Check("where nothing is hit, depth is 0", nothing == 1.0, f"{nothing:.0%} of an empty view")


def _image_checks(sim: Simulator) -> Iterator[Check]:
    view = sim.render(look_pose(EYE, 0.0))
    shapes = (view.rgb.shape, view.depth.shape, view.instance.shape)
    size = (CAMERA.height, CAMERA.width)
    yield Check("images are [H, W], colours are RGB", shapes == ((*size, 3), size, size), f"{shapes}")
    types = (str(view.rgb.dtype), str(view.depth.dtype), str(view.instance.dtype))
    yield Check("types are uint8, float32, int32", types == ("uint8", "float32", "int32"), ", ".join(types))
    top, bottom = int(view.instance[1, 48]), int(view.instance[-2, 48])
    yield Check(
        "row 0 is on top: ceiling above, floor below", (top, bottom) == (2, 1), f"ids {top}, {bottom}"
    )
    columns = np.flatnonzero((view.instance == 7).any(axis=0))
    expected = _block_columns()
    error = (
        max(abs(columns.min() - expected[0]), abs(columns.max() + 1 - expected[1])) if len(columns) else 99
    )
    yield Check(
        "the field of view is horizontal, pixel centres are at +0.5, +X is on the right",
        bool(error <= 1.01),
        f"block in columns {columns.min() if len(columns) else '-'} to "
        f"{columns.max() + 1 if len(columns) else '-'}, expected {expected[0]:.1f} to {expected[1]:.1f}",
    )
    ids = np.unique(view.instance).tolist()
    yield Check("ids are those of the scene", ids == [1, 2, 3, 5, 6, 7], f"{ids}")  # 4 is behind
    r, g, b = (float(channel) for channel in np.median(view.rgb[view.instance == 7], axis=0))
    yield Check(
        "colour channels are red, green, blue", r > 2 * g and r > 2 * b, f"red block {r:g}, {g:g}, {b:g}"
    )


def _change_checks(sim: Simulator) -> Iterator[Check]:
    pose = look_pose(EYE, 0.0)
    before = sim.render(pose)
    shift = np.eye(4)
    shift[0, 3] = -2.0
    sim.move({7: shift})
    moved = sim.render(pose)
    column = float(np.mean(np.flatnonzero((moved.instance == 7).any(axis=0))))
    yield Check(
        "move() takes the block 2 m to the left", column < CAMERA.width / 2, f"mean column {column:.1f}"
    )
    sim.move({})
    same = _same(before, sim.render(pose))
    yield Check("move({}) puts everything back", same, "same image" if same else "another image")


def _floor_checks(sim: Simulator) -> Iterator[Check]:
    points = np.array([sim.random_navigable_point(np.random.default_rng(k)) for k in range(20)])
    height = float(np.abs(points[:, 1]).max())
    yield Check("floor points lie on the floor (y = 0)", height < 0.03, f"largest |y| {height:.3f} m")
    again = sim.random_navigable_point(np.random.default_rng(0))
    yield Check(
        "the same seed draws the same point", bool(np.allclose(again, points[0])), f"{np.round(again, 3)}"
    )
    inside = ((points[:, [0, 2]] > 0) & (points[:, [0, 2]] < (WIDTH, DEPTH))).all()
    yield Check(
        "floor points lie in the room", bool(inside), f"x, z up to {points[:, [0, 2]].max(0).round(2)}"
    )
    within = sim.is_navigable(np.array([4.3, 0.0, 2.3]))
    yield Check("nobody can stand in the block", not within, "navigable" if within else "not navigable")
    a, b = np.array([1.0, 0, 7.0]), np.array([1.0, 0, 2.0])
    yield _near("a free way is as long as the straight line", sim.geodesic_distance(a, b), 5.0, 0.05)
    corner = np.array([5.4, 0, 1.2])
    way, back = sim.geodesic_distance(a, corner), sim.geodesic_distance(corner, a)
    yield _near("ways are as long there as back", way, back, 0.05)
    clear = sim.clearance(np.array([1.0, 0, 6.0]))
    yield _near("clearance is the distance to the wall", clear, 1.0, 0.12)


def _walk_checks(sim: Simulator) -> Iterator[Check]:
    start = AgentState((3.0, 0.0, 5.0), 0.0)
    ahead = sim.step(start, FORWARD)
    moved = np.subtract(ahead.state.position, start.position)
    yield Check(
        f"FORWARD moves {AGENT.forward_step} m along -Z at yaw 0",
        bool(np.allclose(moved, (0, 0, -AGENT.forward_step), atol=0.03)) and not ahead.collided,
        f"{np.round(moved, 3)}",
    )
    turned = math.degrees(sim.step(start, TURN_LEFT).state.yaw)
    yield _near(f"TURN_LEFT adds {AGENT.turn_angle:g} degrees of yaw", turned, AGENT.turn_angle, 1e-3)
    wall = sim.step(AgentState((3.0, 0.0, 0.25), 0.0), FORWARD)
    yield Check("a step into a wall collides", wall.collided, f"stands at {np.round(wall.state.position, 3)}")


def _near(about: str, value: float, expected: float, tolerance: float = 0.01) -> Check:
    return Check(about, abs(value - expected) <= tolerance, f"{value:.3f}, expected {expected:.3f}")


def _middle(depth: NDArray[np.float32]) -> float:
    """Depth at the principal point: mean of the four pixels round it."""
    row, column = depth.shape[0] // 2, depth.shape[1] // 2
    return float(depth[row - 1 : row + 1, column - 1 : column + 1].mean())


def _block_columns() -> tuple[float, float]:
    """Image columns between which the block is seen from ``EYE`` at yaw 0, in pixels."""
    _, _, low, high = BLOCK
    edges = [(x - EYE[0]) / (EYE[2] - z) for x in (low[0], high[0]) for z in (low[2], high[2])]
    return tuple(CAMERA.width / 2 + CAMERA.focal * edge for edge in (min(edges), max(edges)))  # type: ignore[return-value]


def _same(a: Observation, b: Observation) -> bool:
    return bool(
        np.array_equal(a.rgb, b.rgb)
        and np.array_equal(a.depth, b.depth)
        and np.array_equal(a.instance, b.instance)
    )


#: Triangles of the six sides of ``_box``, counter-clockwise seen from outside.
_FACES = np.concatenate([[[4 * k, 4 * k + 1, 4 * k + 2], [4 * k, 4 * k + 2, 4 * k + 3]] for k in range(6)])


def _box(
    low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vertices and normals [24, 3] of a box, four a side."""
    vertices, normals = [], []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for sign, side in ((-1, low), (1, high)):
            square = np.tile(low, (4, 1))
            order = ((0, 0), (1, 0), (1, 1), (0, 1)) if sign > 0 else ((0, 0), (0, 1), (1, 1), (1, 0))
            for k, (a, b) in enumerate(order):
                square[k, axis] = side[axis]
                square[k, u], square[k, v] = (low, high)[a][u], (low, high)[b][v]
            vertices.append(square)
            normals.append(np.tile(sign * np.eye(3)[axis], (4, 1)))
    return np.concatenate(vertices), np.concatenate(normals)


def main(arguments: list[str] | None = None, *, say: Callable[[str], None] = print) -> int:
    """Print every convention and whether it holds; 0 if all do, 1 if one does not, 2 if nothing can be run."""
    parser = argparse.ArgumentParser(
        prog="python -m vln_heatmap.simulation.selfcheck",
        description="Check that a simulator keeps the conventions that the data rely on.",
    )
    parser.add_argument("--simulator", default="auto", choices=["auto", *SIMULATORS], help="default: auto")
    parser.add_argument("--gpu", type=int, default=-1, help="CUDA device of habitat, -1 = software (default)")
    options = parser.parse_args(arguments)
    try:
        sim = make_simulator(options.simulator, CAMERA, agent=AGENT, habitat=HabitatParams(gpu=options.gpu))
    except SimulatorUnavailableError as error:
        say(f"{options.simulator} cannot be checked: {error}")
        return 2
    say(f"{sim.name} ({sim.version})")
    failed = 0
    try:
        for check in run_checks(sim):
            failed += not check.holds
            say(f"  {'holds ' if check.holds else 'BROKEN'}  {check.about}: {check.measured}")
    finally:
        sim.close()
    say("all conventions hold" if not failed else f"{failed} conventions are broken")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
