"""One page that says what validation found: counts, quality, reasons, the spread of scores, what was rejected.

Invariant: the page is one file. Styles, charts and pictures are inside it, so it opens anywhere, offline.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24 }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d8dee4; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem }
figure { margin: 0 } figcaption { font-size: .85rem; color: #57606a }
svg { width: 100%; height: 5rem; background: #f6f8fa } rect { fill: #2f6f9f }
.axis { display: flex; justify-content: space-between; font-size: .75rem; color: #57606a }
.good { color: #1a7f37 } .bad { color: #b42318 } img { border-radius: 3px }
"""


def validation_page(
    report: Mapping[str, Any], values: Mapping[str, Sequence[float]], pictures: Mapping[str, bytes]
) -> str:
    """Render the validation report as self-contained HTML.

    Args:
        report: as the validate stage writes it.
        values: values of each score over all sequences, for the histograms.
        pictures: JPEG of some rejected sequences, by id.
    """
    counts = report["sequences"]
    tone = "good" if not counts["rejected"] else "bad"
    body = [
        "<h1>Validation of the collected sequences</h1>",
        f'<p><strong class="{tone}">{counts["accepted"]} of {counts["total"]} sequences accepted '
        f"({counts['accepted_share']:.1%})</strong>, {report['frames']['inspected']} frames inspected.</p>",
        _section("Quality", _charts(values, quality=True)),
        _section("The collection as a whole", _collection(report.get("collection", {}))),
        _section("Lowest quality", _worst(report.get("worst", ()))),
        _section("Reasons for rejection", _table(("reason", "sequences"), report["reasons"].items())),
        _section("Measured", _charts(values, quality=False)),
        _section("Expectations", _expectations(report["expectations"])),
        _section("Rejected sequences", _rejected(report["rejected"], pictures)),
    ]
    head = f'<meta charset="utf-8"><title>Validation</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content or '<p>None.</p>'}"


def _table(header: Sequence[str], rows: Any) -> str:
    """A table of escaped cells, "" if it has no rows."""
    lines = ["".join(_cell(cell) for cell in row) for row in rows]
    if not lines:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value}</td>'
    return f"<td>{escape(str(value))}</td>"


def _expectations(outcomes: Mapping[str, Mapping[str, int]]) -> str:
    rows = [(table, reason, failed) for table, suite in outcomes.items() for reason, failed in suite.items()]
    return _table(("table", "expectation", "rows that break it"), rows)


def _collection(outcomes: Mapping[str, Mapping[str, Any]]) -> str:
    """What was expected of whole columns, and what they are."""
    rows = [
        (reason, _number(item["observed"]), "yes" if item["met"] else "no")
        for reason, item in outcomes.items()
    ]
    table = _table(("expectation", "observed", "as expected"), rows)
    return table.replace("<td>yes</td>", '<td class="good">yes</td>').replace(
        "<td>no</td>", '<td class="bad">no</td>'
    )


def _worst(worst: Sequence[Mapping[str, Any]]) -> str:
    """The sequences of the lowest quality: their scores and what to do."""
    if not worst:
        return ""
    scores = [name for name in worst[0] if name.startswith("quality")]
    header = ["id", *(name.removeprefix("quality_") for name in scores), "recommendation"]
    rows = [[item["id"], *(_number(item[name]) for name in scores), item["recommendation"]] for item in worst]
    return _table(header, rows)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _rejected(rejected: Sequence[Mapping[str, Any]], pictures: Mapping[str, bytes]) -> str:
    if not rejected:
        return ""
    lines = [
        f"<tr><td>{_picture(pictures.get(str(row['id'])))}</td>{_cell(row['id'])}{_cell(row['reason'])}</tr>"
        for row in rejected
    ]
    return f"<table><tr><th></th><th>id</th><th>why</th></tr>{''.join(lines)}</table>"


def _picture(jpeg: bytes | None) -> str:
    if jpeg is None:
        return ""
    return f'<img alt="middle frame" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'


def _charts(values: Mapping[str, Sequence[float]], *, quality: bool) -> str:
    """Histograms of the quality scores, on one axis from 0 to 1, or of everything else, each on its own."""
    chosen = {name: row for name, row in values.items() if name.startswith("quality") == quality and len(row)}
    charts = "".join(_chart(name, row, (0.0, 1.0) if quality else None) for name, row in chosen.items())
    return f'<div class="charts">{charts}</div>' if charts else ""


def _chart(name: str, values: Sequence[float], limits: tuple[float, float] | None) -> str:
    """A histogram of one score as SVG, with its range and median in the caption."""
    counts, _ = np.histogram(values, bins=24, range=limits)
    heights = 100 * counts / max(1, counts.max())  # [24], per cent
    bars = "".join(
        f'<rect x="{position}" y="{100 - height:.1f}" width="0.9" height="{height:.1f}"/>'
        for position, height in enumerate(heights)
    )
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    title = name.removeprefix("quality_") if limits else name
    caption = f"{escape(title)}: {low:.3g} to {high:.3g}, median {middle:.3g}"
    svg = f'<svg viewBox="0 0 24 100" preserveAspectRatio="none" role="img">{bars}</svg>'
    axis = '<div class="axis"><span>0</span><span>1</span></div>' if limits else ""
    return f"<figure>{svg}{axis}<figcaption>{caption}</figcaption></figure>"
