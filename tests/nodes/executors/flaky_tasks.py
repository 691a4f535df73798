"""Tasks that kill the process that does them, once or always: importable by worker processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def square(number: int) -> int:
    return number * number


def square_or_die_once(task: tuple[str, int]) -> int:
    """The square of a number; the first attempt at each multiple of 4 is killed with SIGKILL."""
    folder, number = task
    mark = Path(folder) / str(number)
    if number % 4 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def note_and_square(task: tuple[str, int]) -> int:
    """Leave a file that shows that the task has begun."""
    folder, number = task
    (Path(folder) / str(number)).touch()
    return number * number
