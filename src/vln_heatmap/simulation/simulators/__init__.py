"""Simulators by name.

Invariant: importing this package loads no OpenGL, embree or numba; a backend loads its own when it is made.
"""

from __future__ import annotations

import logging
from pkgutil import resolve_name

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams, HabitatParams
from vln_heatmap.simulation.simulators.base import Simulator, SimulatorUnavailableError

logger = logging.getLogger(__name__)

#: Where each simulator's class is, ``module:class``, in the order in which ``auto`` tries them (fastest first).
SIMULATORS: dict[str, str] = {
    "raster": f"{__name__}.raster:RasterSimulator",
    "raycast": f"{__name__}.raycast:RaycastSimulator",
    "habitat": f"{__name__}.habitat:HabitatSimulator",
}


def make_simulator(
    name: str, camera: PinholeCamera, *, agent: AgentParams, habitat: HabitatParams | None = None
) -> Simulator:
    """Make the simulator called ``name``, or the first one that works here for ``"auto"``.

    Args:
        name: a key of ``SIMULATORS`` or ``"auto"``; a fall back of ``auto`` is logged as one warning.
        camera: image size and field of view.
        agent: body and step sizes.
        habitat: device and data set of the ``habitat`` simulator; the others do not read it.

    Raises:
        ValueError: an unknown name, or an agent that slides where the simulator cannot.
        SimulatorUnavailableError: what the backend needs is missing on this machine.
    """
    if name != "auto":
        if name not in SIMULATORS:
            raise ValueError(f"simulator must be 'auto' or one of {sorted(SIMULATORS)}, got {name!r}")
        return _make(name, camera, agent, habitat)
    reasons = []
    for key in SIMULATORS:
        try:
            simulator = _make(key, camera, agent, habitat)
        except SimulatorUnavailableError as error:
            reasons.append(str(error))
            continue
        if reasons:
            logger.warning("simulator: using %r, because %s", key, "; ".join(reasons))
        return simulator
    raise SimulatorUnavailableError("no simulator works here: " + "; ".join(reasons))


def _make(name: str, camera: PinholeCamera, agent: AgentParams, habitat: HabitatParams | None) -> Simulator:
    make = resolve_name(SIMULATORS[name])
    if name == "habitat":
        return make(camera, agent=agent, habitat=habitat)
    if agent.sliding:
        raise ValueError(f"agent.sliding works with the simulator 'habitat', not with {name!r}")
    return make(camera, agent=agent)
