"""Sum up a collection: a row a sequence, what it consists of, what it cost, and what the full size would cost.

Invariant: a row is a function of the stored sequence alone, so an index is the same however often the
collection was interrupted; only times differ from run to run.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.datasets.sequence_files import StoredSequence
from vln_heatmap.datasets.sequence_shards import SequenceStore
from vln_heatmap.params import CollectParams
from vln_heatmap.simulation.instructions import read_rooms
from vln_heatmap.simulation.routes import room_visits
from vln_heatmap.simulation.trajectories import path_length

logger = logging.getLogger(__name__)

#: Sequences of the whole plan.
FULL_SIZE = 25_000
#: Files of a sequence whose sizes are reported on their own.
KINDS = ("rgb", "depth", "instance")


def summarise_collection(
    sequences: SequenceStore, params: CollectParams
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row a sequence, and a report of the whole collection.

    Raises:
        ValueError: not one sequence could be recorded.
    """
    for sequence_id, reason in sequences.skipped.items():
        logger.warning("%s was skipped: %s", sequence_id, reason)
    if not len(sequences):
        reason = next(iter(sequences.skipped.values()), "no plan")
        raise ValueError(f"no sequence could be recorded: {reason}")
    index = pd.DataFrame(list(sequences.rows(index_row)))
    index["seed"] = index["seed"].astype("Int64")  # none for scenes from files
    report = {
        "sequences": len(index),
        "frames": int(index["length"].sum()),
        "scenes": int(index["scene"].nunique()),
        "skipped": sequences.skipped,
        "simulator": sorted(index["simulator"].unique()),
        "image_size": [params.camera.width, params.camera.height],
        "workers": params.workers,
        "executor": params.executor,
        **_contents(index, params),
        **_cost(index, sequences.sessions()),
    }
    report["full_size"] = _full_size(report)
    _log(report)
    return index, report


def index_row(sequence: StoredSequence) -> dict[str, Any]:
    """The row of a sequence in the index: plain JSON values."""
    metadata, frames = sequence.metadata, sequence.frames
    path = np.stack(frames["state"].to_list()).astype(np.float64)  # [T, 6]
    sizes = {file.name.partition(".")[0]: file.stat().st_size for file in sequence.folder.iterdir()}
    scenario = metadata["scenario"]
    return {
        "id": sequence.id,
        "scene": metadata["scene"],
        "walk": metadata["walk"],
        "seed": metadata["seed"],
        "scenario": scenario["name"],
        "part": scenario["part"],
        "strategy": scenario["strategy"],
        "levels": scenario["levels"],
        "holds": scenario["holds"],
        "quality": metadata["quality"]["overall"],
        "passed": metadata["quality"]["passed"],
        "attempt": metadata["attempt"],
        "attempts": metadata["attempts"],
        "trajectory": metadata["trajectory"],
        "length": len(frames),
        "stopped": bool(frames["is_terminal"].iloc[-1]),
        "path_metres": path_length(path[:, :3]),
        "collisions": int(frames["collided"].sum()),
        "rooms": len({room for _, room in room_visits(read_rooms(metadata), path)}),
        "instances": len(set().union(*map(set, frames["visible_ids"]))),
        "moved": len(sequence.motions),
        "instructions": len(metadata["instructions"]),
        "width": metadata["camera"]["width"],
        "height": metadata["camera"]["height"],
        "hfov": metadata["camera"]["hfov"],
        "camera_height": metadata["camera_height"],
        "fps": metadata["fps"],
        "simulator": metadata["simulator"]["name"],
        "simulator_version": metadata["simulator"]["version"],
        "bytes": sum(sizes.values()),
        **{f"bytes_{kind}": sizes.get(kind, 0) for kind in KINDS},
    }


def _contents(index: pd.DataFrame, params: CollectParams) -> dict[str, Any]:
    """What the collection consists of, how good it is, and how many attempts that took."""
    served = index["levels"].explode()
    by_scenario = index.groupby(["part", "scenario"], sort=True)
    return {
        "trajectories": index["trajectory"].value_counts().to_dict(),
        "parts": index["part"].value_counts().to_dict(),
        "scenarios": {
            scenario: {
                "part": part,
                "sequences": len(rows),
                "passed": int(rows["passed"].sum()),
                "hold": int(rows["holds"].sum()),
                "attempts": round(float(rows["attempts"].mean()), 3),
            }
            for (part, scenario), rows in by_scenario
        },
        "levels": {
            name: {"share": round(float((served == name).sum()) / len(index), 4), "least": level.share}
            for name, level in params.levels.items()
        },
        "attempts": {
            str(count): int(n) for count, n in index["attempts"].value_counts().sort_index().items()
        },
        "quality": {
            "passed": round(float(index["passed"].mean()), 4),
            "mean": round(float(index["quality"].mean()), 4),
            "least": round(float(index["quality"].min()), 4),
        },
        "collisions_per_frame": round(float(index["collisions"].sum() / index["length"].sum()), 4),
    }


def _cost(index: pd.DataFrame, sessions: list[dict[str, Any]]) -> dict[str, Any]:
    """Time and space; times are those of runs that were not killed."""
    frames, size = int(index["length"].sum()), int(index["bytes"].sum())
    seconds = sum(session["seconds"] for session in sessions)
    timed = sum(session["bytes"] for session in sessions) / size  # share of the data
    kinds = {kind: index[f"bytes_{kind}"].sum() for kind in KINDS}
    kinds["tables"] = size - sum(kinds.values())
    return {
        "runs": len(sessions),
        "seconds": round(seconds, 2),
        "frames_per_second": round(timed * frames / seconds, 2) if seconds else None,
        "megabytes": round(size / 1e6, 3),
        "bytes_per_frame": round(size / frames, 1),
        "bytes_per_frame_by_kind": {kind: round(float(total) / frames, 1) for kind, total in kinds.items()},
    }


def _full_size(report: dict[str, Any]) -> dict[str, Any]:
    """What ``FULL_SIZE`` sequences like these would take, with as many workers on the same machine."""
    frames = FULL_SIZE * report["frames"] / report["sequences"]
    rate = report["frames_per_second"]
    return {
        "sequences": FULL_SIZE,
        "frames": round(frames),
        "hours": round(frames / rate / 3600, 2) if rate else None,
        "gigabytes": round(frames * report["bytes_per_frame"] / 1e9, 2),
    }


def _log(report: dict[str, Any]) -> None:
    logger.info("Collected %(sequences)d sequences, %(frames)d frames, %(megabytes).1f MB.", report)
    full = report["full_size"]
    hours = "unknown" if full["hours"] is None else f"{full['hours']:.1f} hours"
    logger.info(
        "%d sequences of this kind would take %s and %.1f GB here.",
        full["sequences"],
        hours,
        full["gigabytes"],
    )
