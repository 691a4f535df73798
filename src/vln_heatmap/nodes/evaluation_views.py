"""Some test windows asked again, for the success metrics: seen from elsewhere, and with a source silent.

Invariant: which windows are asked again, and from where, depends on the windows alone, never on an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from vln_heatmap.geometry.covisibility import COVISIBLE, cell_pixels, covisibility, motions_between
from vln_heatmap.geometry.projection import relative_pose
from vln_heatmap.nodes.evaluation_model import SOURCES
from vln_heatmap.nodes.evaluation_windows import Truth, Window, read_window, window_truth
from vln_heatmap.nodes.metrics.projection import cell_intrinsics, cells_elsewhere, inside
from vln_heatmap.nodes.threads import ahead
from vln_heatmap.params import EvaluateParams

_PER_FRAME = ("frames", "rgb", "depth", "instance", "poses", "inputs", "features")


@dataclass(frozen=True)
class Surfaces:
    """Where the cells of one view lie in another.

    Attributes:
        x, y: [h, w] column and row in the other view's cells.
        seen: [h, w] bool, the other view sees the same surface, which has not moved.
    """

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class ViewAnswer:
    """What a method says of one test window beside its answer to the window itself.

    Attributes:
        position: number of the window among the test windows.
        truth: of the window, [K, h, w].
        before, before_truth: the same keyframes in the frame before the current view.
        fresh: [K] bool, the keyframe is not that frame itself.
        beside, beside_truth: the same keyframes in one of them, number ``slot``, whose place the current view
            takes.
        there: where the current view's cells lie in ``beside``; back: the other way.
        alone: scores [K, h, w] by the source that was silent.
    """

    position: int
    truth: Truth
    before: NDArray[np.floating]
    before_truth: Truth
    fresh: NDArray[np.bool_]
    beside: NDArray[np.floating]
    beside_truth: Truth
    slot: int
    there: Surfaces
    back: Surfaces
    alone: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)


def picked(window: Window, indices: NDArray[np.integer]) -> Window:
    """The window of some frames of a window, by their places; the last is the current view."""
    arrays = {name: getattr(window, name)[indices] for name in _PER_FRAME}
    return replace(window, **arrays, motions={k: m[indices] for k, m in window.motions.items()})


def surfaces(window: Window, here: int, there: int, size: int) -> Surfaces:
    """Where the cells of frame ``here`` of a window lie in frame ``there`` (places in the window)."""
    grid, camera = (size, size), window.camera
    chosen = np.ix_(*cell_pixels(camera, grid))
    motions = motions_between(window.motions, here, np.array([there]))
    classes = covisibility(
        window.depth[here],
        window.poses[here],
        window.depth[[there]],
        window.poses[[there]],
        camera,
        grid,
        motions=motions,
        instance_c=window.instance[here],
    )[0]  # [h, w]
    motion = relative_pose(window.poses[here], window.poses[there])
    x, y, _ = cells_elsewhere(window.depth[here][chosen], motion, cell_intrinsics(camera, grid))
    moved = np.isin(window.instance[here][chosen], list(motions))
    return Surfaces(x, y, (classes == COVISIBLE) & inside(x, y, grid) & ~moved)


def choose_views(test: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most ``count`` of the test windows, evenly spread, with their ``position`` among all of them."""
    chosen = np.unique(np.linspace(0, len(test) - 1, min(len(test), count)).astype(int))
    return test.iloc[chosen].assign(position=chosen)


def answer_views(
    windows: pd.DataFrame, sequences: Any, features: Any, model: Any, params: EvaluateParams
) -> list[ViewAnswer]:
    """Ask again about some of the test windows.

    Args:
        windows: see ``draw_windows``.
        sequences: ``SequenceStore``.
        features: ``FrameFeatures``.
        model: ``ModelMethod``, or any method; without ``without`` it has no sources that could be silent.
    """
    test = windows[windows["split"] == "test"]
    index = {scene: i for i, scene in enumerate(sorted(test["scene"].unique()))}

    def prepare(row: Any) -> tuple[Any, list[Window], dict[str, Any]]:
        return row, *_views(row, sequences, features, model.groups, index[row.scene], params)

    chosen = list(choose_views(test, params.success_windows).itertuples(index=False))
    size, answers = (params.size, params.size), []
    ready = ahead(prepare, chosen, workers=params.workers)
    for row, (own, before, beside), known in tqdm(ready, "other views", total=len(chosen), unit="window"):
        alone: dict[str, NDArray[Any]] = {}
        if hasattr(model, "without"):
            alone = {source: model.without(source, own, size).scores for source in SOURCES}
        asked = {"before": model(before, size).scores, "beside": model(beside, size).scores}
        answers.append(ViewAnswer(position=row.position, alone=alone, **asked, **known))
    return answers


def _views(
    row: Any, sequences: Any, features: Any, groups: tuple[int, ...], scene: int, params: EvaluateParams
) -> tuple[list[Window], dict[str, Any]]:
    """The window, the window seen from the frame before and from its middle keyframe, and what is true."""
    count, slot = len(row.keyframes), len(row.keyframes) // 2
    both = read_window(
        row._replace(keyframes=[*row.keyframes, row.current - 1]), sequences, features, groups
    )  # the frames: K keyframes, the frame before, the current view
    keys = np.arange(count)
    swapped = np.where(keys == slot, count + 1, keys)
    windows = [
        picked(both, np.append(keys, count + 1)),
        picked(both, np.append(keys, count)),
        picked(both, np.append(swapped, slot)),
    ]
    own, before, beside = (window_truth(window, scene, params) for window in windows)
    return windows, {
        "truth": own,
        "before_truth": before,
        "fresh": np.asarray(row.keyframes) != row.current - 1,
        "beside_truth": beside,
        "slot": slot,
        "there": surfaces(both, count + 1, slot, params.size),
        "back": surfaces(both, slot, count + 1, params.size),
    }
