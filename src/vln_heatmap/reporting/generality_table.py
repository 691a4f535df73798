"""The table of generality in the docs, rendered from its results file and from nothing else.

``python -m vln_heatmap.reporting.generality_table`` prints it; ``--update docs/generality.md`` rewrites what
stands between ``<!-- generality -->`` and ``<!-- /generality -->`` in the given files.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vln_heatmap.reporting.marked import MarkedTable, row
from vln_heatmap.reporting.tables import CEILING, METHOD_NAMES, MODEL, number

HEADS = ("look", "AUC ↑", "best baseline", "its AUC", "AUC within ↑", "its", "IoU ↑", "its")


def generality_table(results: Mapping[str, Any]) -> str:
    """One row a look, then their mean in bold: the model beside the baseline that is best there in AUC."""
    lines = [row(HEADS), row(["---", "---:", "---", *["---:"] * (len(HEADS) - 3)])]
    counted = set(results["meta"]["counted"])
    for name, methods in results["looks"].items():
        shown = name.replace("_", " ") if name in counted else f"{name.replace('_', ' ')} (not in the mean)"
        lines.append(row([shown, *_cells(methods)]))
    lines.append(row([f"**{cell}**" for cell in ["mean", *_cells(results["mean"])]]))
    return "\n".join([*lines, "", _note(results["meta"])])


def _cells(methods: Mapping[str, Any]) -> list[str]:
    own = methods[MODEL]
    rivals = {name: entry for name, entry in methods.items() if name not in (MODEL, CEILING)}
    best = max(rivals, key=lambda name: rivals[name]["auc"])
    other = rivals[best]
    pairs = [text for key in ("auc_within", "iou") for text in (number(own[key], 3), number(other[key], 3))]
    return [
        number(own["auc"], 3, own["auc_ci"]),
        METHOD_NAMES.get(best, best),
        number(other["auc"], 3),
        *pairs,
    ]


def _note(meta: Mapping[str, Any]) -> str:
    """What the numbers were measured on."""
    return (
        f"{sum(meta['windows'].values())} windows; in brackets 95 % intervals over houses, of a recording over "
        f"its parts. Thresholds of IoU come from the look {meta['reference']!r}, for every method and look alike."
    )


TABLE = MarkedTable(
    name="generality",
    module="vln_heatmap.reporting.generality_table",
    stage="generality",
    results=Path("data/08_reporting/generality_results.json"),
    render=generality_table,
)


def main(arguments: list[str] | None = None) -> int:
    """Command line: print the table, or update files."""
    return TABLE.command(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
