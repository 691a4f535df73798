"""Prediction on a user's clip: heatmaps, pictures of them, and how long it took.

Invariant: every frame number in the outputs counts frames of the user's clip, not of the part that was kept.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.clip import Clip
from vln_heatmap.params import ModelParams, PredictParams


def predict_clip(checkpoint: Any, clip: Clip, params: PredictParams, model: ModelParams) -> Any:
    """Heatmaps of a clip.

    Args:
        checkpoint: ``Checkpoint`` of a finetuned model.
        clip: the frames.
        params: instruction, current view and keyframes (numbers of the whole clip).
        model: of which the placement counts; all else is the checkpoint's.

    Returns:
        ``Prediction``, whose indices count the frames that were kept.

    Raises:
        ValueError: fewer than two frames, a frame that the clip does not have, or a keyframe that cannot be told
            from the current view among the frames that were kept.
    """
    from vln_heatmap.nodes.model.predictor import HeatmapPredictor

    predictor = HeatmapPredictor.from_checkpoint(
        checkpoint.path, threshold=params.threshold, placement=model.placement
    )
    current = kept_index(clip, params.current)
    keyframes = None if params.keyframes is None else kept_keyframes(clip, params.keyframes, params.current)
    return predictor.predict(clip.frames, params.instruction, keyframes, current)


def kept_keyframes(clip: Clip, numbers: list[int], current: int) -> list[int]:
    """Indices among the kept frames of the ones nearest to the keyframes, each once.

    Raises:
        ValueError: the clip has no such frame, or the nearest one is nearest to the current view, too.
    """
    now = kept_index(clip, current)
    for number in numbers:
        if kept_index(clip, number) == now and (number - current) % clip.total:
            raise ValueError(
                f"only {len(clip.numbers)} of {clip.total} frames are kept, and keyframe {number} is the current "
                "view among them: raise predict.max_frames"
            )
    return list(dict.fromkeys(kept_index(clip, number) for number in numbers))


def kept_index(clip: Clip, number: int) -> int:
    """Index among the kept frames of the one nearest to frame ``number`` of the clip (negative: from the end).

    Raises:
        ValueError: the clip has no such frame.
    """
    if not -clip.total <= number < clip.total:
        raise ValueError(f"the clip has {clip.total} frames, there is no frame {number}")
    return int(np.abs(clip.numbers - number % clip.total).argmin())


def render_prediction(
    prediction: Any, clip: Clip, params: PredictParams
) -> tuple[dict[str, Any], Any, dict[str, NDArray[Any]], dict[str, Any]]:
    """Pictures, arrays and a summary of a prediction.

    Returns:
        PIL overlays by name, the summary sheet (PIL), the arrays of ``heatmaps.npz`` and the JSON summary.
    """
    from PIL import Image

    from vln_heatmap.reporting.overlays import overlay_heatmap
    from vln_heatmap.reporting.prediction_sheet import prediction_sheet

    start = time.perf_counter()
    current = clip.frames[prediction.current_index]
    numbers = clip.numbers[prediction.keyframe_indices]
    overlays = {
        f"keyframe_{number:05d}": Image.fromarray(overlay_heatmap(current, heatmap))
        for number, heatmap in zip(numbers.tolist(), prediction.heatmaps, strict=True)
    }
    sheet = prediction_sheet(clip, prediction, params.instruction)
    arrays = {
        "heatmaps": prediction.heatmaps,
        "masks": prediction.masks,
        "distributions": prediction.distributions,
        "validity": prediction.validity,
        "keyframe_indices": numbers,
        "current_index": np.array(clip.numbers[prediction.current_index]),
    }
    summary = {
        "instruction": params.instruction,
        "frames": {"total": clip.total, "kept": len(clip.numbers)},
        "current_index": int(clip.numbers[prediction.current_index]),
        "keyframes": [
            {"index": int(n), "validity": round(float(v), 4), "peak": round(float(h.max()), 4)}
            for n, v, h in zip(numbers, prediction.validity, prediction.heatmaps, strict=True)
        ],
        "threshold": prediction.threshold,
        "seconds": {**prediction.seconds, "pictures": time.perf_counter() - start},
    }
    return overlays, sheet, arrays, summary
