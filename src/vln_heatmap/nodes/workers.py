"""Run independent tasks in processes of their own and hand over each result as soon as it is there.

Invariant: at most two tasks a worker are under way, so that results never pile up; workers are spawned, never
forked (a forked OpenGL context is broken), use one thread each, and end with the parent, however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Workers share the cores among them; LP_NUM_THREADS is Mesa's software OpenGL.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LP_NUM_THREADS"), "1"
)


class WorkerDiedError(RuntimeError):
    """A worker process was killed or crashed."""


def stream_results(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int
) -> Iterator[Result]:
    """Yield ``function(task)`` of every task, in order of completion; with ``workers`` <= 1 in this process.

    Args:
        function: importable by name; tasks and results are pickled.

    Raises:
        WorkerDiedError: a worker process ended by itself.
        Exception: whatever ``function`` raises; tasks that have not begun are dropped.
    """
    if workers <= 1 or len(tasks) <= 1:
        yield from map(function, tasks)
        return
    waiting, count = iter(tasks), min(workers, len(tasks))
    with ProcessPoolExecutor(count, _WorkerContext(), initializer=_end_with_parent) as pool:
        try:
            pending = {pool.submit(function, task) for task in islice(waiting, 2 * count)}
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                pending |= {pool.submit(function, task) for task in islice(waiting, len(done))}
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process died (killed, or out of memory): what was stored is kept, run again to "
                "continue, with fewer workers if memory was short"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


class _WorkerProcess(SpawnProcess):
    """A fresh process that uses one thread and does not run the caller's main script again.

    That script is the kedro command line, which takes seconds to import, or a user's own without a guard.
    """

    def start(self) -> None:
        environment, main = dict(os.environ), sys.modules["__main__"]
        os.environ.update(_ONE_THREAD)
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main
            for name in _ONE_THREAD:
                os.environ.pop(name)
            os.environ.update(environment)


class _WorkerContext(SpawnContext):
    Process = _WorkerProcess


def _end_with_parent() -> None:
    """Make this worker leave when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
