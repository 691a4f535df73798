"""Frames that were read lately, kept in memory up to a budget: for features on slow or distant disks.

On a local disk the operating system keeps what is read often; there this is of no use. Invariant: what is kept
never exceeds the budget of the process, and reading through the cache gives what reading without it gives.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Key = tuple[str, str, int]  # sequence, array, frame (-1 = all)


class CachedFeatures(Mapping[str, "CachedSequence"]):
    """``FrameFeatures`` whose frames are kept, those that were asked for last; each process keeps its own.

    Args:
        features: where frames are read.
        budget: bytes that the kept arrays may take.
    """

    def __init__(self, features: Any, budget: int) -> None:
        self.features, self.budget, self.held = features, budget, 0
        self.folder, self.fingerprint = features.folder, features.fingerprint
        self._kept: OrderedDict[_Key, NDArray[Any]] = OrderedDict()

    def __getitem__(self, key: str) -> CachedSequence:
        return CachedSequence(self, key, self.features[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)

    def find(self, key: _Key) -> NDArray[Any] | None:
        """What is kept under a key, which becomes the latest; None if it is not."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: _Key, values: NDArray[Any]) -> None:
        """Keep values, and drop the oldest until the budget holds."""
        if values.nbytes > self.budget:
            return
        self._kept[key] = values
        self.held += values.nbytes
        while self.held > self.budget:
            self.held -= self._kept.popitem(last=False)[1].nbytes


class CachedSequence:
    """``SequenceFeatures`` through a cache."""

    def __init__(self, cache: CachedFeatures, key: str, sequence: Any) -> None:
        self.cache, self.key, self.sequence = cache, key, sequence

    def read(self, name: str, frames: Iterable[int] | None = None) -> NDArray[Any]:
        """See ``SequenceFeatures.read``; the arrays may be changed by the caller."""
        if frames is None:
            return self._whole(name).copy()
        wanted = [int(i) for i in frames]
        found = {i: self.cache.find((self.key, name, i)) for i in dict.fromkeys(wanted)}
        rows = {i: row for i, row in found.items() if row is not None}
        missing = [i for i in found if i not in rows]
        if missing:
            for i, row in zip(missing, self.sequence.read(name, missing), strict=True):
                rows[i] = row.copy()  # or it would keep the whole reading alive
                self.cache.keep((self.key, name, i), rows[i])
        return np.stack([rows[i] for i in wanted])

    def _whole(self, name: str) -> NDArray[Any]:
        found = self.cache.find((self.key, name, -1))
        if found is None:
            found = self.sequence.read(name)
            self.cache.keep((self.key, name, -1), found)
        return found
