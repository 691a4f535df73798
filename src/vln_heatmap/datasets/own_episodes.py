"""Our own collection as an input that need not be there.

``normalize`` says which collection its splits are of; so the stages that learn from it stand behind it in the
lineage. Invariant: loading it reads nothing; whoever calls what was loaded gets that collection and its splits,
or is told which stages make them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version

Own = Callable[[], tuple[Any, Any]]


class OwnEpisodesDataset(AbstractDataset[dict[str, Any], Own]):
    """Saves which sequences there are (``sequences``: their version); loads a function that opens them.

    Args:
        filepath: JSON file of what is saved; without it the newest sequences are opened.
        sequences: ``{filepath: …}`` of the sequence store.
        splits: ``{filepath: …}`` of the table of splits.
        metadata: for kedro plugins.
    """

    def __init__(
        self,
        *,
        filepath: str,
        sequences: dict[str, str],
        splits: dict[str, str],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = Path(filepath)
        self._sequences, self._splits = sequences["filepath"], splits["filepath"]
        self.metadata = metadata

    @property
    def stands_in(self) -> bool:
        """Whether it can be loaded before it was saved: yes, for data of other formats need none of it."""
        return True

    def load(self) -> Own:
        return self._open

    def _open(self) -> tuple[Any, Any]:
        from kedro_datasets.pandas import ParquetDataset

        from vln_heatmap.datasets.sequence_store import SequenceStoreDataset

        try:
            version = json.loads(self._filepath.read_text("utf-8"))["sequences"] if self._exists() else None
            sequences = SequenceStoreDataset(filepath=self._sequences, version=Version(version, None)).load()
            splits = ParquetDataset(filepath=self._splits, version=Version(None, None)).load()
        except DatasetError as error:
            raise DatasetError(
                "no sequences of our own with splits yet: run "
                "`kedro run --pipelines=collect,validate,normalize` first, or name data.format and data.source "
                f"({error})"
            ) from error
        return sequences, splits

    def save(self, data: dict[str, Any]) -> None:
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        self._filepath.write_text(json.dumps(data, indent=2), encoding="utf-8")

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "sequences": self._sequences, "splits": self._splits}
