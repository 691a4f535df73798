"""Which simulator is chosen, and what is said where one is missing."""

import logging
import subprocess
import sys

import pytest
from views import AGENT, CAMERA, head_on, look

from vln_heatmap.simulation.simulators import SIMULATORS, make_simulator, raster
from vln_heatmap.simulation.simulators.base import SimulatorUnavailableError


@pytest.mark.egl
def test_auto_takes_the_rasteriser_where_it_works(make_named, caplog):
    make_named("raster").close()
    with caplog.at_level(logging.INFO, logger="vln_heatmap"):
        simulator = make_simulator("auto", CAMERA, agent=AGENT)
    assert simulator.name == "raster"
    assert not caplog.records
    simulator.close()


@pytest.fixture
def no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has made no OpenGL context yet, whatever other tests left open."""
    monkeypatch.setattr(raster, "_shared", raster._Shared())


@pytest.fixture
def no_egl(monkeypatch: pytest.MonkeyPatch, no_context: None) -> None:
    """A machine without a driver, where moderngl raises the bare ``Exception`` class."""
    import moderngl

    def fail(*args, **kwargs) -> None:
        raise Exception("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(moderngl, "create_context", fail)


@pytest.mark.usefixtures("no_egl")
def test_auto_falls_back_with_one_log_line(caplog):
    with caplog.at_level(logging.DEBUG, logger="vln_heatmap"):
        simulator = make_simulator("auto", CAMERA, agent=AGENT)
    assert simulator.name == "raycast"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    for part in ("'raycast'", "raster", "libEGL.so.1: cannot open", "apt install libegl1"):
        assert part in record.getMessage()
    assert look(simulator, head_on(2)).instance.all()


@pytest.mark.usefixtures("no_egl")
def test_a_missing_driver_is_an_error_for_who_asks_for_raster():
    with pytest.raises(
        SimulatorUnavailableError, match=r"OpenGL 3.3 through EGL .*cannot open.* apt install"
    ):
        make_simulator("raster", CAMERA, agent=AGENT)


@pytest.mark.usefixtures("no_egl")
def test_where_nothing_works_all_reasons_are_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "embreex.rtcore_scene", None)  # as if it were not installed
    with pytest.raises(
        SimulatorUnavailableError, match=r"no simulator works here: raster .*; raycast .*embreex"
    ):
        make_simulator("auto", CAMERA, agent=AGENT)


@pytest.mark.usefixtures("no_context")
def test_a_missing_moderngl_counts_as_a_missing_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "moderngl", None)
    simulator = make_simulator("auto", CAMERA, agent=AGENT)
    assert simulator.name == "raycast"


def test_an_unknown_name_is_refused():
    with pytest.raises(
        ValueError, match=r"must be 'auto' or one of \['habitat', 'raster', 'raycast'\], got 'unreal'"
    ):
        make_simulator("unreal", CAMERA, agent=AGENT)


@pytest.mark.parametrize("first", ["simulation.navigation", "simulation.simulators.raycast"])
def test_modules_load_in_any_order_and_bring_no_renderer(first):
    modules = [f"vln_heatmap.{first}", *(place.split(":")[0] for place in SIMULATORS.values())]
    code = (
        f"import sys, importlib; [importlib.import_module(m) for m in {modules}];"
        "print(*sorted({'moderngl', 'embreex', 'numba', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
