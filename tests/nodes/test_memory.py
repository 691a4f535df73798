"""What memory is said to have been held."""

from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from vln_heatmap.nodes import memory

GIB = 1 << 30


def test_the_peak_is_at_least_what_is_held_and_at_most_what_there_is() -> None:
    peak = memory.peak_memory()["memory_gib"]
    assert peak is not None
    assert 0.99 * psutil.Process().memory_info().rss <= peak * GIB < psutil.virtual_memory().total


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_larger_one_of_process_and_children_counts(
    platform: str, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource: Any = pytest.importorskip("resource")
    held = {resource.RUSAGE_SELF: 2 * GIB // unit, resource.RUSAGE_CHILDREN: 3 * GIB // unit}
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=held[who]))
    monkeypatch.setattr(memory.sys, "platform", platform)
    assert memory.peak_memory()["memory_gib"] == 3
    held[resource.RUSAGE_SELF] *= 2
    assert memory.peak_memory()["memory_gib"] == 4


def test_the_gpu_is_asked_only_when_it_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {"available": False, "initialised": False}
    cuda = SimpleNamespace(
        is_available=lambda: used["available"],
        is_initialized=lambda: used["initialised"],
        max_memory_allocated=lambda: 5 * GIB,
    )
    monkeypatch.setitem(memory.sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert memory.peak_memory()["gpu_memory_gib"] is None
    used["available"] = True
    assert memory.peak_memory()["gpu_memory_gib"] is None
    used["initialised"] = True
    assert memory.peak_memory()["gpu_memory_gib"] == 5
