"""What is in a data set, and everything that is wrong with it, before anything is trained on it.

Invariant: nothing stops the inspection but data that cannot be opened at all; every problem has a file and, where
it is one row's, the row. Files are read row group by row group.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.nodes.policy.file_checks import Finding, Findings, check_file
from vln_heatmap.nodes.policy.sources import open_episodes
from vln_heatmap.nodes.policy.sources.cells import numbered
from vln_heatmap.nodes.policy.sources.parquet import parquet_files
from vln_heatmap.nodes.statistics import Moments
from vln_heatmap.params.policy import InspectDataParams
from vln_heatmap.reporting.policy_figures import data_plot

_LOG = logging.getLogger(__name__)
COLUMNS = ("file", "row", "column", "kind", "problem")


def inspect_data(own: Any, params: InspectDataParams) -> tuple[dict[str, Any], pd.DataFrame]:
    """Look at all of a data set.

    Args:
        own: gives our own sequences and their splits when it is called; not called for other formats.
        params: which data, and how many of the images are decoded.

    Returns:
        A report (plain values) and the problems: ``file``, ``row`` (-1: the whole file), ``column``, ``kind``,
        ``problem``. Of a kind in one file, the first ``params.shown`` are listed and all are counted.

    Raises:
        ValueError: the data cannot be opened at all.
    """
    found = _parquet(params) if params.data.format == "parquet" else _by_episodes(own, params)
    problems = pd.DataFrame([vars(p) for p in found.listed], columns=COLUMNS).astype({"row": int})
    report = _report(found, params)
    for line in report_lines(report):
        _LOG.info("%s", line)
    for problem in found.listed[: params.shown]:
        where = problem.file + (f", row {problem.row}" if problem.row >= 0 else "")
        _LOG.warning("%s: %s", where, problem.problem)
    return report, problems


def draw_inspection(report: dict[str, Any]) -> Figure:
    """Lengths of the episodes and ranges of the numbers."""
    return data_plot(report)


def _parquet(params: InspectDataParams) -> Findings:
    found = Findings(params.shown)
    for file in parquet_files(Path(str(params.data.source)).expanduser()):
        check_file(file, params, found)
    return found


def _by_episodes(own: Any, params: InspectDataParams) -> Findings:
    """Formats that have a reader of their own: what it refuses is what is wrong."""
    found = Findings(params.shown)
    source = open_episodes(params.data, own)
    names = {"state": source.state_names, "action": source.action_names}
    for episode in source.episodes:
        found.files.add(episode.file)
        found.lengths.append(episode.length)
        if episode.length < 2:
            found.add(episode.file, episode.first_row, "", "one_step", f"episode {episode.id} has one step")
        try:
            rows = source.numbers(episode, 0, episode.length)
            found.prompts.update(rows.prompts)
            for kind, called in names.items():
                found.numbers[kind].append(getattr(rows, kind))
                found.names[kind] = called
            for camera in source.cameras:
                for start, stop in _blocks(episode.length, params.image_stride):
                    for image in source.images(episode, camera, start, stop):
                        found.images[camera][f"{image.shape[1]}x{image.shape[0]}"] += 1
        except ValueError as error:
            refused = error if isinstance(error, RefusedError) else None
            place = -1 if refused is None or refused.row is None else refused.row
            reason = refused.reason if refused else str(error)
            found.add(episode.file, place, "", "unreadable", f"{episode.id}: {reason}")
    return found


def _blocks(length: int, stride: int) -> Iterable[tuple[int, int]]:
    """Rows to decode together: blocks of all rows, or single ones."""
    size = 64 if stride == 1 else 1
    return ((start, min(start + size, length)) for start in range(0, length, max(size, stride)))


def _report(found: Findings, params: InspectDataParams) -> dict[str, Any]:
    lengths = np.array(found.lengths or [0])
    return {
        "format": params.data.format,
        "source": params.data.source,
        "files": len(found.files),
        "episodes": len(found.lengths),
        "steps": int(lengths.sum()),
        "lengths": {
            "min": int(lengths.min()),
            "median": float(np.median(lengths)),
            "max": int(lengths.max()),
            "histogram": _histogram(lengths),
        },
        "cameras": {name: dict(sizes) for name, sizes in sorted(found.images.items())},
        "numbers": {kind: _summary(found, kind) for kind in ("state", "action")},
        "prompts": {"different": len(found.prompts), "most_frequent": dict(found.prompts.most_common(5))},
        "largest_row_group_megabytes": round(found.row_group_bytes / 2**20, 3),
        "problems": dict(sorted(found.counts.items())),
    }


def _histogram(lengths: np.ndarray) -> list[list[int]]:
    """[first length, episodes] of up to 20 equal classes."""
    counts, edges = np.histogram(lengths, bins=min(20, int(np.ptp(lengths)) + 1))
    return [[int(edge), int(count)] for edge, count in zip(edges[:-1], counts, strict=True)]


def _summary(found: Findings, kind: str) -> dict[str, Any] | None:
    parts = [rows[np.isfinite(rows).all(1)] for rows in found.numbers[kind]]
    width = Counter(part.shape[1] for part in parts if len(part))
    if not width:
        return None
    usual = width.most_common(1)[0][0]
    summary = Moments.of_parts(part for part in parts if len(part) and part.shape[1] == usual)
    return summary.summary(found.names[kind] or numbered(kind, usual))


def report_lines(report: dict[str, Any]) -> Iterable[str]:
    """The report as a few lines of text."""
    lengths = report["lengths"]
    yield (
        f"{report['episodes']} episodes, {report['steps']} steps in {report['files']} files; lengths "
        f"{lengths['min']} to {lengths['max']}, median {lengths['median']:g}"
    )
    for name, sizes in report["cameras"].items():
        yield f"camera {name}: " + ", ".join(f"{count} images of {size}" for size, count in sizes.items())
    for kind, summary in report["numbers"].items():
        if summary:
            ranges = zip(summary["names"], summary["min"], summary["max"], strict=True)
            yield f"{kind}: " + ", ".join(f"{name} [{low:.3g}, {high:.3g}]" for name, low, high in ranges)
    yield f"{report['prompts']['different']} different prompts"
    problems = ", ".join(f"{count} {kind}" for kind, count in report["problems"].items())
    yield f"problems: {problems or 'none'}"


__all__ = ["Finding", "Findings", "draw_inspection", "inspect_data", "report_lines"]
