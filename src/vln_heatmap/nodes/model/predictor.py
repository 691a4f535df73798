"""The trained model as a user takes it: frames and an instruction in, heatmaps in the size of the frames out.

Invariant: a checkpoint is enough. Frames may have any size; they are stretched to the model's square inputs
and the heatmaps are stretched back, so that pixel (x, y) of a heatmap is pixel (x, y) of the current view.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.nodes.features import encoded_frames, small_frames
from vln_heatmap.nodes.model.assemble import model_from_checkpoint
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.keyframes import make_sampler
from vln_heatmap.nodes.model.keyframes.geometry import sampler_geometry
from vln_heatmap.nodes.model.placement import place
from vln_heatmap.nodes.model.streaming import StreamingPredictor
from vln_heatmap.params import PlacementParams

#: Where `kedro run` leaves finetuned checkpoints, relative to the project.
CHECKPOINTS = Path("data/06_models/finetuned")


@dataclass(frozen=True)
class Prediction:
    """Heatmaps of one current view.

    Attributes:
        heatmaps: [K, H, W] float32, probability that a pixel shows what keyframe k saw and the instruction
            refers to.
        masks: [K, H, W] bool, the heatmaps above ``threshold``.
        distributions: [K, h, w] float32 on the model's own grid, each sums to 1: where to look.
        classes: [K, 3, h, w] float32, probabilities of co-visible / occluded / outside on the model's grid.
        validity: [K] float32, probability that anything at all is co-visible and referred to.
        keyframe_indices: [K] frames of the video; current_index: the frame that the heatmaps are drawn in.
        threshold: of the masks.
        seconds: time by part (choose, encode, model, resize).
    """

    heatmaps: NDArray[np.float32]
    masks: NDArray[np.bool_]
    distributions: NDArray[np.float32]
    classes: NDArray[np.float32]
    validity: NDArray[np.float32]
    keyframe_indices: NDArray[np.int64]
    current_index: int
    threshold: float
    seconds: dict[str, float] = field(default_factory=dict)


class HeatmapPredictor:
    """Draws frame-indexed heatmaps with a trained model.

    Args:
        model: ``HeatmapModel`` in evaluation mode.
        threshold: probability above which a pixel belongs to the mask.
    """

    def __init__(self, model: Any, *, threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be in (0, 1), got {threshold:g}")
        self.model, self.threshold = model.eval(), threshold
        self.encoder = make_encoder(model.params.encoder)
        self.sampler = make_sampler(model.params.keyframes)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path | None = None,
        *,
        device: str = "cpu",
        threshold: float = 0.5,
        placement: PlacementParams | None = None,
    ) -> HeatmapPredictor:
        """Load a model.

        Args:
            path: checkpoint folder, or "reference" for the one that ships with the package; None takes the newest
                of the project in the working directory, and the reference where there is none.
            device: torch device of the model.
            threshold: probability above which a pixel belongs to the mask.
            placement: devices of the parts, instead of ``device``.

        Raises:
            MissingCheckpointError, CorruptCheckpointError, CheckpointMismatchError: as they say.
        """
        checkpoint = Checkpoint.newest(CHECKPOINTS) if path is None else Checkpoint.open(path)
        model = model_from_checkpoint(checkpoint).to(device)
        if placement is not None:
            place(model, placement)
        predictor = cls(model, threshold=threshold)
        predictor.encoder.to(model.places.get("encoder", device))
        return predictor

    def predict(
        self,
        frames: NDArray[np.uint8],
        instruction: str = "",
        keyframes: Sequence[int] | None = None,
        current: int = -1,
        *,
        poses: NDArray[np.floating] | None = None,
    ) -> Prediction:
        """Where in the current view is what the keyframes saw, as far as the instruction cares?

        Args:
            frames: [T, H, W, 3] uint8, RGB, T >= 2, any size.
            instruction: free text; empty = everything.
            keyframes: indices of the frames to compare with; None lets the keyframe sampler choose among the
                frames before the current view.
            current: index of the current view; negative counts from the end.
            poses: camera_to_world of all frames [T, 4, 4], metres, OpenCV axes, any world; for models that were
                trained with odometry, others do not look at them.

        Raises:
            ValueError: frames of another shape or type, fewer than two, an index that is not a frame, or no
                poses for a model with odometry.
            MissingGeometryError: the sampler needs points or poses that the model's VGGT has no heads for.
        """
        frames = np.asarray(frames)
        now, chosen = check_request(frames, keyframes, current)
        resolution, start = self.model.params.vggt.resolution, time.perf_counter()
        if keyframes is None:
            count, earlier = self.model.params.keyframes.count, chosen
            chosen = self.choose(earlier, count, lambda: small_frames(frames[earlier], resolution))
        decided = time.perf_counter()
        arrays = encoded_frames(frames[[*chosen, now]], self.encoder, resolution)
        return self.answer(
            arrays["frames"],
            arrays["features"],
            instruction,
            size=frames.shape[1:3],
            keyframes=np.asarray(chosen, dtype=np.int64),
            current=now,
            seconds={"choose": decided - start, "encode": time.perf_counter() - decided},
            poses=None if poses is None else np.asarray(poses)[[*chosen, now]],
        )

    def stream(self, *, max_frames: int = 64) -> StreamingPredictor:
        """The same for frames that come one by one, of which at most ``max_frames`` are remembered."""
        return StreamingPredictor(self, max_frames=max_frames)

    def choose(
        self, candidates: NDArray[np.int64], count: int, images: Callable[[], NDArray[np.uint8]]
    ) -> NDArray[np.int64]:
        """The sampler's choice of at most ``count`` of T candidates.

        Args:
            candidates: T rising numbers.
            count: how many.
            images: gives the candidates at VGGT's resolution [T, 3, S, S], if the sampler needs geometry.
        """
        given = sampler_geometry(self.sampler, self.model, images()) if self.sampler.needs else {}
        return self.sampler.sample(candidates, count, **given)

    def answer(
        self,
        frames: NDArray[np.uint8],
        features: NDArray[np.floating],
        instruction: str,
        *,
        size: tuple[int, ...],
        keyframes: NDArray[np.int64],
        current: int,
        seconds: dict[str, float],
        poses: NDArray[np.floating] | None = None,
    ) -> Prediction:
        """Prediction at ``size`` (H, W) from encoded frames [K + 1, ...]; indices and times are passed on."""
        start = time.perf_counter()
        output = self.run(frames, features, instruction, poses)
        modelled = time.perf_counter()
        prediction = self._resized(output, size)
        own = {"model": modelled - start, "resize": time.perf_counter() - modelled}
        return Prediction(
            **prediction,
            keyframe_indices=keyframes,
            current_index=current,
            threshold=self.threshold,
            seconds={**seconds, **own},
        )

    def run(
        self,
        frames: NDArray[np.uint8],
        features: NDArray[np.floating],
        instruction: str,
        poses: NDArray[np.floating] | None = None,
    ) -> Any:
        """Model output for encoded frames [K + 1, ...] and their poses, of which the last is the current view."""
        device = next(self.model.parameters()).device
        count = len(frames) - 1
        with torch.inference_mode():
            return self.model(
                torch.from_numpy(frames).to(device)[None].float() / 255,
                torch.from_numpy(features).to(device)[None].float(),
                [instruction],
                torch.tensor([[count]], device=device),
                torch.arange(count, device=device)[None, None],
                None if poses is None else torch.from_numpy(np.asarray(poses, np.float32)).to(device)[None],
            )

    def _resized(self, output: Any, size: tuple[int, ...]) -> dict[str, NDArray[Any]]:
        """Maps of the only window and view, the heatmaps at the size (H, W) of the frames."""
        logits = F.interpolate(output.mask_logits[0], size=size, mode="bilinear", align_corners=False)[0]
        heatmaps = logits.float().sigmoid().cpu().numpy()  # [K, H, W]
        flat = output.distribution_logits[0, 0].float().flatten(1).softmax(-1)
        return {
            "heatmaps": heatmaps,
            "masks": heatmaps > self.threshold,
            "distributions": flat.view(output.distribution_logits[0, 0].shape).cpu().numpy(),
            "classes": output.class_logits[0, 0].float().softmax(1).cpu().numpy(),
            "validity": output.validity_logits[0, 0].float().sigmoid().cpu().numpy(),
        }


def check_request(
    frames: NDArray[np.uint8], keyframes: Sequence[int] | None, current: int
) -> tuple[int, NDArray[np.int64]]:
    """Index of the current view, and the keyframes or, without any, the frames to choose them from."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape[1:3]:
        raise ValueError(f"frames must be [T, H, W, 3] uint8, got {frames.shape} {frames.dtype}")
    count = len(frames)
    if count < 2:
        raise ValueError(f"at least 2 frames are needed (a keyframe and the current view), got {count}")
    if not -count <= current < count:
        raise ValueError(f"current must be in [{-count}, {count - 1}] for {count} frames, got {current}")
    now = current % count
    if keyframes is None:
        if now == 0:
            raise ValueError("the first frame has no earlier frames: name its keyframes, or another current")
        return now, np.arange(now)
    chosen = np.asarray(keyframes, dtype=np.int64)
    if chosen.ndim != 1 or len(chosen) == 0:
        raise ValueError(f"keyframes must be a list of at least one index, got {keyframes}")
    if ((chosen < -count) | (chosen >= count)).any():
        raise ValueError(
            f"keyframes must be in [{-count}, {count - 1}] for {count} frames, got {list(keyframes)}"
        )
    return now, chosen % count
