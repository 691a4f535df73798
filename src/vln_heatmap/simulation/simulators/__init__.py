"""Simulators by name.

Invariant: importing this package loads no OpenGL, embree or numba; a backend loads its library when it is made.
"""

from __future__ import annotations

import logging

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import Simulator, SimulatorUnavailableError
from vln_heatmap.simulation.simulators.raster import RasterSimulator
from vln_heatmap.simulation.simulators.raycast import RaycastSimulator

logger = logging.getLogger(__name__)

#: Embedded simulators, in the order in which ``auto`` tries them (fastest first).
SIMULATORS: dict[str, type] = {"raster": RasterSimulator, "raycast": RaycastSimulator}


def make_simulator(name: str, camera: PinholeCamera, *, agent: AgentParams) -> Simulator:
    """Make the simulator called ``name``, or the first one that works here for ``"auto"``.

    Args:
        name: a key of ``SIMULATORS`` or ``"auto"``; a fall back of ``auto`` is logged as one warning.
        camera: image size and field of view.
        agent: body and step sizes.

    Raises:
        ValueError: an unknown name.
        SimulatorUnavailableError: what the backend needs is missing on this machine.
    """
    if name != "auto":
        if name not in SIMULATORS:
            raise ValueError(f"simulator must be 'auto' or one of {sorted(SIMULATORS)}, got {name!r}")
        return SIMULATORS[name](camera, agent=agent)
    reasons = []
    for key, backend in SIMULATORS.items():
        try:
            simulator = backend(camera, agent=agent)
        except SimulatorUnavailableError as error:
            reasons.append(str(error))
            continue
        if reasons:
            logger.warning("simulator: using %r, because %s", key, "; ".join(reasons))
        return simulator
    raise SimulatorUnavailableError("no simulator works here: " + "; ".join(reasons))
