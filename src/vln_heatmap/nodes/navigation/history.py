"""Which frames a dialogue shows and remembers, counted by what was done and not by how often one spoke.

Training data and the running agent ask the same functions. Invariant: the frame of a view is the number of
actions done before it; memory holds frames from before the window, in order of time, and never the present.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vln_heatmap.datasets.dialogue_samples import Turn
from vln_heatmap.params.navigation_data import DialogueParams


def memory_frames(before: int, count: int, *, start: int = 0) -> tuple[int, ...]:
    """At most ``count`` frames of ``start`` .. ``before - 1`` at even strides, the first one among them.

    Strides differ by one at most; all frames if there are no more than ``count``.
    """
    past = max(0, before - start)
    if past <= count:
        return tuple(range(start, start + past))
    return tuple(start + index * past // count for index in range(count))


class View(NamedTuple):
    """What is shown next.

    Attributes:
        frame: of the view, counted in actions done since the episode's start.
        opens: whether a window begins with it, so that the context is built anew.
        memory: frames that this window remembers.
    """

    frame: int
    opens: bool
    memory: tuple[int, ...]


@dataclass
class History:
    """What has been shown and done in an episode, however long the replies were.

    Attributes:
        params: sizes of window and memory.
        frame: of the next view.
        start: first frame of the window.
        shown: turns of the window so far.
    """

    params: DialogueParams
    frame: int = 0
    start: int = 0
    shown: int = 0
    _awaiting: bool = field(default=False, repr=False)

    def observe(self) -> View:
        """Show the present; a new window is opened where the old one is full, in turns or in frames.

        Raises:
            ValueError: nothing was done since the last view.
        """
        if self._awaiting:
            raise ValueError(f"frame {self.frame} has been shown already: say first what was done then")
        if self.shown >= self.params.turns or self.frame - self.start >= self.params.window:
            self.start, self.shown = self.frame, 0
        self.shown += 1
        self._awaiting = True
        return View(self.frame, self.shown == 1, memory_frames(self.start, self.params.history))

    def acted(self, count: int) -> None:
        """Say how many actions were done at the last view (at least one), not how many were planned."""
        if count < 1 or not self._awaiting:
            raise ValueError(f"at a view that is shown, one action or more is done, got {count}")
        self.frame += count
        self._awaiting = False


def replies(actions: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Actions cut into replies of ``size``, the last one what is left."""
    return [tuple(actions[first : first + size]) for first in range(0, len(actions), size)]


class Window(NamedTuple):
    """Turns of one window, and the frames that it remembers."""

    turns: tuple[Turn, ...]
    memory: tuple[int, ...]


def windows_of_replies(
    said: Iterable[Sequence[int]], params: DialogueParams, *, expert: Sequence[int] = ()
) -> list[Window]:
    """The windows of an episode as its agent lived it, with replies of any length.

    Args:
        said: actions done at each view, one or more.
        expert: what is to be learned in place of each action that was done; () = the actions.
    """
    history, found = History(params), []
    turns: list[Turn] = []
    for actions in said:
        view = history.observe()
        if view.opens:
            turns = []
            found.append((turns, view.memory))
        wanted = tuple(expert[view.frame : view.frame + len(actions)])
        turns.append(Turn(view.frame, tuple(actions), expert=wanted))
        history.acted(len(actions))
    return [Window(tuple(turns), memory) for turns, memory in found]


def window_at(actions: Sequence[int], start: int, params: DialogueParams) -> Window:
    """The window of an expert's episode that begins at any of its frames.

    What is to be done at a frame is the same in whatever window it is shown: ``actions[frame : frame + n]``.

    Raises:
        ValueError: the episode has no such frame.
    """
    if not 0 <= start < len(actions):
        raise ValueError(f"a window of {len(actions)} actions starts at 0 to {len(actions) - 1}, got {start}")
    stop, size = start + params.window, params.actions_per_turn
    cut = replies(actions[start:stop], size)
    turns = tuple(Turn(start + size * number, reply) for number, reply in enumerate(cut))
    return Window(turns, memory_frames(start, params.history))
