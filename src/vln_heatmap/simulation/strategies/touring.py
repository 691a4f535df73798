"""Round several places in a short way: shortest paths between them, the order, and a camera that goes there.

Invariant: a tour is never longer than the order in which the places were given, nor than always going on to
the nearest place left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.trajectories.free_motion import (
    brisk,
    frames_needed,
    looking_at,
    paced,
    resampled,
    smooth_path,
    standable,
    stands,
)
from vln_heatmap.simulation.trajectories.walks import WalkRequest, path_length

_PASSED = 0.35  # metres from a place within which a smooth tour counts as having been there


class Ways:
    """Shortest paths between K places [K, 3], each searched for once, when it is first asked for."""

    def __init__(self, sim: Simulator, places: NDArray[np.float64]) -> None:
        self.sim, self.places = sim, places
        self._paths: dict[tuple[int, int], NDArray[np.float64]] = {}

    def path(self, start: int, goal: int) -> NDArray[np.float64]:
        """Way points [N, 3] from one place to another; N = 0 if there is no way."""
        first, last = min(start, goal), max(start, goal)
        if (first, last) not in self._paths:
            self._paths[first, last] = self.sim.shortest_path(self.places[first], self.places[last])
        found = self._paths[first, last]
        return found if start == first else found[::-1]

    def distances(self, chosen: Sequence[int]) -> NDArray[np.float64]:
        """Lengths [N, N] of the paths between chosen places, metres; inf where there is no way."""
        table = np.zeros((len(chosen), len(chosen)))
        for i, start in enumerate(chosen):
            for j, goal in enumerate(chosen[:i]):
                path = self.path(start, goal)
                table[i, j] = table[j, i] = path_length(path) if len(path) else np.inf
        return table

    def reachable(self, chosen: Sequence[int]) -> list[int]:
        """The chosen places that can be walked to from the first of them, in order."""
        return [place for place in chosen if place == chosen[0] or len(self.path(chosen[0], place))]


def shortest_tour(distances: NDArray[np.float64], seed: int) -> list[int]:
    """An order of K places with a short way through all of them, from anywhere to anywhere.

    The travelling salesman's problem with a place more that is at no distance from all others, which opens the
    round trip, solved by simulated annealing (Kirkpatrick et al. 1983) from the given order and from that of
    the nearest neighbour.

    Args:
        distances: [K, K] symmetric, finite.
        seed: of the annealing.
    """
    count = len(distances)
    if count < 3:
        return list(range(count))
    table = np.zeros((count + 1, count + 1))
    table[:count, :count] = distances
    graph = nx.from_numpy_array(np.where(np.eye(count + 1), 0.0, table + 1.0))  # + 1: an edge of 0 is no edge
    starts = ([count, *range(count), count], "greedy")
    cycles = [
        nx.approximation.simulated_annealing_tsp(graph, start, source=count, seed=seed) for start in starts
    ]
    orders = [list(range(count)), *(cycle[1:-1] for cycle in cycles)]
    return min(orders, key=lambda order: tour_length(distances, order))


def tour_length(distances: NDArray[np.float64], order: Sequence[int]) -> float:
    """Length of the way through places in an order, given their distances [K, K]."""
    return float(sum(distances[a, b] for a, b in pairwise(order)))


def farthest_first(features: NDArray[np.float64], first: int) -> list[int]:
    """All rows [N, D] in the order of farthest-point sampling (Gonzalez 1985): always the one that is farthest
    from all before it. Every beginning of it is spread evenly."""
    order, nearest = [first], np.linalg.norm(features - features[first], axis=1)  # [N]
    while len(order) < len(features):
        nearest[order[-1]] = -1.0
        order.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[order[-1]], axis=1))
    return order


def gazing_tour(
    ways: Ways,
    request: WalkRequest,
    chosen: Sequence[int],
    target: ArrayLike,
    lifts: NDArray[np.float64],
    seed: int,
) -> tuple[NDArray[np.float64], list[int]] | None:
    """Poses [length, 6] of a camera that looks at a target [3] on a tour of as many chosen places as there is
    time for, in the order of their importance; of two at least, and as much of that way as there is time for.

    Args:
        ways: between all places [K, 3].
        request: length and agent.
        chosen: indices of places, the most important first.
        target: what is looked at.
        lifts: [K] camera lift at each place, metres.
        seed: of the order of the tour.

    Returns:
        The poses and the places that they pass, in the order of the tour; None if the camera cannot stand on the
        way or no second place can be walked to.
    """

    def dense(order: Sequence[int], smooth: bool) -> NDArray[np.float64]:
        path, lift = _through(ways, order, lifts, smooth)
        return looking_at(path, target, request.agent.camera_height, lift)

    def tour_of(count: int) -> list[int]:
        order = shortest_tour(ways.distances(chosen[:count]), seed)
        return [chosen[i] for i in order]

    chosen = ways.reachable(chosen)
    if len(chosen) < 2:
        return None
    count = _largest(len(chosen), lambda n: _fits(dense(tour_of(n), False), request))
    order = tour_of(count)
    for smooth in (True, False):
        walked = paced(dense(order, smooth), request.length, brisk(request))
        if stands(ways.sim, walked):
            return walked, [place for place in order if _passes(walked, ways.places[place])]
    return None


def _passes(rows: NDArray[np.float64], place: NDArray[np.float64]) -> bool:
    return bool(np.linalg.norm(rows[:, :3] - place, axis=1).min() <= _PASSED)


def _fits(rows: NDArray[np.float64], request: WalkRequest) -> bool:
    return frames_needed(rows, brisk(request)) <= request.length


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to ``most`` that fits, counting up; two if there are two, even if they do not fit."""
    return next((n - 1 for n in range(3, most + 1) if not fits(n)), most)


def _through(
    ways: Ways, order: Sequence[int], lifts: NDArray[np.float64], smooth: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The path [N, 3] through places in an order, and the camera's lift [N] on it, even from place to place."""
    paths, heights = [ways.places[order[:1]]], [lifts[order[:1]]]
    for start, goal in pairwise(order):
        way = ways.path(start, goal)
        leg = smooth_path(way, free=lambda point: standable(ways.sim, point)) if smooth else resampled(way)
        gone = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(leg, axis=0), axis=1))])
        paths.append(leg)
        heights.append(np.interp(gone, [0.0, max(gone[-1], 1e-9)], [lifts[start], lifts[goal]]))
    return np.concatenate(paths), np.concatenate(heights)
