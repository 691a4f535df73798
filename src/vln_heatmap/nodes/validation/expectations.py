"""Limits on tables, judged by Great Expectations and traced back to the sequences that break them.

Invariant: a sequence is judged by its own rows alone, so one bad sequence never rejects another. What is
expected of the whole collection (means, quantiles, shares) rejects none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.params import ExpectationParams
from vln_heatmap.params.data import CollectionParams

_SITE = "docs"
_PAGES = (".html", ".css")


@dataclass(frozen=True)
class Verdict:
    """How a table fared with one expectation.

    Attributes:
        reason: name of the expectation in the parameters.
        columns: what it looks at.
        rows: positions of the rows that broke it, ascending; empty for an expectation of the whole column.
        success: whether the table as a whole meets it.
        observed: the mean, divergence or count that was judged, else the share of rows that meet it.
    """

    reason: str
    columns: tuple[str, ...]
    rows: NDArray[np.int64]
    success: bool
    observed: Any = None


def judge(
    tables: Mapping[str, pd.DataFrame],
    suites: Mapping[str, Mapping[str, ExpectationParams] | Mapping[str, CollectionParams]],
) -> tuple[dict[str, list[Verdict]], dict[str, str]]:
    """Run one suite of expectations on each table.

    Args:
        tables: by name, each with a plain row index 0 .. N-1.
        suites: for each table, the expectations by reason.

    Returns:
        The verdicts by table, and the Data Docs as a mapping from relative path to text (HTML and CSS).

    Raises:
        ValueError: an expectation looks at a column that its table does not have.
    """
    for name, suite in suites.items():
        for reason, expectation in suite.items():
            _check_columns(name, reason, expectation, tables[name])
    import great_expectations as gx  # seconds

    verdicts = {}
    with tempfile.TemporaryDirectory() as folder:
        context = _context(folder)
        source = context.data_sources.add_pandas("vln_heatmap")
        for name, suite in suites.items():
            batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
            expectations = [_configuration(reason, params) for reason, params in suite.items()]
            definition = gx.ValidationDefinition(
                name=name,
                data=batch,
                suite=context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations)),
            )
            checkpoint = gx.Checkpoint(
                name=name,
                validation_definitions=[context.validation_definitions.add(definition)],
                actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=[_SITE])],
                result_format={"result_format": "COMPLETE"},
            )
            outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": tables[name]})
            verdicts[name] = [
                _verdict(result) for run in outcome.run_results.values() for result in run.results
            ]
        return verdicts, _read_pages(Path(folder))


def failures(table: pd.DataFrame, verdicts: list[Verdict]) -> dict[str, dict[str, str]]:
    """What each sequence broke: sequence id to reason to a phrase with the value and where it is.

    Args:
        table: with the columns ``sequence_id`` and, for frames, ``frame_index``.
        verdicts: of that table.
    """
    broken: dict[str, dict[str, str]] = {}
    for verdict in verdicts:
        for sequence_id, rows in table.iloc[verdict.rows].groupby("sequence_id", sort=False):
            broken.setdefault(str(sequence_id), {})[verdict.reason] = _phrase(rows, verdict.columns)
    return broken


def _phrase(rows: pd.DataFrame, columns: tuple[str, ...]) -> str:
    first = rows.iloc[0]
    values = " and ".join(f"{name} is {_number(first[name])}" for name in columns)
    if "frame_index" not in rows:
        return values
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{values} at frame {first['frame_index']}{more}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def checkable(suite: Mapping[str, CollectionParams], table: pd.DataFrame) -> dict[str, CollectionParams]:
    """The expectations whose column the table has, with a value in it."""
    return {
        reason: params
        for reason, params in suite.items()
        if params.column in table and table[params.column].notna().any()
    }


def _check_columns(
    name: str, reason: str, expectation: ExpectationParams | CollectionParams, table: pd.DataFrame
) -> None:
    missing = [column for column in _columns(expectation) if column not in table]
    if missing:
        raise ValueError(
            f"validate.{name}.{reason} looks at column {missing[0]!r}, but the table has "
            f"{', '.join(map(str, table.columns))}"
        )


def _columns(expectation: ExpectationParams | CollectionParams) -> tuple[str, ...]:
    return getattr(expectation, "column_list", None) or (str(expectation.column),)


def _configuration(reason: str, params: ExpectationParams | CollectionParams) -> dict[str, Any]:
    kwargs = params.model_dump(mode="json", exclude={"type"}, exclude_none=True)
    if shares := kwargs.pop("shares", None):
        weights = np.array(list(shares.values())) / sum(shares.values())
        kwargs["partition_object"] = {"values": list(shares), "weights": weights.tolist()}
    return {"type": params.type, "kwargs": kwargs, "meta": {"reason": reason}}


def _verdict(result: Any) -> Verdict:
    config = result.expectation_config
    columns = config.kwargs.get("column_list") or [config.kwargs["column"]]
    rows = np.array(sorted(result.result.get("unexpected_index_list") or []), np.int64)
    observed = result.result.get("observed_value")
    broken = result.result.get("unexpected_percent")  # None where all rows are null
    if observed is None and broken is not None:
        observed = 1 - broken / 100
    return Verdict(config.meta["reason"], tuple(columns), rows, bool(result.success), observed)


def _context(folder: str) -> Any:
    """A GX context that lives in memory only and writes its pages to ``folder``."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    site = {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": folder},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "show_how_to_buttons": False,
    }
    config = DataContextConfig(
        data_docs_sites={_SITE: site},
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _read_pages(folder: Path) -> dict[str, str]:
    """The texts of a folder by relative path; GX's pictures and fonts are left out (its pages do without)."""
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in _PAGES)
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}
