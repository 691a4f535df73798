"""The windows that every method is measured on: which frames, and what is true about them.

Invariant: a window depends on the samples, the seed and the sizes alone, never on a method; its keyframes are
spread evenly over the candidates, so that no method gains by choosing frames that suit it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.frame_features import read_motions
from vln_heatmap.datasets.windows import view_targets
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.nodes.metrics.heatmap import Targets, older_half
from vln_heatmap.nodes.model.keyframes import UniformSampler
from vln_heatmap.params import EvaluateParams, KeyframeParams


@dataclass(frozen=True)
class Window:
    """One current view, K keyframes and an instruction, with everything that is known about the frames.

    Attributes:
        sample_id: row of the samples table.
        sequence_id, scene: where the frames come from.
        instruction: text, "" = everything.
        referred: instance ids that the instruction means, empty = everything.
        frames: [K + 1] frame indices in the sequence: the keyframes, oldest first, then the current view. All
            arrays below are in this order.
        rgb: [K + 1, H, W, 3] uint8.
        depth: [K + 1, H, W] float32 z-depth in metres, 0 = nothing.
        instance: [K + 1, H, W] instance ids.
        poses: [K + 1, 4, 4] camera_to_world.
        camera: intrinsics of all frames.
        inputs: [K + 1, 3, S, S] uint8, the frames as the model takes them.
        features: [K + 1, C, g, g], the frozen 2-D encoder's output.
        groups: channels of each group of features; what follows them is no feature (colour statistics).
        motions: rest-to-world transforms [K + 1, 4, 4] of the instances that move, by id.
    """

    sample_id: int
    sequence_id: str
    scene: str
    instruction: str
    referred: tuple[int, ...]
    frames: NDArray[np.int64]
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instance: NDArray[Any]
    poses: NDArray[np.float64]
    camera: PinholeCamera
    inputs: NDArray[np.uint8]
    features: NDArray[np.floating]
    groups: tuple[int, ...] = ()
    motions: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames) - 1

    @property
    def keyframes(self) -> NDArray[np.int64]:
        return self.frames[:-1]

    @property
    def current(self) -> int:
        return int(self.frames[-1])


def draw_windows(samples: pd.DataFrame, params: EvaluateParams) -> pd.DataFrame:
    """The windows of all splits: rows of the sample index with a column ``keyframes`` (rising frame indices).

    Raises:
        ValueError: a split has no fine-tuning sample with a candidate.
    """
    counts = {"train": params.training_windows, "val": params.validation_windows, "test": params.windows}
    parts = [_draw(samples, split=split, count=count, seed=params.seed) for split, count in counts.items()]
    windows = pd.concat(parts, ignore_index=True)
    sampler = UniformSampler(KeyframeParams(count=params.keyframes))
    chosen = [sampler.sample(np.unique(row), params.keyframes).tolist() for row in windows["candidates"]]
    return windows.assign(keyframes=chosen)


def _draw(samples: pd.DataFrame, *, split: str, count: int, seed: int) -> pd.DataFrame:
    """At most ``count`` fine-tuning samples of a split, shared evenly between its scenes and kinds of target.

    They are taken in turns from every group (scene, refers to something), each in an order that the seed
    decides. Samples without candidates have no keyframe and are left out.
    """
    usable = (samples["split"] == split) & (samples["task"] == "finetune")
    rows = samples[usable & (samples["candidates"].map(len) > 0)]
    if rows.empty:
        raise ValueError(
            f"there are no fine-tuning samples in the {split!r} split to evaluate with: collect more scenes "
            "(each split needs at least one) and run normalize again"
        )
    shuffled = rows.sort_values("sample_id").sample(frac=1, random_state=seed)
    turn = shuffled.groupby([shuffled["scene"], shuffled["referred"].map(len) > 0]).cumcount()
    return shuffled.loc[turn.sort_values(kind="stable").index[:count]].sort_values("sample_id")


def read_window(
    row: Any, sequences: Mapping[str, Any], features: Mapping[str, Any], groups: tuple[int, ...] = ()
) -> Window:
    """Read the frames of one row of ``draw_windows``, and only those.

    Args:
        row: named tuple of the row.
        sequences: ``SequenceStore``, for the colour images.
        features: ``FrameFeatures``, for everything else.
        groups: see ``Window``.

    Raises:
        ValueError: samples and features are of another collection than the sequences.
    """
    window = cached_window(row, features, groups)
    stored = sequences.get(row.sequence_id)
    if stored is None or not np.array_equal(stored.poses, features[row.sequence_id].read("poses")):
        raise ValueError(
            f"sequence {row.sequence_id} is not the one that the model was trained on (collected anew?): run "
            "normalize, pretrain and finetune again, or load the older version of sequences"
        )
    return replace(window, rgb=stored.rgb(window.frames))


def cached_window(row: Any, features: Mapping[str, Any], groups: tuple[int, ...] = ()) -> Window:
    """The same without the pictures in full size (``rgb`` is [K + 1, 0, 0, 3]), which no model looks at."""
    frames = np.array([*row.keyframes, row.current], dtype=np.int64)
    cached = features[row.sequence_id]
    depth = cached.read("depth", frames).astype(np.float32) / 1000
    return Window(
        sample_id=int(row.sample_id),
        sequence_id=row.sequence_id,
        scene=row.scene,
        instruction=row.instruction,
        referred=tuple(int(i) for i in row.referred),
        frames=frames,
        rgb=np.zeros((len(frames), 0, 0, 3), np.uint8),
        depth=depth,
        instance=cached.read("instance", frames),
        poses=cached.read("poses", frames),
        camera=PinholeCamera(depth.shape[2], depth.shape[1], float(cached.read("hfov")[0])),
        inputs=cached.read("frames", frames),
        features=cached.read("features", frames),
        groups=groups,
        motions=read_motions(cached, frames),
    )


@dataclass(frozen=True)
class Truth:
    """What is true of one window.

    Attributes:
        mask: [K, h, w] float32 in [0, 1], the target heatmaps.
        targets: the same and all else, as the metrics take it.
        shares: [K, 3, h, w] share of each class in a cell.
    """

    mask: NDArray[np.float32]
    targets: Targets
    shares: NDArray[np.float32]


def window_truth(window: Window, scene: int, params: EvaluateParams) -> Truth:
    """Exact targets of a window on the evaluation grid; ``scene`` is the index of its scene."""
    count = len(window)
    exact = view_targets(
        window.depth,
        window.instance,
        window.poses,
        window.camera,
        (count, np.arange(count)),
        np.array(window.referred, dtype=np.int64),
        size=params.size,
        sampled=params.sampled,
        sigma=params.sigma,
        motions=window.motions,
    )
    known = exact["pixel_weight"][0] >= 0.5  # [h, w]
    targets = Targets(
        mask=exact["mask"] > 0.5,
        distribution=exact["distribution"],
        valid=exact["valid"],
        classes=exact["classes"].argmax(1).astype(np.uint8),
        known=np.repeat(known[None], count, axis=0),
        scene=np.full(count, scene),
        oldest=older_half(window.keyframes),
        referring=np.full(count, len(window.referred) > 0),
    )
    return Truth(exact["mask"], targets, exact["classes"])


def concatenate_targets(parts: list[Targets]) -> Targets:
    """Targets of several windows as one."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    return Targets(**columns)
