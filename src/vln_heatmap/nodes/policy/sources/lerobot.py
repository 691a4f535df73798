"""LeRobotDataset v3 folders as episodes: any state and action, all cameras that are not depth.

Invariant: the tables are read row group by row group and the videos from the frame that is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vln_heatmap.datasets.episode_windows import Episode, Numbers
from vln_heatmap.datasets.row_groups import RowGroups
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.interchange.incoming import Stated
from vln_heatmap.interchange.lerobot_format import INFO, RGB_KEY
from vln_heatmap.interchange.lerobot_reader import LeRobotFolder, frames_at
from vln_heatmap.nodes.policy.sources.cells import decoded, numbered, rows_of
from vln_heatmap.params.policy import PolicyDataParams

STATE, ACTION, TASK = "observation.state", "action", "task_index"


class LeRobotEpisodes(LeRobotFolder):
    """See ``EpisodeSource``.

    Args:
        folder: of the data set.
        params: features and cache.

    Raises:
        RefusedError: see ``LeRobotFolder``; or a feature that is named and not there.
    """

    def __init__(self, folder: Path, params: PolicyDataParams) -> None:
        super().__init__(folder, Stated())
        self._groups = RowGroups(params.cache_megabytes * 2**20)
        self._state, self._action = params.state or STATE, params.action or ACTION
        self.cameras = params.cameras or self._colour_cameras()
        for name in (*self.cameras, self._state, self._action):
            if name not in self.features:
                raise RefusedError(
                    self.folder / INFO, f"there is no feature {name} in {sorted(self.features)}"
                )
        self.state_names, self.action_names = self._names(self._state), self._names(self._action)
        places: dict[Path, NDArray] = {}
        self.episodes = tuple(self._episode(name, places) for name in self.ids)

    def numbers(self, episode: Episode, start: int, stop: int) -> Numbers:
        """See ``EpisodeSource``."""
        file, offset, _ = episode.place
        cells = self._cells_of(file, offset + start, offset + stop, (self._state, self._action, TASK))
        where = file, offset + start
        return Numbers(
            rows_of(cells[self._state], self._state, len(self.state_names), *where),
            rows_of(cells[self._action], self._action, len(self.action_names), *where),
            [self._tasks[int(number)] for number in cells[TASK]],
        )

    def images(self, episode: Episode, camera: str, start: int, stop: int) -> list[NDArray[np.uint8]]:
        """See ``EpisodeSource``."""
        file, offset, number = episode.place
        if self.features[camera]["dtype"] == "image":
            cells = self._cells_of(file, offset + start, offset + stop, (camera,))
            return decoded(cells[camera], file, offset + start)
        row, prefix, fps = self._rows[number], f"videos/{camera}", float(self.info["fps"])
        names = (f"{prefix}/chunk_index", f"{prefix}/file_index")
        video = self._path("video_path", *names, row, video_key=camera)
        begin = float(row[f"{prefix}/from_timestamp"])
        return frames_at(video, begin + start / fps, stop - start, fps)

    def _colour_cameras(self) -> tuple[str, ...]:
        images = [n for n, f in self.features.items() if f["dtype"] in ("video", "image")]
        colour = [n for n in images if not (self.features[n].get("info") or {}).get("is_depth_map")]
        return tuple(sorted(colour, key=lambda name: (name != RGB_KEY, name)))

    def _names(self, feature: str) -> tuple[str, ...]:
        """Names of a feature's dimensions, those that it states if they fit."""
        described = self.features[feature]
        count = int(np.prod(described.get("shape") or [1]))
        names = described.get("names")
        names = next(iter(names.values()), None) if isinstance(names, dict) else names
        return tuple(map(str, names)) if names and len(names) == count else numbered(feature, count)

    def _episode(self, name: str, places: dict[Path, NDArray]) -> Episode:
        number = self._numbers[name]
        row = self._rows[number]
        file = self._path("data_path", "data/chunk_index", "data/file_index", row)
        if file not in places:
            places[file] = self._column(file, "episode_index")
        found = np.flatnonzero(places[file] == number)
        length = int(row["length"])
        if len(found) != length or (length and found[-1] - found[0] != length - 1):
            raise RefusedError(file, f"episode {number} has {len(found)} rows, should have {length} in a row")
        first = int(found[0]) if length else 0
        return Episode(name, length, (file, first, number), str(file), first)

    def _column(self, file: Path, name: str) -> NDArray:
        try:
            return pq.read_table(file, columns=[name]).column(name).to_numpy()
        except (pa.ArrowException, OSError, KeyError) as error:
            raise RefusedError(file, f"column {name} cannot be read ({error})") from error

    def _cells_of(self, file: Path, start: int, stop: int, columns: tuple[str, ...]) -> dict[str, list[Any]]:
        try:
            return self._groups.rows(file, start, stop, columns).to_pydict()
        except KeyError as error:
            raise RefusedError(file, f"column {error.args[0]} is missing") from error
        except (pa.ArrowException, OSError) as error:
            raise RefusedError(file, f"not a readable Parquet file ({error})") from error
