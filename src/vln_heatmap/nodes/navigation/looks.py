"""What the model's eyes make of frames, stored in place of frames and features: a tenth of the size, and nothing
to compute again.

Invariant: the stored looks depend on the walks, the encoder and the weights of the eyes alone, so those that a
later stage makes with the same eyes are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from vln_heatmap.datasets.frame_features import Arrays, FeatureStream
from vln_heatmap.nodes.navigation.things import NAMES, THINGS

_AT_ONCE = 32  # frames
#: Of what is stored of a frame: what else training reads.
_KEPT = ("depth", "poses", "hfov", THINGS, NAMES)


def looked_at(stream: FeatureStream, checkpoint: Any) -> FeatureStream:
    """The same sequences with ``looks`` [T, D, g, g] float16 in place of ``frames`` and ``features``.

    Args:
        stream: of ``cache_frames``.
        checkpoint: ``Checkpoint`` of a heatmap model or of an action dialogue.
    """
    eyes = _eyes(checkpoint)

    def compute(wanted: Iterable[str]) -> Iterator[tuple[str, Arrays]]:
        for key, arrays in stream.compute(wanted):
            kept = {name: arrays[name] for name in _KEPT if name in arrays}
            yield key, kept | {"looks": _looks(eyes, arrays)}

    mark = hashlib.sha256(f"{stream.fingerprint} {_fingerprint(eyes)}".encode()).hexdigest()[:16]
    return FeatureStream(mark, stream.ids, compute)


def _eyes(checkpoint: Any) -> Any:
    from vln_heatmap.nodes.model.assemble import model_from_checkpoint
    from vln_heatmap.nodes.model.dialogue_checkpoint import dialogue_from_checkpoint

    read = dialogue_from_checkpoint if "action" in checkpoint.meta else model_from_checkpoint
    return read(checkpoint).eval()


def _looks(eyes: Any, arrays: Arrays) -> np.ndarray[Any, Any]:
    import torch

    from vln_heatmap.nodes.model.context.looking import look

    frames, features = (torch.from_numpy(arrays[name]) for name in ("frames", "features"))
    with torch.inference_mode():
        parts = [
            look(eyes, *part) for part in zip(frames.split(_AT_ONCE), features.split(_AT_ONCE), strict=True)
        ]
    return torch.cat(parts).half().numpy(force=True)


def _fingerprint(eyes: Any) -> str:
    """Changes with any weight that ``look`` uses."""
    found = hashlib.sha256()
    for name, tensor in sorted(eyes.state_dict().items()):
        if name.startswith(("vggt.", "fusion.", "feature_")):
            found.update(name.encode())
            found.update(np.ascontiguousarray(tensor.float().numpy(force=True)).tobytes())
    return found.hexdigest()
