"""What training reads of a sequence, ready to be mapped into memory: no video is decoded twice.

One safetensors file a sequence holds the frozen encoder's features, the frames at the model's size, and depth,
ids, poses and the motions of things for the targets. Invariant: a file is whole or absent, and it is used only
while its fingerprint (encoder, sizes, data version) is the one asked for; a folder holds at most a thousand.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset, DatasetError
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence_shards import SHARD_SIZE, shard_folder

Arrays = dict[str, NDArray[Any]]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SUFFIX = ".safetensors"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureStream:
    """Work for the dataset: what to compute for which sequence, done only where it is missing.

    Attributes:
        fingerprint: names everything the arrays depend on.
        ids: every sequence that belongs to the result.
        compute: arrays of the sequences of the ids it is given, in that order (so that it can prefetch).
    """

    fingerprint: str
    ids: tuple[str, ...]
    compute: Callable[[Iterable[str]], Iterator[tuple[str, Arrays]]]


class FrameFeatures(Mapping[str, "SequenceFeatures"]):
    """Lazy mapping from sequence id to its arrays; ``fingerprint`` names everything that they depend on."""

    def __init__(self, folder: Path, ids: Iterable[str], fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        places = _stored(folder)
        self._places = {i: places.get(i, folder / f"{i}{_SUFFIX}") for i in ids}

    def __getitem__(self, key: str) -> SequenceFeatures:
        if key not in self._places:
            raise KeyError(f"sequence {key!r} has no features in {self.folder.name}: run pretrain again")
        return SequenceFeatures(self._places[key])

    @property
    def names(self) -> frozenset[str]:
        """Arrays of a sequence, by the first one's file; none without sequences."""
        first = next(iter(self._places.values()), None)
        return frozenset() if first is None else SequenceFeatures(first).names

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass(frozen=True)
class SequenceFeatures:
    """Arrays of one sequence; each access reads only the frames that are asked for."""

    path: Path

    @property
    def names(self) -> frozenset[str]:
        """Its arrays."""
        import safetensors

        with safetensors.safe_open(str(self.path), framework="np") as file:
            return frozenset(file.keys())

    def read(self, name: str, frames: Iterable[int] | None = None) -> NDArray[Any]:
        """Array ``name`` of the chosen frames (all by default), first axis = frames.

        Raises:
            OSError: the file is missing or truncated; its name and the reason are given.
        """
        import safetensors

        try:
            with safetensors.safe_open(str(self.path), framework="np") as file:
                if frames is None:
                    return file.get_tensor(name)
                rows = file.get_slice(name)
                return np.concatenate([rows[i : i + 1] for i in frames])
        except (safetensors.SafetensorError, FileNotFoundError) as error:
            raise OSError(f"{self.path.name}: {error}; delete the file and run pretrain again") from error


def read_motions(cached: Any, frames: Iterable[int]) -> dict[int, NDArray[np.float64]]:
    """Rest-to-world transforms [N, 4, 4] of the chosen frames, by id, of the instances that move in a sequence.

    Args:
        cached: its ``SequenceFeatures``.
        frames: N indices.
    """
    ids = cached.read("moved_ids")  # [M]
    if not len(ids):
        return {}
    poses = cached.read("moved_poses", frames)  # [N, M, 4, 4]
    return {int(key): poses[:, column] for column, key in enumerate(ids)}


class FrameFeatureDataset(AbstractDataset[FeatureStream, FrameFeatures]):
    """Folder of per-sequence safetensors. Saving computes what is missing; loading is lazy.

    Args:
        filepath: folder.
        metadata: for kedro plugins.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: FeatureStream) -> None:
        wanted = [_checked(i) for i in data.ids]
        same = self._fingerprint() == data.fingerprint
        self._filepath.mkdir(parents=True, exist_ok=True)
        (self._filepath / "ids.txt").unlink(missing_ok=True)  # incomplete until every file is there
        self._clear(frozenset(wanted) if same else frozenset())
        (self._filepath / "fingerprint.txt").write_text(data.fingerprint + "\n")
        there = _stored(self._filepath)
        missing = [i for i in wanted if i not in there]
        if there:
            _LOG.info("Features of %d of %d sequences are there already.", len(there), len(wanted))
        for (key, arrays), shard in zip(data.compute(missing), self._shards(), strict=False):
            _write(shard / f"{key}{_SUFFIX}", arrays)
        there = _stored(self._filepath)
        if lost := [i for i in wanted if i not in there]:
            raise DatasetError(
                f"{len(lost)} of {len(wanted)} sequences got no features, the first is {lost[0]!r}"
            )
        (self._filepath / "ids.txt").write_text("\n".join(wanted) + "\n")

    def _clear(self, kept: frozenset[str]) -> None:
        """Delete the files of other sequences, and what a killed run left half written."""
        for key, path in _stored(self._filepath).items():
            if key not in kept:
                path.unlink()
        for left in self._filepath.glob("shard_*/.*.tmp"):
            left.unlink()

    def _shards(self) -> Iterator[Path]:
        """The folder of the next new file, again and again: the first that has room."""
        for number in itertools.count():
            shard = shard_folder(self._filepath, number)
            shard.mkdir(exist_ok=True)
            for _ in range(SHARD_SIZE - sum(1 for _ in shard.iterdir())):
                yield shard

    def load(self) -> FrameFeatures:
        if not self._exists():
            raise DatasetError("no frame features are stored; run `kedro run --pipelines=pretrain` first")
        ids = (self._filepath / "ids.txt").read_text().split()
        return FrameFeatures(self._filepath, ids, self._fingerprint())

    def _fingerprint(self) -> str:
        """Of what is stored, "" if nothing is."""
        file = self._filepath / "fingerprint.txt"
        return file.read_text().strip() if file.is_file() else ""

    def _exists(self) -> bool:
        return (self._filepath / "ids.txt").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


def _stored(folder: Path) -> dict[str, Path]:
    """The file of every sequence that has one, by id."""
    return {path.stem: path for path in sorted(folder.glob(f"shard_*/*{_SUFFIX}"))}


def _write(path: Path, arrays: Arrays) -> None:
    """Write a file whole or not at all."""
    from safetensors.numpy import save_file

    temporary = path.with_name(f".{path.stem}.tmp")
    try:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, str(temporary))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _checked(key: str) -> str:
    if not _ID.fullmatch(key):
        raise DatasetError(f"sequence id must be letters, digits, '_', '.' and '-', got {key!r}")
    return key
