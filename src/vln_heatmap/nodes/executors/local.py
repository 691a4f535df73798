"""Tasks in processes of this machine.

Invariant: at most two tasks a worker are under way, so that results never pile up; workers are spawned, never
forked (a forked OpenGL context is broken), use one thread each, and end with the parent, however it ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import TypeVar

from vln_heatmap.nodes.executors.base import ONE_THREAD, WorkerDiedError

logger = logging.getLogger(__name__)
Task = TypeVar("Task")
Result = TypeVar("Result")


def run_local(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, losses: int
) -> Iterator[Result]:
    """See ``stream_results``. A lost worker takes its pool with it; what was under way is redone in a new one."""
    if workers <= 1 or len(tasks) <= 1:
        yield from map(function, tasks)
        return
    waiting, lost = deque(tasks), 0
    while waiting:
        try:
            yield from _drain(function, waiting, min(workers, len(waiting)))
        except BrokenProcessPool as error:
            lost += 1
            if lost > losses:
                raise WorkerDiedError(lost) from error
            logger.warning(
                "A worker process died (killed, or out of memory), the %d. of at most %d: %d tasks go on in a "
                "fresh pool",
                *(lost, losses, len(waiting)),
            )


def _drain(function: Callable[[Task], Result], waiting: deque[Task], workers: int) -> Iterator[Result]:
    """Do the waiting tasks in one pool. Tasks that it could not finish are waiting again when it breaks."""
    pending: dict[Future[Result], Task] = {}
    with ProcessPoolExecutor(workers, WorkerContext(), initializer=end_with_parent) as pool:
        try:
            while waiting or pending:
                while waiting and len(pending) < 2 * workers:
                    pending[pool.submit(function, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    del pending[future]
                    yield result
        except BrokenProcessPool:
            for future in [f for f in pending if f.done() and f.exception() is None]:
                del pending[future]
                yield future.result()
            waiting.extendleft(reversed(pending.values()))
            raise
        finally:
            pool.shutdown(cancel_futures=True)


class _WorkerProcess(SpawnProcess):
    """A fresh process that uses one thread and does not run the caller's main script again.

    That script is the kedro command line, which takes seconds to import, or a user's own without a guard.
    """

    def start(self) -> None:
        environment, main = dict(os.environ), sys.modules["__main__"]
        os.environ.update(ONE_THREAD)
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main
            for name in ONE_THREAD:
                os.environ.pop(name)
            os.environ.update(environment)


class WorkerContext(SpawnContext):
    Process = _WorkerProcess


def end_with_parent() -> None:
    """Make this worker leave when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
