"""A folder of finished files for each set of parameters: long making of data that goes on where it was.

Invariant: a file is whole or absent, and a folder's name tells everything that its files depend on, so that what
is found can be taken as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from vln_heatmap.datasets.tensor_file import replace


@dataclass(frozen=True)
class EpisodeFiles:
    """Handle on a folder of folders."""

    root: Path

    def folder(self, key: str) -> Path:
        """Where the files of a key lie."""
        return self.root / key

    def has(self, key: str, name: str) -> bool:
        """Whether a file is there."""
        return (self.folder(key) / name).is_file()

    def put(self, key: str, name: str, content: bytes) -> None:
        """Store a file, whole or not at all."""

        def write(beside: Path) -> None:
            beside.write_bytes(content)

        replace(self.folder(key) / name, write)


class EpisodeFilesDataset(AbstractDataset[None, EpisodeFiles]):
    """Gives a node the handle. Only ever an input, so it always "exists".

    Args:
        filepath: folder.
        metadata: for kedro plugins.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> EpisodeFiles:
        return EpisodeFiles(self._filepath)

    def save(self, data: None) -> None:
        raise DatasetError("files of episodes are only loaded; the node saves through the handle it gets")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
