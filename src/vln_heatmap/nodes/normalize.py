"""Nodes of the normalize stage: who is in which split, what the numbers are like, what the samples are.

Invariant: only tables are read, no video is decoded. No scene is in two splits, and nothing but the training
split is measured.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from vln_heatmap.nodes.samples import COLUMNS, Recording, finetune_rows, pretrain_rows
from vln_heatmap.nodes.sampling import achieved_shares, level_weights
from vln_heatmap.nodes.statistics import Moments, check_rows
from vln_heatmap.params import CollectParams, NormalizeParams, SamplingParams

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
#: Dimensions of the columns of the frame table that are measured.
DIMENSIONS = {
    "state": ("x", "y", "z", "yaw", "pitch", "camera_height"),
    "velocity": ("forward", "left", "up", "yaw", "pitch"),
}


class TooFewScenesError(ValueError):
    """Fewer accepted scenes than splits."""


def split_by_scene(validated_index: pd.DataFrame, params: NormalizeParams) -> pd.DataFrame:
    """Give every accepted sequence a split, by its scene.

    Scenes are ordered by a hash of seed and name, so that a scene's place does not depend on the others; the
    first go to test, the next to val, the rest to train. Each split gets at least one.

    Args:
        validated_index: rows with ``id``, ``scene`` and ``accepted``.
        params: seed and shares.

    Returns:
        ``id``, ``scene`` and ``split`` of the accepted sequences, in the order of the index.

    Raises:
        ValueError: a column is missing.
        TooFewScenesError: fewer than three scenes have an accepted sequence.
    """
    if missing := {"id", "scene", "accepted"} - set(validated_index.columns):
        raise ValueError(
            f"the validated index has no column {min(missing)!r}: run `kedro run --pipelines=validate` first"
        )
    accepted = validated_index.loc[validated_index["accepted"].astype(bool), ["id", "scene"]]
    scenes = sorted(accepted["scene"].unique(), key=lambda scene: _place(scene, params.seed))
    if len(scenes) < len(SPLITS):
        raise TooFewScenesError(
            f"train, val and test need a scene each, but accepted sequences come from {len(scenes)} "
            f"({', '.join(scenes) or 'none'}) of {validated_index['scene'].nunique()} scenes: collect more "
            "scenes (collect.sequences) or look at the validation report"
        )
    test = _share(params.test_share, len(scenes), reserved=2)
    val = _share(params.val_share, len(scenes), reserved=1 + test)
    split = dict.fromkeys(scenes[:test], "test") | dict.fromkeys(scenes[test : test + val], "val")
    splits = accepted["scene"].map(lambda scene: split.get(scene, "train"))
    return accepted.assign(split=splits).reset_index(drop=True)


def _place(scene: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{scene}".encode()).digest()


def _share(share: float, scenes: int, *, reserved: int) -> int:
    """Rounded share of the scenes, at least one, that leaves as many as are reserved for others."""
    return min(max(1, round(share * scenes)), scenes - reserved)


def own_episodes(sequences: Any, splits: pd.DataFrame) -> dict[str, Any]:
    """Which collection the splits are of: ``sequences`` (its version) and ``episodes`` (how many)."""
    return {"sequences": sequences.version, "episodes": len(splits)}


def compute_statistics(sequences: Any, splits: pd.DataFrame) -> dict[str, Any]:
    """Statistics of state and velocity over the frames of the training split.

    The velocity of a sequence's last frame is left out: there is no next frame, and the table holds 0. So is
    what an imported sequence lacks.

    Args:
        sequences: mapping from id to an object with ``column``, as the sequence store gives it.
        splits: as ``split_by_scene`` gives it.

    Returns:
        ``state`` and ``velocity``: names, count, and min, max, mean, std, q01, q99 by dimension (metres and
        radians); ``sequences`` and ``scenes``: how many were measured.

    Raises:
        ValueError: a number is not finite; the message names the sequence. Or no sequence to measure.
    """
    training = splits[splits["split"] == "train"]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in DIMENSIONS}
    for sequence_id in training["id"]:
        sequence = sequences[sequence_id]
        for name in DIMENSIONS.keys() - set(sequence.metadata.get("absent", ())):
            rows = sequence.column(name)  # [T, D]
            rows = rows[:-1] if name == "velocity" else rows
            if len(rows):
                parts[name].append(_checked(rows, f"{name} of {sequence_id}"))
    for name, rows_of in parts.items():
        if not rows_of:
            raise ValueError(
                f"the training split has no sequence of two frames or more with {name} to take statistics of "
                "(an import may lack it)"
            )
    summaries = {name: Moments.of_parts(parts[name]).summary(DIMENSIONS[name]) for name in DIMENSIONS}
    return {**summaries, "sequences": len(training), "scenes": int(training["scene"].nunique())}


def _checked(rows: np.ndarray, what: str) -> np.ndarray:
    try:
        return check_rows(rows)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def index_samples(
    sequences: Any, splits: pd.DataFrame, params: NormalizeParams, collect: CollectParams
) -> pd.DataFrame:
    """List the samples of all splits and both training tasks.

    Args:
        sequences: mapping from id to an object with ``frames`` and ``metadata``.
        splits: as ``split_by_scene`` gives it.
        params: how many, and of what kind.
        collect: the shares that the levels of the spatial losses should have.

    Returns:
        One row a sample: ``sample_id`` (0, 1, …), ``sequence_id``, ``scene``, ``split``, ``task`` ("pretrain" or
        "finetune"), ``current`` (frame index), ``candidates`` (frames that may become keyframes, ascending;
        none for pretrain), ``instruction`` ("" = everything), ``kind`` ("everything", "category", "attribute",
        "relation", "route", "reasoning"), ``referred`` (instance ids, ascending; none = everything),
        ``question`` (type of a question, else ""), ``level`` of the instruction (0 everything, 1 simple, 2 a
        relation, 3 several steps), ``levels`` (of the spatial losses, that the sequence was filmed for),
        ``overlap`` (how much of the current view the candidates show too, see ``Recording.overlap``),
        ``distractors`` (similar things that the instruction does not mean),
        ``weight`` (how often training draws it, relative to the mean of its task; 1 in the other splits).

    Raises:
        ValueError: not a single sample came out.
    """
    rows: list[dict[str, Any]] = []
    for row in tqdm(splits.itertuples(index=False), "normalize", len(splits), unit="sequence", disable=None):
        sequence = sequences[row.id]
        recording = Recording(row.id, row.scene, row.split, sequence.frames, sequence.metadata)
        if not recording.usable:
            logger.warning("%s lacks %s: no samples", row.id, ", ".join(sequence.metadata["absent"]))
            continue
        rows += pretrain_rows(recording, params.pretrain, params.seed)
        rows += finetune_rows(recording, params.finetune, params.seed)
    if not rows:
        raise ValueError("no sequence has two frames or more, or anything that can be named: no samples")
    samples = pd.DataFrame(rows)
    samples.insert(0, "sample_id", np.arange(len(samples)))
    samples["weight"] = _weights(samples, params.sampling, collect)
    return samples[list(COLUMNS)]


def _weights(samples: pd.DataFrame, params: SamplingParams, collect: CollectParams) -> pd.Series:
    """Weights of all samples, from a ``weight`` column of quality scores; 1 outside the training split."""
    shares = {name: level.share for name, level in collect.levels.items()} if params.levels else {}
    weights = pd.Series(1.0, index=samples.index)
    for task, rows in samples[samples["split"] == "train"].groupby("task"):
        levels, quality = rows["levels"].tolist(), rows["weight"].to_numpy() ** params.quality
        weights[rows.index] = level_weights(levels, shares, prior=quality, most=params.most)
        achieved = achieved_shares(levels, weights[rows.index], list(shares))
        for name, share in shares.items():
            logger.info("%s: %.3f of the samples serve %s (wanted: %.3f)", task, achieved[name], name, share)
    return weights
