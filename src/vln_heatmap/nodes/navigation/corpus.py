"""Nodes of the navigation data: walks of experts, what of them validates, dialogues of them, frozen features.

Invariant: a dialogue is of the split of its sequence's scene, and depends on its sequence, seed and parameters.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from typing import Any

import pandas as pd
from tqdm import tqdm

from vln_heatmap.datasets.dialogue_samples import VLNActionDataset, Writer
from vln_heatmap.datasets.frame_features import FeatureStream
from vln_heatmap.datasets.sequence_shards import CollectionStream
from vln_heatmap.nodes.features import cache_frames
from vln_heatmap.nodes.navigation.cotraining import cotraining_dialogues
from vln_heatmap.nodes.navigation.dialogues import dialogue_table, read_dialogues, sequence_dialogues
from vln_heatmap.nodes.navigation.filming import demonstrations
from vln_heatmap.nodes.navigation.mixing import CombineDataset
from vln_heatmap.nodes.navigation.things import with_things
from vln_heatmap.params.model import ModelParams
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.params.navigation_data import NavigationDataParams
from vln_heatmap.params.navigation_training import NavigationTrainingParams

logger = logging.getLogger(__name__)


def film_demonstrations(
    params: NavigationParams, training: NavigationTrainingParams, unfinished: Mapping[str, frozenset[str]]
) -> CollectionStream:
    """The expert's walks to train on, for a ``SequenceStoreDataset``.

    Args:
        params: camera, agent and simulator, as of the closed loop.
        training: which episodes.
        unfinished: finished ids of interrupted filmings, by fingerprint.
    """
    return demonstrations(training.demonstrations, params, training.perturbed, unfinished)


def split_walks(walks: Any, training: NavigationTrainingParams) -> pd.DataFrame:
    """``id``, ``scene`` and ``split`` (train or val) of walks; whole scenes validate, at least one.

    Args:
        walks: mapping from id to an object with ``metadata``.

    Raises:
        ValueError: all are of one scene.
    """
    scene_of = {key: str(walks[key].metadata["scene"]) for key in walks}
    scenes = sorted(set(scene_of.values()), key=lambda scene: (zlib.crc32(scene.encode()), scene))
    if len(scenes) < 2:
        raise ValueError(f"walks must be of at least two scenes, got {scenes}")
    held_out = set(scenes[: max(1, round(training.held_out * len(scenes)))])
    rows = [(key, scene, "val" if scene in held_out else "train") for key, scene in scene_of.items()]
    return pd.DataFrame(rows, columns=["id", "scene", "split"])


def demonstration_dialogues(
    walks: Any, splits: pd.DataFrame, training: NavigationTrainingParams
) -> pd.DataFrame:
    """Dialogues of the expert's walks, see ``make_dialogues``."""
    return make_dialogues(walks, splits, training.data)


def cache_walks(walks: Any, finetuned: Any, training: NavigationTrainingParams) -> FeatureStream:
    """What training reads of every walk: what the model's eyes make of each frame, if no stage changes them; else
    frames and the frozen encoder's features. With ``context.value_map`` also the names of what is seen.

    Args:
        walks: ``SequenceStore``, or several joined.
        finetuned: ``Checkpoint`` of the heatmap model, or of an action dialogue made of one.
        training: model and stages.
    """
    model = ModelParams.model_validate(finetuned.meta["model"])
    rows = pd.DataFrame({"sequence_id": list(walks), "split": "train"})
    stream = cache_frames(walks, rows, model)
    if training.model.context.value_map is not None:
        stream = with_things(stream, walks, model.language.grid)
    if not all(params.fixed_looks for params in training.models()):
        return stream
    from vln_heatmap.nodes.navigation.looks import looked_at

    return looked_at(stream, finetuned)


def make_dialogues(sequences: Any, splits: pd.DataFrame, params: NavigationDataParams) -> pd.DataFrame:
    """Navigation and co-training dialogues of all sequences.

    Args:
        sequences: mapping from id to an object with ``frames`` and ``metadata``.
        splits: ``id``, ``scene`` and ``split``, as ``split_by_scene`` gives it.
        params: what is made of a sequence.

    Returns:
        ``dialogue_table`` with the columns ``scene`` and ``split`` as well.

    Raises:
        ValueError: no sequence gives a dialogue.
    """
    parts = []
    for row in tqdm(splits.itertuples(index=False), "dialogues", len(splits), unit="sequence", disable=None):
        sequence = sequences[row.id]
        dialogues = sequence_dialogues(sequence, params.dialogue, params.sources, seed=params.seed)
        dialogues += cotraining_dialogues(sequence, params.cotraining, seed=params.seed)
        parts.append(dialogue_table(dialogues).assign(scene=row.scene, split=row.split))
    table = pd.concat(parts, ignore_index=True) if parts else dialogue_table([])
    if table.empty:
        raise ValueError(
            "no sequence gives a dialogue: collect walks to goals, such as point_to_point, or ask more questions"
        )
    for (split, task), rows in table.groupby(["split", "task"]):
        logger.info("%s: %d dialogues of %s", split, len(rows), task)
    return table


def dialogue_dataset(
    table: pd.DataFrame, features: Mapping[str, Any], writer: Writer, *, split: str | None = None
) -> CombineDataset:
    """Dialogues of one split (None = all) as data sets by task, in the order of their names.

    Args:
        table: of ``make_dialogues``.
        features: frames of the sequences by id, see ``VLNActionDataset``; a ``collections.ChainMap`` holds
            those of several sources.
        writer: words and tokens.

    Raises:
        ValueError: the split has no dialogue.
    """
    rows = table if split is None else table[table["split"] == split]
    if rows.empty:
        raise ValueError(f"there is no dialogue in the split {split!r}")
    return CombineDataset(
        {
            str(task): VLNActionDataset(read_dialogues(part), features, writer)
            for task, part in rows.groupby("task", sort=True)
        }
    )
