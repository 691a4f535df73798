"""Caching what the frozen encoder says of every frame, so that training never decodes a video.

Invariant: the cache depends on the stored sequences, the encoder and the cameras that training sequences are seen
through, not on any trained weight. Sequences of validation and test scenes stay as they were recorded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from vln_heatmap.datasets.frame_features import Arrays, FeatureStream
from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.params import FeatureParams, ModelParams, SensorParams


def cache_frames(
    sequences: Any, samples: pd.DataFrame, params: ModelParams, shown: FeatureParams | None = None
) -> FeatureStream:
    """Features, small frames, depth, ids and poses of every sequence that has samples.

    Args:
        sequences: ``SequenceStore``.
        samples: the sample index.
        params: the model, of which the encoder and VGGT's resolution matter here.
        shown: the cameras through which training sequences are seen; None = as they were recorded.

    Returns:
        Work for ``FrameFeatureDataset``: per sequence ``features`` [T, C, g, g] float16, ``frames``
        [T, 3, S, S] uint8, ``depth`` [T, H, W] uint16 millimetres, ``instance`` [T, H, W] uint16, ``poses``
        [T, 4, 4] float64, ``hfov`` [1] degrees, and of the M instances that move ``moved_ids`` [M] and their
        rest-to-world transforms ``moved_poses`` [T, M, 4, 4].
    """
    ids = tuple(sorted(samples["sequence_id"].unique()))
    sensor = (shown or FeatureParams()).sensor
    spoiled = frozenset(samples.loc[samples["split"] == "train", "sequence_id"] if sensor.strength else ())
    depends: dict[str, Any] = {
        "format": 2,  # of the arrays below
        "data": sequences.version,
        "encoder": params.encoder.model_dump(mode="json", exclude={"batch"}),
        "resolution": params.vggt.resolution,
    }
    if spoiled:
        depends |= {"sensor": sensor.model_dump(mode="json"), "spoiled": sorted(spoiled)}
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]

    def load(key: str) -> Sequence:
        sequence = sequences.load(key)
        return seen_through(sequence, key, sensor) if key in spoiled else sequence

    def compute(wanted: Iterable[str]) -> Iterator[tuple[str, Arrays]]:
        return _encode_all(load, list(wanted), params)

    return FeatureStream(digest, ids, compute)


def seen_through(sequence: Sequence, key: str, sensor: SensorParams) -> Sequence:
    """The sequence as a camera of its own sees it; ``key`` decides which."""
    from vln_heatmap.simulation.sensor import film_with_sensor

    rng = np.random.default_rng(zlib.crc32(key.encode()))
    return dataclasses.replace(sequence, rgb=film_with_sensor(sequence.rgb, rng, sensor))


def _encode_all(
    load: Callable[[str], Sequence], wanted: list[str], params: ModelParams
) -> Iterator[tuple[str, Arrays]]:
    """Encode sequences side by side, one thread each, and give them in order."""
    if not wanted:
        return
    import torch

    from vln_heatmap.nodes.model.encoder2d import make_encoder

    encoder = make_encoder(params.encoder)
    side_by_side = before = torch.get_num_threads()

    def arrays(key: str) -> Arrays:
        return frame_arrays(load(key), encoder, params.vggt.resolution)

    torch.set_num_threads(1)  # of one operation: whole sequences share the cores better than its parts do
    try:
        with ThreadPoolExecutor(side_by_side) as pool:
            waiting = deque(pool.submit(arrays, key) for key in wanted[: side_by_side + 1])
            for number, key in enumerate(tqdm(wanted, "features", unit="seq")):
                done = waiting.popleft().result()
                if (following := number + side_by_side + 1) < len(wanted):
                    waiting.append(pool.submit(arrays, wanted[following]))
                yield key, done
    finally:
        torch.set_num_threads(before)


def frame_arrays(sequence: Sequence, encoder: Any, resolution: int) -> Arrays:
    """The cached arrays of one sequence, see ``cache_frames``."""
    motions = sequence.motions
    return {
        **encoded_frames(sequence.rgb, encoder, resolution),
        "depth": np.round(sequence.depth * 1000).astype(np.uint16),
        "instance": _ids(sequence),
        "poses": sequence.poses,
        "hfov": np.array([sequence.camera.hfov]),
        "moved_ids": np.array(list(motions), np.int32),
        "moved_poses": np.array(list(motions.values())).reshape(-1, len(sequence), 4, 4).swapaxes(0, 1),
    }


def _ids(sequence: Sequence) -> NDArray[np.uint16]:
    """Instance ids [T, H, W]; 0, which is nothing, where a sequence was imported without them."""
    if "instance" in sequence.absent:
        return np.zeros(sequence.depth.shape, np.uint16)
    return sequence.instance.astype(np.uint16)


def encoded_frames(rgb: NDArray[np.uint8], encoder: Any, resolution: int) -> Arrays:
    """Features [T, C, g, g] float16 and small frames [T, 3, S, S] uint8 of images [T, H, W, 3].

    Frames are stretched to squares, as the encoder does, so that their grids cover the same image.
    """
    import torch

    images = torch.from_numpy(np.ascontiguousarray(rgb)).movedim(-1, 1)  # [T, 3, H, W]
    with torch.inference_mode():
        features = encoder.encode(images)
    return {"features": features.half().numpy(force=True), "frames": small_frames(rgb, resolution)}


def small_frames(rgb: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Images [T, H, W, 3] stretched to squares as VGGT takes them [T, 3, S, S]."""
    import torch
    import torch.nn.functional as F

    images = torch.from_numpy(np.ascontiguousarray(rgb)).movedim(-1, 1)  # [T, 3, H, W]
    size = (resolution, resolution)
    with torch.inference_mode():
        small = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8).numpy()
