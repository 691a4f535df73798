"""A small collection that meets with an accident; run as a script in a process of its own.

``python interrupted_collection.py FOLDER ACCIDENT``; after two stored sequences the accident happens: "kill" (SIGKILL
to itself) or "disk" (no file can grow beyond two kilobytes any more).
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from kedro.io import Version

from vln_heatmap.datasets.sequence_files import EncodedSequence
from vln_heatmap.datasets.sequence_store import SequenceStoreDataset
from vln_heatmap.nodes.collect import collect_sequences
from vln_heatmap.nodes.plan import plan_collection
from vln_heatmap.params import CollectParams

PARAMS = CollectParams.model_validate(
    {
        "sequences": 6,
        "walks_per_scene": 2,
        "length": 5,
        "retries": 0,
        "plan": {"p": {"count": 1, "scenarios": {"random_exploration": 1}}},
        "camera": {"width": 32, "height": 24},
        "house": {"light": False, "texture_size": 16, "rooms_max": 3, "side_min": 6, "side_max": 7},
    }
)


def dataset(folder: Path, version: str, **options: bool) -> SequenceStoreDataset:
    return SequenceStoreDataset(filepath=str(folder / "sequences"), version=Version(None, version), **options)


def collect(
    folder: Path, version: str, *, accident: Callable[[], None] | None = None, workers: int = 0
) -> None:
    """Collect into a version; the accident happens before the third sequence is stored."""
    params = PARAMS.model_copy(update={"workers": workers})
    stream = collect_sequences(
        plan_collection(params), dataset(folder, version, unfinished=True).load(), params
    )

    def sequences() -> Iterator[EncodedSequence]:
        for number, sequence in enumerate(stream):
            if number == 2 and accident:
                accident()
            yield sequence

    dataset(folder, version).save(replace(stream, sequences=sequences()))


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_a_worker() -> None:
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def fill_the_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


if __name__ == "__main__":
    accidents = {"kill": (kill_this_process, 2), "disk": (fill_the_disk, 0)}
    happens, count = accidents[sys.argv[2]]
    collect(Path(sys.argv[1]), "1", accident=happens, workers=count)
