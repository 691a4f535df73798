"""Our own collection as an input that need not be there.

Invariant: loading it reads nothing; whoever calls what was loaded gets the newest finished collection and its
splits, or is told which stages make them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version

Own = Callable[[], tuple[Any, Any]]


class OwnEpisodesDataset(AbstractDataset[None, Own]):
    """Loads a function that opens the sequences and their splits. Only ever an input, so it always "exists".

    Args:
        sequences: ``{filepath: …}`` of the sequence store.
        splits: ``{filepath: …}`` of the table of splits.
        metadata: for kedro plugins.
    """

    def __init__(
        self, *, sequences: dict[str, str], splits: dict[str, str], metadata: dict[str, Any] | None = None
    ) -> None:
        self._sequences, self._splits = sequences["filepath"], splits["filepath"]
        self.metadata = metadata

    def load(self) -> Own:
        return self._open

    def _open(self) -> tuple[Any, Any]:
        from kedro_datasets.pandas import ParquetDataset

        from vln_heatmap.datasets.sequence_store import SequenceStoreDataset

        try:
            sequences = SequenceStoreDataset(filepath=self._sequences, version=Version(None, None)).load()
            splits = ParquetDataset(filepath=self._splits, version=Version(None, None)).load()
        except DatasetError as error:
            raise DatasetError(
                "no sequences of our own with splits yet: run "
                "`kedro run --pipelines=collect,validate,normalize` first, or name data.format and data.source "
                f"({error})"
            ) from error
        return sequences, splits

    def save(self, data: None) -> None:
        raise DatasetError("our own episodes are only loaded: collect and normalize make them")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"sequences": self._sequences, "splits": self._splits}
