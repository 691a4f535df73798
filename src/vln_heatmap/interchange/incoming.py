"""An episode that came from elsewhere, as a sequence of the store.

Invariant: every frame column exists; those of what the format lacks are null, and ``absent`` in the metadata
names it. Nothing is guessed but the field of view and the frame rate, which the user states.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import FRAME_COLUMNS, MODALITIES, SCHEMA_VERSION, Sequence
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.params import RgbdParams


@dataclass(frozen=True)
class Stated:
    """What the user says of data that does not say it itself.

    Attributes:
        hfov: horizontal field of view in degrees.
        fps: frames a second.
        drop: modalities to leave out although the files have them, for instance a robot arm's state.
        rgbd: how much of a real camera's recording is read, and at what size.
    """

    hfov: float = 90.0
    fps: float = 10.0
    drop: frozenset[str] = frozenset()
    rgbd: RgbdParams = field(default_factory=RgbdParams)


class Source(Protocol):
    """The episodes below a folder.

    Attributes:
        ids: one id an episode, in order; reading one that is broken refuses it.
    """

    ids: tuple[str, ...]

    def read(self, sequence_id: str) -> Sequence:
        """Read one episode.

        Raises:
            RefusedError: it is not what the format promises.
        """
        ...


@dataclass(frozen=True)
class Incoming:
    """What was read of one episode of T steps; None is absent.

    Attributes:
        rgb: [T, H, W, 3] uint8.
        depth: [T, H, W] float32 metres.
        instance: [T, H, W] int32.
        columns: frame columns by their names of ``FRAME_COLUMNS``, T rows each.
        texts: instructions of the whole episode.
        metadata: what is known of it besides.
    """

    id: str
    rgb: NDArray[np.uint8]
    columns: dict[str, Any]
    depth: NDArray[np.float32] | None = None
    instance: NDArray[np.int32] | None = None
    texts: Items[str] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


def to_sequence(incoming: Incoming, stated: Stated, *, file: Any, format_name: str) -> Sequence:
    """Fill in what a sequence needs, and say what is absent.

    Raises:
        RefusedError: an image size that H.264 cannot hold.
    """
    length, height, width = incoming.rgb.shape[:3]
    if height % 2 or width % 2:
        raise RefusedError(file, f"H.264 needs even image sizes, got {width}x{height}")
    columns = {**_defaults(length, stated.fps), **incoming.columns}
    given = {"depth": incoming.depth is not None, "instance": incoming.instance is not None}
    given |= {name: columns[needs[0]] is not None for name, needs in MODALITIES.items() if needs}
    absent = sorted(name for name in MODALITIES if not given[name] or name in stated.drop)
    for column in (column for name in absent for column in MODALITIES[name]):
        columns[column] = None
    frames = pd.DataFrame({"frame_index": np.arange(length)})
    for name in FRAME_COLUMNS:
        frames[name] = _column(columns.get(name, frames.get(name)), length)
    depth, instance = np.zeros((0, height, width), np.float32), np.zeros((0, height, width), np.int32)
    if incoming.depth is not None and "depth" not in absent:
        depth = incoming.depth
    if incoming.instance is not None and "instance" not in absent:
        instance = incoming.instance
    metadata = {
        **_facts(incoming, stated, format_name),
        **incoming.metadata,
        "absent": absent,
        "schema_version": SCHEMA_VERSION,
    }
    if not absent:
        del metadata["absent"]
    return Sequence(incoming.id, incoming.rgb, depth, instance, frames[list(FRAME_COLUMNS)], metadata)


def spoken(texts: Items[str]) -> list[dict[str, Any]]:
    """Texts from elsewhere as instructions of the whole walk; what they mean is not known."""
    distinct = dict.fromkeys(text.strip() for text in texts)
    return [{"text": text, "kind": "route", "instances": [], "frame": None} for text in distinct if text]


def _column(values: Any, length: int) -> pd.Series:
    """A column of cells that may be lists, null or numbers."""
    if values is None:
        return pd.Series([None] * length, dtype=object)
    return pd.Series(list(values))


def _defaults(length: int, fps: float) -> dict[str, Any]:
    """Columns that a format may leave out, and those that are null unless it has them."""
    rows = np.arange(length)
    lists = ("visible_ids", "visible_pixels", "visible_u", "visible_v", "visible_depth")
    return {
        "timestamp": rows / fps,
        "camera_to_world": None,
        "state": None,
        "velocity": None,
        "action": np.full(length, -1, np.int8),
        "collided": np.zeros(length, bool),
        "is_first": rows == 0,
        "is_last": rows == length - 1,
        "is_terminal": np.zeros(length, bool),
        **{name: [[]] * length for name in (*lists, "moved_ids", "moved_poses")},
    }


def _facts(incoming: Incoming, stated: Stated, format_name: str) -> dict[str, Any]:
    height, width = incoming.rgb.shape[1:3]
    return {
        "scene": incoming.id.rpartition("_")[0] or incoming.id,
        "seed": None,
        "camera": {"width": width, "height": height, "hfov": stated.hfov},
        "camera_height": None,
        "simulator": {"name": "imported", "version": format_name},
        "walk": 0,
        "trajectory": "imported",
        "goal": None,
        "instructions": spoken(incoming.texts),
        "objects": [],
        "rooms": [],
        "fps": stated.fps,
    }
