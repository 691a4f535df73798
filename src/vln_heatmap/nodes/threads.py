"""Work done ahead of whoever needs its results, in threads.

Invariant: results come in the order of the items, and only a bounded number of them waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def ahead(function: Callable[[_T], _R], items: Iterable[_T], *, workers: int) -> Iterator[_R]:
    """``map`` in threads, in order, at most two results a worker ahead of the caller."""
    waiting: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
