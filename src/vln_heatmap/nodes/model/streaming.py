"""Prediction while the frames come in: each frame is looked at once, and the memory is bounded.

Invariant: what is kept of a frame depends on that frame alone (its encoding and its small image), so adding one
costs the same however many are remembered, and a prediction equals that of ``HeatmapPredictor.predict`` on the
remembered frames. Forgetting follows one rule: a full memory keeps the best half, by the model's own keyframe
sampler, and at least as many frames as there are keyframes, so the further back, the sparser it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.features import encoded_frames

if TYPE_CHECKING:
    from vln_heatmap.nodes.model.predictor import HeatmapPredictor, Prediction


@dataclass(frozen=True)
class _Remembered:
    """What is kept of a frame: its number, small image [3, S, S] and features [C, g, g]."""

    number: int
    image: NDArray[np.uint8]
    features: NDArray[np.floating]


class StreamingPredictor:
    """A predictor with a memory of its own; made by ``HeatmapPredictor.stream``.

    Args:
        predictor: model, encoder and sampler.
        max_frames: how many frames are remembered at most, the current view among them.

    Attributes:
        numbers: of the remembered frames, counted from the first that was added, rising.
    """

    def __init__(self, predictor: HeatmapPredictor, *, max_frames: int = 64) -> None:
        if max_frames < 2:
            raise ValueError(
                f"max_frames must be at least 2 (a keyframe, the current view), got {max_frames}"
            )
        self.predictor, self.max_frames = predictor, max_frames
        self._memory: list[_Remembered] = []
        self._added = 0
        self._size = (0, 0)  # of the newest frame
        self._encode_seconds = 0.0

    def __len__(self) -> int:
        return len(self._memory)

    @property
    def numbers(self) -> list[int]:
        return [frame.number for frame in self._memory]

    def add(self, frame: NDArray[np.uint8]) -> int:
        """Remember a frame, which becomes the current view.

        Args:
            frame: [H, W, 3] uint8, RGB, any size.

        Returns:
            Its number.

        Raises:
            ValueError: a frame of another shape or type.
            MissingGeometryError: the memory is full, and the sampler cannot say what to forget.
        """
        frame = np.asarray(frame)
        if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise ValueError(f"a frame must be [H, W, 3] uint8, got {frame.shape} {frame.dtype}")
        start = time.perf_counter()
        resolution = self.predictor.model.params.vggt.resolution
        arrays = encoded_frames(frame[None], self.predictor.encoder, resolution)
        if len(self._memory) == self.max_frames:
            self._forget()
        self._memory.append(_Remembered(self._added, arrays["frames"][0], arrays["features"][0]))
        self._added += 1
        self._size = (frame.shape[0], frame.shape[1])
        self._encode_seconds = time.perf_counter() - start
        return self._memory[-1].number

    def predict(self, instruction: str = "", keyframes: Sequence[int] | None = None) -> Prediction:
        """Where in the newest frame is what the keyframes saw, as far as the instruction cares?

        Args:
            instruction: free text; empty = everything.
            keyframes: numbers of remembered frames; None lets the keyframe sampler choose among all before the
                newest.

        Returns:
            As of ``HeatmapPredictor.predict``; frames are numbered as they were added, and the time to encode is
            that of the newest frame.

        Raises:
            ValueError: fewer than two frames are remembered, or a keyframe is not among them.
            MissingGeometryError: see ``HeatmapPredictor.predict``.
        """
        if len(self._memory) < 2:
            raise ValueError(
                f"at least 2 frames are needed (a keyframe and the current view), got {len(self._memory)}"
            )
        start = time.perf_counter()
        if keyframes is None:
            chosen = self._best(self._memory[:-1], self.predictor.model.params.keyframes.count)
        else:
            chosen = self._named(keyframes)
        used, choosing = [*chosen, self._memory[-1]], time.perf_counter() - start
        return self.predictor.answer(
            np.stack([frame.image for frame in used]),
            np.stack([frame.features for frame in used]),
            instruction,
            size=self._size,
            keyframes=np.array([frame.number for frame in chosen], dtype=np.int64),
            current=used[-1].number,
            seconds={"encode": self._encode_seconds, "choose": choosing},
        )

    def _named(self, keyframes: Sequence[int]) -> list[_Remembered]:
        frames = {frame.number: frame for frame in self._memory}
        numbers = [int(number) for number in keyframes]
        if not numbers or not frames.keys() >= set(numbers):
            raise ValueError(f"keyframes must be among the remembered {self.numbers}, got {numbers}")
        return [frames[number] for number in numbers]

    def _forget(self) -> None:
        """Make room: keep the best half, at least as many as keyframes, but not all."""
        count = max(self.max_frames // 2, self.predictor.model.params.keyframes.count)
        self._memory = self._best(self._memory, min(count, self.max_frames - 1))

    def _best(self, frames: list[_Remembered], count: int) -> list[_Remembered]:
        """The ``count`` frames that the sampler prefers, in order."""

        def images() -> Any:
            return np.stack([frame.image for frame in frames])

        places = self.predictor.choose(np.arange(len(frames)), count, images)
        return [frames[place] for place in places]
