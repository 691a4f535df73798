"""Trainings of a comparison, kept by what they depend on: a finished one is never done again.

Invariant: a key names everything that a training or a measurement depends on, so that what is found under it
can be taken as it is; checkpoints and records are whole or absent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset, TrainingState
from vln_heatmap.datasets.tensor_file import replace


@dataclass(frozen=True)
class TrialStore:
    """Handle on a folder with one folder a key."""

    folder: Path

    def state(self, key: str) -> TrainingState:
        """Where the training of this key goes on after an interruption."""
        return TrainingState(self.folder / key / "training.safetensors")

    def checkpoint(self, key: str) -> Checkpoint | None:
        """What the training of this key has given; None if it is not finished.

        Raises:
            CorruptCheckpointError: it is damaged.
        """
        dataset = self._dataset(key)
        return dataset.load() if dataset.exists() else None

    def keep(self, key: str, checkpoint: dict[str, Any]) -> Checkpoint:
        """Store {state_dict, meta} of a finished training."""
        dataset = self._dataset(key)
        dataset.save(checkpoint)
        return dataset.load()

    def record(self, key: str) -> dict[str, Any] | None:
        """What was noted under this key; None if nothing."""
        file = self._record(key)
        try:
            return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        except ValueError as error:
            raise DatasetError(f"{file} is no JSON ({error}); delete it to measure again") from error

    def note(self, key: str, record: dict[str, Any]) -> None:
        """Store anything that JSON can hold."""
        text = json.dumps(record, allow_nan=False)

        def write(beside: Path) -> None:
            beside.write_text(text, encoding="utf-8")

        replace(self._record(key), write)

    def _record(self, key: str) -> Path:
        return self.folder / key / "record.json"

    def _dataset(self, key: str) -> CheckpointDataset:
        return CheckpointDataset(filepath=str(self.folder / key / "checkpoint"), made_by="ablate")


class TrialStoreDataset(AbstractDataset[None, TrialStore]):
    """Gives a node the handle on the store. Only ever an input, so it always "exists".

    Args:
        filepath: folder.
        metadata: for kedro plugins.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> TrialStore:
        return TrialStore(self._filepath)

    def save(self, data: None) -> None:
        raise DatasetError("a store of trials is only loaded; the node saves through the handle it gets")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
