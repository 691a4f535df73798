"""Sequences that are made once and kept: a store of which the content, not the time, is the version.

Invariant: what is loaded holds every sequence of the plan that was saved last. Saving a plan that is stored
already does nothing, and one that was interrupted goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version

from vln_heatmap.datasets.sequence_shards import CollectionStream, SequenceStore
from vln_heatmap.datasets.sequence_store import SequenceStoreDataset, is_complete

_NEWEST = "newest.txt"


class SequenceCacheDataset(AbstractDataset[CollectionStream, SequenceStore]):
    """Folder of stores by fingerprint: saves a ``CollectionStream`` unless it is there, loads the one saved last.

    Args:
        filepath: folder; stores lie at ``<filepath>/<fingerprint>/<name of filepath>``.
        metadata: for other tools, ignored.

    Raises:
        DatasetError: nothing was saved, the disk is full, another run is storing the same plan.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: CollectionStream) -> None:
        fingerprint = data.plan.fingerprint
        if not is_complete(self._place(fingerprint)):
            SequenceStoreDataset(
                filepath=str(self._filepath), version=Version(fingerprint, fingerprint)
            ).save(data)
        (self._filepath / _NEWEST).write_text(fingerprint + "\n")

    def load(self) -> SequenceStore:
        if not self._exists():
            raise DatasetError(f"no sequences are stored in {self._filepath}: run the stage that makes them")
        return SequenceStore(self._place(self._newest()))

    def _newest(self) -> str:
        """Fingerprint of what was saved last, "" if nothing was."""
        file = self._filepath / _NEWEST
        return file.read_text().strip() if file.is_file() else ""

    def _place(self, fingerprint: str) -> Path:
        return self._filepath / fingerprint / self._filepath.name

    def _exists(self) -> bool:
        return bool(self._newest()) and is_complete(self._place(self._newest()))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
