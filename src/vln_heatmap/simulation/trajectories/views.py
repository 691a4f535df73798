"""What a free camera would see: whether things are in the picture, checked by rendering.

Invariant: nothing here trusts boxes alone; a thing counts as seen by the pixels of its id.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.simulation.scene import STRUCTURE, Instance
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.trajectories.walks import NoRouteError, WalkRequest

#: Least share of the image by which a thing counts as seen.
SEEN = 0.004
_LEAST, _LARGEST = 0.25, 3.0  # metres of a thing's box diagonal that is worth filming


def camera_at(row: NDArray[np.float64], eye: float) -> NDArray[np.float64]:
    """camera_to_world [4, 4] of a pose [6] (x, y, z, yaw, tilt, lift), ``eye`` metres above its floor point."""
    x, y, z, yaw, tilt, lift = row
    return look_pose((x, y + eye + lift, z), yaw, tilt)


def shares_seen(
    sim: Simulator, rows: NDArray[np.float64], ids: tuple[int, ...], eye: float
) -> NDArray[np.float64]:
    """Share of the image that each of K instances covers in each view of poses [N, 6]: [N, K]."""
    images = [sim.render(camera_at(row, eye)).instance for row in rows]
    return np.array([[np.mean(image == key) for key in ids] for image in images]).reshape(len(rows), len(ids))


def worth_filming(request: WalkRequest) -> list[Instance]:
    """The instances in focus, or all things of the scene that are neither tiny nor huge.

    Raises:
        NoRouteError: no scene is given or it holds nothing of the kind.
        ValueError: the focus names an instance that the scene does not have.
    """
    if request.scene is None:
        raise NoRouteError("a walk round a thing needs to know the scene: give the request one")
    things = {thing.id: thing for thing in request.scene.instances}
    if unknown := [key for key in request.focus if key not in things]:
        raise ValueError(f"scene {request.scene.name!r} has no instance {unknown[0]}")
    if request.focus:
        return [things[key] for key in request.focus]
    found = [
        thing
        for thing in things.values()
        if thing.category not in STRUCTURE and _LEAST <= diagonal(thing) <= _LARGEST
    ]
    if not found:
        raise NoRouteError(f"scene {request.scene.name!r} holds no thing of {_LEAST:g} to {_LARGEST:g} m")
    return found


def diagonal(thing: Instance) -> float:
    """Length in metres of the diagonal of an instance's box."""
    return float(np.linalg.norm(np.subtract(thing.box_max, thing.box_min)))


def half_width(thing: Instance) -> float:
    """Half the horizontal diagonal of an instance's box, metres."""
    wide, _, deep = np.subtract(thing.box_max, thing.box_min)
    return float(np.hypot(wide, deep)) / 2
