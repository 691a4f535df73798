"""One process of a training by several; ``torch.distributed.run`` starts it.

``python -m torch.distributed.run … -m vln_heatmap.nodes.training.worker FOLDER`` does the job that ``launch``
wrote into FOLDER. Invariant: rank 0 alone writes metrics, states and the result; whoever fails leaves a
traceback in ``errors``.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pandas as pd
import torch

from vln_heatmap.datasets.checkpoint import Checkpoint, TrainingState
from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.nodes.model.assemble import model_from_checkpoint
from vln_heatmap.nodes.training.launch import FileLog, write_result
from vln_heatmap.nodes.training.stage import StageData, train_stage
from vln_heatmap.params import ModelParams, StageParams


def work(folder: Path) -> None:
    """Take part in the job of a folder."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    main = int(os.environ["RANK"]) == 0
    model, params = ModelParams.model_validate(job["model"]), StageParams.model_validate(job["params"])
    start = Checkpoint.open(folder / "start")
    where, ids, fingerprint = job["features"]
    data = StageData(
        job["task"],
        pd.read_parquet(folder / "samples.parquet"),
        FrameFeatures(Path(where), ids, fingerprint),
        start.meta["tokenizer"],
        start.meta["statistics"],
        job["start"],
    )
    result = train_stage(
        model_from_checkpoint(start, expected=model),
        data,
        model,
        params,
        state=TrainingState(Path(job["state"])) if job["state"] else None,
        tracker=FileLog(folder / "metrics.jsonl") if main else None,
    )
    if main:
        write_result(folder, result)


def end_with_parent() -> None:
    """End this process when whoever started it is gone: its end of standard input closes then."""

    def wait() -> None:
        while os.read(0, 1024):  # nothing ever comes
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def leave(code: int = 0) -> NoReturn:
    """End this process now, without the shutdown of the interpreter.

    A thread of the communication backend that still lets go of a tensor is ended by that shutdown in the middle
    of C++, which aborts the whole process: a training that is done would count as failed. Measured under load:
    4 of 51 pairs of processes of the self-test.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(folder: Path, *options: str, do: Callable[[Path], None] = work) -> None:
    """Do the job; a failure is written down before it is raised."""
    rank = os.environ["RANK"]
    logging.basicConfig(level=logging.INFO if rank == "0" else logging.WARNING, format="%(message)s")
    if "--end-with-parent" in options:
        end_with_parent()
    try:
        do(folder)
    except BaseException:
        (folder / "errors" / f"rank {rank}.txt").write_text(traceback.format_exc(), encoding="utf-8")
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
    leave()
