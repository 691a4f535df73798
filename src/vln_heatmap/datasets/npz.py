"""Named arrays in one compressed ``.npz`` file.

Invariant: the file is written beside and renamed into place, and never holds pickled objects.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset, DatasetError
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class NpzDataset(AbstractDataset[Arrays, Arrays]):
    """Saves and loads a dict of numpy arrays.

    Args:
        filepath: the file.
        metadata: for kedro plugins.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath, self.metadata = Path(filepath), metadata

    def load(self) -> Arrays:
        try:
            with np.load(self._filepath, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DatasetError(f"{self._filepath} cannot be read: {error}") from error

    def save(self, data: Arrays) -> None:
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        beside = self._filepath.with_suffix(".tmp.npz")
        try:
            np.savez_compressed(beside, allow_pickle=False, **data)
            os.replace(beside, self._filepath)
        finally:
            beside.unlink(missing_ok=True)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
