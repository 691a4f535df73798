"""Tables of README and docs, rendered from the results file and from nothing else.

``python -m vln_heatmap.reporting.tables`` prints them, with ``--section success`` that one only;
``--update README.md`` rewrites the blocks between ``<!-- results: heatmap -->`` and ``<!-- /results -->`` in the
given files. Invariant: a number in a document is the number in the file, and text outside the blocks is never
touched.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]
RESULTS = Path("data/08_reporting/results.json")
MODEL, CEILING = "model", "geometry"
METHOD_NAMES = {
    "model": "this model",
    "all_ones": "all ones",
    "mean_map": "mean map of the training set",
    "patch_colour": "patch colour",
    "encoder_cosine": "frozen encoder, max cosine",
    "sift_ransac": "SIFT + RANSAC",
    "geometry": "true depth and pose (ceiling)",
}
#: Measures of the table: key, heading, digits, whether the interval is shown.
COLUMNS = (
    ("auc", "AUC ↑", 3, True),
    ("auc_oldest", "AUC oldest ↑", 3, False),
    ("auc_within", "AUC within ↑", 3, False),
    ("iou", "IoU ↑", 3, True),
    ("iou_oldest", "IoU oldest ↑", 3, False),
    ("peak_error", "peak error ↓", 3, False),
    ("kld", "KLD ↓", 2, False),
    ("cc", "CC ↑", 3, False),
    ("sim", "SIM ↑", 3, False),
    ("validity_accuracy", "validity ↑", 3, False),
    ("iou_classes", "class IoU ↑", 3, False),
)
#: Success metrics: key to name, digits and unit.
SUCCESS = {
    "distinctness": ("distinctness of keyframes", 3, ""),
    "spatial_accuracy": ("spatial accuracy", 3, ""),
    "temporal_consistency": ("temporal consistency", 3, ""),
    "geometric_loss": ("geometric loss", 3, ""),
    "correspondence_accuracy": ("correspondence accuracy", 3, ""),
    "reasoning_accuracy": ("reasoning accuracy", 3, ""),
    "projection_accuracy": ("cross-frame projection", 3, ""),
    "fusion_effectiveness": ("fusion effectiveness", 3, ""),
    "epoch_minutes": ("an epoch", 1, "min"),
    "inference_seconds": ("inference on a sequence", 2, "s"),
    "monitor_accuracy": ("accuracy of the training monitor", 3, ""),
    "training_memory_gib": ("memory of training", 2, "GiB"),
    "training_gpu_memory_gib": ("memory of training, GPU", 2, "GiB"),
    "memory_gib": ("memory of evaluation", 2, "GiB"),
    "gpu_memory_gib": ("memory of evaluation, GPU", 2, "GiB"),
}
_VERDICTS = {True: "passed", False: "failed", None: "–"}


def ordered_methods(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Method names by falling AUC; the ceiling, which is no competitor, comes last."""

    def rank(name: str) -> tuple[bool, float]:
        auc = methods[name].get("auc")
        return name == CEILING, -(auc if auc is not None else -1.0)

    return sorted(methods, key=rank)


