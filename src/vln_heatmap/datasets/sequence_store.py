"""The sequence store as a versioned Kedro dataset that survives being killed.

Invariant: a sequence's folder is whole or absent (it is written beside, synced and renamed into place), and a
version counts only when every sequence of its plan is there. A version that an interrupted run left is
adopted by the next run with the same plan, so that nothing is lost or stored twice.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset, DatasetError, Version
from kedro.io.core import VersionNotFoundError

from vln_heatmap.datasets.sequence_files import (
    SKIPPED,
    CorruptSequenceError,
    EncodedSequence,
    StoredSequence,
    check_id,
    encode_sequence,
    skipped_sequence,
)
from vln_heatmap.datasets.sequence_shards import (
    PARTIAL,
    PLAN,
    SESSIONS,
    CollectionStream,
    JoinedStores,
    SequenceStore,
    StorePlan,
    append_index,
    mend_index,
    read_plan,
    shard_folder,
    shard_folders,
    stored_folders,
)

try:
    import fcntl
except ImportError:  # Windows: two runs at once are not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "CollectionStream",
    "CorruptSequenceError",
    "EncodedSequence",
    "SequenceStore",
    "SequenceStoreDataset",
    "StorePlan",
    "StoredSequence",
    "encode_sequence",
    "skipped_sequence",
    "store_sequence",
]


def is_complete(folder: Path) -> bool:
    """Whether a version folder holds every sequence of its plan."""
    plan = read_plan(folder)
    return plan is not None and stored_folders(folder).keys() >= set(plan.ids)


def store_sequence(folder: Path, encoded: EncodedSequence, *, shard: int = 0) -> int:
    """Write one sequence into a version folder, whole or not at all; one that is already there is kept.

    Args:
        folder: of the version.
        encoded: the files.
        shard: number of the folder in it that takes the sequence (``StorePlan.shard``).

    Returns:
        The bytes written.

    Raises:
        OSError: it could not be written; nothing of it is left behind.
    """
    place = shard_folder(folder, shard)
    target, partial = place / check_id(encoded.id), place / f"{PARTIAL}{encoded.id}"
    if target.exists():
        return 0
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name, data in encoded.files.items():
            write_durably(partial / name, data)
        _sync_folder(partial)
        partial.rename(target)
        _sync_folder(place)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return sum(map(len, encoded.files.values()))


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class SequenceStoreDataset(AbstractVersionedDataset[CollectionStream, Any]):
    """Versioned folder of sequences: saves a ``CollectionStream``, loads a lazy ``SequenceStore``.

    Args:
        filepath: folder; versions lie at ``<filepath>/<version>/<name of filepath>``.
        version: given by the catalog (``versioned: true``).
        unfinished: load what interrupted runs left instead: fingerprint of the plan to its finished ids.
        every_version: load all finished versions as one ``JoinedStores``, oldest first; none is none.
        metadata: for other tools, ignored.

    Raises:
        DatasetError: no finished version to load, the disk is full, another run is storing the same plan.
    """

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        unfinished: bool = False,
        every_version: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if version is None:
            raise DatasetError(f"the sequence store {filepath} must be versioned: add 'versioned: true'")
        super().__init__(PurePosixPath(filepath), version, lambda path: is_complete(Path(path)))
        self._unfinished, self._every_version = unfinished, every_version
        self.metadata = metadata

    def load(self) -> SequenceStore | JoinedStores | dict[str, frozenset[str]]:
        if self._every_version:
            return JoinedStores(SequenceStore(folder) for folder in self._folders() if is_complete(folder))
        if self._unfinished:
            return {
                plan.fingerprint: frozenset(stored_folders(folder)) for folder, plan in self._interrupted()
            }
        try:
            folder = Path(self._get_load_path())
        except VersionNotFoundError as error:
            raise DatasetError(self._nothing_to_load()) from error
        if not is_complete(folder):
            raise DatasetError(f"{folder} is not a finished collection. {self._nothing_to_load()}")
        return SequenceStore(folder)

    def save(self, data: CollectionStream) -> None:
        if self._unfinished or self._every_version:
            raise DatasetError("'unfinished' sequences and 'every_version' can only be loaded")
        folder = Path(self._get_save_path())
        with self._claim(folder, data.plan):
            self._store(folder, data)

    def _store(self, folder: Path, stream: CollectionStream) -> None:
        started, stored, size = time.perf_counter(), 0, 0
        try:
            with closing(iter(stream)) as sequences:
                for encoded in sequences:
                    written = _store_planned(folder, encoded, stream)
                    stored, size = stored + (written > 0), size + written
        finally:
            _log_session(folder, seconds=time.perf_counter() - started, sequences=stored, size=size)
        finished = stored_folders(folder)
        if missing := [i for i in stream.plan.ids if i not in finished]:
            raise DatasetError(f"the collection ended without {len(missing)} sequences, first {missing[0]}")

    @contextmanager
    def _claim(self, folder: Path, plan: StorePlan) -> Iterator[None]:
        """Make ``folder`` the place of this plan, with what an interrupted run stored, and lock it."""
        for left, left_plan in self._interrupted():
            if left_plan.fingerprint == plan.fingerprint:
                with _lock(left):  # refuses if its run still lives
                    if left != folder:
                        folder.parent.parent.mkdir(parents=True, exist_ok=True)
                        left.parent.rename(folder.parent)
                break
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            for shard in shard_folders(folder):
                mend_index(shard)
                for partial in shard.glob(f"{PARTIAL}*"):
                    shutil.rmtree(partial, ignore_errors=True)
            _write_json(folder / PLAN, {"fingerprint": plan.fingerprint, "ids": list(plan.ids)})
            yield

    def _interrupted(self) -> list[tuple[Path, StorePlan]]:
        """Version folders with a plan that is not fulfilled, newest first."""
        plans = [(folder, read_plan(folder)) for folder in self._folders()[::-1] if not is_complete(folder)]
        return [(folder, plan) for folder, plan in plans if plan is not None]

    def _folders(self) -> list[Path]:
        """Folders of all versions, oldest first."""
        return sorted(Path(self._filepath).glob(f"*/{self._filepath.name}"))

    def _nothing_to_load(self) -> str:
        message = f"No finished sequences in {self._filepath}: run `kedro run --pipelines=collect` first"
        left = self._interrupted()
        if not left:
            return message
        folder, plan = left[0]
        done = len(stored_folders(folder).keys() & set(plan.ids))
        return f"{message} (it was interrupted after {done} of {len(plan.ids)} sequences and will continue)"

    def _exists(self) -> bool:
        return self._unfinished or self._every_version or is_complete(Path(self._get_load_path()))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version, "unfinished": self._unfinished}


def _store_planned(folder: Path, encoded: EncodedSequence, stream: CollectionStream) -> int:
    """Store a sequence and its line of the index, with errors that tell what is safe and how to go on."""
    plan = stream.plan
    if encoded.id not in plan.positions:
        raise DatasetError(f"sequence {encoded.id!r} is not in the plan")
    shard = plan.shard(encoded.id)
    try:
        written = store_sequence(folder, encoded, shard=shard)
        if written and stream.describe and SKIPPED not in encoded.files:
            place = shard_folder(folder, shard)
            append_index(place, stream.describe(StoredSequence(place / encoded.id)))
        return written
    except OSError as error:
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
        done = len(stored_folders(folder).keys() & plan.positions.keys())
        raise DatasetError(
            f"Cannot store sequence {encoded.id} in {folder}: {reason}. The {done} of {len(plan.ids)} "
            "sequences stored so far are intact: free some space and run again, it continues there"
        ) from error


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold a version folder for this process; the system lets go of it when the process ends or is killed."""
    with (folder / ".lock").open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DatasetError(f"another run is storing sequences in {folder} right now") from error
        yield


def _log_session(folder: Path, *, seconds: float, sequences: int, size: int) -> None:
    """Append what this run stored to the store's log; a full disk must not hide the first error."""
    if not sequences:
        return
    entry = {"seconds": round(seconds, 3), "sequences": sequences, "bytes": size}
    try:
        _write_json(folder / SESSIONS, [*SequenceStore(folder).sessions(), entry])
    except OSError:
        return


def _write_json(path: Path, content: Any) -> None:
    """Replace a JSON file in one step."""
    partial = path.with_name(f"{PARTIAL}{path.name}")
    write_durably(partial, json.dumps(content, indent=1).encode())
    partial.replace(path)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # folders cannot be synced on Windows
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
