"""One MLflow run a stage, all of them under the run of the ``kedro run`` that started them.

Invariant: every write names its run. There is no "active run" of a stage, so stages whose nodes interleave
and nodes that run in threads cannot write into each other's runs.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from pydantic import BaseModel

_PARAMS_IN_BATCH, _METRICS_IN_BATCH = 100, 800  # MLflow's limits, the second less what else is sent with it


def flat_parameters(value: Any, name: str) -> dict[str, str]:
    """One text per leaf of a parameter group, by its dotted path.

    A list is one leaf, written as JSON; what is not set (None) is left out.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        parts = (flat_parameters(item, f"{name}.{key}") for key, item in value.items())
        return {path: text for part in parts for path, text in part.items()}
    if value is None:
        return {}
    return {name: value if isinstance(value, str) else json.dumps(value, default=str)}


def finite_numbers(value: Any, name: str = "") -> dict[str, float]:
    """All finite numbers of nested mappings by path, joined with "/" (MLflow groups charts by it)."""
    if isinstance(value, Mapping):
        parts = (finite_numbers(item, f"{name}/{key}" if name else str(key)) for key, item in value.items())
        return {path: number for part in parts for path, number in part.items()}
    if isinstance(value, int | float) and math.isfinite(value):
        return {name: float(value)}
    return {}


class StageRuns:
    """The runs of the stages of one ``kedro run``, each made when its first node starts.

    A run of a single stage needs no child: that stage writes to the parent itself.

    Args:
        client: an ``MlflowClient``.
        parent: the ``mlflow.entities.Run`` of this ``kedro run``.
        stages: stage of every node that may run, one entry a node; "" for nodes without a stage, which
            write to the parent.
    """

    def __init__(self, client: Any, parent: Any, stages: Iterable[str]) -> None:
        self._client = client
        self._parent = parent
        self._waiting = Counter(stages)  # nodes still to come, by stage
        self._single = len(self._waiting) == 1
        self._children: dict[str, str] = {}  # run id by stage
        self._open: set[str] = set()  # stages whose run has not ended
        self._logged: set[tuple[str, str]] = set()  # (run id, parameter): MLflow refuses a second value
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """Where these runs are kept."""
        return self._client.tracking_uri

    def run_id(self, stage: str) -> str:
        """Id of the stage's run, which is opened if it is not yet."""
        if self._single or not stage:
            return self._parent.info.run_id
        with self._lock:
            if stage not in self._children:
                self._children[stage] = self._create(stage)
                self._open.add(stage)
            return self._children[stage]

    def _create(self, stage: str) -> str:
        parent = self._parent.info
        tags = {"mlflow.parentRunId": parent.run_id, "mlflow.user": parent.user_id or "", "stage": stage}
        return self._client.create_run(parent.experiment_id, tags=tags, run_name=stage).info.run_id

    def log(
        self,
        stage: str,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write to the stage's run in as few requests as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        run_id, now = self.run_id(stage), time.time_ns() // 1_000_000
        new = [
            Param(key, value) for key, value in (params or {}).items() if (run_id, key) not in self._logged
        ]
        self._logged |= {(run_id, param.key) for param in new}
        rest = {"tags": [RunTag(key, value) for key, value in (tags or {}).items()]}
        numbers = [Metric(key, value, now, 0) for key, value in (metrics or {}).items()]
        batches: Iterator[tuple[list[Any], list[Any]]] = zip_longest(
            _chunks(numbers, _METRICS_IN_BATCH), _chunks(new, _PARAMS_IN_BATCH), fillvalue=[]
        )
        for some, batch in batches:
            self._client.log_batch(run_id, metrics=some, params=batch, **rest)
            rest = {}
        if any(rest.values()):
            self._client.log_batch(run_id, **rest)

    def log_file(self, stage: str, path: Path, folder: str | None) -> None:
        """Copy a file, or what a directory holds, to the artifacts of the stage's run."""
        send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        send(self.run_id(stage), str(path), folder)

    def node_done(self, stage: str) -> None:
        """Count a finished node; the last one of a stage finishes the stage's run."""
        with self._lock:
            self._waiting[stage] -= 1
            last = not self._waiting[stage]
        if last:
            self._end(stage, "FINISHED")

    def close(self, status: str, tags: Mapping[str, str] | None = None) -> None:
        """End the stages that are still open with a status of MLflow (FINISHED, FAILED, KILLED).

        Args:
            status: the status to end with.
            tags: written to each of them and to the parent.
        """
        for stage in {*self._open, ""}:
            self.log(stage, tags=tags)
            self._end(stage, status)

    def _end(self, stage: str, status: str) -> None:
        if stage in self._open:
            self._open.remove(stage)
            self._client.set_terminated(self._children[stage], status)


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk
