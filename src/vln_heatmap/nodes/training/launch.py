"""A training by several processes, on one machine or on several, as seen from the node that wants it.

The node writes a job folder (parameters and samples as JSON and Parquet, weights as a checkpoint: no pickles),
runs ``torch.distributed.run`` on it in a subprocess, hands the metrics that rank 0 writes on to the tracker, and
reads what rank 0 leaves. Invariant: the result is that of one process with the same batch, but for rounding; if a
process fails, so does the node, with that process's own traceback, and the saved state stays.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset
from vln_heatmap.nodes.model.assemble import checkpoint_meta, stored_weights
from vln_heatmap.nodes.training.stage import StageData, StageResult
from vln_heatmap.params import ModelParams, StageParams, TrainParams
from vln_heatmap.params.training import LaunchParams

T = TypeVar("T")
_POLL = 0.5  # seconds between two looks at what rank 0 wrote
#: The module that does the job of pretraining and finetuning.
WORKER = "vln_heatmap.nodes.training.worker"


class ProcessFailedError(RuntimeError):
    """One of the processes of a training failed."""


def launched(
    network: Any, data: StageData, model: ModelParams, params: StageParams, *, state: Any, tracker: Any
) -> StageResult:
    """Train ``network`` by ``params.train.processes`` processes on each machine; it stays as it is itself.

    Raises:
        ProcessFailedError: a process failed; its traceback is in the message.
        ValueError: several machines, and nobody says where they meet.
    """
    write = partial(write_job, network=network, data=data, model=model, params=params, state=state)
    return run_job(write, read_result, params.train, tracker)


def run_job(
    write: Callable[[Path], None],
    read: Callable[[Path], T],
    params: TrainParams,
    tracker: Any,
    *,
    worker: str = WORKER,
) -> T:
    """Have a job done by several processes.

    Args:
        write: puts all that a worker needs to know into the folder that it gets.
        read: gives what rank 0 left there.
        params: processes and machines.
        tracker: gets what rank 0 logs.
        worker: module to run, see ``worker.main``.

    Raises:
        ProcessFailedError, ValueError: as ``launched``.
    """
    with _job_folder(params.launch) as folder:
        (folder / "errors").mkdir()
        write(folder)
        command = launch_command(folder, params, os.environ, worker=worker)
        code = _run(command, folder, tracker, watched=not params.launch.prefix)
        if code:
            raise ProcessFailedError(_failure(folder, code, params))
        return read(folder)


def launch_command(
    folder: Path, params: TrainParams, environ: Mapping[str, str], *, worker: str = WORKER
) -> list[str]:
    """The command that starts all processes of a job, as a list of arguments for no shell.

    Args:
        folder: of the job.
        params: processes and machines.
        environ: ``MASTER_ADDR`` and ``MASTER_PORT`` for several machines; on one a free port is taken. Number of
            machines null: ``SLURM_JOB_NUM_NODES``.
        worker: module to run.

    Raises:
        ValueError: several machines, and the environment lacks one of the variables.
    """
    launch, nodes = params.launch, params.launch.machines(environ)
    if nodes == 1:
        meeting = ["--nnodes=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    else:
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]
        if missing:
            raise ValueError(
                f"{nodes} machines need {' and '.join(missing)} in the environment: the address of one of them "
                "and a free port there (see docs/slurm/train.sbatch)"
            )
        endpoint = f"{environ['MASTER_ADDR']}:{environ['MASTER_PORT']}"
        meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}"]
        meeting += [f"--rdzv-id={folder.name}"]
    runner = [sys.executable, "-m", "torch.distributed.run", *meeting, f"--nproc-per-node={params.processes}"]
    own = [] if launch.prefix else ["--end-with-parent"]
    return [*launch.prefix, *runner, "-m", worker, str(folder), *own]


def free_port() -> int:
    """A TCP port of this machine that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def _job_folder(launch: LaunchParams) -> Iterator[Path]:
    """A new folder that goes when the job is done, where all machines see it."""
    if launch.folder:
        Path(launch.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="training-", dir=launch.folder) as folder:
        yield Path(folder).resolve()


