"""Many sequences in few folders: shards of a thousand, each with an index that only ever grows.

Invariant: what is stored is what the folders say. The index is a cache of it: a line that a killed run tore, or
never wrote, is described anew from the sequence itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.datasets.sequence_files import (
    SKIPPED,
    CorruptSequenceError,
    EncodedSequence,
    StoredSequence,
    check_id,
)

PLAN, SESSIONS, INDEX = "plan.json", "sessions.json", "index.jsonl"
PARTIAL = ".partial-"
#: Sequences of one folder.
SHARD_SIZE = 1000
#: What the index keeps of a sequence: plain JSON, the same for the same sequence.
Describe = Callable[[StoredSequence], dict[str, Any]]


@dataclass(frozen=True)
class StorePlan:
    """What a finished version holds: ids in order, and a fingerprint of all that decides their content."""

    fingerprint: str
    ids: tuple[str, ...]

    @cached_property
    def positions(self) -> dict[str, int]:
        return {sequence_id: position for position, sequence_id in enumerate(self.ids)}

    def shard(self, sequence_id: str) -> int:
        """Number of the folder that holds a planned sequence."""
        return self.positions[sequence_id] // SHARD_SIZE


@dataclass(frozen=True)
class CollectionStream:
    """Sequences to store as they are made.

    Attributes:
        plan: of the whole collection.
        sequences: may leave out what is already stored.
        describe: the index's line of a stored sequence; without it the index is written when it is asked for.
    """

    plan: StorePlan
    sequences: Iterable[EncodedSequence]
    describe: Describe | None = None

    def __iter__(self) -> Generator[EncodedSequence, None, None]:
        yield from self.sequences


class SequenceStore(Mapping[str, StoredSequence]):
    """A folder of sequences as a lazy mapping from id to ``StoredSequence``, in the order of the plan.

    Planned sequences that could not be made are not in the mapping but in ``skipped``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        plan = read_plan(self.folder)
        places = stored_folders(self.folder)
        ids = [i for i in plan.ids if i in places] if plan else sorted(places)
        self.skipped = {i: _skip_reason(places[i]) for i in ids if (places[i] / SKIPPED).exists()}
        self._places = {i: places[i] for i in ids if i not in self.skipped}

    def __getitem__(self, sequence_id: str) -> StoredSequence:
        if sequence_id not in self._places:
            raise KeyError(
                f"no sequence {sequence_id!r} among the {len(self)} in {self.folder}; if a table of an older "
                "collection named it, run validate and normalize again"
            )
        return StoredSequence(self._places[sequence_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"SequenceStore({str(self.folder)!r}, {len(self)} sequences)"

    @property
    def version(self) -> str:
        """Kedro's version of this collection, which names the data."""
        return self.folder.parent.name

    def load(self, sequence_id: str) -> Sequence:
        """Read one sequence whole."""
        return self[sequence_id].load()

    def rows(self, describe: Describe) -> Iterator[dict[str, Any]]:
        """The index's line of every sequence, in order; what has no line is described now."""
        lines: dict[str, dict[str, Any]] = {}
        for shard in shard_folders(self.folder):
            lines |= read_index(shard)
        for sequence_id in self:
            yield lines.get(sequence_id) or describe(self[sequence_id])

    def sessions(self) -> list[dict[str, Any]]:
        """The runs that filled this store: ``seconds``, ``sequences`` and ``bytes`` of each."""
        path = self.folder / SESSIONS
        return json.loads(path.read_text()) if path.exists() else []


class JoinedStores(Mapping[str, StoredSequence]):
    """Several stores as one, in their order; what two of them hold is taken of the later one."""

    def __init__(self, stores: Iterable[SequenceStore]) -> None:
        self.stores = tuple(stores)
        self._places = {key: store for store in self.stores for key in store}

    def __getitem__(self, sequence_id: str) -> StoredSequence:
        return self._places[sequence_id][sequence_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def version(self) -> str:
        """Names the data, by the versions of the stores."""
        return "+".join(store.version for store in self.stores)

    def load(self, sequence_id: str) -> Sequence:
        """Read one sequence whole."""
        return self._places[sequence_id].load(sequence_id)


def read_plan(folder: Path) -> StorePlan | None:
    """The plan of a version folder; None if there is none.

    Raises:
        CorruptSequenceError: a plan that cannot be read, or names an unsafe id.
    """
    path = Path(folder) / PLAN
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_bytes())
        return StorePlan(str(document["fingerprint"]), tuple(check_id(i) for i in document["ids"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptSequenceError(f"{path}: not the plan of a collection ({error})") from error


def shard_folder(folder: Path, number: int) -> Path:
    """The folder of a shard in a version folder."""
    return folder / f"shard_{number:05d}"


def shard_folders(folder: Path) -> list[Path]:
    """All shards of a version folder, in order."""
    return sorted(path for path in folder.glob("shard_*") if path.is_dir())


def stored_folders(folder: Path) -> dict[str, Path]:
    """Folders of the whole (or skipped) sequences of a version folder, by id; other names are ignored."""
    found: dict[str, Path] = {}
    for shard in shard_folders(folder):
        with os.scandir(shard) as entries:
            names = sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
        found |= {name: shard / name for name in names}
    return found


def read_index(shard: Path) -> dict[str, dict[str, Any]]:
    """Lines of a shard's index by sequence id; a torn or damaged line counts as none."""
    path, lines = shard / INDEX, {}
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            row = json.loads(line)
            lines[str(row["id"])] = row
        except (ValueError, KeyError, TypeError):
            continue
    return lines


def append_index(shard: Path, row: Mapping[str, Any]) -> None:
    """Add a line and wait until it is on the disk."""
    with (shard / INDEX).open("ab") as file:
        file.write(json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def mend_index(shard: Path) -> None:
    """Cut off a last line that a killed run left without its end, so that the next line starts afresh."""
    path = shard / INDEX
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def _skip_reason(folder: Path) -> str:
    return json.loads((folder / SKIPPED).read_text())["reason"]
