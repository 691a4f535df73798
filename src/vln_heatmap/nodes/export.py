"""Nodes of the export stage: stored walks in the formats of other projects.

Invariant: nothing is changed on the way that the format does not force, and every sequence that a format cannot
hold is listed with its reason.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vln_heatmap.interchange import lerobot_format, parquet_episodes, streamvln
from vln_heatmap.interchange.export_dataset import Export
from vln_heatmap.interchange.lerobot_format import DepthCodes
from vln_heatmap.interchange.lerobot_writer import write_dataset, write_json
from vln_heatmap.nodes.statistics import Moments
from vln_heatmap.params import ExportParams

logger = logging.getLogger(__name__)


def export_sequences(sequences: Any, params: ExportParams) -> Export:
    """What to write; the catalog's dataset says where, and does it.

    Args:
        sequences: the lazy ``SequenceStore``.
        params: of the stage.

    Raises:
        KeyError: an id of the parameters that is not in the store.
        ValueError: nothing to export.
    """
    chosen = {i: sequences[i] for i in (sequences if params.ids is None else params.ids)}
    if not chosen:
        raise ValueError("there is no sequence to export")
    return Export(params.format, partial(_WRITERS[params.format], chosen, params))


def summarise_export(export: dict[str, Any]) -> dict[str, Any]:
    """The report of what was written, as it is kept."""
    for sequence_id, reason in export["left_out"].items():
        logger.warning("%s was left out: %s", sequence_id, reason)
    logger.info("Exported %(episodes)d episodes, %(frames)d frames to %(folder)s.", export)
    return export


def feature_statistics(sequences: Mapping[str, Any]) -> dict[str, Any]:
    """LeRobot's statistics of every numeric feature over all sequences: one pass over tables, no image."""
    summaries: dict[str, Any] = {}
    names = lerobot_format.numbers(next(iter(sequences.values())))
    for name, rows in names.items():
        parts = (lerobot_format.numbers(sequence)[name] for sequence in sequences.values())
        moments = Moments.of_parts(parts)
        own = moments.summary([str(i) for i in range(rows.shape[1])])
        kept = {key: own[key] for key in ("min", "max", "mean", "std")}
        quantiles = {key: moments.quantile(q).tolist() for key, q in lerobot_format.QUANTILES.items()}
        summaries[name] = {**kept, **quantiles, "count": [moments.count]}
    return summaries


def _write_lerobot(sequences: Mapping[str, Any], params: ExportParams, root: Path) -> dict[str, Any]:
    wanted = params.lerobot
    with_depth = wanted.depth and not any("depth" in sequence.absent for sequence in sequences.values())
    info = write_dataset(
        root,
        _counted(sequences),
        feature_statistics(sequences),
        depth=DepthCodes(wanted.farthest) if with_depth else None,
        data_megabytes=wanted.data_megabytes,
        video_megabytes=wanted.video_megabytes,
        stats_frames=wanted.stats_frames,
    )
    return _report(root, info["total_episodes"], info["total_frames"], {})


def _write_episodes(sequences: Mapping[str, Any], params: ExportParams, root: Path) -> dict[str, Any]:
    frames = 0
    for sequence in _counted(sequences):
        data = parquet_episodes.encode_episode(sequence.load(), image=params.image, quality=params.quality)
        (root / f"{sequence.id}.parquet").write_bytes(data)
        frames += len(sequence)
    return _report(root, len(sequences), frames, {})


def _write_streamvln(sequences: Mapping[str, Any], params: ExportParams, root: Path) -> dict[str, Any]:
    entries, left_out, frames = [], {}, 0
    for sequence in _counted(sequences):
        try:
            entries.append(streamvln.annotation(sequence))
        except ValueError as error:
            left_out[sequence.id] = str(error)
            continue
        streamvln.write_images(sequence.id, sequence.rgb(), root, quality=params.quality)
        frames += len(sequence)
    if not entries:
        raise ValueError(
            "no sequence can be written as a StreamVLN walk; "
            + "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3])
        )
    write_json(root / streamvln.ANNOTATIONS, entries)
    return _report(root, len(entries), frames, left_out)


_WRITERS = {"lerobot": _write_lerobot, "episodes": _write_episodes, "streamvln": _write_streamvln}


def _counted(sequences: Mapping[str, Any]) -> Iterator[Any]:
    yield from tqdm(sequences.values(), "export", len(sequences), unit="sequence", disable=None)


def _report(root: Path, episodes: int, frames: int, left_out: dict[str, str]) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    per_frame = round(size / frames, 1)
    return {
        "episodes": episodes,
        "frames": frames,
        "bytes": size,
        "bytes_per_frame": per_frame,
        "left_out": left_out,
    }
