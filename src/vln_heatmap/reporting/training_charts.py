"""The charts of a training report: what the history and the events say, by step.

Invariant: a chart is a plotly figure of plain numbers without colours of text, grid and background: the page that
shows it sets these, light or dark. All charts have steps as x, so that one zoom can serve them all.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

#: Colours that can be told from each other, and from a white and a nearly black ground.
COLOURS = (
    *("#3b82f6", "#e8590c", "#2f9e44", "#a25fd6", "#d0940c"),
    *("#d6336c", "#1098ad", "#7f8a94", "#a0703c", "#74a50f"),
)
DASHES = ("solid", "dash", "dot")  # where there are more lines than colours
SEVERITIES = {"critical": "#e03131", "warning": "#e08a00", "info": "#3b82f6"}
KINDS = ("phase", "mix", "weights", "adjustment", "alert", "rollback", "stop")
MARKS = {"critical": "x", "warning": "triangle-up", "info": "circle"}
_POINTS = 1200  # of a line; more are averaged
_SMOOTH = 30  # a smoothed line is a running mean over this part of the run


class EventLike(Protocol):
    """What happened after a step: see the training's ``Event``."""

    @property
    def step(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def cause(self) -> str: ...

    @property
    def before(self) -> Any: ...

    @property
    def after(self) -> Any: ...

    @property
    def severity(self) -> str: ...


@dataclass(frozen=True)
class Chart:
    """A figure with its heading; a small one shares its row with others."""

    title: str
    figure: go.Figure
    small: bool = False


class Charts:
    """All charts of one training.

    Args:
        history: one row a step, columns as in docs/training.md; a chart whose columns are missing is left out.
        events: what happened.
    """

    def __init__(self, history: pd.DataFrame, events: Sequence[EventLike]) -> None:
        self.history, self.events = history, events
        self.steps, self.stretches = history["step"].to_numpy(), stretches(history)
        self.colours: dict[str, int] = {}  # number by name of a part or level: the same in all charts

    def timeline(self) -> list[Chart]:
        """Every event, by kind, coloured by severity."""
        if not self.events:
            return []
        figure = go.Figure()
        for severity, colour in reversed(SEVERITIES.items()):  # the worst on top
            chosen = [event for event in self.events if event.severity == severity]
            mark = {"color": colour, "symbol": MARKS[severity], "size": 10}
            figure.add_scatter(
                x=[event.step for event in chosen],
                y=[event.kind for event in chosen],
                text=[described(event) for event in chosen],
                mode="markers",
                marker=mark,
                name=severity,
                hovertemplate="%{text}<extra></extra>",
                showlegend=True,
            )
        kinds = [kind for kind in reversed(KINDS) if any(event.kind == kind for event in self.events)]
        figure.update_yaxes(type="category", categoryorder="array", categoryarray=kinds)
        figure.update_yaxes(range=[-0.6, len(kinds) - 0.1])
        figure.update_layout(hovermode="closest", height=110 + 34 * len(kinds))
        return [Chart("Events", self._framed(figure, marks=False))]

    def losses(self) -> list[Chart]:
        """The total, and every part on its own scale."""
        charts = [Chart("Total", self._framed(self._curve("loss")))]
        for name in self._columns("loss/"):
            figure = self._curve(name, key=name.removeprefix("loss/"))
            charts.append(Chart(name.removeprefix("loss/"), self._framed(figure, small=True), small=True))
        return charts

    def validation(self) -> list[Chart]:
        """Metrics between 0 and 1 together, the others alone."""
        names = self._columns("val/")
        within = [name for name in names if self.history[name].dropna().between(0, 1).all()]
        charts = []
        for group, title in [(within, "Metrics")] + [([n], n[4:]) for n in names if n not in within]:
            if group:
                charts.append(Chart(title, self._framed(self._lines(group, "val/", mode="lines+markers"))))
        return charts

    def weights(self) -> list[Chart]:
        """Weights of the loss parts, if any of them changes."""
        names = self._columns("weight/")
        if not names or self.steady("weight/"):
            return []
        return [Chart("Loss weights", self._framed(self._lines(names, "weight/", shape="hv")))]

    def mix(self) -> list[Chart]:
        """Shares of the samples that serve each level, if any of them changes; a sample may serve several."""
        names = self._columns("mix/")
        if not names or self.steady("mix/"):
            return []
        figure = self._lines(names, "mix/", shape="hv")
        figure.update_yaxes(tickformat=".0%", rangemode="tozero")
        return [Chart("Data mix", self._framed(figure))]

    def optimisation(self) -> list[Chart]:
        """Learning rate and gradient."""
        return self._small({"lr": "Learning rate", "grad_norm": "Gradient norm"})

    def resources(self) -> list[Chart]:
        """Waiting, speed, memory, and the shares of bad data."""
        titles = {
            "wait": "Share of the time spent waiting for data",
            "samples_per_s": "Samples a second",
            "step_seconds": "Seconds a step",
            "memory_share": "Share of the memory in use",
        }
        bad = {name: f"Share of samples: {name[5:].replace('_', ' ')}" for name in self._columns("data/")}
        bad = {} if self.steady("data/") else bad
        charts = self._small(titles | bad)
        for chart in charts:
            if chart.title.startswith("Share"):
                most = max(np.nanmax(trace.y) for trace in chart.figure.data)
                limits = [0, max(0.02, 1.08 * most)]
                chart.figure.update_yaxes(type="linear", dtick=None, tickformat=".1~%", range=limits)
        return charts

    def steady(self, prefix: str) -> dict[str, float]:
        """Values by name of the columns with this prefix, if none of them ever changes; else nothing."""
        values = {name: self.history[name].fillna(0.0).unique() for name in self._columns(prefix)}
        if any(len(different) > 1 for different in values.values()):
            return {}
        return {name.removeprefix(prefix): float(only) for name, (only,) in values.items()}

    # parts

    def _columns(self, prefix: str) -> list[str]:
        """Names of the columns with numbers, in order of the table."""
        return [n for n in self.history if str(n).startswith(prefix) and self.history[n].notna().any()]

    def _small(self, titles: Mapping[str, str]) -> list[Chart]:
        """Charts of the columns that there are; all but the learning rate scatter from step to step."""
        names = [name for name in titles if name in self._columns(name)]
        return [
            Chart(titles[n], self._framed(self._curve(n, faint=n != "lr"), small=True), small=True)
            for n in names
        ]

    def _curve(self, name: str, *, key: str | None = None, faint: bool = True) -> go.Figure:
        """One column: smoothed, and faintly as it is, or only as it is."""
        colour = COLOURS[self._colour(key) % len(COLOURS)] if key else COLOURS[0]
        values = self.history[name].to_numpy(np.float64)
        figure = go.Figure()
        line = {"color": colour, "width": 1.8}
        if faint:
            x, y = thinned(self.steps, values)
            faded = {"color": colour, "width": 1}
            figure.add_scatter(x=x, y=y, mode="lines", line=faded, opacity=0.28, hoverinfo="skip")
        x, y = thinned(self.steps, smoothed(values, self.stretches) if faint else values)
        figure.add_scatter(x=x, y=y, mode="lines", line=line, hovertemplate="%{y:.4g}<extra></extra>")
        figure.update_yaxes(type="log" if wide_range(y) else "linear")
        return figure

    def _lines(
        self,
        names: Sequence[str],
        prefix: str,
        *,
        mode: str = "lines",
        shape: str = "linear",
    ) -> go.Figure:
        """Several columns with a legend; gaps are skipped."""
        figure = go.Figure()
        table = self.history[["step", *names]].dropna(how="all", subset=list(names))
        if shape == "hv":
            table = table[corners(table[list(names)].to_numpy(np.float64))]
        for place, name in enumerate(names):
            key = name.removeprefix(prefix)
            number = place if prefix == "val/" else self._colour(key)
            known = table[["step", name]].dropna()
            line = {"color": COLOURS[number % len(COLOURS)], "width": 1.8, "shape": shape}
            line["dash"] = DASHES[number // len(COLOURS) % len(DASHES)]
            figure.add_scatter(
                x=known["step"].to_numpy(),
                y=known[name].to_numpy(),
                name=key.replace("_", " "),
                mode=mode,
                line=line,
                marker={"size": 5},
                showlegend=True,
                hovertemplate="%{y:.3g}",
            )
        return figure

    def _colour(self, key: str) -> int:
        return self.colours.setdefault(key, len(self.colours))

    def _framed(self, figure: go.Figure, *, small: bool = False, marks: bool = True) -> go.Figure:
        """Axes, phases as bands, and lines where the training was rolled back or stopped."""
        figure.update_layout(
            showlegend=any(trace.showlegend for trace in figure.data),
            legend={"orientation": "h", "y": -0.16 if not small else -0.3, "yanchor": "top", "x": 0},
            margin={"l": 56 if not small else 46, "r": 10, "t": 22 if not small else 8, "b": 28},
            height=figure.layout.height or (170 if small else 320),
            hovermode=figure.layout.hovermode or "x unified",
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font={"family": "system-ui, sans-serif", "size": 11 if small else 12},
        )
        edge = 0.5 + 0.01 * len(self.steps)  # room for marks at the ends
        span = [float(self.steps[0]) - edge, float(self.steps[-1]) + edge]
        figure.update_xaxes(range=span, zeroline=False, hoverformat=",d", tickformat=",~d")
        figure.update_yaxes(zeroline=False, automargin=True)
        if figure.layout.yaxis.type == "log":
            figure.update_yaxes(dtick="D2" if not small else 1, exponentformat="power")
        self._phases(figure, labels=not small)
        for event in self.events if marks else ():
            if event.kind in {"rollback", "stop"}:
                line = {"color": SEVERITIES["critical"], "width": 1.5, "dash": "dot"}
                figure.add_shape(_upright(event.step, event.step), type="line", line=line)
        return figure

    def _phases(self, figure: go.Figure, *, labels: bool) -> None:
        bands = phases(self.history)
        if len(bands) < 2:
            return
        for number, (name, first, last) in enumerate(bands):
            shade = f"rgba(127,127,127,{0.13 if number % 2 else 0.04})"
            figure.add_shape(
                _upright(first - 0.5, last + 0.5),
                type="rect",
                fillcolor=shade,
                line={"width": 0},
                layer="below",
            )
            if labels and last - first > 0.06 * len(self.steps):
                figure.add_annotation(
                    x=first,
                    y=1,
                    yref="paper",
                    text=escape(name.replace("_", " ")),
                    showarrow=False,
                    xanchor="left",
                    yanchor="bottom",
                    font={"size": 11},
                )


def _upright(first: float, last: float) -> dict[str, Any]:
    """Over the whole height of a chart, from one step to another."""
    return {"x0": first, "x1": last, "y0": 0, "y1": 1, "yref": "paper"}


def stretches(history: pd.DataFrame) -> NDArray[np.int64]:
    """Number of the stretch of one phase that each row is in; all one without a column ``phase``."""
    if "phase" not in history:
        return np.zeros(len(history), np.int64)
    names = history["phase"].astype(str)
    return (names != names.shift()).cumsum().to_numpy()


def phases(history: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Name, first and last step of each stretch of one phase; none without a column ``phase``."""
    if "phase" not in history:
        return []
    return [
        (str(rows["phase"].iloc[0]), int(rows["step"].iloc[0]), int(rows["step"].iloc[-1]))
        for _, rows in history.groupby(stretches(history), sort=True)
    ]


def thinned(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Means of runs of points, of those that are finite, so that at most 1200 are left."""
    steps, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    size = -(-len(steps) // _POINTS)
    if size <= 1:
        return steps, values
    starts = np.arange(0, len(steps), size)
    counts = np.diff([*starts, len(steps)])
    return np.add.reduceat(steps, starts) / counts, np.add.reduceat(values, starts) / counts


def smoothed(values: ArrayLike, stretches: ArrayLike) -> NDArray[np.float64]:
    """Running mean over a thirtieth of the run, within each stretch of one phase.

    Args:
        values: [N]; those that are not finite are left out.
        stretches: [N] number of the stretch.
    """
    series = pd.Series(np.asarray(values, np.float64)).replace([np.inf, -np.inf], np.nan)
    width = max(1, len(series) // _SMOOTH)
    means = series.groupby(np.asarray(stretches)).rolling(width, center=True, min_periods=1).mean()
    return means.droplevel(0).sort_index().to_numpy()


def corners(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of step functions [N, columns] differ from the row before, and the first and the last one."""
    keep = np.ones(len(values), bool)
    keep[1:-1] = (~np.isclose(values[1:-1], values[:-2], rtol=0, atol=0, equal_nan=True)).any(1)
    return keep


def wide_range(values: NDArray[Any]) -> bool:
    """Whether values need a logarithmic axis: all above 0, over more than one power of ten."""
    return len(values) > 0 and values.min() > 0 and values.max() > 10 * values.min()


def described(event: EventLike) -> str:
    """An event for a hover label, with line breaks."""
    cause = "<br>".join(escape(line) for line in textwrap.wrap(event.cause, 60))
    change = "" if event.after is None else f"<br>{escape(change_of(event))}"
    place = f"step {event.step:,}, epoch {event.epoch}"
    return f"<b>{escape(event.name)}</b> ({escape(event.kind)}, {place})<br>{cause}{change}"


def change_of(event: EventLike) -> str:
    """Values before and after: ``0.5 → 0.25``; "" if there is none."""
    texts = [
        f"{v:.3g}" if isinstance(v, float) else str(v) for v in (event.before, event.after) if v is not None
    ]
    return " → ".join(texts)
