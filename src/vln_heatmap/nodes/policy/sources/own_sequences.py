"""Our own sequences as episodes: the frame table's state, and its velocity as the action.

Invariant: scenes keep their split, so that no house of the test split is seen in training.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.episode_windows import Episode, Numbers
from vln_heatmap.interchange.parquet_episodes import prompt
from vln_heatmap.nodes.normalize import DIMENSIONS
from vln_heatmap.params.policy import PolicyDataParams

CAMERA = "rgb"
#: Walks whose tables are kept.
_KEPT = 512


class OwnEpisodes:
    """See ``EpisodeSource``.

    Args:
        sequences: ``SequenceStore``.
        splits: of the accepted sequences: ``id`` and ``split``.
        params: which state and action: columns of the frame table.

    Raises:
        ValueError: no sequence has a state and a velocity.
    """

    def __init__(self, sequences: Any, splits: pd.DataFrame, params: PolicyDataParams) -> None:
        self.sequences = sequences
        self.cameras: tuple[str, ...] = (CAMERA,)
        self._columns = params.state or "state", params.action or "velocity"
        self.state_names, self.action_names = (DIMENSIONS[name] for name in self._columns)
        found = ((row.id, row.split, sequences[row.id]) for row in splits.itertuples(index=False))
        self.episodes = tuple(
            Episode(name, len(stored), name, str(getattr(stored, "folder", name)), 0, split)
            for name, split, stored in found
            if not stored.absent & set(self._columns)
        )
        if not self.episodes:
            raise ValueError(
                "no accepted sequence has a state and a velocity: collect some, or name data.source"
            )
        self._kept: OrderedDict[str, Numbers] = OrderedDict()

    def numbers(self, episode: Episode, start: int, stop: int) -> Numbers:
        """See ``EpisodeSource``."""
        if episode.id not in self._kept:
            stored = self.sequences[episode.id]
            state, action = (stored.column(name).astype(np.float64) for name in self._columns)
            self._kept[episode.id] = Numbers(state, action, [prompt(stored.metadata)] * len(state))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        state, action, prompts = self._kept[episode.id]
        return Numbers(state[start:stop], action[start:stop], prompts[start:stop])

    def images(self, episode: Episode, camera: str, start: int, stop: int) -> list[NDArray[np.uint8]]:
        """See ``EpisodeSource``."""
        return list(self.sequences[episode.id].rgb(range(start, stop)))
