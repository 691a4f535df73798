"""Simulators by name.

Invariant: importing this package loads no OpenGL, embree or numba; a backend loads its own when it is made.
"""

from __future__ import annotations

import logging
from pkgutil import resolve_name

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import Simulator, SimulatorUnavailableError

logger = logging.getLogger(__name__)

#: Where each simulator's class is, ``module:class``, in the order in which ``auto`` tries them (fastest first).
SIMULATORS: dict[str, str] = {
    "raster": f"{__name__}.raster:RasterSimulator",
    "raycast": f"{__name__}.raycast:RaycastSimulator",
}


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
        return resolve_name(SIMULATORS[name])(camera, agent=agent)
    reasons = []
    for key, backend in SIMULATORS.items():
        try:
            simulator = resolve_name(backend)(camera, agent=agent)
        except SimulatorUnavailableError as error:
            reasons.append(str(error))
            continue
        if reasons:
            logger.warning("simulator: using %r, because %s", key, "; ".join(reasons))
        return simulator
    raise SimulatorUnavailableError("no simulator works here: " + "; ".join(reasons))
