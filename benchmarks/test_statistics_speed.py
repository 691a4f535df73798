"""How long statistics take: a million rows of 14 numbers from Parquet, in one pass.

``pytest benchmarks/test_statistics_speed.py`` prints the seconds; the limit is 5 of one core's CPU time.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vln_heatmap.datasets.columns import parquet_rows
from vln_heatmap.nodes.statistics import RANK_ERROR, Moments

ROWS, DIMENSIONS = 1_000_000, 14
pytestmark = pytest.mark.benchmark(timer=time.process_time)  # other processes do not count


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(ROWS, DIMENSIONS)) * rng.lognormal(0, 1, DIMENSIONS)).astype(np.float32)


def test_a_million_rows_take_at_most_five_seconds(benchmark, values: np.ndarray, tmp_path: Path) -> None:
    cells = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIMENSIONS)
    pq.write_table(pa.table({"state": cells}), tmp_path / "frames.parquet")

    def measure() -> Moments:
        return Moments.of_parts(parquet_rows(tmp_path / "frames.parquet", "state"))

    moments = benchmark.pedantic(measure, rounds=3, warmup_rounds=0)
    for share in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
        ranks = (values <= moments.quantile(share)).mean(0)
        np.testing.assert_allclose(ranks, share, atol=RANK_ERROR)
    assert benchmark.stats.stats.min <= 5


def test_rows_in_small_parts_cost_as_much_as_in_one(benchmark, values: np.ndarray) -> None:
    """25,000 walks of 32 frames: parts are gathered before they are measured."""
    parts = np.split(values[:800_000], 25_000)
    started = time.process_time()
    Moments.of(values[:800_000])
    whole = time.process_time() - started
    benchmark.pedantic(Moments.of_parts, (parts,), rounds=3, warmup_rounds=0)
    assert benchmark.stats.stats.min <= 2 * whole
