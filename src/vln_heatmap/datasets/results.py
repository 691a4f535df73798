"""The one file that holds the newest numbers of every stage, whoever measured them.

Invariant: saving replaces the sections that are given and keeps all others, and the file is at any time either
the old or the new one, whole.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

Document = dict[str, Any]


class ResultsDataset(AbstractDataset[Document, Document]):
    """JSON object whose top-level sections belong to different stages ("heatmap", "navigation", ...).

    The section "meta" is shared: its keys are merged one by one.

    Args:
        filepath: the JSON file.
        optional: load an empty object while there is no file.
        metadata: for kedro plugins.

    Raises:
        DatasetError: a value that JSON does not know (NaN, an array), or a file that is no JSON object.
    """

    def __init__(
        self, *, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath, self._optional = Path(filepath), optional
        self.metadata = metadata

    def save(self, data: Document) -> None:
        old = self._read() if self._filepath.is_file() else {}
        shared = {**old.get("meta", {}), **data.get("meta", {})}
        merged = {**old, **data, **({"meta": shared} if shared else {})}
        try:
            text = json.dumps(merged, indent=2, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"results must be plain JSON without NaN: {error}") from error
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._filepath.with_name(f".{self._filepath.name}.tmp")
        try:
            temporary.write_text(text + "\n", encoding="utf-8")
            os.replace(temporary, self._filepath)
        finally:
            temporary.unlink(missing_ok=True)

    def load(self) -> Document:
        if not self._filepath.is_file():
            if self._optional:
                return {}
            raise DatasetError("there are no results yet; run `kedro run --pipelines=evaluate` first")
        return self._read()

    def _read(self) -> Document:
        try:
            document = json.loads(self._filepath.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DatasetError(
                f"{self._filepath} is no JSON ({error}); move it away and run again"
            ) from error
        if not isinstance(document, dict):
            raise DatasetError(f"{self._filepath} must hold a JSON object, got {type(document).__name__}")
        return document

    def _exists(self) -> bool:
        return self._optional or self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
