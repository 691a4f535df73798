"""A folder of small files of any kind, as a mapping from name to content.

Invariant: after saving, the folder holds exactly the files that were given.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from vln_heatmap.datasets.tensor_file import replace


class ByteFolderDataset(AbstractDataset[Mapping[str, bytes], dict[str, bytes]]):
    """Saves contents by file name, and loads them again.

    Args:
        filepath: folder.
        metadata: for kedro plugins.

    Raises:
        DatasetError: a name with a folder in it, or nothing to load.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Mapping[str, bytes]) -> None:
        for name in data:
            if not name or Path(name).name != name or name.startswith("."):
                raise DatasetError(f"a file of the folder {self._filepath} cannot be called {name!r}")
        if self._exists():
            shutil.rmtree(self._filepath)
        self._filepath.mkdir(parents=True)
        for name, content in data.items():
            replace(self._filepath / name, lambda path, content=content: path.write_bytes(content))  # type: ignore[misc]

    def load(self) -> dict[str, bytes]:
        if not self._exists():
            raise DatasetError(f"there is no folder {self._filepath}")
        return {path.name: path.read_bytes() for path in sorted(self._filepath.iterdir()) if path.is_file()}

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
