"""Names of what the cells of a walk's views show, stored with the features that training reads.

Invariant: the numbers of one sequence are its own; ``vocabulary`` gives those that all of them share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.dialogue_samples import Dialogue
from vln_heatmap.datasets.frame_features import Arrays, FeatureStream

_FINE = 4  # looks at a cell along each of its sides
#: What is stored of a sequence: ``things`` [T, k, k] uint16, 0 = no name, and the names of 1, 2, … as text.
THINGS, NAMES = "things", "thing_names"


def with_things(stream: FeatureStream, walks: Any, grid: int) -> FeatureStream:
    """The same sequences with what is in each of ``grid`` x ``grid`` cells.

    Args:
        stream: arrays with ``instance`` [T, H, W], see ``cache_frames``.
        walks: mapping from id to an object with ``metadata``, whose ``objects`` have categories.
        grid: cells along a side of a view.
    """

    def compute(wanted: Iterable[str]) -> Iterator[tuple[str, Arrays]]:
        for key, arrays in stream.compute(wanted):
            objects = walks[key].metadata.get("objects", [])
            yield key, {**arrays, **named_things(arrays["instance"], objects, fine_grid(grid))}

    mark = hashlib.sha256(f"{stream.fingerprint} things {fine_grid(grid)}".encode()).hexdigest()[:16]
    return FeatureStream(mark, stream.ids, compute)


def named_things(instance: NDArray[Any], objects: Iterable[Mapping[str, Any]], side: int) -> Arrays:
    """``THINGS`` and ``NAMES`` of a sequence.

    Args:
        instance: ids [T, H, W].
        objects: with ``id`` and ``category``.
        side: k, along which the images are looked at in evenly spread points.
    """
    category = {int(thing["id"]): str(thing["category"]) for thing in objects}
    names = sorted(set(category.values()) - {""})
    numbers = {name: number for number, name in enumerate(names, 1)}
    rows, columns = (((np.arange(side) + 0.5) * n / side).astype(int) for n in instance.shape[1:])
    ids, places = np.unique(instance[:, rows[:, None], columns], return_inverse=True)
    own = np.array([numbers.get(category.get(int(i), ""), 0) for i in ids], np.uint16)
    text = np.frombuffer("\n".join(names).encode(), np.uint8)
    return {THINGS: own[places].reshape(-1, side, side), NAMES: text.copy()}


def vocabulary(features: Mapping[str, Any], ids: Iterable[str]) -> tuple[str, ...]:
    """All names of some sequences' things, the first of which is "", for what has none."""
    return ("", *sorted({name for key in set(ids) for name in _names(features[key])}))


def stored_things(sequence: Any, dialogue: Dialogue, *, names: Mapping[str, int], side: int) -> NDArray[Any]:
    """What the frames of a dialogue's memory, and then of its turns, show [N, side, side]; of other tasks than
    navigation nothing, and nothing with a name where none are stored.

    Args:
        sequence: ``FrameFeatures`` of the dialogue's sequence.
        dialogue: whose frames they are.
        names: numbers of a ``vocabulary``.
        side: of what was stored.
    """
    frames = [*dialogue.memory_frames, *dialogue.frames]
    if dialogue.task != "navigation":
        return np.zeros((0, side, side), np.uint16)
    own = _names(sequence)
    if not own:
        return np.zeros((len(frames), side, side), np.uint16)
    numbers = np.array([0, *(names.get(name, 0) for name in own)], np.uint16)
    return numbers[sequence.read(THINGS, frames)]


def fine_grid(grid: int) -> int:
    """Side of what is stored for ``grid`` x ``grid`` cells."""
    return _FINE * grid


def _names(sequence: Any) -> list[str]:
    """Names of a sequence's things; none where it was stored without."""
    if NAMES not in sequence.names:
        return []
    text = sequence.read(NAMES).tobytes().decode()
    return text.split("\n") if text else []
