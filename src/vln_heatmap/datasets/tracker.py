"""Live metrics of a long node, written to the MLflow run of its stage.

Invariant: reporting never fails and never slows a node down noticeably: metrics are sent in batches, a lost
tracking server costs a warning, and a tracker without a run swallows everything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from kedro.io import AbstractDataset, DatasetError

logger = logging.getLogger(__name__)

_SEND_EVERY = 2.0  # seconds between two batches
_BATCH = 1000  # metrics in one request, MLflow's limit


class Tracker:
    """Sends metrics to one MLflow run; made by the catalog, attached to a run by the tracking hook.

    It can be pickled, so a node may hand it to the process that trains. That process calls ``flush`` at its
    end; for a tracker used inside the node the hook does so.

    Args:
        tracking_uri: where MLflow keeps its runs.
        run_id: the run to write to; "" for nowhere.
        prefix: stands before the name of every metric.
    """

    def __init__(self, tracking_uri: str = "", run_id: str = "", prefix: str = "") -> None:
        self.tracking_uri = tracking_uri
        self.run_id = run_id
        self.prefix = prefix
        self._pending: list[tuple[str, float, int, int]] = []  # key, value, time in ms, step
        self._interval = _SEND_EVERY
        self._sent_at = time.monotonic()

    def __reduce__(self) -> tuple[type[Tracker], tuple[str, str, str]]:
        return type(self), (self.tracking_uri, self.run_id, self.prefix)

    def under(self, name: str) -> Tracker:
        """A tracker of the same run whose metrics are called ``name/…``: for one of several trainings."""
        return Tracker(self.tracking_uri, self.run_id, f"{self.prefix}{name}/")

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    @property
    def active(self) -> bool:
        """Whether there is a run to write to."""
        return bool(self.run_id)

    @cached_property
    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars at a training step; they appear in the UI within seconds.

        Args:
            metrics: name to value; values that are not finite are kept, as MLflow shows them as gaps.
            step: x-axis of the curve, not necessarily contiguous.
        """
        if not self.active:
            return
        now = time.time_ns() // 1_000_000
        self._pending += [
            (f"{self.prefix}{name}", float(value), now, int(step)) for name, value in metrics.items()
        ]
        if len(self._pending) >= _BATCH or time.monotonic() - self._sent_at >= self._interval:
            self.flush()

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run at once; a tag that exists is replaced. A failure is logged.

        Args:
            tags: name (as MLflow allows it: letters, digits, ``_-./`` and spaces) to text.
        """
        if not self.active:
            return
        from mlflow.entities import RunTag

        try:
            named = [RunTag(self.prefix + name, text) for name, text in tags.items()]
            self._client.log_batch(self.run_id, tags=named)
        except Exception as error:  # as in flush
            logger.warning("%d tags lost: %s", len(tags), error)

    def flush(self) -> None:
        """Send what is pending now. A failure is logged once in a while, and what it held is dropped."""
        pending, self._pending = self._pending, []
        self._sent_at = time.monotonic()
        try:
            for start in range(0, len(pending), _BATCH):
                self._send(pending[start : start + _BATCH])
        except Exception as error:  # any backend may fail in its own way; training must go on
            self._interval = min(self._interval * 2, 600.0)
            logger.warning("%d metrics lost, trying again in %.0f s: %s", len(pending), self._interval, error)

    def _send(self, batch: list[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        self._client.log_batch(self.run_id, metrics=[Metric(*entry) for entry in batch])


class TrackerDataset(AbstractDataset[None, Tracker]):
    """Catalog entry of the tracker: each load gives a new ``Tracker``, which the hook attaches to a run."""

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = metadata

    def _load(self) -> Tracker:
        return Tracker()

    def _save(self, data: None) -> None:
        raise DatasetError("the tracker is only loaded; a node reports by calling its log_metrics")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}
