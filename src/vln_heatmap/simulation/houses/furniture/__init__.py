"""Parametric furniture: functions that draw one group of pieces each, from a house's shared palette.

Invariant: groups face +z with their back at the smallest z, stand on y = 0, and name only materials of the
palette; the first piece of a group makes sense without the others.
"""

from vln_heatmap.simulation.houses.furniture import decor, living, storage, wet
from vln_heatmap.simulation.houses.pieces import Builder, PieceBuilder

#: Furniture that stands on the floor, by the name that room recipes use.
BUILDERS: dict[str, Builder] = {
    "sofa": living.sofa,
    "armchair": living.armchair,
    "chair": living.chair,
    "stool": living.stool,
    "dining set": living.dining_set,
    "tv set": living.tv_set,
    "bench": living.bench,
    "bed": storage.bed,
    "wardrobe": storage.wardrobe,
    "dresser": storage.dresser,
    "bookshelf": storage.bookshelf,
    "desk": storage.desk,
    "box": storage.carton,
    "shoe rack": storage.shoe_rack,
    "kitchen row": wet.kitchen_row,
    "counter": wet.counter,
    "kitchen sink": wet.kitchen_sink,
    "stove": wet.kitchen_stove,
    "fridge": wet.fridge,
    "toilet": wet.toilet,
    "bathtub": wet.bathtub,
    "shower": wet.shower,
    "washbasin": wet.washbasin,
    "washing machine": wet.washing_machine,
    "bin": wet.bin_,
    "laundry basket": wet.laundry_basket,
    "lamp": decor.floor_lamp,
    "plant": decor.plant,
    "side table": decor.pedestal,
}

#: What hangs on walls, by the name that room recipes use.
HANGINGS: dict[str, PieceBuilder] = {
    "painting": decor.painting,
    "mirror": decor.mirror,
    "clock": decor.clock,
    "shelf": decor.wall_shelf,
    "cabinet": decor.cabinet,
    "towel": decor.towel,
    "coat rack": decor.coat_rack,
}

__all__ = ["BUILDERS", "HANGINGS"]
