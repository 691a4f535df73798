"""Run independent tasks elsewhere and hand over each result as soon as it is there.

Invariant: every executor yields the same results, in order of completion; a task whose worker was lost is done
again, so a task must not matter if it is done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pkgutil import resolve_name
from typing import TypeVar

from vln_heatmap.nodes.executors.base import WorkerDiedError

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Executors by name, imported when they are used.
EXECUTORS = {"local": f"{__name__}.local:run_local", "ray": f"{__name__}.on_ray:run_on_ray"}
__all__ = ["EXECUTORS", "WorkerDiedError", "stream_results"]


def stream_results(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    executor: str = "local",
    losses: int = 0,
) -> Iterator[Result]:
    """Yield ``function(task)`` of every task, in order of completion.

    Args:
        function: importable by name; tasks and results are pickled.
        tasks: independent of each other.
        workers: tasks at once; with ``workers`` <= 1 the local executor works in this process.
        executor: a key of ``EXECUTORS``.
        losses: how many workers may be lost (killed, out of memory) before the run gives up.

    Raises:
        ModuleNotFoundError: the executor's library is not installed; the message says how to install it.
        WorkerDiedError: more workers were lost than ``losses``.
        Exception: whatever ``function`` raises; tasks that have not begun are dropped.
    """
    yield from resolve_name(EXECUTORS[executor])(function, tasks, workers=workers, losses=losses)
