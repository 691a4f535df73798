"""Executors give every result once, whatever becomes of their workers."""

import logging
import math
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from flaky_tasks import die, note_and_square, square, square_or_die_once

from vln_heatmap.nodes.executors import WorkerDiedError, stream_results

HERE = str(Path(__file__).parent)
EXECUTORS = [
    "local",
    pytest.param(
        "ray",
        marks=[
            pytest.mark.ray,
            pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install '.[ray]'"),
        ],
    ),
]
every_executor = pytest.mark.parametrize("executor", EXECUTORS)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find the tasks."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", HERE, prepend=os.pathsep)


@every_executor
def test_every_result_comes_once(executor: str) -> None:
    results = list(stream_results(square, range(9), workers=2, executor=executor))
    assert sorted(results) == [n * n for n in range(9)]


@every_executor
def test_workers_use_one_thread(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    names = ["OMP_NUM_THREADS"] * 3
    assert list(stream_results(os.getenv, names, workers=2, executor=executor)) == ["1"] * 3
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_one_worker_is_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(stream_results(os.getenv, ["OMP_NUM_THREADS"], workers=1)) == ["2"]


@every_executor
def test_tasks_of_killed_workers_are_done_again(
    executor: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [(str(tmp_path), number) for number in range(9)]  # 0, 4 and 8 kill their worker once
    with caplog.at_level(logging.WARNING, "vln_heatmap"):
        results = list(stream_results(square_or_die_once, tasks, workers=2, executor=executor, losses=3))
    assert sorted(results) == [n * n for n in range(9)]
    warnings = [record.message for record in caplog.records if "the 1. of at most 3" in record.message]
    assert len(warnings) == 1


@every_executor
def test_a_run_gives_up_after_too_many_losses(executor: str) -> None:
    with pytest.raises(WorkerDiedError, match=r"^3 worker processes died .* run again to continue"):
        list(stream_results(die, [3, 4], workers=2, executor=executor, losses=2))


@every_executor
def test_what_a_task_raises_is_raised(executor: str) -> None:
    with pytest.raises(TypeError, match="integer"):
        list(stream_results(math.factorial, [1, 2, "3"], workers=2, executor=executor))


@every_executor
def test_only_a_few_tasks_are_under_way(executor: str, tmp_path: Path) -> None:
    tasks = [(str(tmp_path), number) for number in range(30)]
    results = stream_results(note_and_square, tasks, workers=2, executor=executor)
    next(results)
    results.close()
    assert 1 <= len(list(tmp_path.iterdir())) <= 6  # two for each worker, and one for each that was done


def test_a_missing_ray_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "vln_heatmap\[ray\]"'):
        list(stream_results(square, [1, 2], workers=2, executor="ray"))
