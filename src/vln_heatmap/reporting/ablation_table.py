"""The table of the ablation in the docs, rendered from its results file and from nothing else.

``python -m vln_heatmap.reporting.ablation_table`` prints it; ``--update docs/ablation.md`` rewrites what stands
between ``<!-- ablation -->`` and ``<!-- /ablation -->`` in the given files. ``training_ablation_table`` does
the same for the ways to train.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vln_heatmap.reporting.marked import MarkedTable, row
from vln_heatmap.reporting.tables import measured_on, number

HEADS = (
    "variant",
    "what is changed",
    "AUC ↑",
    "difference",
    "AUC everything",
    "AUC referring",
    "IoU ↑",
    "difference",
    "parameters",
    "training",
    "a step",
)


def ablation_table(results: Mapping[str, Any], *, changes: bool = True) -> str:
    """The variants as a Markdown table in the order of the results, the reference in bold, and a note.

    Args:
        results: of a comparison.
        changes: with the overrides of each variant.
    """
    meta = results["meta"]
    lines = [_row(HEADS, changes), _row(["---", "---", *["---:"] * (len(HEADS) - 2)], changes)]
    for name, entry in results["variants"].items():
        cells = _cells(name, entry, meta["reference"])
        if name == meta["reference"]:
            cells = [f"**{cell}**" if cell else cell for cell in cells]
        lines.append(_row(cells, changes))
    return "\n".join([*lines, "", _note(meta)])


def _row(cells: Sequence[str], changes: bool) -> str:
    return row([cell for place, cell in enumerate(cells) if changes or place != 1])


def _cells(name: str, entry: Mapping[str, Any], reference: str) -> list[str]:
    margin = entry.get("difference") or {}
    against = margin.get("against")
    shown = [item for item in entry["changes"].items() if item[0] != "ablate.against"]
    other = f" (to {against.replace('_', ' ')})" if against and against != reference else ""
    return [
        name.replace("_", " "),
        ", ".join(f"`{key}: {_plain(value)}`" for key, value in shown),
        number(entry["auc"], 3, entry["auc_ci"]),
        _signed(margin, "auc") + other,
        number(entry["everything"]["auc"], 3),
        number(entry["referring"]["auc"], 3),
        number(entry["iou"], 3, entry["iou_ci"]),
        _signed(margin, "iou") + other,
        f"{entry['parameters'] / 1e6:.2f} M",
        f"{entry['steps']} steps, {entry['seconds']:.0f} s",
        f"{entry['step_seconds']:.2f} s",
    ]


def _signed(margin: Mapping[str, Any], key: str) -> str:
    """A difference with its interval, ``+.012 (−.003 … +.027)``, "" if there is none."""
    if margin.get(key) is None:
        return ""
    text, spread = _sign(margin[key]), margin.get(f"{key}_ci")
    return f"{text} ({_sign(spread[0])} … {_sign(spread[1])})" if spread else text


def _sign(value: float) -> str:
    rounded = round(value, 3) + 0.0  # no -0
    return f"{'−' if rounded < 0 else '+'}{number(abs(rounded), 3)}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _note(meta: Mapping[str, Any]) -> str:
    """What the numbers were measured on."""
    count = len(meta["seeds"])
    seeds = f"means over {count} seeds" if count > 1 else "one seed"
    spread = "; in brackets 95 % intervals over houses" if meta["scenes"] > 1 else ""
    return (
        f"{measured_on(meta)}, {seeds}, trained on {meta['training_samples']} samples{spread}. Differences are "
        "paired: the same windows, houses and seeds. A step is one of finetuning: the median."
    )


TABLE = MarkedTable(
    name="ablation",
    module="vln_heatmap.reporting.ablation_table",
    stage="ablate",
    results=Path("data/08_reporting/ablation_results.json"),
    render=ablation_table,
)


def main(arguments: list[str] | None = None) -> int:
    """Command line: print the table, or update files."""
    return TABLE.command(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
