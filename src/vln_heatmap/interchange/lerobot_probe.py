"""Reads a data set with the official ``lerobot`` package and writes down what it returns.

It is run by the Python of an environment of its own, in which our package is not installed: it imports nothing of
ours. ``check_lerobot`` starts it.

Invariant: values are written as ``LeRobotDataset.__getitem__`` gives them, only colours are put back to 0..255.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np


def main(root: str, target: str, backend: str, count: int) -> None:
    """Write the items of ``count`` evenly spread frames to an .npz file."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/check", root=root, video_backend=backend)
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))
    items = [dataset[int(index)] for index in indices]
    arrays: dict[str, Any] = {"indices": indices}
    for key, value in items[0].items():
        if isinstance(value, str):
            arrays[key] = np.array([item[key] for item in items])
            continue
        stacked = np.stack([item[key].numpy() for item in items])
        colour = stacked.ndim == 4 and stacked.shape[1] == 3
        arrays[key] = np.rint(stacked * 255).astype(np.uint8) if colour else stacked
    facts = {
        "episodes": dataset.num_episodes,
        "frames": len(dataset),
        "fps": dataset.fps,
        "statistics": sorted(dataset.meta.stats),
        "versions": {name: version(name) for name in ("lerobot", "torch", "datasets", "av")},
    }
    np.savez(target, facts=np.array(json.dumps(facts)), **arrays)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
