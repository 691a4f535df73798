"""One page that tells what happened in a training: losses, weights, data, adjustments, alerts, by step.

Invariant: the page is one file. The charts' library, styles and numbers are inside it, so it opens anywhere,
offline; what comes from the run (names, causes) is text there, never markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

import pandas as pd

from vln_heatmap.reporting.training_charts import Chart, Charts, EventLike, change_of, phases

_DECISIONS = (
    "adjustment",
    "alert",
    "rollback",
    "stop",
)  # events that are shown at once; the others on demand


def training_report(history: pd.DataFrame, events: Sequence[EventLike], *, title: str) -> str:
    """The report of a training as self-contained HTML (some 5 MB, nearly all of it plotly.js).

    Args:
        history: one row a step, columns as in docs/training.md; ``step`` and ``loss`` are needed.
        events: what was decided and noticed, in order.
        title: of the page.

    Raises:
        ValueError: there is no step, or a needed column is missing.
    """
    missing = {"step", "loss"} - set(history)
    if missing or history.empty:
        raise ValueError(
            f"a report needs a history with rows and the columns step and loss, got {len(history)} rows and "
            f"{sorted(map(str, history))}"
        )
    from plotly.offline import get_plotlyjs

    page = _Page(history, events)
    parts = {
        "title": escape(title),
        "body": page.body(title),
        "charts": json.dumps(page.figures).replace("</", "<\\/"),
        "plotly": get_plotlyjs(),
    }
    template = files("vln_heatmap.reporting").joinpath("training_report.html").read_text("utf-8")
    first, *rest = template.split("{{")
    pieces = [text.partition("}}") for text in rest]  # name of a part, and what follows it
    return first + "".join(parts[name] + after for name, _, after in pieces)


class _Page:
    """The body of the page, and the figures that it refers to by id."""

    def __init__(self, history: pd.DataFrame, events: Sequence[EventLike]) -> None:
        self.history, self.events = history, events
        self.charts = Charts(history, events)
        self.figures: dict[str, dict[str, object]] = {}

    def body(self, title: str) -> str:
        charts = self.charts
        sections = (
            ("What happened", _TIMELINE, charts.timeline(), _event_table(self.events)),
            ("Losses", _LOSSES, charts.losses(), ""),
            ("Validation", _VALIDATION, charts.validation(), validation_table(self.history)),
            ("Weights and data", _WEIGHTS, charts.weights() + charts.mix(), _steady(charts)),
            ("Optimisation", "", charts.optimisation(), ""),
            ("Resources and data quality", _RESOURCES, charts.resources(), _quality(charts)),
        )
        button = '<button id="theme">light / dark</button>'
        head = f"<header><div><h1>{escape(title)}</h1><p>{self._about()}</p></div>{button}</header>"
        return "\n".join(
            [head, *_banners(self.events), self._cards(), *(self._section(*part) for part in sections)]
        )

    def _section(self, title: str, note: str, charts: Sequence[Chart], table: str) -> str:
        if not charts and not table:
            return ""
        note = f'<p class="note">{note}</p>' if note else ""
        grid = f'<div class="charts">{"".join(map(self._chart, charts))}</div>' if charts else ""
        return f"<section><h2>{escape(title)}</h2>{note}{grid}{table}</section>"

    def _chart(self, chart: Chart) -> str:
        name = f"chart{len(self.figures)}"
        self.figures[name] = json.loads(chart.figure.to_json())
        kind = "chart small" if chart.small else "chart"
        return f'<div class="{kind}"><h3>{escape(chart.title)}</h3><div id="{name}"></div></div>'

    def _about(self) -> str:
        names = [name for name, _, _ in phases(self.history)]
        epochs = self.history["epoch"].nunique() if "epoch" in self.history else 0
        text = f"{len(self.history):,} steps" + (f" in {epochs:,} epochs" if epochs else "")
        return escape(text + (f"; phases: {', '.join(names)}" if len(names) > 1 else ""))

    def _cards(self) -> str:
        losses = self.history["loss"].dropna()
        part = max(1, len(losses) // 20)
        start, end = losses.iloc[:part].mean(), losses.iloc[-part:].mean()
        cards = [(f"{start:.3g} → {end:.3g}", "loss, first and last twentieth")]
        for metric, values in _validations(self.history).items():
            best = _best(metric, values)
            cards.append((f"{values[best]:.3f}", f"best {metric.replace('_', ' ')}, step {best:,}"))
        alerts = [event for event in self.events if event.kind == "alert"]
        counts = {s: sum(event.severity == s for event in alerts) for s in ("critical", "warning", "info")}
        text = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
        cards.append((str(len(alerts)), f"alerts{': ' + text if text else ''}"))
        if "wait" in self.history:
            cards.append((f"{self.history['wait'].mean():.1%}", "of a step spent waiting for data"))
        boxes = (
            f'<div class="card"><b>{escape(big)}</b><span>{escape(small)}</span></div>'
            for big, small in cards
        )
        return f'<div class="cards">{"".join(boxes)}</div>'


_TIMELINE = (
    "Every decision and every alert at its step; hover for the cause. Bands are phases; dotted red lines in the "
    "charts below are rollbacks and stops. Drag to zoom all charts at once, double-click to go back."
)
_LOSSES = "Faint: each step. Strong: running mean. Parts are without their weights, each on its own scale."
_VALIDATION = "On houses that are not trained on."
_WEIGHTS = (
    "Weights of the loss parts, and the share of the samples that serve each level (some serve several)."
)
_RESOURCES = "Faint: each step. Strong: running mean."


def _steady(charts: Charts) -> str:
    """Weights and shares that never change, which need no chart."""
    weights = [f"{name} {value:g}" for name, value in charts.steady("weight/").items()]
    shares = [f"{name} {value:.0%}" for name, value in charts.steady("mix/").items()]
    lines = (("Loss weights", weights), ("Data", shares))
    return "".join(f"<p>{name} throughout: {escape(', '.join(each))}.</p>" for name, each in lines if each)


def _quality(charts: Charts) -> str:
    """Shares of bad samples that never change; hardly ever other than 0."""
    shares = [f"{value:.1%} {name.replace('_', ' ')}" for name, value in charts.steady("data/").items()]
    return f"<p>Samples throughout: {escape(', '.join(shares))}.</p>" if shares else ""


def _banners(events: Iterable[EventLike]) -> list[str]:
    """A run that stopped or rolled back says so at the top, once."""
    lines = []
    for kind, text in (("stop", "Stopped"), ("rollback", "Rolled back")):
        causes = {event.cause: event.step for event in events if event.kind == kind}
        lines += [f"<strong>{text}</strong> after step {step:,}: {escape(c)}" for c, step in causes.items()]
    return [f'<div class="banner">{line}</div>' for line in lines]


def _event_table(events: Sequence[EventLike]) -> str:
    """Alerts and adjustments; changes of phase, mix and weights folded up."""
    shown = [event for event in events if event.kind in _DECISIONS]
    folded = [event for event in events if event.kind not in _DECISIONS]
    parts = [_events(shown)] if shown else []
    if folded:
        title = f"Changes of phase, data mix and loss weights ({len(folded)})"
        parts.append(f"<details><summary>{title}</summary>{_events(folded)}</details>")
    return "".join(parts)


def _events(events: Sequence[EventLike]) -> str:
    rows = [
        f'<tr><td class="number">{event.step:,}</td><td class="number">{event.epoch}</td>'
        f'<td><span class="severity {escape(event.severity)}">{escape(event.kind)}</span></td>'
        f"<td>{escape(event.name)}</td><td>{escape(event.cause)}</td>"
        f'<td class="change">{escape(change_of(event))}</td></tr>'
        for event in events
    ]
    head = "".join(f'<th class="number">{name}</th>' for name in ("step", "epoch"))
    head += "".join(f"<th>{name}</th>" for name in ("what", "name", "why", "value"))
    return f'<div class="table"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def validation_table(history: pd.DataFrame) -> str:
    """First, best and last value of each metric; "" without validation."""
    rows = []
    for metric, values in _validations(history).items():
        best = _best(metric, values)
        cells = [f"{values.iloc[0]:.3f}", f"{values[best]:.3f}", f"{best:,}", f"{values.iloc[-1]:.3f}"]
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        rows.append(f"<tr><td>{escape(metric.replace('_', ' '))}</td>{numbers}</tr>")
    if not rows:
        return ""
    names = "".join(f'<th class="number">{name}</th>' for name in ("first", "best", "at step", "last"))
    return f'<div class="table"><table><tr><th>metric</th>{names}</tr>{"".join(rows)}</table></div>'


def _validations(history: pd.DataFrame) -> dict[str, pd.Series]:
    """Measured values by step, by metric."""
    table = history.set_index("step")
    names = [name for name in table if str(name).startswith("val/")]
    return {name.removeprefix("val/"): table[name].dropna() for name in names if table[name].notna().any()}


def _best(metric: str, values: pd.Series) -> int:
    """Step of the best value; of losses and errors the least is best."""
    return int(values.idxmin() if metric.endswith(("loss", "error")) else values.idxmax())
