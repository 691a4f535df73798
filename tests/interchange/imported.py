"""What tests of the formats share: a walk with everything, and a way to store and read one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from box_walks import walk

from vln_heatmap.datasets.sequence import FRAME_COLUMNS, Sequence
from vln_heatmap.datasets.sequence_files import StoredSequence, encode_sequence

ROUTE = {"text": "walk to the north wall, and stop", "kind": "route", "instances": [6], "frame": None}
PHRASE = {"text": "the east wall", "kind": "category", "instances": [2], "frame": None}


def spoken_walk(name: str = "house_00000_00", actions: str = "fflfrffl") -> Sequence:
    """A walk that ends by STOP, with two instructions."""
    sequence = walk(name, actions)
    frames = sequence.frames.copy()
    frames.loc[len(frames) - 1, "is_terminal"] = True
    metadata = {
        **sequence.metadata,
        "instructions": [PHRASE, ROUTE],
        "simulator": {"name": "box", "version": "1"},
    }
    return dataclasses.replace(sequence, frames=frames, metadata=metadata)


def kept(folder: Path, sequence: Sequence) -> StoredSequence:
    """The sequence as it lies in a store."""
    target = folder / sequence.id
    target.mkdir(parents=True)
    for name, data in encode_sequence(sequence, crf=4).files.items():
        (target / name).write_bytes(data)
    return StoredSequence(target)


def same_frames(one: Sequence, other: Sequence, *, but: frozenset[str] = frozenset()) -> None:
    """Every cell of the frame tables is the same."""
    for name in FRAME_COLUMNS.keys() - but:
        for first, second in zip(one.frames[name], other.frames[name], strict=True):
            np.testing.assert_array_equal(first, second, err_msg=name)
