"""What an epoch tells the director, from the rows of the history.

Invariant: a report is a function of the epoch's rows, its validation and the last losses of its samples, all of
which are saved, so that an interrupted epoch reports what a whole one does (but for the clock).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vln_heatmap.nodes.training.director import EpochPlan, EpochReport, Event

Row = Mapping[str, float]


def epoch_report(
    plan: EpochPlan,
    rows: Sequence[Row],
    *,
    step: int,
    batch_size: int,
    validation: Mapping[str, float],
    sample_losses: Mapping[int, float],
    memory: Mapping[str, float],
) -> EpochReport:
    """The report of an epoch.

    Args:
        plan: of the epoch.
        rows: of the history, one a step; at least one.
        step: updates done in the whole run.
        batch_size: samples a step.
        validation: metrics of the weights after it.
        sample_losses: by index of the sample.
        memory: shares of the memory in use, see ``memory_measures``.
    """
    seconds = [batch_size / row["samples_per_s"] for row in rows]
    waited = sum(row["wait"] * spent for row, spent in zip(rows, seconds, strict=True))
    norms = [row["grad_norm"] for row in rows]
    total = {"loss": mean_of(rows, "loss")}
    return EpochReport(
        epoch=plan.epoch,
        step=step,
        losses=total | means(rows, "loss/"),
        validation=dict(validation),
        grad_norm=sum(norms) / len(norms),
        grad_norm_max=max(norms),
        lr=rows[-1]["lr"],
        resources={
            **memory,
            "step_seconds": sum(seconds) / len(seconds),
            "wait_share": waited / sum(seconds),
        },
        data={f"{name}_share": value for name, value in means(rows, "data/").items()},
        sample_losses=dict(sample_losses),
    )


def diverged_report(plan: EpochPlan, *, step: int, what: str) -> EpochReport:
    """The report of an epoch that ended where ``what`` ceased to be finite."""
    nan = float("nan")
    losses = {"loss": nan, what.removeprefix("loss/"): nan}
    return EpochReport(plan.epoch, step, losses, grad_norm=nan, grad_norm_max=nan)


def means(rows: Sequence[Row], prefix: str) -> dict[str, float]:
    """Means of the numbers whose names begin with a prefix, without it."""
    names = [name for name in rows[-1] if name.startswith(prefix)]
    return {name.removeprefix(prefix): mean_of(rows, name) for name in names}


def mean_of(rows: Sequence[Row], name: str) -> float:
    """Mean of a number over the rows that have it."""
    values = [row[name] for row in rows if name in row]
    return sum(values) / len(values)


def told(event: Event) -> str:
    """An event in one line."""
    change = "" if event.after is None else f" ({_short(event.before)} -> {_short(event.after)})"
    return f"{event.kind} {event.name}: {event.cause}{change}"


def _short(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
