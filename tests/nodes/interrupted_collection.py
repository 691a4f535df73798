"""A small collection that meets with an accident; as a script, with a folder and the accident as arguments.

After two stored sequences it happens: "kill" (SIGKILL to itself) or "disk" (no file grows beyond 2 kB any more).
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from kedro.io import Version

from vln_heatmap.datasets.sequence_files import EncodedSequence
from vln_heatmap.datasets.sequence_store import SequenceStoreDataset
from vln_heatmap.nodes.collect import collect_scene, collect_sequences
from vln_heatmap.nodes.plan import SceneTask, plan_collection
from vln_heatmap.params import CollectParams

MARK = "VLN_HEATMAP_TEST_MARK"  # environment variable: file that shows that a worker was killed
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
    folder: Path, version: str, *, accident: Callable[[], None] | None = None, **changes: Any
) -> None:
    """Collect into a version; the accident happens before the third sequence is stored."""
    params = PARAMS.model_copy(update={"workers": 0, **changes})
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


def collect_scene_or_die(task: SceneTask, **options: Any) -> list[EncodedSequence]:
    """The real thing, but the first worker that gets the second scene is killed."""
    mark = Path(os.environ[MARK])
    if task.seed == 1 and not mark.exists():
        mark.touch()
        kill_this_process()
    return collect_scene(task, **options)


def fill_the_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


if __name__ == "__main__":
    accidents = {"kill": (kill_this_process, 2), "disk": (fill_the_disk, 0)}
    happens, count = accidents[sys.argv[2]]
    collect(Path(sys.argv[1]), "1", accident=happens, workers=count)
