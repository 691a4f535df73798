"""The data of the policy stage: episodes with their splits, statistics, prompts.

Invariant: nothing but the training split is measured, and no image is decoded for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.datasets.episode_windows import (
    Episode,
    EpisodeSource,
    EpisodeWindows,
    Numbers,
    episode_table,
    split_episodes,
)
from vln_heatmap.nodes.policy.sources import open_episodes
from vln_heatmap.nodes.statistics import Moments, check_rows
from vln_heatmap.params.policy import PolicyParams

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PolicyEpisodes:
    """All episodes, each with its split, and where to read them."""

    source: EpisodeSource
    episodes: tuple[Episode, ...]

    def of(self, split: str) -> tuple[Episode, ...]:
        """The episodes of a split."""
        return tuple(episode for episode in self.episodes if episode.split == split)

    def windows(self, split: str, params: PolicyParams) -> EpisodeWindows:
        """The windows of a split."""
        horizon, size = params.model.head.horizon, params.model.vision.image_size
        return EpisodeWindows(self.source, self.of(split), params.data, horizon=horizon, image_size=size)

    def training_rows(self, params: PolicyParams) -> Iterator[Numbers]:
        """Numbers of each training episode, without the last row unless its action counts."""
        for episode in self.of("train"):
            stop = episode.length - (not params.data.last_action)
            if stop > 0:
                yield self.source.numbers(episode, 0, stop)


def gather_episodes(own: Any, params: PolicyParams) -> tuple[PolicyEpisodes, pd.DataFrame]:
    """Open the episodes and divide them.

    Args:
        own: gives our own sequences and their splits when it is called; not called for other formats.
        params: which data.

    Returns:
        The episodes, and a table of them: ``id``, ``split``, ``file``, ``first_row``, ``length``.

    Raises:
        ValueError: no such data, or too few to divide.
    """
    source = open_episodes(params.data, own)
    episodes = PolicyEpisodes(source, split_episodes(source.episodes, params.data))
    table = episode_table(episodes.episodes)
    counts = table["split"].value_counts().to_dict()
    _LOG.info(
        "%d episodes (%s), %d steps, cameras %s", len(table), counts, table["length"].sum(), source.cameras
    )
    return episodes, table


def policy_statistics(episodes: PolicyEpisodes, params: PolicyParams) -> dict[str, Any]:
    """Statistics of states and actions of the training split, and how they normalise.

    Returns:
        ``state`` and ``action`` (names, count, and min, max, mean, std, q01, q99 by dimension),
        ``normalisation``, ``cameras``: what a checkpoint of the policy carries.

    Raises:
        ValueError: numbers that are not finite, or none at all.
    """
    names = {"state": episodes.source.state_names, "action": episodes.source.action_names}
    summaries = {
        kind: Moments.of_parts(
            check_rows(getattr(rows, kind)) for rows in episodes.training_rows(params)
        ).summary(names[kind])
        for kind in names
    }
    for kind, summary in summaries.items():
        if constant := [
            n for n, low, high in zip(names[kind], summary["min"], summary["max"], strict=True) if low == high
        ]:
            _LOG.info("%s: %s never change", kind, ", ".join(constant))
    normalisation = params.normalisation.model_dump(mode="json")
    return {**summaries, "normalisation": normalisation, "cameras": list(episodes.source.cameras)}


def learn_policy_tokenizer(episodes: PolicyEpisodes, params: PolicyParams) -> dict[str, Any]:
    """Byte-level BPE of the training prompts; an official language model brings a tokenizer of its own."""
    from vln_heatmap.nodes.model.tokenizer import train_tokenizer

    texts = {text for rows in episodes.training_rows(params) for text in rows.prompts}
    return train_tokenizer(sorted(texts - {""}), params.model.language.vocab_size)


def data_fingerprint(episodes: PolicyEpisodes, statistics: Mapping[str, Any]) -> str:
    """Names the data that a training depends on."""
    table = episode_table(episodes.episodes).drop(columns="file")
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    content = json.dumps(statistics, sort_keys=True).encode()
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes() + content).hexdigest()[:16]
