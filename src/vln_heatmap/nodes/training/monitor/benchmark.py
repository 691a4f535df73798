"""How often the monitor is right: precision and recall of each kind of alert on histories with planted faults.

``python -m vln_heatmap.nodes.training.monitor.benchmark`` prints the tables. Invariant: an alert counts as right
if a fault of its name was planted and the alert comes within the time of that fault, once; every other alert is
wrong. The monitor never sees what was planted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from vln_heatmap.nodes.training.monitor.monitor import Monitor
from vln_heatmap.nodes.training.monitor.planted import PlantedHistory, planted_history
from vln_heatmap.params.monitor import MonitorParams


def measure(seeds: Iterable[int], params: MonitorParams, *, noise: float = 1.0) -> pd.DataFrame:
    """Precision and recall of the alerts on the planted histories of these seeds.

    Returns:
        one row a kind of alert (its index): planted, found, missed, false, precision, recall.
    """
    found, missed, false = Counter[str](), Counter[str](), Counter[str]()
    for seed in seeds:
        history = planted_history(seed, params, noise=noise)
        for total, names in zip((found, missed, false), _judged(history, params), strict=True):
            total.update(name.partition("/")[0] for name in names)
    kinds = sorted({*found, *missed, *false})
    rows = [
        {
            "planted": found[kind] + missed[kind],
            "found": found[kind],
            "missed": missed[kind],
            "false": false[kind],
            "precision": found[kind] / max(1, found[kind] + false[kind]),
            "recall": found[kind] / max(1, found[kind] + missed[kind]),
        }
        for kind in kinds
    ]
    return pd.DataFrame(rows, index=pd.Index(kinds, name="alert"))


def monitor_accuracy(seeds: Iterable[int], params: MonitorParams) -> float:
    """The lowest precision or recall of any kind of alert, in [0, 1]."""
    return float(measure(seeds, params)[["precision", "recall"]].to_numpy().min())


def _judged(history: PlantedHistory, params: MonitorParams) -> tuple[list[str], list[str], list[str]]:
    """Names of the faults that were found, of those that were missed, of the alerts that were wrong."""
    monitor, open_faults = Monitor(params), list(history.planted)
    found, false = [], []
    for report in history.reports:
        for alert in monitor.observe(report):
            fault = next(
                (f for f in open_faults if f.name == alert.name and f.begin <= report.epoch <= f.latest), None
            )
            if fault is None:
                false.append(alert.name)
                continue
            if fault.needed:  # either answer to the others is right, any number of times
                open_faults.remove(fault)
                found.append(alert.name)
    return found, [fault.name for fault in open_faults if fault.needed], false


def markdown(table: pd.DataFrame) -> str:
    """The table of ``measure`` as it stands in the docs."""
    lines = ["| alert | planted | found | false | precision | recall |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{kind}` | {row.planted:.0f} | {row.found:.0f} | {row.false:.0f} "
        f"| {row.precision:.3f} | {row.recall:.3f} |"
        for kind, row in table.iterrows()
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and how the worst number depends on the noise."""
    parser = argparse.ArgumentParser(description="Precision and recall of the alerts on planted faults.")
    parser.add_argument("--histories", type=int, default=400, help="planted trainings (default 400)")
    count = parser.parse_args(arguments).histories
    params = MonitorParams()
    print(markdown(measure(range(count), params)))
    print("\n| noise | lowest precision | lowest recall |\n|---|---|---|")
    for noise in (0.5, 1.0, 1.5, 2.0, 3.0):
        table = measure(range(count), params, noise=noise)
        worst = (f"{table[name].min():.3f} (`{table[name].idxmin()}`)" for name in ("precision", "recall"))
        print(f"| × {noise:g} | {' | '.join(worst)} |")


if __name__ == "__main__":
    main()
