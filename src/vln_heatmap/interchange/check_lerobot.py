"""Does the official ``lerobot`` package read our export, and get what we stored?

``python -m vln_heatmap.interchange.check_lerobot`` makes an environment of its own (lerobot's pins exclude ours),
installs lerobot in it, lets it open the newest export, and compares frames, depth, poses, states, actions and
tasks with the sequence store.

Invariant: what is compared with is decoded here from the store's own files, not from the export.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence_store import SequenceStore
from vln_heatmap.interchange import lerobot_probe
from vln_heatmap.interchange.lerobot_format import (
    DEPTH_KEY,
    NUMBERS,
    RGB_KEY,
    SIDECAR,
    DepthCodes,
    numbers,
    task_of,
)

REQUIREMENT = "lerobot[dataset]==0.6.1"  # needs Python 3.12
#: Grey levels that two decoders' colour conversions may differ by.
COLOUR_TOLERANCE = 3


@dataclass(frozen=True)
class Finding:
    """One comparison: what, the greatest difference found, the one that is allowed."""

    name: str
    found: float
    allowed: float

    @property
    def passed(self) -> bool:
        return self.found <= self.allowed


def make_environment(folder: Path, python: str, requirement: str) -> Path:
    """The Python of a virtual environment with lerobot; one that is there already is used as it is."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "-q", requirement], check=True)
    return interpreter


def probe(interpreter: Path, export: Path, *, backend: str, frames: int) -> dict[str, NDArray]:
    """What lerobot returns for evenly spread frames of an export."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "items.npz"
        script = str(lerobot_probe.__file__)
        subprocess.run(
            [str(interpreter), script, str(export), str(target), backend, str(frames)],
            check=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": folder},
            cwd=folder,
        )
        with np.load(target) as items:
            return dict(items)


def compare(items: dict[str, NDArray], export: Path, sequences: Any) -> Iterator[Finding]:
    """Differences between lerobot's items and the store.

    Args:
        items: from ``probe``.
        export: the data set's folder.
        sequences: mapping from id to ``StoredSequence``.
    """
    rows = pq.read_table(export / SIDECAR).to_pylist()
    stored = [sequences[row["id"]] for row in rows]
    facts = json.loads(str(items["facts"]))
    yield Finding("episodes", abs(facts["episodes"] - len(stored)), 0)
    yield Finding("frames", abs(facts["frames"] - sum(map(len, stored))), 0)
    chosen = np.searchsorted(np.cumsum([len(s) for s in stored]), items["indices"], side="right")  # episodes
    places = list(zip(chosen.tolist(), items["frame_index"].tolist(), strict=True))
    yield Finding("episode_index", float(np.abs(items["episode_index"] - chosen).max()), 0)
    tasks = [task_of(stored[episode]) for episode, _ in places]
    yield Finding("tasks that differ", float(np.sum(items["task"] != np.array(tasks))), 0)
    yield from _number_findings(items, stored, places)
    ours = np.stack([stored[episode].rgb([frame])[0] for episode, frame in places])  # [N, H, W, 3]
    theirs = np.moveaxis(items[RGB_KEY], 1, -1).astype(int)
    yield Finding("colour, grey levels", float(np.abs(theirs - ours).max()), COLOUR_TOLERANCE)
    if DEPTH_KEY in items:
        info = json.loads((export / "meta/info.json").read_text())
        codes = DepthCodes.of(info["features"][DEPTH_KEY]["info"])
        depth = np.stack([stored[episode].depth([frame])[0] for episode, frame in places])  # [N, H, W]
        error = np.abs(items[DEPTH_KEY][:, 0] - 1000 * np.minimum(depth, codes.farthest))
        step = 1000 * np.diff(codes.decode(np.arange(4096, dtype=np.uint16)).astype(np.float64)).max()
        yield Finding("depth, millimetres", float(error.max()), 0.5 * step + 1)


def _number_findings(
    items: dict[str, NDArray], stored: list[Any], places: list[tuple[int, int]]
) -> Iterator[Finding]:
    rows = [numbers(sequence) for sequence in stored]
    for name in (name for name in NUMBERS if name in items):
        ours = np.stack([rows[episode][name][frame] for episode, frame in places]).astype(np.float32)
        theirs = items[name].reshape(len(places), -1).astype(np.float32)
        yield Finding(name, float(np.abs(theirs - ours).max()), 0)


def main(arguments: list[str] | None = None) -> int:
    """Run the check; 0 if everything agrees."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--export", type=Path, default=Path("data/07_model_output/export/lerobot"))
    parser.add_argument("--store", type=Path, help="version folder of the store; default: the newest")
    parser.add_argument("--environment", type=Path, help="kept for the next time; default: thrown away")
    parser.add_argument("--python", default="python3.12", help="interpreter of the environment")
    parser.add_argument("--requirement", default=REQUIREMENT)
    parser.add_argument("--backend", default="pyav", choices=("pyav", "torchcodec"))
    parser.add_argument("--frames", type=int, default=200, help="evenly spread frames that are compared")
    given = parser.parse_args(arguments)
    store = given.store or max(Path("data/01_raw/sequences").glob("*/sequences"))
    with tempfile.TemporaryDirectory() as folder:
        environment = given.environment or Path(folder) / "lerobot"
        interpreter = make_environment(environment.absolute(), given.python, given.requirement)
        items = probe(interpreter, given.export.absolute(), backend=given.backend, frames=given.frames)
    versions = json.loads(str(items["facts"]))["versions"]
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print(f"{len(items['indices'])} frames of {given.export} against {store}")
    findings = list(compare(items, given.export, SequenceStore(store)))
    for item in findings:
        verdict = "ok" if item.passed else "DIFFERS"
        print(
            f"{item.name:24s} greatest difference {item.found:10.4g}, allowed {item.allowed:8.4g}  {verdict}"
        )
    return 0 if all(item.passed for item in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
