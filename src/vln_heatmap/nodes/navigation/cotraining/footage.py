"""Some frames of a recorded walk, and what is known of them: the material of questions and descriptions.

Invariant: all that is asked and answered follows from the frames that are shown; the last one of them is the
present, in which "you" stand "here".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.dialogue_samples import Dialogue, Turn
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params.navigation_data import Task
from vln_heatmap.simulation.instructions import read_objects, read_rooms
from vln_heatmap.simulation.nouns import head, plural
from vln_heatmap.simulation.questions import QUESTIONS, Tape
from vln_heatmap.simulation.questions.tape import NUMBERS
from vln_heatmap.simulation.relations import Thing
from vln_heatmap.simulation.scene import STRUCTURE

_ROUNDING = 0.35  # metres from a whole number


class Asked(NamedTuple):
    """A question about what is shown, and its answer."""

    kind: str
    question: str
    answer: str


@dataclass(frozen=True)
class Footage:
    """Frames of a sequence.

    Attributes:
        sequence_id: of the sequence.
        shown: numbers of the frames, ascending.
        tape: what is known of these frames alone.
        path: [T, 6] states of all frames of the sequence, see ``Tape.path``.
    """

    sequence_id: str
    shown: tuple[int, ...]
    tape: Tape
    path: NDArray[np.float64]

    @property
    def present(self) -> int:
        """Number of the last frame among those shown."""
        return len(self.shown) - 1

    @cached_property
    def seen(self) -> dict[int, int]:
        """Most pixels by id of all that is shown, the building left out."""
        return {thing.id: thing.pixels for thing in self.tape.scope.things}

    @cached_property
    def unseen(self) -> list[str]:
        """Categories of the house of which nothing is shown, nor anything that could be taken for one."""
        seen = {thing.instance.category for thing in self.tape.scope.things}
        words = {word for category in seen for word in category.split()}
        everything = {thing.category for thing in self.tape.objects} - STRUCTURE
        return sorted(
            category
            for category in everything
            if not set(category.split()) & words
            and not any(a.endswith(b) or b.endswith(a) for a in words for b in [head(category)])
        )

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """All things of the house, with the most pixels that any frame shows of each."""
        return tuple(
            Thing(thing, self.seen.get(thing.id, 0))
            for thing in self.tape.objects
            if thing.category not in STRUCTURE
        )


#: Makes questions of one kind, in an order drawn at random.
Maker = Callable[[Footage, np.random.Generator], Iterator[Asked]]


def footage(sequence: Any, shown: Sequence[int]) -> Footage:
    """Frames of a recorded sequence that has objects, ids and states."""
    frames, camera = sequence.frames, PinholeCamera(**sequence.metadata["camera"])
    part = frames.iloc[list(shown)].reset_index(drop=True)
    objects, rooms = read_objects(sequence.metadata), read_rooms(sequence.metadata)
    path = np.stack(frames["state"].to_list()).astype(np.float64)
    tape = Tape(objects, rooms, part, camera, camera.width * camera.height, asked=(len(part) - 1,))
    return Footage(sequence.id, tuple(int(frame) for frame in shown), tape, path)


def some_frames(length: int, most: int, rng: np.random.Generator, *, least: int = 1) -> tuple[int, ...]:
    """``least`` to ``most`` frames of a sequence of ``length`` at one stride, ascending; fewer of a short one."""
    count = min(length, int(rng.integers(min(least, most), most + 1)))
    stride = int(rng.integers(1, max(1, (length - 1) // max(1, count - 1)) + 1))
    last = int(rng.integers(stride * (count - 1), length))
    return tuple(range(last - stride * (count - 1), last + 1, stride))


def ask(makers: dict[str, Maker], film: Footage, rng: np.random.Generator, count: int) -> list[Asked]:
    """Up to ``count`` different questions, kinds in turn."""
    kinds = [makers[name](film, rng) for name in rng.permutation(sorted(makers)).tolist()]
    chosen: dict[str, Asked] = {}
    while kinds and len(chosen) < count:
        for maker in list(kinds):
            asked = next((a for a in maker if a.question not in chosen), None)
            if asked is None:
                kinds.remove(maker)
            elif len(chosen) < count:
                chosen[asked.question] = asked
    return list(chosen.values())


def as_dialogue(film: Footage, asked: Asked, task: Task, *, memory: bool = False) -> Dialogue:
    """The frames, then the question; or with ``memory``, all frames but the last as what is remembered."""
    *before, last = film.shown
    turns = () if memory else tuple(Turn(frame) for frame in before)
    present = Turn(last, question=asked.question, answer=asked.answer)
    return Dialogue((*turns, present), "", tuple(before) if memory else (), task, film.sequence_id)


def recorded(name: str) -> Maker:
    """A type of question of the simulation, asked in the present, where its answer says more than it does."""

    def make(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
        for question in QUESTIONS[name](film.tape, rng):
            if question.frame in (None, film.present) and question.answer not in question.text:
                yield Asked(name, question.text, question.answer)

    return make


def in_turn(one: Sequence[Asked], other: Sequence[Asked], rng: np.random.Generator) -> Iterator[Asked]:
    """Two sorts of questions, one of each in turn, so that the answer cannot be guessed from how common it is."""
    lists = [[list(side)[i] for i in rng.permutation(len(side))] for side in (one, other)]
    shorter = min(map(len, lists))
    lists = [side[: shorter + 1] for side in lists]
    order = rng.permutation(2)
    for pair in zip_longest(lists[order[0]], lists[order[1]]):
        yield from (asked for asked in pair if asked is not None)


def metres(distance: float) -> str:
    """ "about three metres", or "" where that could be argued about: near half a metre, below one, above 12."""
    whole = round(distance) if np.isfinite(distance) else 0
    if not 0 < whole < len(NUMBERS) or abs(distance - whole) > _ROUNDING:
        return ""
    return f"about {NUMBERS[whole]} metre{'s' if whole > 1 else ''}"


def article(noun: str) -> str:
    """ "a sofa", "an armchair", but "stairs" and "shelving"."""
    if plural(noun) == noun:
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def well_seen(film: Footage, view: int) -> list[tuple[str, Thing]]:
    """Things that a view shows well and whose names fit nothing else that is shown."""
    scope = film.tape.view(view)
    by_id = {thing.id: thing for thing in scope.things}
    clear = film.tape.clearly(view)
    return [(text, by_id[i]) for i, (_, text) in sorted(film.tape.landmarks.items()) if i in clear]
