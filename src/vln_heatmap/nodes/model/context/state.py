"""What a running dialogue holds: the tokens of its window, what was read of them, and the views it remembers.

Invariant: all of it is bounded: the window by its turns, the remembered views by ``history``; thinning keeps
them evenly spread over the whole episode, its first view among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vln_heatmap.nodes.model.context.cache import Cache
from vln_heatmap.nodes.model.context.rows import Row
from vln_heatmap.nodes.model.context.speech import Speaker
from vln_heatmap.nodes.model.context.surroundings import Surroundings
from vln_heatmap.nodes.navigation.history import History


@dataclass(frozen=True)
class Seen:
    """What is kept of a view.

    Attributes:
        number: of the view in the episode, from 0.
        time: actions done before it.
        slow: its tokens as memory [m, m, D].
        frame, feature: as they were given [3, S, S] and [C, g, g]; None if nothing needs them again.
        points: places that the memory's tokens show [m, m, 3]; None if unknown.
        matches: of its cells with the instruction [g, g]; spots: where those lie [g, g, 2]; None for models that
            read no value map.
    """

    number: int
    time: int
    slow: Tensor
    frame: Tensor | None = None
    feature: Tensor | None = None
    points: NDArray[np.floating] | None = None
    matches: Tensor | None = None
    spots: NDArray[np.floating] | None = None

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        tensors = [t for t in (self.slow, self.frame, self.feature, self.matches) if t is not None]
        arrays = [a for a in (self.points, self.spots) if a is not None]
        return sum(a.nbytes for a in arrays) + sum(t.numel() * t.element_size() for t in tensors)


@dataclass
class DialogueState:
    """A dialogue that goes on.

    Attributes:
        instruction: what is to be done.
        history: which frame comes next, and when a window is full.
        row: tokens of the window; its replies are what was really done.
        seen: remembered views in order of time, the present one the last.
        memory: those of them that this window remembers.
        cache: of the first ``read`` tokens of the row.
        speaker: who answers the present view; None = nothing was said yet.
        reply_at: where the answer begins in the row.
        held: last token of the last action, until it is known what is sensed after it.
        felt: what is sensed after each action since the view [D].
        surroundings: map of the walk so far, for models that read it.
        pruned: memory tokens that this window leaves out, and how many there would be.
        views: how many were shown.
    """

    instruction: str
    history: History
    row: Row
    seen: list[Seen] = field(default_factory=list)
    memory: list[Seen] = field(default_factory=list)
    window: list[Seen] = field(default_factory=list)
    cache: Cache = field(default_factory=Cache)
    read: int = 0
    speaker: Speaker | None = None
    reply_at: int = 0
    held: int | None = None
    felt: list[Tensor] = field(default_factory=list)
    surroundings: Surroundings | None = None
    pruned: tuple[int, int] = (0, 0)
    views: int = 0

    @property
    def reply(self) -> tuple[int, ...] | None:
        """What was said to the present view so far; None = nothing yet."""
        return None if self.speaker is None else tuple(self.speaker.said)

    @property
    def open(self) -> bool:
        """Whether the reply to the present view can go on."""
        return bool(self.window) and (self.speaker is None or self.speaker.open)

    @property
    def tokens(self) -> int:
        """Tokens of the context."""
        return len(self.row)

    @property
    def bytes(self) -> int:
        """Memory that the dialogue takes, beside that of the model."""
        views = {id(view): view for view in (*self.seen, *self.memory, *self.window)}
        spans = sum(t.numel() * t.element_size() for t in (*self.row.tokens, *self.row.senses))
        around = 0 if self.surroundings is None else self.surroundings.bytes
        return self.cache.bytes + spans + around + sum(view.bytes for view in views.values())


def remember(seen: list[Seen], view: Seen, limit: int) -> list[Seen]:
    """At most ``limit`` views: the new one, and of those before every n-th, n the least power of 2 that fits."""
    stride = 1
    while math.ceil(view.number / stride) > limit - 1:
        stride *= 2
    return [*(earlier for earlier in seen if earlier.number % stride == 0), view]


def recalled(seen: Sequence[Seen], times: Sequence[int]) -> list[Seen]:
    """For each of the rising ``times`` the last view up to it, each view once."""
    found: list[Seen] = []
    for time in times:
        earlier = [view for view in seen if view.time <= time]
        if earlier and (not found or earlier[-1] is not found[-1]):
            found.append(earlier[-1])
    return found
