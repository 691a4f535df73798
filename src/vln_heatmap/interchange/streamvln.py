"""StreamVLN trajectory folders: ``annotations.json`` and JPEG frames ``images/<id>/rgb/NNN.jpg``.

Its convention: ``actions[0]`` is -1 and ``actions[t]`` is what led to frame t, and a reader takes a STOP
after the last frame for granted. So only walks of discrete actions that end by STOP can be written without a lie.

Invariant: a walk's images and actions come back in order; the format has no depth, ids, poses or state.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.interchange.checks import RefusedError, check_actions, decode_images, inside, safe_id
from vln_heatmap.interchange.incoming import Incoming, Stated, to_sequence
from vln_heatmap.interchange.parquet_episodes import encode_image

NAME = "streamvln"
ANNOTATIONS = "annotations.json"
START = -1


def annotation(sequence: Any) -> dict[str, Any]:
    """The entry of ``annotations.json`` of a sequence, stored or in memory.

    Raises:
        ValueError: free motion, no STOP at the end, or no instruction of the whole walk.
    """
    actions = sequence.frames["action"].to_numpy(np.int64)  # [T]: what is done at each frame
    texts = [item["text"] for item in sequence.metadata["instructions"] if item["kind"] == "route"]
    if (actions == -1).any():
        raise ValueError("it moves freely, not by discrete actions")
    if not sequence.frames["is_terminal"].iloc[-1]:
        raise ValueError("it does not end by STOP, which the format takes for granted")
    if not texts:
        raise ValueError("it has no route instruction")
    return {
        "id": sequence.id,
        "video": f"images/{sequence.id}",
        "instructions": texts,
        "actions": [START, *actions[:-1].tolist()],
    }


def write_images(sequence_id: str, rgb: NDArray[np.uint8], folder: Path, *, quality: int) -> None:
    """Write the frames [T, H, W, 3] of a walk as ``rgb/NNN.jpg`` below ``folder``."""
    target = folder / "images" / sequence_id / "rgb"
    target.mkdir(parents=True)
    width = max(3, len(str(len(rgb) - 1)))  # names must sort as numbers do
    for number, image in enumerate(rgb):
        (target / f"{number:0{width}d}.jpg").write_bytes(encode_image(image, "jpeg", quality))


class StreamVLNFolder:
    """The walks of an ``annotations.json``.

    Attributes:
        ids: last part of each entry's ``video``, which is unique.

    Raises:
        RefusedError: no annotations, an entry without its keys, an unsafe or repeated path.
    """

    def __init__(self, folder: Path, stated: Stated) -> None:
        self.folder, self.stated = Path(folder), stated
        self._file = self.folder / ANNOTATIONS
        self._entries: dict[str, tuple[int, dict[str, Any]]] = {}
        for row, entry in enumerate(_read_entries(self._file)):
            video = entry["video"]
            name = safe_id(Path(video).name, file=self._file, row=row)
            inside(self.folder, video, named_by=self._file)
            if name in self._entries:
                raise RefusedError(self._file, f"the video {video!r} is listed twice", row=row)
            self._entries[name] = (row, entry)
        self.ids = tuple(self._entries)

    def read(self, sequence_id: str) -> Sequence:
        """Read one walk, see ``Source``."""
        row, entry = self._entries[sequence_id]
        texts, led = _checked(entry, self._file, row)
        folder = inside(self.folder, f"{entry['video']}/rgb", named_by=self._file)
        files = sorted((*folder.glob("*.jpg"), *folder.glob("*.png")))
        if len(files) != len(led):
            raise RefusedError(
                self._file, f"{len(led)} actions for {len(files)} images in {folder}: one each", row=row
            )
        images = [inside(self.folder, str(f.relative_to(self.folder)), named_by=self._file) for f in files]
        rgb = decode_images((file.read_bytes() for file in images), file=folder)
        actions = np.array([*led[1:], 0], np.int64)  # [T]: what is done at each frame
        last = np.arange(len(actions)) == len(actions) - 1
        columns = {"action": actions, "is_terminal": last}
        found = Incoming(sequence_id, rgb, columns, texts=texts)
        return to_sequence(found, self.stated, file=self._file, format_name=NAME)


def _read_entries(file: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise RefusedError(file, f"not a readable JSON file ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise RefusedError(file, f"must be a list of walks, got {type(entries).__name__}")
    for row, entry in enumerate(entries):
        keys = entry.keys() if isinstance(entry, dict) else ()
        if missing := [key for key in ("id", "video", "instructions", "actions") if key not in keys]:
            raise RefusedError(file, f"the entry has no {missing[0]!r}", row=row)
        if not isinstance(entry["video"], str):
            raise RefusedError(file, f"video must be a path, got {entry['video']!r}", row=row)
    return entries


def _checked(entry: dict[str, Any], file: Path, row: int) -> tuple[list[str], list[int]]:
    """Instructions and actions of an entry, of the right kind."""
    texts, actions = entry["instructions"], entry["actions"]
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RefusedError(file, f"instructions must be texts, got {texts!r}", row=row)
    if not isinstance(actions, list) or not all(type(action) is int for action in actions):
        raise RefusedError(file, "actions must be whole numbers", row=row)
    if actions[:1] != [START]:
        raise RefusedError(file, f"actions must begin with {START}, got {actions[:1]}", row=row)
    if START in actions[1:]:
        raise RefusedError(file, f"actions hold {START} after the first", row=row)
    try:
        check_actions(np.array(actions), file=file)
    except RefusedError as error:
        raise RefusedError(file, error.reason, row=row) from error
    return texts, actions
