"""The self-check: all conventions hold for the embedded simulators, and a wrong simulator is found out."""

from __future__ import annotations

import numpy as np
import pytest

from vln_heatmap.simulation import selfcheck
from vln_heatmap.simulation.simulators import SIMULATORS, make_simulator
from vln_heatmap.simulation.simulators.base import SimulatorUnavailableError


@pytest.mark.parametrize("name", ["raster", "raycast", pytest.param("habitat", marks=pytest.mark.habitat)])
def test_every_convention_holds(name: str) -> None:
    try:
        sim = make_simulator(name, selfcheck.CAMERA, agent=selfcheck.AGENT)
    except SimulatorUnavailableError as error:
        pytest.skip(str(error))
    try:
        broken = [check for check in selfcheck.run_checks(sim) if not check.holds]
    finally:
        sim.close()
    assert broken == []


class Mirrored:
    """A simulator whose images are left-right reversed."""

    def __init__(self, sim: object) -> None:
        self._sim = sim

    def __getattr__(self, name: str) -> object:
        return getattr(self._sim, name)

    def render(self, pose: np.ndarray) -> object:
        view = self._sim.render(pose)  # type: ignore[attr-defined]
        return type(view)(
            *(np.ascontiguousarray(image[:, ::-1]) for image in (view.rgb, view.depth, view.instance))
        )


def test_a_mirrored_image_is_found_out() -> None:
    sim = Mirrored(make_simulator("raycast", selfcheck.CAMERA, agent=selfcheck.AGENT))
    broken = [check.about for check in selfcheck.run_checks(sim) if not check.holds]  # type: ignore[arg-type]
    assert any("+X is on the right" in about for about in broken)


def test_the_command_says_what_holds_and_ends_with_0() -> None:
    lines: list[str] = []
    assert selfcheck.main(["--simulator", "raycast"], say=lines.append) == 0
    assert lines[0].startswith("raycast (")
    assert lines[-1] == "all conventions hold"
    assert sum(line.startswith("  holds ") for line in lines) == len(lines) - 2


def test_a_missing_simulator_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIMULATORS, "raycast", f"{__name__}:unavailable")
    lines: list[str] = []
    assert selfcheck.main(["--simulator", "raycast"], say=lines.append) == 2
    assert lines == ["raycast cannot be checked: no embree"]


def unavailable(*_: object, **__: object) -> None:
    raise SimulatorUnavailableError("no embree")
