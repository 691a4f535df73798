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
        ("ironing board", "wall", 0.5), ("box", "corner", 0.6), ("stool", "free", 0.4),
        ("bin", "corner", 0.5),
    ),
    "landing": (
        ("bookshelf", "wall", 0.5), ("dresser", "wall", 0.4), ("plant", "corner", 0.6),
        ("chair", "wall", 0.4),
        ("side table", "corner", 0.4), ("lamp", "corner", 0.3), ("laundry basket", "corner", 0.3),
    ),
    "library": (
        ("bookshelf", "wall", 1.0), ("bookshelf", "wall", 1.0), ("bookshelf", "wall", 0.8),
        ("armchair", "free", 0.9), ("side table", "corner", 0.6), ("lamp", "corner", 0.8),
        ("desk", "wall", 0.5), ("bookshelf", "wall", 0.6), ("plant", "corner", 0.5),
        ("armchair", "free", 0.4),
    ),
    "guest room": (
        ("bed", "wall", 1.0), ("wardrobe", "wall", 0.6), ("chair", "wall", 0.7), ("dresser", "wall", 0.5),
        ("lamp", "corner", 0.5), ("plant", "corner", 0.4), ("side table", "corner", 0.3),
    ),
    "nursery": (
        ("crib", "wall", 1.0), ("dresser", "wall", 0.9), ("toy chest", "wall", 0.8),
        ("armchair", "corner", 0.7),
        ("rocking horse", "free", 0.6), ("bookshelf", "wall", 0.5), ("play table", "free", 0.3),
        ("wardrobe", "wall", 0.4), ("lamp", "corner", 0.4),
    ),
    "playroom": (
        ("play table", "free", 0.9), ("toy chest", "wall", 0.9), ("play tent", "corner", 0.7),
        ("bookshelf", "wall", 0.8), ("rocking horse", "free", 0.5), ("pouf", "free", 0.7),
        ("toy chest", "wall", 0.5),
        ("sofa", "wall", 0.4), ("pouf", "free", 0.4), ("tv set", "wall", 0.3), ("box", "corner", 0.3),
    ),
    "gym": (
        ("treadmill", "wall", 0.9), ("weight bench", "wall", 0.8), ("dumbbell rack", "wall", 0.9),
        ("exercise bike", "free", 0.7), ("exercise ball", "corner", 0.8), ("exercise mat", "free", 0.8),
        ("bench", "wall", 0.5), ("bin", "corner", 0.3), ("speaker", "corner", 0.3),
    ),
    "workshop": (
        ("workbench", "wall", 1.0), ("storage shelf", "wall", 0.9), ("ladder", "corner", 0.7),
        ("workbench", "wall", 0.4), ("stool", "free", 0.7), ("storage shelf", "wall", 0.4),
        ("bin", "corner", 0.7),
        ("box stack", "corner", 0.5), ("box", "free", 0.4),
    ),
    "pantry": (
        ("pantry shelf", "wall", 1.0), ("pantry shelf", "wall", 0.9), ("fridge", "wall", 0.5),
        ("pantry shelf", "wall", 0.5), ("counter", "wall", 0.5), ("box stack", "corner", 0.5),
        ("stool", "free", 0.4),
        ("bin", "corner", 0.4),
    ),
    "storage room": (
        ("storage shelf", "wall", 1.0), ("storage shelf", "wall", 0.8), ("box stack", "corner", 0.8),
        ("ironing board", "wall", 0.5), ("suitcase", "wall", 0.6), ("ladder", "corner", 0.5),
        ("box stack", "corner", 0.5), ("wardrobe", "wall", 0.4), ("box", "free", 0.5),
    ),
    "dressing room": (
        ("wardrobe", "wall", 1.0), ("clothes rack", "wall", 0.9), ("floor mirror", "wall", 0.8),
        ("wardrobe", "wall", 0.6), ("pouf", "free", 0.7), ("dresser", "wall", 0.5),
        ("shoe rack", "wall", 0.7),
        ("ironing board", "wall", 0.3), ("laundry basket", "corner", 0.4),
    ),
    "music room": (
        ("piano", "wall", 1.0), ("music corner", "corner", 0.9), ("music stand", "free", 0.8),
        ("bookshelf", "wall", 0.6), ("sofa", "wall", 0.4), ("speaker", "corner", 0.7),
        ("speaker", "corner", 0.7),
        ("armchair", "free", 0.4), ("chair", "free", 0.5), ("lamp", "corner", 0.4), ("plant", "corner", 0.3),
    ),
    "conservatory": (
        ("garden seat", "free", 0.9), ("plant", "corner", 1.0), ("planter", "wall", 0.9),
        ("plant", "corner", 0.9),
        ("planter", "wall", 0.7), ("plant", "wall", 0.8), ("bench", "wall", 0.5), ("plant", "corner", 0.7),
        ("side table", "corner", 0.4), ("plant", "free", 0.5),
    ),
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
    "nursery": ("poster", "shelf", "painting", "poster"),
    "gym": ("mirror", "poster", "mirror", "clock"),
    "workshop": ("shelf", "cabinet", "poster", "clock"),
    "pantry": ("shelf", "shelf", "cabinet"),
    "dressing room": ("mirror", "coat rack", "painting"),
    "music room": ("poster", "painting", "shelf", "poster"),
    "conservatory": ("painting",),
    "playroom": ("poster", "shelf", "poster", "clock"),
    "storage room": ("shelf", "coat rack", "cabinet"),
}

#: Height of the middle of what hangs, metres; paintings, mirrors and shelves at eye level.
MIDDLES = {"cabinet": 1.8, "clock": 1.85, "towel": 1.1, "coat rack": 1.3}
EYE_LEVEL = 1.5
