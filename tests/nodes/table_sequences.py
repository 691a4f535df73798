"""Sequences that are tables alone, as normalize reads them, and what it needs beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.params import CollectParams, FinetuneSampleParams, NormalizeParams, PretrainSampleParams

PIXELS = 100 * 100
#: Wall, chair, table and bed; the ids are 1 to 4.
OBJECTS = [
    ("wall", "", (0, 0, 0), (5, 2.5, 0.1)),
    ("chair", "red", (1, 0, 1), (1.5, 0.9, 1.5)),
    ("table", "white", (2, 0, 1), (3, 0.7, 2)),
    ("bed", "blue", (3, 0, 3), (5, 0.5, 5)),
]


@dataclass(frozen=True)
class TableSequence:
    """What normalize reads of a stored sequence."""

    frames: pd.DataFrame
    metadata: dict[str, Any]

    def column(self, name: str) -> np.ndarray:
        return np.stack(self.frames[name].to_list())


def sequence(length: int, seen: dict[int, list[int]] | None = None, **metadata: Any) -> TableSequence:
    """A walk in which frame t shows ``seen[t]`` (default: wall and chair), each on 400 pixels."""
    rng = np.random.default_rng(length)
    visible = [(seen or {}).get(t, [1, 2]) for t in range(length)]
    velocity = np.concatenate([rng.normal(size=(length - 1, 5)), np.zeros((1, 5))])
    frames = pd.DataFrame(
        {
            "frame_index": np.arange(length),
            "state": list(rng.normal(size=(length, 6)).astype(np.float32)),
            "velocity": list(velocity.astype(np.float32)),
            "action": np.ones(length, np.int8),
            "collided": False,
            "moved_ids": [[]] * length,
            "moved_poses": [[]] * length,
            "visible_ids": visible,
            "visible_pixels": [[400] * len(ids) for ids in visible],
            "visible_u": [[0.1 * i for i in ids] for ids in visible],
            "visible_v": [[0.5] * len(ids) for ids in visible],
            "visible_depth": [[1.0 + i for i in ids] for ids in visible],
        }
    )
    objects = [
        {"id": i, "category": c, "colour": colour, "room": 0, "box_min": list(low), "box_max": list(high)}
        for i, (c, colour, low, high) in enumerate(OBJECTS, start=1)
    ]
    rooms = [{"name": "bedroom", "rectangle": [0, 0, 5, 5]}]
    camera = {"width": 100, "height": 100, "hfov": 90.0}
    metadata = {"camera": camera, "objects": objects, "rooms": rooms, "instructions": [], **metadata}
    return TableSequence(frames, metadata)


def splits_of(sequences: dict[str, TableSequence], split: str = "train") -> pd.DataFrame:
    """All sequences in one split; the scene is the id up to the last underscore."""
    ids = list(sequences)
    return pd.DataFrame({"id": ids, "scene": [i.rsplit("_", 1)[0] for i in ids], "split": split})


def validated(scenes: int, walks: int = 2) -> pd.DataFrame:
    rows = [(f"house_{s:05d}_{w:02d}", f"house_{s:05d}", True) for s in range(scenes) for w in range(walks)]
    return pd.DataFrame(rows, columns=["id", "scene", "accepted"])


def finetune(**changes: Any) -> NormalizeParams:
    """Parameters with fine-tuning samples only."""
    none = PretrainSampleParams(train=0, val=0, test=0)
    return NormalizeParams(finetune=FinetuneSampleParams(**changes), pretrain=none)


#: A collection without levels.
COLLECT = CollectParams()
