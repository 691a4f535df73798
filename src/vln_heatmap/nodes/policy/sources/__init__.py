"""Episodes for a policy, by the format they come in.

Invariant: all sources give the same episode in the same way (``EpisodeSource``); whoever makes windows,
statistics or reports knows nothing of formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vln_heatmap.datasets.episode_windows import EpisodeSource
from vln_heatmap.nodes.policy.sources.lerobot import LeRobotEpisodes
from vln_heatmap.nodes.policy.sources.own_sequences import OwnEpisodes
from vln_heatmap.nodes.policy.sources.parquet import ParquetRows
from vln_heatmap.params.policy import PolicyDataParams

__all__ = ["SOURCES", "LeRobotEpisodes", "OwnEpisodes", "ParquetRows", "open_episodes"]

#: By ``PolicyDataParams.format``; our own collection needs more than a folder.
SOURCES: dict[str, type[LeRobotEpisodes] | type[ParquetRows]] = {
    "lerobot": LeRobotEpisodes,
    "parquet": ParquetRows,
}


def open_episodes(params: PolicyDataParams, own: Any = None) -> EpisodeSource:
    """The episodes that the parameters name.

    Args:
        params: format and folder.
        own: a callable without arguments that gives our own sequences and their splits; is asked only for
            ``format: sequences``.

    Raises:
        ValueError: the folder is not there, or holds no such data.
    """
    if params.format == "sequences":
        sequences, splits = own()
        return OwnEpisodes(sequences, splits, params)
    folder = Path(str(params.source)).expanduser()
    if not folder.exists():
        raise ValueError(
            f"data.source must be a folder or file of {params.format} episodes, got {params.source}"
        )
    return SOURCES[params.format](folder, params)
