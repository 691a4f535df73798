"""The tracker writes curves in batches, survives a lost server and pickling, and may have no run at all."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kedro.io import DatasetError
from mlflow import MlflowClient

from vln_heatmap.datasets import tracker as module
from vln_heatmap.datasets.tracker import Tracker, TrackerDataset


class Recorder:
    """Stands in for the MLflow client: keeps the size of each batch, or refuses it."""

    def __init__(self, *, broken: bool = False) -> None:
        self.batches: list[int] = []
        self.broken = broken

    def log_batch(self, run_id: str, metrics: Sequence[Any] = (), tags: Sequence[Any] = ()) -> None:
        if self.broken:
            raise ConnectionError("no route to server")
        self.batches.append(len(metrics))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until the test moves it."""
    now = SimpleNamespace(seconds=100.0)
    fake = SimpleNamespace(monotonic=lambda: now.seconds, time_ns=lambda: int(now.seconds * 1e9))
    monkeypatch.setattr(module, "time", fake)
    return now


def tracker_with(client: Recorder) -> Tracker:
    tracker = Tracker("nowhere", "run")
    tracker.__dict__["_client"] = client
    return tracker


def test_metrics_are_sent_together_once_in_a_while(clock: SimpleNamespace) -> None:
    client = Recorder()
    tracker = tracker_with(client)
    for step in range(10):
        tracker.log_metrics({"loss": 1.0, "accuracy": 0.5}, step)
    assert client.batches == []
    clock.seconds += 60
    tracker.log_metrics({"loss": 1.0}, 10)
    assert client.batches == [21]
    with tracker:
        tracker.log_metrics({"loss": 1.0}, 11)
    assert client.batches == [21, 1]


def test_many_metrics_at_once_keep_to_the_limit_of_a_request(clock: SimpleNamespace) -> None:
    client = Recorder()
    tracker_with(client).log_metrics({str(key): 0.0 for key in range(2500)}, 0)
    assert client.batches == [1000, 1000, 500]


def test_lost_server_costs_a_warning_and_ever_longer_pauses(
    clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    client = Recorder(broken=True)
    tracker = tracker_with(client)
    for _ in range(100):
        clock.seconds += 3
        tracker.log_metrics({"loss": 1.0}, 0)
    assert 1 < len(caplog.records) < 10  # of 100 chances to try
    assert "no route to server" in caplog.text
    client.broken = False
    clock.seconds += 3600
    tracker.log_metrics({"loss": 1.0}, 1)
    assert sum(client.batches) >= 1


def test_without_a_run_everything_is_swallowed() -> None:
    tracker = TrackerDataset().load()
    tracker.log_metrics({"loss": float("nan")}, 0)
    tracker.flush()
    assert not tracker.active


def test_a_copy_in_another_process_writes_to_the_same_run(empty_tracking_db: Path, tmp_path: Path) -> None:
    database = shutil.copy(empty_tracking_db, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{database}")
    run_id = client.create_run("0").info.run_id
    original = Tracker(f"sqlite:///{database}", run_id)
    original.log_metrics({"loss": 3.0}, 0)
    with pickle.loads(pickle.dumps(original)) as copy:
        copy.log_metrics({"loss": 2.0}, 7)
    assert [(m.step, m.value) for m in client.get_metric_history(run_id, "loss")] == [(7, 2.0)]
    original.flush()
    assert {m.step for m in client.get_metric_history(run_id, "loss")} == {0, 7}


def test_trainings_under_a_name_share_a_run_and_no_curve(empty_tracking_db: Path, tmp_path: Path) -> None:
    database = shutil.copy(empty_tracking_db, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{database}")
    run_id = client.create_run("0").info.run_id
    whole = Tracker(f"sqlite:///{database}", run_id)
    for value, name in enumerate(("plain", "other")):
        with pickle.loads(pickle.dumps(whole.under("ablation").under(name))) as part:
            part.log_metrics({"loss": value}, 1)
    assert client.get_run(run_id).data.metrics == {"ablation/plain/loss": 0.0, "ablation/other/loss": 1.0}
    assert not Tracker().under("nothing").active


def test_tags_are_there_at_once_and_the_last_one_counts(empty_tracking_db: Path, tmp_path: Path) -> None:
    database = shutil.copy(empty_tracking_db, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{database}")
    tracker = Tracker(f"sqlite:///{database}", client.create_run("0").info.run_id)
    for text in ("once", "twice"):
        tracker.log_tags({"alert/plateau/geometric": text})
    tracker.under("plain").log_tags({"alerts": "1 info"})
    tags = client.get_run(tracker.run_id).data.tags
    assert tags["alert/plateau/geometric"] == "twice"
    assert tags["plain/alerts"] == "1 info"


def test_tags_that_cannot_be_sent_cost_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Tracker().log_tags({"alerts": "none"})  # no run
    assert not caplog.records
    tracker_with(Recorder(broken=True)).log_tags({"alerts": "1 info"})
    assert "1 tags lost: no route to server" in caplog.text


def test_catalog_entry_can_only_be_loaded() -> None:
    dataset = TrackerDataset(metadata={"kedro-viz": {"layer": "models"}})
    assert dataset.exists()
    assert dataset.metadata == {"kedro-viz": {"layer": "models"}}
    with pytest.raises(DatasetError, match="log_metrics"):
        dataset.save(1)  # type: ignore[arg-type]
