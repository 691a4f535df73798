"""Training samples as tensors: a window of frames, the instruction, and exact targets made on the fly.

Invariant: what ``get(index, rng)`` returns depends on its arguments only, so that the order of samples and the
number of loader workers change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.frame_features import FrameFeatures, SequenceFeatures, read_motions
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.covisibility import (
    area_average,
    cell_pixels,
    covisibility,
    motions_between,
    reduce_to_grid,
)
from vln_heatmap.geometry.targets import target_heatmaps
from vln_heatmap.params import LossNeed, WindowParams

Window = dict[str, Any]
#: Picks k of the candidate frames, at random with ``rng``: sorted frame indices, all if there are fewer.
Sample = Callable[..., NDArray[np.int64]]
#: (sequence, frames) -> further arguments of ``Sample``.
Known = Callable[[SequenceFeatures, NDArray[np.int64]], Mapping[str, Any]]
_TEXTS = ("instruction", "other_instruction")
_TRIES = 16  # samples of other sequences among which one that refers to something else is sought
_SIDES = {"left": "right", "right": "left"}
_SIDE_WORD = re.compile(r"\b(left|right)(?=\b|most\b|hand\b|wards?\b)", re.IGNORECASE)


class WindowDataset:
    """Windows of K keyframes and a current view, with targets for one or several of them as the current view.

    Args:
        samples: rows of the sample index, all of one task. A column ``keyframes``, if there is one, holds
            what takes the place of the sampler's choice in each.
        features: cached frames of the sequences.
        params: targets and augmentation.
        sample: a keyframe sampler's ``sample``.
        keyframes: K; size: cells along a side of a heatmap.
        training: augment, and read ``params.views`` frames of each window as current views instead of one.
        odometry: give the cameras' ``poses`` [T, 4, 4] as well.
        needs: what parts of the loss ask for, see ``LossParams.needs``. "geometry": depth ``view_depth``
            [N, h, w] in metres and poses ``view_pose`` [N, 4, 4] of the current views and ``intrinsics``
            [3, 3] in cells; "contrast": ``other_instruction``, of another sample.
        views: current views of a window when it does not train: the sample's own, and keyframes at even steps.
        known: what ``sample`` needs to know of frames of a sequence; None = nothing.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        features: FrameFeatures,
        params: WindowParams,
        sample: Sample,
        *,
        keyframes: int,
        size: int,
        training: bool,
        odometry: bool = False,
        needs: Collection[LossNeed] = (),
        views: int = 1,
        known: Known | None = None,
    ) -> None:
        self.samples, self.odometry, self.needs = samples.reset_index(drop=True), odometry, frozenset(needs)
        self.features, self.params, self.sample = features, params, sample
        self.keyframes, self.size, self.training = keyframes, size, training
        self.views, self.known = views, known

    def __len__(self) -> int:
        return len(self.samples)

    def get(self, index: int, rng: np.random.Generator) -> Window:
        """Sample ``index``: ``frames`` [T, 3, S, S] uint8, ``features`` [T, C, g, g], ``instruction``,
        ``scene`` (a number), ``current`` [N], ``keyframes`` [N, K] and the targets of the losses."""
        row = self.samples.iloc[index]
        sequence = self.features[row.sequence_id]
        if row.task == "pretrain":
            frames, current, keyframes, known = _single_view(int(row.current))
        else:
            frames, current, keyframes, known = self._layout(row, rng)
        window: Window = {
            "frames": sequence.read("frames", frames),
            "features": sequence.read("features", frames).astype(np.float32),
            "instruction": row.instruction,
            "scene": self._scenes[index],
            "current": current,
            "keyframes": keyframes,
            "keyframe_mask": known,
            **self._targets(sequence, frames, current, keyframes, known, row.referred),
        }
        if self.odometry:
            window["poses"] = sequence.read("poses", frames).astype(np.float32)
        if "geometry" in self.needs:
            window |= view_geometry(sequence, frames, current, self.size)
        if "contrast" in self.needs:
            window["other_instruction"] = self._other_instruction(index, rng)
        return augmented(window, self.params, rng) if self.training else window

    def collate(self, samples: list[Window]) -> dict[str, Any]:
        """Stack windows into a batch of tensors; instructions stay a list of texts."""
        import torch

        batch: dict[str, Any] = {}
        for name in samples[0]:
            values = [window[name] for window in samples]
            text = name in _TEXTS
            batch[name] = [str(value) for value in values] if text else torch.from_numpy(np.stack(values))
        return batch

    @cached_property
    def _scenes(self) -> NDArray[np.int64]:
        """Number of each sample's scene [len(self)]."""
        return pd.factorize(self.samples["scene"])[0].astype(np.int64)

    @cached_property
    def _same_sequence(self) -> dict[str, NDArray[np.intp]]:
        """Samples by their sequence."""
        return self.samples.groupby("sequence_id").indices

    def _other_instruction(self, index: int, rng: np.random.Generator) -> str:
        """Words for something else than what the sample refers to: of the same sequence, if it has any."""
        row = self.samples.iloc[index]
        meant = set(row.referred)
        for rows in (self._same_sequence[row.sequence_id], None):
            chosen = rng.integers(0, len(self.samples), _TRIES) if rows is None else rng.permutation(rows)
            for other in chosen:
                found = self.samples.iloc[other]
                if found.instruction.strip() and set(found.referred) != meant:
                    return found.instruction
        return row.instruction

    def _layout(
        self, row: Any, rng: np.random.Generator
    ) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Frames of the window (keyframes in order of time, then the current view) and who plays which role."""
        candidates, k = np.asarray(row.candidates, dtype=np.int64), self.keyframes
        sample = self._sampler(row)
        chosen = _scattered(candidates, k, sample, rng) if self.training else sample(candidates, k)
        frames = [*chosen.tolist(), int(row.current)]
        t = len(frames)
        current = np.array([t - 1])
        if self.training:
            others = rng.permutation(t - 1)[: self.params.views - 1]
            others = np.concatenate([others, rng.integers(0, t, max(0, self.params.views - 1 - len(others)))])
            current = np.concatenate([current, others]).astype(np.int64)
        else:
            steps = (np.arange(self.views - 1) + 0.5) * (t - 1) / max(self.views - 1, 1)
            current = np.concatenate([current, steps.astype(np.int64)])
        keyframes = np.zeros((len(current), k), dtype=np.int64)
        known = np.zeros((len(current), k), dtype=bool)
        for view, own in enumerate(current):
            rest = [i for i in range(t) if i != own]
            keyframes[view] = np.resize(rest or [own], k)  # padding: the same keyframes again, masked out
            known[view, : len(rest)] = True
        frames += [frames[-1]] * (k + 1 - t)  # all windows of a batch have k + 1 frames
        return frames, current, keyframes, known

    def _sampler(self, row: Any) -> Sample:
        """What chooses the keyframes of a row."""
        chosen = getattr(row, "keyframes", None)
        if chosen is not None:
            return lambda *_, **__: np.asarray(chosen, dtype=np.int64)
        if self.known is None:
            return self.sample
        known, sequence = self.known, self.features[row.sequence_id]
        return lambda frames, k, **more: self.sample(frames, k, **known(sequence, frames), **more)

    def _targets(
        self,
        sequence: SequenceFeatures,
        frames: list[int],
        current: NDArray[np.int64],
        keyframes: NDArray[np.int64],
        known: NDArray[np.bool_],
        referred: Any,
    ) -> dict[str, NDArray[Any]]:
        """Targets of every current view, stacked over views."""
        depth = sequence.read("depth", frames).astype(np.float32) / 1000  # [T, H, W] metres
        instance, poses = sequence.read("instance", frames), sequence.read("poses", frames)
        hfov = float(sequence.read("hfov")[0])
        camera = PinholeCamera(depth.shape[2], depth.shape[1], hfov)
        ids = np.asarray(referred, dtype=np.int64)
        options: dict[str, Any] = {
            "size": self.size,
            "sampled": self.params.sampled,
            "sigma": self.params.sigma,
            "motions": read_motions(sequence, frames),
        }
        views = [
            view_targets(depth, instance, poses, camera, (int(c), keys), ids, **options)
            for c, keys in zip(current, keyframes, strict=True)
        ]
        stacked = {name: np.stack([view[name] for view in views]) for name in views[0]}
        stacked["valid"] = stacked["valid"] & known
        return stacked


def _scattered(
    candidates: NDArray[np.int64], k: int, sample: Sample, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Random keyframes: half the time the sampler's own choice with noise, else any k."""
    if len(candidates) <= k or rng.random() < 0.5:
        return sample(candidates, k, rng=rng)
    return np.sort(rng.permutation(candidates)[:k])


def view_targets(
    depth: NDArray[np.floating],
    instance: NDArray[Any],
    poses: NDArray[np.float64],
    camera: PinholeCamera,
    roles: tuple[int, NDArray[np.int64]],
    referred: NDArray[np.int64],
    *,
    size: int,
    sampled: int,
    sigma: float,
    motions: Mapping[int, NDArray[np.float64]] | None = None,
) -> dict[str, NDArray[Any]]:
    """Exact targets of one current view on the heatmap grid.

    Args:
        depth: [T, H, W] z-depth in metres; instance: [T, H, W]; poses: [T, 4, 4] camera_to_world.
        roles: index of the current view, and indices [K] of its keyframes.
        referred: instance ids the instruction refers to; empty for everything.
        size: cells along a side of the heatmap grid, h = w.
        sampled: pixels along a side at which co-visibility is computed; at most the image's.
        sigma: of the target's Gaussian, in cells.
        motions: rest-to-world transforms [T, 4, 4] of the instances that move, by id.

    Returns:
        mask, distribution [K, h, w], valid [K], classes [K, 3, h, w], referred [h, w], pixel_weight [1, h, w].
    """
    current, keys = roles
    grid, fine = (size, size), (min(sampled, camera.height), min(sampled, camera.width))
    classes = covisibility(
        depth[current],
        poses[current],
        depth[keys],
        poses[keys],
        camera,
        fine,
        motions=motions_between(motions or {}, current, keys),
        instance_c=instance[current],
    )  # [K, f, f]
    ids = instance[current][np.ix_(*cell_pixels(camera, fine))]  # [f, f]
    heat = target_heatmaps(classes, ids, referred, sigma, grid=grid)
    fractions = reduce_to_grid(classes, grid).fractions  # [K, 3, h, w]
    known = fractions[0].sum(0)  # [h, w] share of the cell that has a depth
    named = np.isin(ids, referred) if len(referred) else np.ones(ids.shape, bool)
    return {
        "mask": heat.mask,
        "distribution": heat.distribution,
        "valid": heat.valid,
        "classes": fractions / np.maximum(known, 1e-6),
        "referred": area_average(named, grid),
        "pixel_weight": known[None],
    }


