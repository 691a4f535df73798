"""A tiny world in which matching can be learned: walks through a box, and features that say what a cell shows.

The walls are the instances 1 to 6, the frozen "encoder" gives sines of 3-D positions, so that cells of two
frames look alike where they show the same place. Everything is exact by construction (see ``box_walks``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from box_walks import walk

from vln_heatmap.datasets.frame_features import Arrays, FeatureStream, FrameFeatureDataset, FrameFeatures
from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.geometry.covisibility import area_average
from vln_heatmap.geometry.projection import unproject
from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.tokenizer import train_tokenizer
from vln_heatmap.params import ModelParams, StageParams

GRID, GROUPS, EXTRA = 4, (12, 6), 6
CHANNELS = sum(GROUPS) + EXTRA
PHRASES = [f"the {name} wall" for name in ("west", "east", "low", "high", "north", "south")]
TOKENIZER = train_tokenizer([*PHRASES, "go to the wall left of the door"], 300)
PARAMS = ModelParams.model_validate(
    {
        "preset": "toy",
        "vggt": {
            "resolution": 28,
            "pretrain_size": 28,
            "dim": 16,
            "attention_heads": 2,
            "vit_depth": 1,
            "pairs": 1,
            "registers": 1,
            "layers": (0, 0, 0, 0),
            "layer_scale": 0.1,
        },
        "encoder": {"input_size": 64, "grid": GRID, "blocks": (1,)},
        "keyframes": {"count": 3},
        "fusion": {"width": 32},
        "language": {
            "grid": 2,
            "vocab_size": 300,
            "dim": 32,
            "hidden": 32,
            "depth": 1,
            "attention_heads": 2,
            "kv_heads": 1,
        },
        "head": {"embed": 16, "width": 16, "blocks": 1, "detail": 8, "heatmap_size": 8},
    }
)
STAGE = StageParams.model_validate(
    {
        "window": {"views": 2, "sampled": 24},
        "train": {
            "steps": 4,
            "batch_size": 4,
            "device": "cpu",
            "threads": 1,
            "num_workers": 0,
            "optimizer": {"lr": 5e-3},
            "ema_decay": 0.5,
            "loss": {"weights": {"referred": 1.0}},
            "validate_every": 2,
            "save_every": 2,
        },
        "validation_samples": 4,
    }
)


def toy_model(params: ModelParams = PARAMS, *, seed: int = 0) -> HeatmapModel:
    """The whole chain at toy size, in evaluation mode."""
    return make_model(params, TOKENIZER, groups=GROUPS, extra=EXTRA, seed=seed).eval()


def sequence_arrays(sequence: Sequence) -> Arrays:
    """What ``FrameFeatureDataset`` keeps of a walk, with places instead of an encoder's features."""
    points = np.stack(
        [unproject(d, sequence.camera, pose) for d, pose in zip(sequence.depth, sequence.poses, strict=True)]
    )  # [T, H, W, 3]
    codes = [wave(points * scale) for scale in (1.0, 2.0, 0.5) for wave in (np.sin, np.cos)]
    colour = sequence.rgb / 255  # [T, H, W, 3]
    maps = np.concatenate([*codes, colour, colour**2], axis=-1)  # [T, H, W, C]
    size = (PARAMS.vggt.resolution,) * 2
    small = F.interpolate(torch.from_numpy(sequence.rgb).movedim(-1, 1).float(), size=size, mode="area")
    return {
        "features": area_average(np.moveaxis(maps, -1, 1), (GRID, GRID)).astype(np.float16),
        "frames": small.round().to(torch.uint8).numpy(),
        "depth": np.rint(sequence.depth * 1000).astype(np.uint16),
        "instance": sequence.instance.astype(np.uint16),
        "poses": sequence.poses,
        "hfov": np.array([sequence.camera.hfov]),
        "moved_ids": np.zeros(0, np.int32),
        "moved_poses": np.zeros((len(sequence), 0, 4, 4)),
    }


def walks() -> dict[str, Sequence]:
    """Four walks of two scenes, nine frames each."""
    actions = ("fflfrffl", "rrrrrrrr", "llflflff", "ffrrflll")
    ids = ("house_00000_00", "house_00000_01", "house_00001_00", "house_00001_01")
    return {name: walk(name, steps) for name, steps in zip(ids, actions, strict=True)}


def store_features(folder: Path, sequences: dict[str, Sequence]) -> FrameFeatures:
    """The feature store of some walks."""
    dataset = FrameFeatureDataset(filepath=str(folder))
    ids = tuple(sequences)
    dataset.save(
        FeatureStream("toy", ids, lambda wanted: ((i, sequence_arrays(sequences[i])) for i in wanted))
    )
    return dataset.load()


def sample_row(sequence_id: str = "house_00000_00", **changes: object) -> dict[str, object]:
    """One row of the sample index: the last frame against all before it, everything."""
    row = {
        "sample_id": 0,
        "sequence_id": sequence_id,
        "scene": sequence_id.rpartition("_")[0],
        "split": "train",
        "task": "finetune",
        "current": 8,
        "candidates": list(range(8)),
        "instruction": "",
        "kind": "everything",
        "referred": [],
        "question": "",
        "level": 0,
        "levels": ["geometric"],
        "weight": 1.0,
    }
    return row | changes


def sample_table(sequences: dict[str, Sequence]) -> pd.DataFrame:
    """Samples of both tasks; the first scene trains, the second validates."""
    rows = []
    for name, sequence in sequences.items():
        split = "train" if name.startswith("house_00000") else "val"
        for current in (5, 7, 8):
            wall = int(np.bincount(sequence.instance[current].ravel()).argmax())
            spoken = {"instruction": PHRASES[wall - 1], "kind": "category", "referred": [wall]}
            place = {"split": split, "current": current}
            rows.append(sample_row(name, **place, task="pretrain", candidates=[], **spoken))
            rows.append(sample_row(name, **place, candidates=list(range(current))))
            rows.append(sample_row(name, **place, candidates=list(range(current)), **spoken))
    return pd.DataFrame(rows).assign(sample_id=range(len(rows)))