def number(value: float | None, digits: int, interval: list[float] | None = None) -> str:
    """A value as a table shows it: ``.863 (.841–.880)``; a dash if there is none."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    if interval is not None:
        text += f" ({interval[0]:.{digits}f}–{interval[1]:.{digits}f})"
    return re.sub(r"(?<!\d)0\.", ".", text)


def heatmap_table(results: Document) -> str:
    """The methods of section "heatmap" as a Markdown table, then the AUC by kind of instruction."""
    methods = results["heatmap"]
    heads = ["method", *(head for _, head, _, _ in COLUMNS), "AUC everything", "AUC referring"]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for name in ordered_methods(methods):
        entry = methods[name]
        cells = [
            number(entry.get(key), digits, entry.get(f"{key}_ci") if shown else None)
            for key, _, digits, shown in COLUMNS
        ]
        cells += [number((entry.get(kind) or {}).get("auc"), 3) for kind in ("everything", "referring")]
        label = METHOD_NAMES.get(name, name)
        cells = [label, *cells]
        lines.append(_row([f"**{cell}**" for cell in cells] if name == MODEL else cells))
    return "\n".join([*lines, "", _note(results.get("meta", {}))])


def success_table(results: Document) -> str:
    """Section "success" as a Markdown table: value, target, verdict; a dash for what was not measured."""
    lines = [_row(["success metric", "value", "target", ""]), _row(["---", "---:", "---:", "---"])]
    for key, (name, digits, unit) in SUCCESS.items():
        entry = results["success"][key]
        value = number(entry["value"], digits, entry["ci"])
        rule = entry["rule"].replace(">=", "≥")
        target = f"{rule} {entry['target']:g} {unit}".strip() if rule else ""
        shown = f"{value} {unit}".strip() if entry["value"] is not None else value
        lines.append(_row([name, shown, target, _VERDICTS[entry["passed"]]]))
    meta = results.get("meta", {})
    asked = meta.get("success", {}).get("windows_asked_again", "?")
    note = f"{_note(meta)} Consistency, geometric loss, projection and fusion: {asked} of these windows."
    return "\n".join([*lines, "", note])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _note(meta: Mapping[str, Any]) -> str:
    """What the numbers were measured on."""
    size = "×".join(str(side) for side in meta.get("map_size", ()))
    spread = "in brackets 95 % intervals over houses; " if meta.get("scenes", 0) > 1 else ""
    return (
        f"{measured_on(meta)}, {meta.get('maps', '?')} maps of {size or '?'} cells; {spread}"
        "thresholds chosen on the validation houses."
    )


def measured_on(meta: Mapping[str, Any]) -> str:
    """How many windows in how many houses, in words."""
    scenes = meta.get("scenes", "?")
    houses = "house" if scenes == 1 else "houses"
    return f"{meta.get('samples', '?')} windows in {scenes} {houses} never seen in training"


#: Renderer of each section of the results file; later stages add theirs.
TABLES: dict[str, Callable[[Document], str]] = {"heatmap": heatmap_table, "success": success_table}
_BLOCK = re.compile(r"(<!-- results: (?P<name>\w+) -->\n)(?P<body>.*?)(<!-- /results -->)", re.DOTALL)


def update_blocks(text: str, results: Document) -> str:
    """The text with every ``<!-- results: NAME --> … <!-- /results -->`` block rendered anew.

    Raises:
        ValueError: a block that is not closed, or names a section without a renderer or without results.
    """
    opened, closed = text.count("<!-- results: "), len(_BLOCK.findall(text))
    if opened != closed:
        raise ValueError(f"{opened} result blocks are opened, {closed} are closed with <!-- /results -->")

    return _BLOCK.sub(lambda match: f"{match[1]}{_table(match['name'], results)}\n{match[4]}", text)


def _table(name: str, results: Document) -> str:
    if name not in TABLES or name not in results:
        known = sorted(set(TABLES) & set(results))
        raise ValueError(f"no results for the block {name!r}; there are {', '.join(known) or 'none'}")
    return TABLES[name](results)


def main(arguments: list[str] | None = None) -> int:
    """Command line: print the tables, or update files."""
    parser = argparse.ArgumentParser(prog="python -m vln_heatmap.reporting.tables", description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=RESULTS, help="results file")
    parser.add_argument("--section", choices=TABLES, help="print this table only")
    parser.add_argument("--update", nargs="+", type=Path, default=[], metavar="FILE", help="files to rewrite")
    options = parser.parse_args(arguments)
    try:
        results = json.loads(options.results.read_text(encoding="utf-8"))
        if not options.update:
            wanted = [options.section] if options.section else [name for name in TABLES if name in results]
            print("\n\n".join(_table(name, results) for name in wanted))
        for file in options.update:
            file.write_text(update_blocks(file.read_text(encoding="utf-8"), results), encoding="utf-8")
    except FileNotFoundError as error:
        print(f"{error.filename} does not exist; run `kedro run --pipelines=evaluate` first", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"cannot render the tables: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
