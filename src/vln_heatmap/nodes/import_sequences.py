"""Nodes of the import stage: walks from other formats as a new version of the sequence store.

Invariant: an episode that is broken costs that episode: it is listed with file, row and reason, and the rest goes
on (unless ``strict``). An interrupted import goes on where it was, as a collection does.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from vln_heatmap.datasets.sequence import SCHEMA_VERSION
from vln_heatmap.datasets.sequence_store import (
    CollectionStream,
    EncodedSequence,
    StoredSequence,
    StorePlan,
    encode_sequence,
    skipped_sequence,
)
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.interchange.incoming import Source, Stated
from vln_heatmap.interchange.lerobot_reader import LeRobotFolder
from vln_heatmap.interchange.parquet_episodes import ParquetEpisodes
from vln_heatmap.interchange.rgbd_folders import RgbdFolders
from vln_heatmap.interchange.streamvln import StreamVLNFolder
from vln_heatmap.params import ImportParams

logger = logging.getLogger(__name__)

FORMATS: dict[str, Callable[[Path, Stated], Source]] = {
    "lerobot": LeRobotFolder,
    "episodes": ParquetEpisodes,
    "streamvln": StreamVLNFolder,
    "rgbd": RgbdFolders,
}


def import_sequences(unfinished: Mapping[str, frozenset[str]], params: ImportParams) -> CollectionStream:
    """A stream that reads the episodes of a folder, without those that an interrupted import left.

    Args:
        unfinished: finished ids of interrupted runs, by fingerprint.
        params: of the stage.

    Raises:
        ValueError: no source was named.
        FileNotFoundError: there is no such folder.
        RefusedError: the folder as a whole cannot be what the format says.
    """
    if params.source is None:
        raise ValueError("name the folder to import: --params=import.source=PATH,import.format=FORMAT")
    folder = Path(params.source)
    if not folder.is_dir():
        raise FileNotFoundError(f"import.source: there is no folder {folder}")
    stated = Stated(params.hfov, params.fps, frozenset(params.drop), params.rgbd)
    source = FORMATS[params.format](folder, stated)
    plan = StorePlan(fingerprint(folder, params), source.ids)
    return CollectionStream(
        plan, _Reading(source, plan, unfinished.get(plan.fingerprint, frozenset()), params)
    )


def fingerprint(folder: Path, params: ImportParams) -> str:
    """What decides the content of an import: parameters, and names, sizes and times of the files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [(str(path.relative_to(folder)), path.stat()) for path in files]
    content = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    text = f"{SCHEMA_VERSION} {params.model_dump_json(exclude={'source'})} {content}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Reading:
    """Lazy iterable of the missing sequences."""

    def __init__(
        self, source: Source, plan: StorePlan, finished: frozenset[str], params: ImportParams
    ) -> None:
        self.source, self.params = source, params
        self.missing = [sequence_id for sequence_id in plan.ids if sequence_id not in finished]

    def __iter__(self) -> Iterator[EncodedSequence]:
        for sequence_id in tqdm(self.missing, "import", unit="sequence", disable=None):
            try:
                sequence = self.source.read(sequence_id)
                encoded = encode_sequence(sequence, **self.params.video.model_dump())
            except (ValueError, KeyError, TypeError) as error:  # metadata of a file can be anything
                if self.params.strict:
                    raise
                reason = str(error) if isinstance(error, RefusedError) else f"{type(error).__name__}: {error}"
                encoded = skipped_sequence(sequence_id, reason)
            yield encoded


def summarise_import(sequences: Any, params: ImportParams) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row a sequence, and a report.

    Args:
        sequences: the lazy ``SequenceStore`` that was just filled.
        params: of the stage.

    Raises:
        ValueError: not one episode could be imported.
    """
    for sequence_id, reason in sequences.skipped.items():
        logger.warning("%s was refused: %s", sequence_id, reason)
    if not len(sequences):
        raise ValueError(f"no episode could be imported: {next(iter(sequences.skipped.values()))}")
    index = pd.DataFrame([_index_row(sequence) for sequence in sequences.values()])
    index["seed"] = index["seed"].astype("Int64")
    report = {
        "format": params.format,
        "sequences": len(index),
        "frames": int(index["length"].sum()),
        "scenes": int(index["scene"].nunique()),
        "absent": sorted(set().union(*index["absent"])),
        "refused": dict(sequences.skipped),
        "bytes": int(index["bytes"].sum()),
    }
    logger.info("Imported %(sequences)d sequences, %(frames)d frames.", report)
    return index, report


def _index_row(sequence: StoredSequence) -> dict[str, Any]:
    metadata, frames = sequence.metadata, sequence.frames
    path = float("nan")
    if "state" not in sequence.absent:
        places = np.stack(frames["state"].to_list()).astype(np.float64)[:, :3]  # [T, 3]
        path = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
    return {
        "id": sequence.id,
        "scene": metadata["scene"],
        "walk": metadata.get("walk", 0),
        "seed": metadata.get("seed"),
        "trajectory": metadata.get("trajectory", "imported"),
        "length": len(frames),
        "stopped": bool(frames["is_terminal"].iloc[-1]),
        "path_metres": path,
        "collisions": int(frames["collided"].sum()),
        "instances": len(set().union(*map(set, frames["visible_ids"]))),
        "instructions": len(metadata["instructions"]),
        "width": metadata["camera"]["width"],
        "height": metadata["camera"]["height"],
        "hfov": metadata["camera"]["hfov"],
        "fps": metadata["fps"],
        "simulator": metadata["simulator"]["name"],
        "simulator_version": metadata["simulator"]["version"],
        "absent": sorted(sequence.absent),
        "bytes": sum(file.stat().st_size for file in sequence.folder.iterdir()),
    }
