"""A policy trained by several processes: the job that the node writes, and what each of them does with it.

``python -m torch.distributed.run … -m vln_heatmap.nodes.policy.worker FOLDER`` takes part in the job of FOLDER.
Invariant: every process opens the same episodes, divided in the same way, and begins with the same weights.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset, TrainingState
from vln_heatmap.datasets.episode_windows import episode_table
from vln_heatmap.datasets.sequence_shards import SequenceStore
from vln_heatmap.nodes.policy.data import gather_episodes
from vln_heatmap.nodes.policy.training import PolicyTraining, Trained, train_here
from vln_heatmap.nodes.training.launch import FileLog, ProcessFailedError, run_job
from vln_heatmap.params.policy import PolicyParams


def launched(policy: Any, data: PolicyTraining, *, start: str, state: Any, tracker: Any) -> Trained:
    """Train by as many processes as the parameters say; the policy itself stays as it is.

    Raises:
        ProcessFailedError: one of them failed; its traceback is in the message.
    """
    write = partial(write_job, policy=policy, data=data, start=start, state=state)
    return run_job(write, read_result, data.params.train, tracker, worker=__name__)


def write_job(folder: Path, *, policy: Any, data: PolicyTraining, start: str, state: Any) -> None:
    """All that a process needs to know: weights, statistics and tokenizer as a checkpoint, the rest as JSON."""
    from vln_heatmap.nodes.model.policy.assemble import external_weights, policy_meta

    left_out = external_weights(policy)
    weights = {name: value for name, value in policy.state_dict().items() if name not in left_out}
    meta = policy_meta(policy, data.tokenizer, data.statistics)
    CheckpointDataset(filepath=str(folder / "start")).save({"state_dict": weights, "meta": meta})
    sequences = getattr(data.episodes.source, "sequences", None)  # our own have no data.source
    job = {
        "params": data.params.model_dump(mode="json"),
        "sequences": str(sequences.folder.resolve()) if sequences is not None else None,
        "start": start,
        "state": str(state.path.resolve()) if state else None,
    }
    episode_table(data.episodes.episodes).to_parquet(folder / "episodes.parquet")
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")


def work(folder: Path) -> None:
    """Take part in the job of a folder; rank 0 leaves the result."""
    from vln_heatmap.nodes.model.policy.assemble import policy_from_checkpoint

    job = json.loads((folder / "job.json").read_text("utf-8"))
    params, start = PolicyParams.model_validate(job["params"]), Checkpoint.open(folder / "start")
    splits = pd.read_parquet(folder / "episodes.parquet")
    episodes, _ = gather_episodes(lambda: (SequenceStore(Path(job["sequences"])), splits), params)
    main = int(os.environ["RANK"]) == 0
    result = train_here(
        policy_from_checkpoint(start),
        PolicyTraining(episodes, start.meta["statistics"], start.meta["tokenizer"], params),
        start=job["start"],
        state=TrainingState(Path(job["state"])) if job["state"] else None,
        tracker=FileLog(folder / "metrics.jsonl") if main else None,
    )
    if main:
        write_result(folder, result)


def write_result(folder: Path, result: Trained) -> None:
    """What rank 0 leaves; the checkpoint comes last."""
    result.history.to_parquet(folder / "history.parquet")
    content = {"state_dict": result.state_dict, "meta": {"metrics": result.metrics}}
    CheckpointDataset(filepath=str(folder / "result")).save(content)


def read_result(folder: Path) -> Trained:
    """Inverse of ``write_result``.

    Raises:
        ProcessFailedError: there is no result.
    """
    if not (folder / "result").is_dir():
        raise ProcessFailedError(f"the training ended without a result in {folder}: was it cancelled?")
    found = Checkpoint.open(folder / "result")
    return Trained(found.state_dict(), pd.read_parquet(folder / "history.parquet"), found.meta["metrics"])


if __name__ == "__main__":
    from vln_heatmap.nodes.training.worker import leave, main

    main(Path(sys.argv[1]), *sys.argv[2:], do=work)
    leave()
