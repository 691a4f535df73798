"""Questions about a walk as a video: what was in it, what came first, which way it went.

Invariant: "no" is said only of what no frame shows a pixel of, "yes" only of what one shows well; of two things
the first is seen well before the other is seen at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from vln_heatmap.nodes.navigation.cotraining.footage import Asked, Footage, Maker, article, in_turn, recorded
from vln_heatmap.simulation.routes import room_visits

_PAIRS = 40  # pairs of things that are compared, at most


def presence(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """Is there a sofa?"""
    scope = film.tape.scope
    yes = [g.noun for g in scope.groups if not g.colour and any(t.id in scope.clear for t in g.things)]
    sides = [
        [Asked("presence", f"did you see {article(noun)}?", answer) for noun in nouns]
        for nouns, answer in ((yes, "yes"), (film.unseen, "no"))
    ]
    yield from in_turn(sides[0], sides[1], rng)


def seen_first(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """Which of two things was seen first?"""
    tape = film.tape
    ids = rng.permutation(sorted(tape.landmarks)).tolist()[:8]
    for first, second in list(permutations(ids, 2))[:_PAIRS]:
        clear = tape.seen(first, until=len(tape))
        glimpsed = tape.seen(second, until=len(tape), clearly=False)
        if not clear or not glimpsed or clear[0] >= glimpsed[0]:
            continue
        one, other = (tape.landmarks[i][1] for i in rng.permutation([first, second]).tolist())
        question = f"which did you see first, {one} or {other}?"
        yield Asked("seen_first", question, tape.landmarks[first][1])


def rooms_in_order(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """The rooms of the walk, if every one of them is shown and each has a name of its own."""
    tape = film.tape
    whole = room_visits(tape.rooms, film.path[film.shown[0] : film.shown[-1] + 1])
    names = [tape.rooms[room].name for _, room in whole]
    order = [room for _, room in whole]
    if names and [room for _, room in tape.visits] == order and len(set(names)) == len(set(order)):
        said = ", then ".join(f"the {name}" for name in names)
        yield Asked("rooms_in_order", "which rooms were you in, one after the other?", said)


#: Makers by the kind of question.
VIDEO_QUESTIONS: dict[str, Maker] = {
    "presence": presence,
    "seen_first": seen_first,
    "rooms_in_order": rooms_in_order,
    **{name: recorded(name) for name in ("where_is_from_here", "object_motion", "scene_change")},
}
