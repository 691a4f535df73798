"""Nodes of the navigation data: dialogues of all sequences as one table, and a split of them as a data set.

Invariant: a dialogue is of the split of its sequence's scene, and depends on its sequence, seed and parameters.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd
from tqdm import tqdm

from vln_heatmap.datasets.dialogue_samples import VLNActionDataset, Writer
from vln_heatmap.nodes.navigation.cotraining import cotraining_dialogues
from vln_heatmap.nodes.navigation.dialogues import dialogue_table, read_dialogues, sequence_dialogues
from vln_heatmap.nodes.navigation.mixing import CombineDataset
from vln_heatmap.params.navigation_data import NavigationDataParams

logger = logging.getLogger(__name__)


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
