"""Floors laid over each other as few sheets as a search through images can go over.

Invariant: neighbouring free cells of one sheet are never more than a climb apart in height. Where floors of
two sheets meet, the cells on both sides of the seam are in both, with the same height; only sheets that follow
one another meet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vln_heatmap.simulation.navigation.bands import CLIMB, STEP_HEIGHT
from vln_heatmap.simulation.navigation.floors import NEIGHBOURS, Floor, Mask

SIDES = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


@dataclass(frozen=True)
class Sheets:
    """Floors by sheet.

    Attributes:
        free: [S, Z, X] cells on which the agent's centre can stand.
        own: [S, Z, X] the free cells but for a sheet's copies of another's.
        levels, heights, gaps: [S, Z, X] as in ``Floor``, where free.
    """

    free: Mask
    own: Mask
    levels: NDArray[np.float64]
    heights: NDArray[np.float64]
    gaps: NDArray[np.float32]

    @staticmethod
    def of(floors: list[Floor]) -> Sheets:
        """Sheets of floors that are given upwards, joined at their seams."""
        numbers = _numbers(floors)
        shape = (max(numbers) + 1, *floors[0].free.shape)
        free, gaps = np.zeros(shape, bool), np.zeros(shape, np.float32)
        levels, heights = np.zeros(shape), np.zeros(shape)
        for floor, number in zip(floors, numbers, strict=True):
            free[number] |= floor.free
            levels[number][floor.free] = floor.level
            heights[number][floor.free] = floor.heights[floor.free]
            gaps[number][floor.free] = floor.gaps[floor.free]
        sheets = Sheets(free, free.copy(), levels, heights, gaps)
        for lower in range(len(free) - 1):
            sheets._join(lower, lower + 1)
        return sheets

    def only(self, cells: Mask) -> Sheets:
        """The same sheets with no free cells but some of theirs [S, Z, X]."""
        return replace(self, free=cells, own=self.own & cells)

    def linked(self) -> Mask:
        """[S - 1, Z, X] cells that a sheet has in common with the next one."""
        same = np.abs(np.diff(self.levels, axis=0)) < 1e-9
        return self.free[:-1] & self.free[1:] & same

    def largest(self) -> Mask:
        """The free cells [S, Z, X] of the largest piece that reaches the ground; pieces connect by cell sides."""
        labels, count = self._labels()
        if count == 0:
            return self.free
        size = np.bincount(labels[self.own], minlength=count + 1)
        ground = np.bincount(labels[self.own & (np.abs(self.levels) <= STEP_HEIGHT)], minlength=count + 1)
        size[0], size[ground == 0] = 0, 0
        return (labels == np.argmax(size)) & (labels > 0) & bool(size.max())

    def _join(self, lower: int, upper: int) -> None:
        """Copy the cells along the seam of two sheets to the other one."""
        copies = [(a, b, self._beside(a, b)) for a, b in ((lower, upper), (upper, lower))]
        for to, source, cells in copies:
            self.free[to][cells] = True
            for array in (self.levels, self.heights, self.gaps):
                array[to][cells] = array[source][cells]

    def _beside(self, to: int, source: int) -> Mask:
        """Cells [Z, X] of sheet ``source`` next to cells of sheet ``to`` that can be stepped on from there."""
        found = np.zeros(self.free.shape[1:], bool)
        for side in SIDES:  # the grid's border is never free, so that nothing comes round
            step = np.abs(np.roll(self.levels[to], side, (0, 1)) - self.levels[source])
            found |= np.roll(self.own[to], side, (0, 1)) & (step <= CLIMB + 1e-6)
        return found & self.own[source] & ~self.free[to]

    def _labels(self) -> tuple[NDArray[np.intp], int]:
        """Number of the piece that each cell [S, Z, X] belongs to, from 1 (0: not free), and their count."""
        plane = ndimage.generate_binary_structure(2, 1)[None]
        labels, count = ndimage.label(self.free, np.pad(plane, ((1, 1), (0, 0), (0, 0))))
        if len(self.free) == 1 or count == 0:
            return labels, count
        links = self.linked()
        one, other = labels[:-1][links], labels[1:][links]
        graph = coo_array((np.ones(len(one)), (one, other)), shape=(count + 1, count + 1))
        pieces = connected_components(graph, directed=False)[1]  # [count + 1]; 0 is linked with nothing
        pieces = np.where(np.arange(count + 1) == 0, 0, pieces + 1)
        return pieces[labels], int(pieces.max())


def _numbers(floors: list[Floor]) -> list[int]:
    """The sheet of each floor: that of the floors a climb below it, or the first one after it where it fits."""
    numbers: list[int] = []
    near = [ndimage.binary_dilation(floor.free, NEIGHBOURS) for floor in floors]
    for i, floor in enumerate(floors):
        steps = [floor.level - lower.level for lower in floors[:i]]
        number = max((numbers[j] for j, step in enumerate(steps) if step <= CLIMB + 1e-6), default=0)
        # no cells over each other, nor neighbours that are more than a climb apart
        taken = [near[j] if step > CLIMB + 1e-6 else floors[j].free for j, step in enumerate(steps)]
        while any(
            n == number and (cells & floor.free).any() for n, cells in zip(numbers, taken, strict=True)
        ):
            number += 1
        numbers.append(number)
    return numbers
