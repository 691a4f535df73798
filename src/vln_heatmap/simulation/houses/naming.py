"""What the rooms of a storey are for.

Invariant: every house has a living room, on the ground storey; the hall of the stairs is the first cell, a
hall below and a landing above; small rooms go into small cells.
"""

from __future__ import annotations

import numpy as np

from vln_heatmap.simulation.houses.plan import Rectangle

_SINGLE = {
    2: (["living room", "bedroom"],),
    3: (["living room", "bedroom", "kitchen"], ["living room", "bedroom", "bathroom"]),
    4: (["living room", "bedroom", "kitchen", "bathroom"],),
}
_BELOW = {
    1: (["living room"],),
    2: (["living room", "kitchen"],),
    3: (["living room", "kitchen", "bathroom"],),
}
_ABOVE = {1: (["bedroom"],), 2: (["bedroom", "bathroom"],)}
_LIVING = (
    "dining room",
    "office",
    "laundry room",
    "pantry",
    "workshop",
    "conservatory",
    "music room",
    "library",
    "gym",
)
_SLEEPING = ("bedroom", "nursery", "guest room", "dressing room", "playroom", "storage room")
#: Rooms that may stand in for a bedroom.
_BEDROOMS = ("guest room", "nursery", "playroom")
#: From the largest cell (-1) to the smallest (2); all others lie between 0 and 1.
_RANK = {
    "living room": -1.0,
    "conservatory": 0.9,
    "laundry room": 1.6,
    "dressing room": 1.4,
    "storage room": 1.7,
    "pantry": 1.8,
    "bathroom": 2.0,
}


def name_rooms(rng: np.random.Generator, cells: list[Rectangle], storey: int, storeys: int) -> list[str]:
    """Names in the order of the cells.

    Args:
        cells: of the storey; the first is the hall of the stairs if there are any.
        storey, storeys: which of how many.
    """
    stairs = int(storeys > 1)
    names = _draw_names(rng, len(cells) - stairs, storey, storeys)
    ranks = [_RANK.get(name, rng.uniform(0, 1)) for name in names]
    names = [names[k] for k in np.argsort(ranks, kind="stable")]
    areas = [(c[0] - c[2]) * (c[3] - c[1]) for c in cells[stairs:]]
    result = ["landing" if storey else "hall"] * len(cells)
    for name, index in zip(names, np.argsort(areas, kind="stable"), strict=True):
        result[index + stairs] = name
    return result


def _draw_names(rng: np.random.Generator, count: int, storey: int, storeys: int) -> list[str]:
    """What a storey needs, and what else a household may have."""
    needed = _SINGLE if storeys == 1 else (_BELOW, _ABOVE)[storey]
    options = needed[min(count, max(needed))] if count else ([],)
    names = list(options[rng.integers(len(options))])
    if len(names) > 1 and "bedroom" in names and storeys == 1 and rng.random() < 0.2:
        names[names.index("bedroom")] = str(rng.choice(_BEDROOMS))
    more = (
        (*_LIVING, *_SLEEPING, "hall")
        if storeys == 1
        else (_LIVING, (*_SLEEPING, "office", "library", "gym", "music room"))[storey]
    )
    extra = rng.permutation(more)[: max(0, count - len(names))]
    names += [str(e) for e in extra]
    return names + ["bedroom"] * (count - len(names))
