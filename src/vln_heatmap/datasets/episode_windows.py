"""Windows of consecutive steps of episodes, as a policy is trained on them, whatever format they come from.

A window holds up to ``max_seq_len`` steps; an episode is covered by windows that do not overlap, of which the
last may be short and is padded. Each step has the images, the state, the prompt, the action taken before it, and
as its target the chunk of actions from it on, which reaches across the window's end. Invariant: beyond an
episode's last action a chunk repeats that action and its mask is false; masks are all that tells padding, and no
loss may look at what they mark.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vln_heatmap.params.policy import PolicyDataParams

_LOG = logging.getLogger(__name__)
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Episode:
    """Where an episode lies.

    Attributes:
        id: unique in its source.
        length: T, its rows.
        place: for its source alone.
        file: for messages and tables.
        first_row: in that file.
        split: train, val or test; "" where the data do not say.
    """

    id: str
    length: int
    place: Any
    file: str
    first_row: int = 0
    split: str = ""


class Numbers(NamedTuple):
    """Rows of an episode: state [n, S], action [n, A], both float64, and n prompts."""

    state: NDArray[np.float64]
    action: NDArray[np.float64]
    prompts: list[str]


class EpisodeSource(Protocol):
    """Episodes of one format. Can be pickled.

    Attributes:
        episodes: all of them, in order.
        cameras: names, the main one first.
        state_names, action_names: of the dimensions.
    """

    episodes: tuple[Episode, ...]
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]

    def numbers(self, episode: Episode, start: int, stop: int) -> Numbers:
        """Rows ``start`` .. ``stop - 1``.

        Raises:
            ValueError: they are not what the format promises; the message names the file.
        """

    def images(self, episode: Episode, camera: str, start: int, stop: int) -> list[NDArray[np.uint8]]:
        """What the camera showed in these rows, each [H, W, 3]. Raises as ``numbers``."""


def split_episodes(episodes: Iterable[Episode], params: PolicyDataParams) -> tuple[Episode, ...]:
    """Give each episode a split, if the data have none: by a hash of its id, at least one in each.

    Raises:
        ValueError: fewer than three episodes, or a split that stays empty.
    """
    known = tuple(episodes)
    if not any(episode.split for episode in known):
        if len(known) < len(SPLITS):
            raise ValueError(f"train, val and test need an episode each, there are {len(known)}")
        order = sorted(known, key=lambda e: hashlib.sha256(f"{params.seed}/{e.id}".encode()).digest())
        test = min(max(1, round(params.test_share * len(known))), len(known) - 2)
        val = min(max(1, round(params.val_share * len(known))), len(known) - 1 - test)
        names = ["test"] * test + ["val"] * val + ["train"] * (len(known) - test - val)
        split = {episode.id: name for episode, name in zip(order, names, strict=True)}
        known = tuple(replace(episode, split=split[episode.id]) for episode in known)
    if missing := set(SPLITS) - {episode.split for episode in known}:
        raise ValueError(f"no episode in the split {min(missing)}")
    return known


def episode_table(episodes: Iterable[Episode]) -> pd.DataFrame:
    """The index: one row an episode with ``id``, ``split``, ``file``, ``first_row`` and ``length``."""
    columns = ["id", "split", "file", "first_row", "length"]
    return pd.DataFrame([{name: getattr(e, name) for name in columns} for e in episodes], columns=columns)


class EpisodeWindows:
    """Training samples for the loop; see the module.

    Args:
        source: where rows and images come from.
        episodes: of the source, those to use.
        params: length of a window, whether an episode's last action counts.
        horizon: actions of a chunk, H.
        image_size: side S that images are stretched to.

    Raises:
        ValueError: no episode has a step with an action.
    """

    def __init__(
        self,
        source: EpisodeSource,
        episodes: Sequence[Episode],
        params: PolicyDataParams,
        *,
        horizon: int,
        image_size: int,
    ) -> None:
        self.source, self.episodes, self.params = source, tuple(episodes), params
        self.horizon, self.image_size = horizon, image_size
        self.places = [
            (number, start)
            for number, episode in enumerate(self.episodes)
            for start in range(0, self.steps(episode), params.max_seq_len)
        ]
        if short := sum(self.steps(episode) < 1 for episode in self.episodes):
            _LOG.warning("%d of %d episodes have no step with an action", short, len(self.episodes))
        if not self.places:
            raise ValueError(f"none of {len(self.episodes)} episodes has a step with an action to learn")
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict(), "_bytes": 0}

    def __len__(self) -> int:
        return len(self.places)

    def steps(self, episode: Episode) -> int:
        """Steps of an episode that have an action to learn."""
        return episode.length - (not self.params.last_action)

    def get(self, index: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Window ``index`` of L places and C cameras.

        Args:
            index: of the window.
            rng: of its place in a training: then there is ``seed``, of the noise that it is trained with. Nothing
                else is random.

        Returns:
            ``images`` uint8 [L, C, 3, S, S], ``state`` float32 [L, D], ``previous`` (action before each step)
            float32 [L, A] and ``has_previous`` bool [L], ``target`` float32 [L, H, A] and ``target_mask`` bool
            [L, H], ``mask`` (true where there is a step) bool [L], ``prompt`` L texts, ``episode`` id,
            ``start`` row of the first step.

        Raises:
            ValueError: see ``EpisodeSource``.
        """
        number, start = self.places[index]
        episode = self.episodes[number]
        end = self.steps(episode)
        length = min(self.params.max_seq_len, end - start)
        first = max(start - 1, 0)
        rows = self.source.numbers(episode, first, min(start + length + self.horizon - 1, end))
        chunks, known = action_chunks(rows.action[start - first :], length, self.horizon)
        before = (
            rows.action[start - first - 1 : start - first - 1 + length] if start else rows.action[:length]
        )
        if not start:
            before = np.concatenate([np.zeros_like(before[:1]), before[:-1]])  # [n, A]
        random = {} if rng is None else {"seed": int(rng.integers(2**63))}
        return random | {
            "images": self._padded(self._images(index, episode, start, start + length)),
            "state": self._padded(rows.state[start - first :][:length].astype(np.float32)),
            "previous": self._padded(before.astype(np.float32)),
            "has_previous": self._padded(np.arange(start, start + length) > 0),
            "target": self._padded(chunks.astype(np.float32)),
            "target_mask": self._padded(known),
            "mask": self._padded(np.ones(length, bool)),
            "prompt": rows.prompts[start - first :][:length] + [""] * (self.params.max_seq_len - length),
            "episode": episode.id,
            "start": start,
        }

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Windows as a batch: arrays stacked to tensors [B, …], all else in lists."""
        import torch

        return {
            name: torch.from_numpy(np.stack([sample[name] for sample in samples]))
            if isinstance(samples[0][name], np.ndarray)
            else [sample[name] for sample in samples]
            for name in samples[0]
        }

    def _images(self, index: int, episode: Episode, start: int, stop: int) -> NDArray[np.uint8]:
        """Resized images [n, C, 3, S, S] of a window; those used last are kept."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        cameras = [self.source.images(episode, name, start, stop) for name in self.source.cameras]
        images = np.stack([[resized(image, self.image_size) for image in shown] for shown in cameras])
        images = np.ascontiguousarray(images.transpose(1, 0, 4, 2, 3))  # [n, C, 3, S, S]
        self._kept[index] = images
        self._bytes += images.nbytes
        while self._bytes > self.params.cache_megabytes * 2**20:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return images

    def _padded(self, rows: NDArray) -> NDArray:
        """Rows [n, …] with zeros up to [L, …]."""
        padding = [(0, self.params.max_seq_len - len(rows))] + [(0, 0)] * (rows.ndim - 1)
        return np.pad(rows, padding)


def action_chunks(actions: NDArray, steps: int, horizon: int) -> tuple[NDArray, NDArray[np.bool_]]:
    """Chunks [steps, horizon, A] of actions [n, A] from each of the first ``steps`` on, and which are known.

    Beyond the end the last action is repeated, and the mask [steps, horizon] is false.
    """
    places = np.arange(steps)[:, None] + np.arange(horizon)  # [steps, horizon]
    return actions[np.minimum(places, len(actions) - 1)], places < len(actions)


def resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """An image [H, W, 3] stretched to [size, size, 3], by areas where it shrinks."""
    if image.shape[:2] == (size, size):
        return image
    import cv2

    method = cv2.INTER_AREA if size < max(image.shape[:2]) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), np.uint8)
