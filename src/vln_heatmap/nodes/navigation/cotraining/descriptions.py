"""Views and what they show in words, one after the other: images and texts interleaved.

Invariant: a text names only what its view shows well, on the side where it is seen, and says a distance or a turn
only where it is near the number or the word.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from vln_heatmap.datasets.dialogue_samples import Dialogue, Turn
from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.nodes.navigation.cotraining.footage import Footage, article, metres
from vln_heatmap.simulation.instructions import unique_rooms
from vln_heatmap.simulation.nouns import plural
from vln_heatmap.simulation.questions.tape import NUMBERS, listed
from vln_heatmap.simulation.relations import Thing

REQUESTS = ("Tell what you see, view by view.", "Describe each view.", "What do you see on your way?")
#: Sides of an image by their columns / W; what is seen in between is left out.
SIDES = {"on the left": (0.0, 0.37), "ahead": (0.43, 0.57), "on the right": (0.63, 1.0)}
_MOST = 5  # things that are named in a view
_TURNED = math.radians(30)
_WENT = 0.5  # metres


def description(film: Footage, rng: np.random.Generator) -> Dialogue:
    """A dialogue in which each view is followed by its description."""
    texts = [described(film, view) for view in range(len(film.shown))]
    texts = [f"{moved(film, view)}{text}" for view, text in enumerate(texts)]
    turns = tuple(Turn(frame, answer=text) for frame, text in zip(film.shown, texts, strict=True))
    request = str(rng.choice(REQUESTS))
    return Dialogue(turns, request, (), "description", film.sequence_id)


def described(film: Footage, view: int) -> str:
    """What one view shows: the room, and things by side; of a thing that is alone there, how far it is."""
    tape, clear = film.tape, film.tape.clearly(view)
    things = sorted((t for t in tape.view(view).things if t.id in clear), key=lambda t: (-t.pixels, t.id))
    room = tape.room(view)
    said = []
    if room >= 0:
        name = tape.rooms[room].name
        only = room in unique_rooms(tape.rooms)
        said.append(f"You are in {f'the {name}' if only else article(name)}.")
    for side, (low, high) in SIDES.items():
        if here := [t for t in things[:_MOST] if low <= float(t.u or 0.0) <= high]:
            said.append(f"{side.capitalize()} you see {listed(_called(here))}.")
    return " ".join(said) if said else "You see nothing but walls."


def _called(things: list[Thing]) -> list[str]:
    """ "a red chair, two lamps", with the distance of what is alone of its sort."""
    looks = Counter(_looks(thing) for thing in things)
    names = []
    for noun, count in looks.items():
        first = next(thing for thing in things if _looks(thing) == noun)
        far = metres(float(first.depth or 0.0)) if count == 1 else ""
        name = article(noun) if count == 1 else f"{NUMBERS[count]} {plural(noun)}"
        names.append(f"{name} {far} away" if far else name)
    return names


def _looks(thing: Thing) -> str:
    colour, category = thing.instance.colour, thing.instance.category
    return f"{colour} {category}" if colour else category


def moved(film: Footage, view: int) -> str:
    """What the agent did since the view before: "You turned left and went on. ", or ""."""
    if view == 0:
        return ""
    path = film.path[film.shown[view - 1] : film.shown[view] + 1]  # [n, 6]
    turn = sum(wrap_angle(float(b - a)) for a, b in zip(path[:-1, 3], path[1:, 3], strict=True))
    gone = float(np.linalg.norm(path[-1, :3] - path[0, :3]))
    did = []
    if abs(turn) >= _TURNED:
        did.append("turned left" if turn > 0 else "turned right")
    if gone >= _WENT:
        did.append("went on")
    return f"You {' and '.join(did)}. " if did else ""
