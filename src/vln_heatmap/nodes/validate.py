"""Nodes of the validate stage: look at every sequence, judge it, report, and stop if too little is good.

Invariant: one bad sequence costs that sequence. It is listed with its reasons and the rest goes on; only the
last node, after all reports are saved, stops a run of which too little is left.
"""

from __future__ import annotations

import io
import logging
import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from vln_heatmap.nodes.validation.expectations import Verdict, checkable, failures, judge
from vln_heatmap.nodes.validation.inspection import QUALITY, Inspection, inspect_sequence
from vln_heatmap.params import ValidateParams
from vln_heatmap.reporting.validation_page import validation_page

UNREADABLE = "unreadable"
#: Measured scores that travel on in ``validated_index``.
SCORES = (
    "path_metres",
    "brightness",
    "contrast",
    "depth_valid",
    "reprojection_error",
    "reprojection_inliers",
    "frozen",
    "unknown_ids",
    *QUALITY,
)
logger = logging.getLogger(__name__)


class TooFewGoodSequencesError(ValueError):
    """Less of the collection is good than the parameters ask for."""


def inspect_sequences(
    sequences: Any, sequence_index: pd.DataFrame, params: ValidateParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn every sequence of the index into plain facts; several threads, since decoding releases the GIL.

    Args:
        sequences: the lazy ``SequenceStore``.
        sequence_index: one row a sequence, with the column ``id``.
        params: of the stage.

    Returns:
        Facts of all frames of readable sequences, and facts of all sequences (``sequence_id``, ``error``: why
        it cannot be read or "", and scores that are NaN where it cannot).

    Raises:
        ValueError: the index holds no sequence.
    """
    if sequence_index.empty:
        raise ValueError("the index lists no sequence: nothing was collected")
    inspect = partial(_inspect, sequences, params=params)
    with ThreadPoolExecutor(params.workers or _cores()) as pool:
        found = pool.map(inspect, sequence_index["id"])
        bar = tqdm(found, desc="validate", unit="sequence", total=len(sequence_index), disable=None)
        inspections = list(bar)
    frames = [item.frames for item in inspections if not item.error]
    rows = [{"sequence_id": item.id, "error": item.error, **item.scores} for item in inspections]
    return pd.concat(frames or [pd.DataFrame()], ignore_index=True), pd.DataFrame(rows)


def judge_sequences(
    sequence_index: pd.DataFrame,
    frame_facts: pd.DataFrame,
    sequence_facts: pd.DataFrame,
    params: ValidateParams,
) -> tuple[dict[str, dict[str, str]], dict[str, Any], dict[str, str]]:
    """Apply the limits of the parameters with Great Expectations.

    Returns:
        What each sequence broke (id to reason to a phrase; good sequences are absent), the outcome of each
        expectation by table (how many rows broke it; for ``collection``, what was observed and whether that is
        as expected), and the Data Docs (relative path to text).
    """
    unreadable = sequence_facts.loc[sequence_facts["error"] != "", ["sequence_id", "error"]]
    broken = {str(row.sequence_id): {UNREADABLE: row.error} for row in unreadable.itertuples(index=False)}
    if len(unreadable) == len(sequence_facts):
        return broken, {}, {}
    readable = sequence_facts[sequence_facts["error"] == ""].reset_index(drop=True)
    tables = {"frames": frame_facts, "sequences": readable}
    collection = with_scores(sequence_index, sequence_facts)
    whole = checkable(params.collection, collection)
    tables["collection"] = collection[list(dict.fromkeys(item.column for item in whole.values()))]
    suites: dict[str, Any] = {"frames": params.frames, "sequences": params.sequences, "collection": whole}
    verdicts, pages = judge(tables, {name: suite for name, suite in suites.items() if suite})
    outcomes: dict[str, Any] = {"collection": _whole(verdicts.pop("collection", []))}
    for name, items in verdicts.items():
        outcomes[name] = {item.reason: len(item.rows) for item in items}
        for sequence_id, reasons in failures(tables[name], items).items():
            broken.setdefault(sequence_id, {}).update(reasons)
    return broken, outcomes, pages


def with_scores(sequence_index: pd.DataFrame, sequence_facts: pd.DataFrame) -> pd.DataFrame:
    """The index with the columns that were measured; quality, which it may have already, is the one found now."""
    facts = sequence_facts.reindex(columns=["sequence_id", *SCORES, "quality_passed", "recommendation"])
    kept = sequence_index.drop(
        columns=[name for name in facts if name.startswith("quality")], errors="ignore"
    )
    facts = facts.set_index("sequence_id")
    found = kept.join(facts[[name for name in facts if name not in kept]], on="id")
    return found.fillna({"quality_passed": 0.0, "recommendation": ""})  # of what cannot be read


def _whole(verdicts: list[Verdict]) -> dict[str, dict[str, Any]]:
    """Outcomes of expectations of the whole collection, and a warning for each that is not met."""
    for verdict in verdicts:
        if not verdict.success:
            logger.warning(
                "The collection is not as expected: %s (%s is %s)",
                verdict.reason,
                ", ".join(verdict.columns),
                verdict.observed,
            )
    return {item.reason: {"met": item.success, "observed": _plain(item.observed)} for item in verdicts}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def sort_sequences(
    sequence_index: pd.DataFrame,
    frame_facts: pd.DataFrame,
    sequence_facts: pd.DataFrame,
    broken: dict[str, dict[str, str]],
    outcomes: dict[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Put the verdicts beside the index.

    Returns:
        The index with ``accepted``, ``reason`` ("" if accepted) and scores; the quarantine (rejected rows:
        ``id``, ``reasons`` by name, ``reason`` in full); the report.
    """
    ids = sequence_index["id"].astype(str)
    judged = with_scores(sequence_index, sequence_facts)
    judged["accepted"] = ~ids.isin(broken.keys())
    judged["reason"] = [
        _sentence(broken.get(sequence_id, {}), advice)
        for sequence_id, advice in zip(ids, judged["recommendation"], strict=True)
    ]
    rejected = judged.loc[~judged["accepted"], ["id", "reason"]].reset_index(drop=True)
    names = [sorted(broken[sequence_id]) for sequence_id in rejected["id"].astype(str)]
    rejected.insert(1, "reasons", pd.Series(map(", ".join, names), dtype=str))
    report = {
        "sequences": {
            "total": len(judged),
            "accepted": int(judged["accepted"].sum()),
            "rejected": len(rejected),
            "accepted_share": float(judged["accepted"].mean()),
        },
        "frames": {"inspected": len(frame_facts)},
        "reasons": dict(Counter(chain.from_iterable(names)).most_common()),
        "scores": {name: _spread(judged[name]) for name in SCORES if judged[name].notna().any()},
        "expectations": {name: items for name, items in outcomes.items() if name != "collection"},
        "collection": outcomes.get("collection", {}),
        "quality": _means(judged),
        "worst": _worst(judged),
        "rejected": rejected.to_dict(orient="records"),
    }
    return judged, rejected, report


def summarize_validation(
    report: dict[str, Any], judged: pd.DataFrame, sequences: Any, params: ValidateParams
) -> str:
    """The report as one HTML page that needs nothing else, with a picture of rejected sequences."""
    rejected = judged.loc[~judged["accepted"], "id"].head(params.thumbnails)
    pictures = {str(name): picture for name in rejected if (picture := _thumbnail(sequences, str(name)))}
    values = {name: judged[name].dropna().tolist() for name in report["scores"]}
    return validation_page(report, values, pictures)


def require_good_share(
    judged: pd.DataFrame, report: dict[str, Any], _summary: str, params: ValidateParams
) -> pd.DataFrame:
    """Hand on the judged index if enough of it is good.

    Args:
        judged: the index with verdicts.
        report: of the validation.
        _summary: taken only so that it is saved before this node can stop the run.
        params: of the stage.

    Raises:
        TooFewGoodSequencesError: the accepted share is below ``min_accepted_share``.
    """
    counts = report["sequences"]
    if counts["accepted_share"] >= params.min_accepted_share:
        return judged
    top = ", ".join(f"{reason} ({count})" for reason, count in list(report["reasons"].items())[:3])
    raise TooFewGoodSequencesError(
        f"only {counts['accepted']} of {counts['total']} sequences are good ({counts['accepted_share']:.0%}, "
        f"validate.min_accepted_share is {params.min_accepted_share:.0%}); most frequent reasons: {top}. "
        f"First: {report['rejected'][0]['id']}: {report['rejected'][0]['reason']}. "
        "See validation_summary for the rest"
    )


def _inspect(sequences: Any, sequence_id: str, *, params: ValidateParams) -> Inspection:
    if sequence_id not in sequences:
        return Inspection(str(sequence_id), error="it is in the index but not in the store")
    return inspect_sequence(sequences[sequence_id], params)


def _sentence(reasons: Mapping[str, str], advice: str) -> str:
    """All reasons with their phrases; what the quality controller recommends, if it found fault."""
    parts = [f"{reason}: {phrase}" for reason, phrase in sorted(reasons.items())]
    return "; ".join([*parts, advice] if parts and advice.startswith("re-collect") else parts)


def _means(judged: pd.DataFrame) -> dict[str, float]:
    """Mean of each quality score over the accepted sequences, by name without its prefix."""
    rows = judged.loc[judged["accepted"], list(QUALITY)].dropna()
    names = [name.removeprefix("quality_").replace("quality", "overall") for name in QUALITY]
    return dict(zip(names, map(float, rows.mean()), strict=True)) if len(rows) else {}


def _worst(judged: pd.DataFrame, count: int = 10) -> list[dict[str, Any]]:
    """The sequences of the lowest quality, worst first: id, scores and recommendation."""
    worst = judged.dropna(subset=["quality"]).sort_values(["quality_passed", "quality"]).head(count)
    return worst[["id", *QUALITY, "recommendation"]].to_dict(orient="records")


def _spread(values: pd.Series) -> dict[str, float]:
    quantiles = values.quantile([0, 0.05, 0.5, 0.95, 1])
    return dict(zip(("min", "q05", "median", "q95", "max"), map(float, quantiles), strict=True))


def _thumbnail(sequences: Any, sequence_id: str) -> bytes | None:
    """JPEG of the middle frame, at most 128 pixels; None if there is none to be had."""
    from PIL import Image

    try:
        stored = sequences[sequence_id]
        image = Image.fromarray(np.asarray(stored.rgb([len(stored) // 2])[0]))
    except (ValueError, KeyError, IndexError):  # it is in quarantine for a reason
        return None
    image.thumbnail((128, 128))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
