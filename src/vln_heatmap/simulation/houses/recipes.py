"""What rooms of each type hold.

Invariant: names are keys of ``furniture.BUILDERS`` and ``furniture.HANGINGS``; the most important come first,
since the first come is the first served with space.
"""

from __future__ import annotations

Item = tuple[str, str, float]  # builder, where it goes ("wall", "corner" or "free"), chance

#: Furniture by room type.
RECIPES: dict[str, tuple[Item, ...]] = {
    "living room": (
        ("sofa", "wall", 1.0), ("tv set", "wall", 0.85), ("bookshelf", "wall", 0.8),
        ("armchair", "free", 0.75), ("plant", "corner", 0.8), ("lamp", "corner", 0.7),
        ("dining set", "free", 0.3), ("dresser", "wall", 0.4), ("armchair", "free", 0.4),
        ("side table", "corner", 0.4), ("plant", "corner", 0.4), ("bookshelf", "wall", 0.3),
    ),
    "bedroom": (
        ("bed", "wall", 1.0), ("wardrobe", "wall", 0.9), ("dresser", "wall", 0.6), ("desk", "wall", 0.35),
        ("armchair", "corner", 0.3), ("chair", "wall", 0.4), ("plant", "corner", 0.4),
        ("lamp", "corner", 0.4), ("bookshelf", "wall", 0.3), ("laundry basket", "corner", 0.3),
        ("box", "free", 0.25),
    ),
    "kitchen": (
        ("kitchen row", "wall", 1.0), ("dining set", "free", 0.7), ("counter", "wall", 0.5),
        ("bin", "corner", 0.7), ("stool", "free", 0.5), ("stool", "wall", 0.3), ("plant", "corner", 0.3),
        ("box", "corner", 0.2),
    ),
    "bathroom": (
        ("toilet", "wall", 1.0), ("washbasin", "wall", 1.0), ("bathtub", "wall", 0.6),
        ("shower", "corner", 0.5), ("washing machine", "wall", 0.4), ("laundry basket", "corner", 0.5),
        ("bin", "corner", 0.6), ("stool", "free", 0.25),
    ),
    "office": (
        ("desk", "wall", 1.0), ("bookshelf", "wall", 0.95), ("bookshelf", "wall", 0.7),
        ("armchair", "corner", 0.5), ("desk", "wall", 0.3), ("lamp", "corner", 0.6),
        ("plant", "corner", 0.6), ("box", "free", 0.5), ("bin", "corner", 0.5), ("dresser", "wall", 0.4),
        ("box", "corner", 0.3),
    ),
    "dining room": (
        ("dining set", "free", 1.0), ("dresser", "wall", 0.8), ("bookshelf", "wall", 0.5),
        ("plant", "corner", 0.7), ("side table", "corner", 0.5), ("lamp", "corner", 0.4),
        ("bench", "wall", 0.3), ("chair", "wall", 0.4),
    ),
    "hall": (
        ("shoe rack", "wall", 0.8), ("bench", "wall", 0.7), ("dresser", "wall", 0.4),
        ("plant", "corner", 0.6), ("side table", "corner", 0.4), ("box", "corner", 0.3),
        ("lamp", "corner", 0.3), ("bookshelf", "wall", 0.3),
    ),
    "laundry room": (
        ("washing machine", "wall", 1.0), ("washing machine", "wall", 0.4),
        ("laundry basket", "wall", 0.9), ("counter", "wall", 0.6), ("wardrobe", "wall", 0.5),
        ("box", "corner", 0.6), ("stool", "free", 0.4), ("bin", "corner", 0.5),
    ),
    "landing": (
        ("bookshelf", "wall", 0.5), ("dresser", "wall", 0.4), ("plant", "corner", 0.6), ("chair", "wall", 0.4),
        ("side table", "corner", 0.4), ("lamp", "corner", 0.3), ("laundry basket", "corner", 0.3),
    ),
    "library": (
        ("bookshelf", "wall", 1.0), ("bookshelf", "wall", 1.0), ("bookshelf", "wall", 0.8),
        ("armchair", "free", 0.9), ("side table", "corner", 0.6), ("lamp", "corner", 0.8),
        ("desk", "wall", 0.5), ("bookshelf", "wall", 0.6), ("plant", "corner", 0.5), ("armchair", "free", 0.4),
    ),
    "guest room": (
        ("bed", "wall", 1.0), ("wardrobe", "wall", 0.6), ("chair", "wall", 0.7), ("dresser", "wall", 0.5),
        ("lamp", "corner", 0.5), ("plant", "corner", 0.4), ("side table", "corner", 0.3),
    ),
    "nursery": (("dresser", "wall", 1.0), ("armchair", "corner", 0.7), ("wardrobe", "wall", 0.6)),
    "gym": (("bench", "free", 1.0),),
    "workshop": (("counter", "wall", 1.0),),
    "pantry": (("bookshelf", "wall", 1.0),),
    "dressing room": (("wardrobe", "wall", 1.0),),
    "music room": (("bookshelf", "wall", 1.0),),
    "conservatory": (("plant", "corner", 1.0),),
    "playroom": (("bookshelf", "wall", 1.0),),
    "storage room": (("bookshelf", "wall", 1.0),),
}  # fmt: skip

#: What is tried, one by one, where a long group has no room.
FALLBACKS = {"kitchen row": ("kitchen sink", "stove", "fridge")}

#: What hangs on the walls by room type, most likely first.
DECOR: dict[str, tuple[str, ...]] = {
    "living room": ("painting", "painting", "clock", "shelf", "painting", "mirror"),
    "bedroom": ("painting", "mirror", "painting", "shelf"),
    "kitchen": ("cabinet", "clock", "cabinet", "painting", "shelf"),
    "bathroom": ("mirror", "towel", "cabinet", "towel"),
    "office": ("painting", "clock", "shelf", "painting", "shelf"),
    "dining room": ("painting", "painting", "mirror", "clock"),
    "hall": ("coat rack", "mirror", "painting", "painting"),
    "laundry room": ("cabinet", "shelf", "clock"),
    "landing": ("painting", "mirror", "painting"),
    "library": ("painting", "clock", "painting"),
    "guest room": ("painting", "mirror", "painting"),
    "nursery": ("painting", "shelf", "painting"),
    "gym": ("mirror", "mirror", "clock", "painting"),
    "workshop": ("shelf", "cabinet", "clock"),
    "pantry": ("shelf", "shelf", "cabinet"),
    "dressing room": ("mirror", "coat rack", "painting"),
    "music room": ("painting", "painting", "shelf", "clock"),
    "conservatory": ("painting",),
    "playroom": ("painting", "shelf", "painting", "painting"),
    "storage room": ("shelf", "coat rack", "cabinet"),
}

#: Height of the middle of what hangs, metres; paintings, mirrors and shelves at eye level.
MIDDLES = {"cabinet": 1.8, "clock": 1.85, "towel": 1.1, "coat rack": 1.3}
EYE_LEVEL = 1.5