def write_job(
    folder: Path, network: Any, data: StageData, model: ModelParams, params: StageParams, *, state: Any
) -> None:
    """All that a worker needs to know, see ``worker``."""
    meta = checkpoint_meta(network, model, data.tokenizer, statistics=data.statistics)
    weights = stored_weights(network, network.state_dict())
    CheckpointDataset(filepath=str(folder / "start")).save({"state_dict": weights, "meta": meta})
    data.samples.to_parquet(folder / "samples.parquet")
    features = data.features
    job = {
        "task": data.task,
        "start": data.start,
        "features": [str(features.folder.resolve()), list(features), features.fingerprint],
        "model": model.model_dump(mode="json"),
        "params": params.model_dump(mode="json"),
        "state": str(state.path.resolve()) if state else None,
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")


def write_result(folder: Path, result: StageResult) -> None:
    """What rank 0 leaves; ``outcome.json`` comes last."""
    CheckpointDataset(filepath=str(folder / "result")).save(result.checkpoint)
    result.history.to_parquet(folder / "history.parquet")
    (folder / "report.html").write_text(result.report, encoding="utf-8")
    (folder / "outcome.json").write_text(json.dumps({"stopped": result.stopped}), encoding="utf-8")


def read_result(folder: Path) -> StageResult:
    """Inverse of ``write_result``.

    Raises:
        ProcessFailedError: there is no result.
    """
    if not (folder / "outcome.json").is_file():
        raise ProcessFailedError(f"the training ended without a result in {folder}: was it cancelled?")
    outcome = json.loads((folder / "outcome.json").read_text("utf-8"))
    found = Checkpoint.open(folder / "result")
    meta = {name: value for name, value in found.meta.items() if name != "format_version"}
    checkpoint = {"state_dict": found.state_dict(), "meta": meta}
    report = (folder / "report.html").read_text("utf-8")
    return StageResult(checkpoint, pd.read_parquet(folder / "history.parquet"), report, outcome["stopped"])


def _run(command: list[str], folder: Path, tracker: Any, *, watched: bool) -> int:
    """Run the processes to their end, handing on what they log; returns the exit code."""
    with (
        Tail(folder / "metrics.jsonl", tracker) as tail,
        subprocess.Popen(command, stdin=subprocess.PIPE if watched else None) as process,
    ):
        try:
            while True:
                try:
                    return process.wait(_POLL)
                except subprocess.TimeoutExpired:
                    tail.hand_on()
        except BaseException:
            process.terminate()  # torch.distributed.run ends its workers
            raise


class FileLog:
    """What rank 0 logs, one line of JSON an entry."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See ``Tracker``."""
        self._write({"metrics": dict(metrics), "step": step})

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """See ``Tracker``."""
        self._write({"tags": dict(tags)})

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


class Tail:
    """Hands the entries of a ``FileLog`` on to a tracker while the file grows; the rest at the end."""

    def __init__(self, path: Path, tracker: Any) -> None:
        self.path, self.tracker, self.done = path, tracker, 0  # bytes handed on

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self.hand_on()

    def hand_on(self) -> None:
        """Every whole line that is new."""
        if self.tracker is None or not self.path.is_file():
            return
        with self.path.open("rb") as file:
            file.seek(self.done)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.done += len(whole)
        for entry in map(json.loads, whole.splitlines()):
            if "tags" in entry:
                self.tracker.log_tags(entry["tags"])
            else:
                self.tracker.log_metrics(entry["metrics"], entry["step"])


def _failure(folder: Path, code: int, params: TrainParams) -> str:
    """What the process said that failed first."""
    found = sorted((folder / "errors").glob("*.txt"), key=lambda file: file.stat().st_mtime_ns)
    start = f"a training by {params.processes} processes failed (exit code {code})"
    kept = "The state that was saved last is kept: the same command goes on from there."
    if not found:
        return f"{start}: a process was killed before it could say why (out of memory?). {kept}"
    return f"{start}. {kept} {found[0].stem} failed first:\n{found[0].read_text('utf-8')}"
