"""Small movable things, scattered over floors and furniture, and what a person can carry off.

Invariant: everything lies on something, overlaps nothing but what it lies on, and leaves the room passable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vln_heatmap.simulation.houses.furniture import THINGS
from vln_heatmap.simulation.houses.layout import Layout
from vln_heatmap.simulation.houses.pieces import Piece, Placed, Top, overlaps

#: How much lies about, as a factor, by ``HouseParams.clutter``.
AMOUNTS = {"none": 0.0, "low": 0.35, "normal": 1.0, "high": 5.0}

#: What a person carries off with ease.
MOVABLE = frozenset(THINGS) | {
    "armchair", "bin", "book", "box", "chair", "cushion", "exercise ball", "floor mirror", "guitar", "iron",
    "ironing board", "kettle", "ladder", "lamp", "laundry basket", "microwave", "music stand", "office chair",
    "plant", "pouf", "rocking horse", "side table", "stool", "table lamp", "vase",
}  # fmt: skip

#: What stands on furniture without being clutter's doing; a tidy house does without it as well.
ORNAMENTS = frozenset(THINGS) | {"book", "cushion", "kettle", "vase"}

_DINING = ("plate", "cup", "bowl", "bottle", "glass", "fruit bowl", "candle", "magazine", "jar", "laptop")
_SITTING = (
    "magazine",
    "cup",
    "remote control",
    "candle",
    "book",
    "bowl",
    "plant",
    "phone",
    "glass",
    "tissue box",
)
_KEEPING = (
    "picture frame",
    "plant",
    "candle",
    "alarm clock",
    "trophy",
    "globe",
    "tissue box",
    "book",
    "jar",
    "hat",
)
_HIGH = ("box", "basket", "suitcase", "hat", "clothes", "crate", "blanket")
_PLAY = ("toy car", "toy blocks", "teddy bear", "doll", "toy train", "ball", "book", "cup")

#: What lies on a kind of furniture, and how many a square metre.
_ON: dict[str, tuple[float, tuple[str, ...]]] = {
    "dining table": (2.2, _DINING),
    "coffee table": (2.8, _SITTING),
    "side table": (3.0, _SITTING),
    "desk": (2.5, ("cup", "pencil cup", "magazine", "phone", "book", "picture frame", "tissue box",
        "laptop", "globe")),
    "dresser": (3.5, _KEEPING),
    "nightstand": (5.0, ("alarm clock", "book", "phone", "cup", "glass", "picture frame", "tissue box")),
    "tv stand": (2.5, ("remote control", "picture frame", "candle", "magazine", "plant")),
    "kitchen counter": (4.0, ("jar", "bottle", "bowl", "cup", "pan", "chopping board", "toaster",
        "fruit bowl", "can", "plate")),
    "stove": (1.5, ("pan",)),
    "fridge": (1.5, ("basket", "bowl", "jar", "box")),
    "washing machine": (2.0, ("soap bottle", "clothes", "basket", "toilet paper", "can")),
    "bookshelf": (3.0, (*_KEEPING, "basket", "box")),
    "wardrobe": (1.2, _HIGH),
    "bench": (1.5, ("bag", "hat", "clothes", "backpack", "magazine", "shoes")),
    "bed": (0.5, ("clothes", "blanket", "book", "teddy bear", "laptop", "bag", "cushion", "magazine")),
    "sofa": (0.8, ("blanket", "book", "remote control", "cushion", "bag", "magazine", "teddy bear",
        "clothes")),
    "armchair": (1.0, ("blanket", "book", "cushion", "magazine", "clothes")),
    "chair": (1.2, ("clothes", "bag", "book", "hat", "cushion")),
    "stool": (1.5, ("plant", "magazine", "cup", "clothes")),
    "workbench": (3.5, ("toolbox", "can", "jar", "cup", "pencil cup", "bottle", "box")),
    "piano": (3.0, ("magazine", "picture frame", "candle", "plant", "trophy")),
    "play table": (3.0, _PLAY),
}  # fmt: skip

_ANY_FLOOR = (
    "book",
    "box",
    "shoes",
    "bag",
    "magazine",
    "ball",
    "backpack",
    "clothes",
    "basket",
    "cushion",
    "toy car",
)
#: What lies on the floor of a room.
_FLOOR: dict[str, tuple[str, ...]] = {
    "kitchen": ("crate", "bag", "bottle", "basket", "bucket", "box", "toy car"),
    "bathroom": ("toilet paper", "clothes", "shoes", "basket", "bucket", "ball"),
    "laundry room": ("clothes", "basket", "bucket", "box", "bottle", "shoes"),
    "hall": ("shoes", "shoes", "bag", "backpack", "suitcase", "box", "skateboard", "ball", "hat"),
    "nursery": (*_PLAY, "blanket", "basket"),
    "playroom": (*_PLAY, "skateboard", "drum", "cushion", "crate"),
    "gym": ("dumbbell", "dumbbell", "ball", "bottle", "shoes", "bag", "skateboard"),
    "workshop": ("toolbox", "crate", "bucket", "box", "can", "bottle", "basket"),
    "pantry": ("crate", "bottle", "basket", "box", "can", "jar"),
    "storage room": ("box", "crate", "suitcase", "bucket", "bag", "skateboard", "toolbox"),
    "dressing room": ("shoes", "shoes", "bag", "clothes", "hat", "suitcase", "box"),
    "music room": ("drum", "magazine", "book", "cushion", "bag", "cup"),
    "conservatory": ("watering can", "plant", "bucket", "basket", "cushion", "crate"),
    "landing": ("basket", "clothes", "shoes", "book", "box", "toy car"),
}  # fmt: skip
_FLOOR_DENSITY = 0.14  # things a square metre of floor


def scatter(layout: Layout, amount: float) -> None:
    """Put small things on the furniture and the floor of a room.

    Args:
        amount: factor on their usual number, 0 for none.
    """
    rng, placed = layout.rng, tuple(layout.placed)
    for host in placed:
        density, kinds = _ON.get(host.piece.category, (0.0, ("",)))
        for top in host.piece.tops:
            area = (top[2] - top[0]) * (top[3] - top[1])
            for _ in range(rng.poisson(density * area * amount)):
                _put(layout, THINGS[kinds[rng.integers(len(kinds))]](rng, layout.palette), host, top)
    x0, z0, x1, z1 = layout.inner
    kinds = _FLOOR.get(layout.plan.names[layout.room], _ANY_FLOOR)
    for _ in range(rng.poisson(_FLOOR_DENSITY * amount * (x1 - x0) * (z1 - z0))):
        _drop(layout, THINGS[kinds[rng.integers(len(kinds))]](rng, layout.palette))


def _put(layout: Layout, thing: Piece, host: Placed, top: Top) -> None:
    """Stand a thing somewhere on top of another, if there is room."""
    rng, reach = layout.rng, np.hypot(thing.size[0], thing.size[2]) / 2
    low, high = np.array(top[:2]) + 0.8 * reach, np.array(top[2:4]) - 0.8 * reach
    if (low > high).any() or host.y + top[4] + thing.size[1] > layout.plan.height - 0.05:
        return
    for _ in range(8):
        x, z = rng.uniform(low, high)
        local = Placed(thing, x, host.y + top[4], z, rng.normal(0, 0.5))
        item = local.into(host.x, host.z, host.yaw, layout.room)
        if not any(_collide(item, p) for p in layout.placed if p is not host):
            layout.placed.append(item)
            return


def _collide(a: Placed, b: Placed) -> bool:
    return a.bottom < b.top and b.bottom < a.top and overlaps(a.footprint, b.footprint, 0.005)


def _drop(layout: Layout, thing: Piece) -> None:
    """Lay a thing on the floor, or the rug, where the room stays passable."""
    rng, (x0, z0, x1, z1) = layout.rng, layout.inner
    for _ in range(6):
        x, z = rng.uniform((x0 + 0.1, z0 + 0.1), (x1 - 0.1, z1 - 0.1))
        item = Placed(thing, x, 0.0, z, rng.uniform(-np.pi, np.pi), layout.room)
        rugs = [
            p.top
            for p in layout.placed
            if p.piece.category in _FLAT and overlaps(p.footprint, item.footprint)
        ]
        item = Placed(thing, x, max(rugs, default=0.0), z, item.yaw, layout.room)
        in_the_way = any(overlaps(item.footprint, passage) for passage in layout.keep_clear)
        if not in_the_way and layout.fits((item,)):
            layout.placed.append(item)
            return


_FLAT = ("rug", "exercise mat")


def movable(item: Placed, others: Sequence[Placed]) -> bool:
    """Whether a person could carry it off: it is light, and nothing else stands on it."""
    return item.piece.category in MOVABLE and not any(
        other.room == item.room
        and item.bottom + 0.05 < other.bottom < item.top + 0.05
        and overlaps(item.footprint, other.footprint)
        for other in others
    )
