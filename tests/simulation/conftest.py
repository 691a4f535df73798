"""Simulators for tests: what cannot be made on this machine is skipped, what is made is closed."""

from collections.abc import Callable, Iterator

import pytest
from views import AGENT, CAMERA

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.simulators.base import Simulator, SimulatorUnavailableError

EMBEDDED = [pytest.param("raster", marks=pytest.mark.egl), "raycast"]
ALL = [*EMBEDDED, pytest.param("habitat", marks=pytest.mark.habitat)]
Make = Callable[..., Simulator]


@pytest.fixture
def make_named() -> Iterator[Make]:
    """A function that makes simulators by name."""
    made: list[Simulator] = []

    def make_one(name: str, camera: PinholeCamera = CAMERA) -> Simulator:
        try:
            made.append(make_simulator(name, camera, agent=AGENT))
        except SimulatorUnavailableError as error:
            pytest.skip(str(error))
        return made[-1]

    yield make_one
    for simulator in made:
        simulator.close()


@pytest.fixture(params=EMBEDDED)
def make(request: pytest.FixtureRequest, make_named: Make) -> Make:
    """A function that makes simulators of one embedded backend."""
    return lambda *arguments: make_named(request.param, *arguments)


@pytest.fixture(params=ALL)
def make_any(request: pytest.FixtureRequest, make_named: Make) -> Make:
    """A function that makes simulators of one backend, whichever."""
    return lambda *arguments: make_named(request.param, *arguments)


@pytest.fixture
def pair(make_named: Make) -> tuple[Simulator, Simulator]:
    """Both embedded simulators, with one camera."""
    camera = PinholeCamera(128, 96, 80.0)
    return make_named("raster", camera), make_named("raycast", camera)
