"""What happened at each step of a training, in the order it happened.

Invariant: row i belongs to step i + 1; a number that a step does not have (validation, most of the time) is
NaN in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor


class History:
    """Growing table of numbers by step, each step in an epoch of a phase.

    Attributes:
        rows: numbers by step; ``phase`` is an index into ``phases``.
        phases: names of the phases so far.
    """

    def __init__(self, rows: list[dict[str, float]] | None = None, phases: list[str] | None = None) -> None:
        self.rows, self.phases = rows or [], phases or []

    def add(self, numbers: Mapping[str, float], *, phase: str = "train", epoch: int = 0) -> None:
        """Append the next step."""
        if phase not in self.phases:
            self.phases.append(phase)
        place = {"phase": float(self.phases.index(phase)), "epoch": float(epoch)}
        self.rows.append({"step": float(len(self.rows) + 1), **place, **numbers})

    def extend_last(self, numbers: Mapping[str, float]) -> None:
        """Add numbers to the last step."""
        self.rows[-1].update(numbers)

    def recent(self, count: int) -> dict[str, float]:
        """Means over the last ``count`` steps of the numbers that every one of them has."""
        rows = self.rows[-count:]
        names = [n for n in rows[-1] if n not in {"step", "phase", "epoch"} and all(n in row for row in rows)]
        return {name: sum(row[name] for row in rows) / len(rows) for name in names}

    def frame(self) -> pd.DataFrame:
        """The table: ``step`` and ``epoch`` int64, ``phase`` text, everything else float64."""
        if not self.rows:
            return pd.DataFrame()
        table = pd.DataFrame(self.rows).astype({"step": np.int64, "epoch": np.int64})
        return table.assign(phase=[self.phases[int(code)] for code in table["phase"]])

    def tensor(self) -> tuple[list[str], Tensor]:
        """Column names and values [steps, columns] float64."""
        import torch

        table = pd.DataFrame(self.rows)
        return list(table.columns), torch.from_numpy(table.to_numpy(np.float64, copy=True))

    @classmethod
    def from_tensor(cls, columns: list[str], values: Tensor, phases: list[str]) -> History:
        """Inverse of ``tensor``."""
        rows = [dict(zip(columns, row, strict=True)) for row in values.tolist()]
        return cls([{name: v for name, v in row.items() if not np.isnan(v)} for row in rows], phases)