def view_geometry(
    sequence: SequenceFeatures, frames: list[int], current: NDArray[np.int64], size: int
) -> dict[str, NDArray[np.float32]]:
    """Depth and cameras of the current views, for losses that compare places of different views.

    Args:
        sequence: cached arrays; frames: T frames of the window.
        current: the N views, indices into ``frames``.
        size: cells along a side of the heatmap grid.

    Returns:
        ``view_depth`` [N, size, size], z-depth in metres at the pixel nearest to each cell's centre, 0 where
        there is none or where something moves within the window, so that no place is taken for another;
        ``view_pose`` [N, 4, 4] camera_to_world; ``intrinsics`` [3, 3] in cells.
    """
    views = [frames[i] for i in current]
    depth = sequence.read("depth", views).astype(np.float32) / 1000  # [N, H, W]
    motions = read_motions(sequence, frames)
    moving = [key for key, poses in motions.items() if (poses != poses[0]).any()]
    if moving:
        depth[np.isin(sequence.read("instance", views), moving)] = 0
    camera = PinholeCamera(depth.shape[2], depth.shape[1], float(sequence.read("hfov")[0]))
    rows, columns = cell_pixels(camera, (size, size))
    cells = np.diag([size / camera.width, size / camera.height, 1.0])
    return {
        "view_depth": depth[:, rows[:, None], columns].astype(np.float32),
        "view_pose": sequence.read("poses", views).astype(np.float32),
        "intrinsics": (cells @ camera.matrix).astype(np.float32),
    }


_MIRROR = np.array([-1, 1, 1, 1], dtype=np.float32)
_MAPS = ("frames", "features", "mask", "distribution", "classes", "referred", "pixel_weight", "view_depth")


def augmented(window: Window, params: WindowParams, rng: np.random.Generator) -> Window:
    """A mirrored and noisy variant: what is left becomes right, in images, targets and words alike."""
    window = dict(window)
    if rng.random() < params.mirror:
        for name in window.keys() & _MAPS:
            window[name] = window[name][..., ::-1].copy()
        for name in window.keys() & _TEXTS:
            window[name] = mirrored_text(window[name])
        for name in window.keys() & {"poses", "view_pose"}:
            window[name] = window[name] * np.outer(_MIRROR, _MIRROR)  # x of world and camera
    if params.colour:
        gain = np.exp(rng.normal(0, params.colour, (1, 3, 1, 1)))
        window["frames"] = np.clip(window["frames"] * gain, 0, 255).astype(np.uint8)
    if params.feature_noise:
        features = window["features"]
        noise = rng.standard_normal(features.shape, dtype=np.float32) * params.feature_noise
        window["features"] = features * (1 + noise)
    return window


def mirrored_text(text: str) -> str:
    """The instruction as it reads in the mirror: "left" and "right" change places, in "leftmost" too."""
    return _SIDE_WORD.sub(_other_side, text)


def _other_side(match: re.Match[str]) -> str:
    side = _SIDES[match[0].lower()]
    return side.capitalize() if match[0][0].isupper() else side


def _single_view(current: int) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """A window of one frame, its own and only keyframe."""
    return [current], np.zeros(1, np.int64), np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
