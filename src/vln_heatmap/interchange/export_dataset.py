"""The Kedro dataset that an export is saved to.

Invariant: a format's folder is the last export of it that was finished: it is written beside and renamed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

REPORT = "export_report.json"


@dataclass(frozen=True)
class Export:
    """Something to write into a folder of its own.

    Attributes:
        name: of the folder: the format.
        write: writes into the empty folder that it is given, and returns a report of plain values.
    """

    name: str
    write: Callable[[Path], dict[str, Any]]


class ExportDataset(AbstractDataset[Export, dict[str, Any]]):
    """Folder of exports, one subfolder a format; loads the report of the newest.

    Args:
        filepath: the folder.
        metadata: for other tools, ignored.

    Raises:
        DatasetError: loading, and nothing was exported yet.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath, self.metadata = Path(filepath), metadata

    def save(self, data: Export) -> None:
        partial, old = (self._filepath / f".{kind}-{data.name}" for kind in ("partial", "old"))
        for path in (partial, old):
            shutil.rmtree(path, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            report = {**data.write(partial), "format": data.name, "folder": str(self._filepath / data.name)}
            target = self._filepath / data.name
            if target.exists():
                target.rename(old)
            partial.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        (self._filepath / REPORT).write_text(json.dumps(report, indent=2))

    def load(self) -> dict[str, Any]:
        if not self._exists():
            raise DatasetError(
                f"nothing was exported to {self._filepath}: run `kedro run --pipelines=export`"
            )
        return json.loads((self._filepath / REPORT).read_text())

    def _exists(self) -> bool:
        return (self._filepath / REPORT).exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
