"""Tasks on a Ray cluster, or on a Ray of this machine if none is running.

Invariant: at most two tasks a worker are under way; a task whose worker or machine was lost is done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from vln_heatmap.nodes.executors.base import ONE_THREAD, WorkerDiedError

logger = logging.getLogger(__name__)
Task = TypeVar("Task")
Result = TypeVar("Result")


def run_on_ray(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, losses: int
) -> Iterator[Result]:
    """See ``stream_results``. Joins the cluster of ``RAY_ADDRESS``, which must have this package installed."""
    ray = _import_ray()
    mine = not ray.is_initialized()
    if mine:
        ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
    try:
        # losses are counted here, over all tasks, not by Ray for each of them
        remote = ray.remote(num_cpus=1, max_retries=0, runtime_env={"env_vars": ONE_THREAD})(_call)
        yield from _stream(ray, partial(remote.remote, function), tasks, max(workers, 1), losses)
    finally:
        if mine:
            ray.shutdown()


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    return function(task)


def _stream(
    ray: Any, submit: Callable[[Any], Any], tasks: Sequence[Any], workers: int, losses: int
) -> Iterator[Any]:
    waiting, lost = iter(tasks), 0
    pending = {submit(task): task for task in islice(waiting, 2 * workers)}
    while pending:
        (ready, *_), _ = ray.wait(list(pending), num_returns=1)
        task = pending.pop(ready)
        try:
            result = ray.get(ready)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
            lost += 1
            if lost > losses:
                raise WorkerDiedError(lost) from error
            logger.warning("A Ray worker was lost, the %d. of at most %d: its task is redone", lost, losses)
            pending[submit(task)] = task
            continue
        pending |= {submit(task): task for task in islice(waiting, 1)}
        yield result


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ModuleNotFoundError(
            f'collect.executor: ray needs Ray ({error}): pip install "vln_heatmap[ray]", or use executor: local'
        ) from error
    return ray
