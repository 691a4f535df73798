"""Measures of which things are seen, from where, and how they lie to each other.

Invariant: a measure of the focus uses its recorded pixels and boxes; a recording without focus is an error,
one that never shows its focus gets the value that is farthest from holding.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.simulation.relations import (
    YES,
    Thing,
    above,
    between,
    box_gap,
    in_front_of,
    left_of,
    on,
)
from vln_heatmap.simulation.scenarios.measures_motion import LEAST_PATH, path_metres
from vln_heatmap.simulation.scenarios.recorded import (
    SEEN,
    SEEN_WELL,
    angle_between,
    centres,
    eyes,
    focus_of,
    instances_of,
    rooms_of,
    runs,
    shares,
    sightings,
)
from vln_heatmap.simulation.scene import STRUCTURE, Instance, room_at

OPENINGS = frozenset({"door", "door frame", "window", "window frame"})
SMALL = 0.45  # metres: longest side of what counts as clutter
FARTHER, FARTHER_METRES = 1.5, 1.0  # near and far differ by this factor and this much
LEAST_BETWEEN = 0.5  # metres between the outer two of three
UNSEEN_FRAMES = 3
Verdict = Callable[[Thing, Thing], bool]


def seen_share(sequence: Sequence) -> float:
    """Share of the frames that show every focus thing; 0 if the camera hardly moves (``LEAST_PATH``)."""
    seen = np.stack([shares(sequence, i) >= SEEN for i in focus_of(sequence)])  # [N, T]
    return float(seen.all(axis=0).mean()) if path_metres(sequence) >= LEAST_PATH else 0.0


def tracked_together(sequence: Sequence) -> float:
    """``seen_share`` of two things or more; 0 for fewer."""
    return seen_share(sequence) if len(focus_of(sequence)) >= 2 else 0.0


def appearances(sequence: Sequence) -> float:
    """How often the (first) focus thing comes into view or leaves it: seen well, then not one pixel, or back."""
    share = shares(sequence, focus_of(sequence)[0])
    states = np.where(share >= SEEN_WELL, 1, np.where(share == 0, 0, -1))
    clear = states[states >= 0]
    return float(np.count_nonzero(np.diff(clear)))


def widest_angle(sequence: Sequence) -> float:
    """Greatest angle in degrees between two directions from which the focus thing is seen well."""
    thing = focus_of(sequence)[0]
    rays = (eyes(sequence) - centres(sequence, thing))[shares(sequence, thing) >= SEEN_WELL]
    rays = rays * (1.0, 0.0, 1.0)
    return max((angle_between(a, b) for k, a in enumerate(rays) for b in rays[k + 1 :]), default=0.0)


def distance_ratio(sequence: Sequence) -> float:
    """Farthest over nearest distance of the camera to the focus thing's centre where it is seen; 0 if never."""
    thing = focus_of(sequence)[0]
    away = np.linalg.norm(eyes(sequence) - centres(sequence, thing), axis=1)[shares(sequence, thing) >= SEEN]
    return float(away.max() / away.min()) if len(away) else 0.0


def size_ratio(sequence: Sequence) -> float:
    """Largest over smallest apparent size (square root of pixels) of the focus thing in the frames that show it
    whole, not cut by the border; 0 if none does."""
    thing = focus_of(sequence)[0]
    mask = sequence.instance == thing  # [T, H, W]
    cut = mask[:, [0, -1]].any((1, 2)) | mask[:, :, [0, -1]].any((1, 2))
    pixels = mask.sum((1, 2))[~cut & (shares(sequence, thing) >= SEEN)]
    return float(np.sqrt(pixels.max() / pixels.min())) if len(pixels) else 0.0


def opening_share(sequence: Sequence) -> float:
    """Share of the frames in which doors, windows and their frames cover 2 % or more."""
    return _covered(sequence, lambda item: item.category in OPENINGS, least=0.02)


def furniture_share(sequence: Sequence) -> float:
    """Share of the frames in which furniture (0.5 m or longer, not the building) covers 15 % or more."""
    return _covered(sequence, is_furniture, least=0.15)


def small_things(sequence: Sequence) -> float:
    """Number of different small things (no side over 0.45 m, not the building) that are seen."""
    small = {i for i, item in instances_of(sequence).items() if is_small(item)}
    return float(len(set().union(*(frame.keys() for frame in sightings(sequence, least=SEEN))) & small))


def is_small(item: Instance) -> bool:
    """Whether a thing counts as clutter."""
    return item.category not in STRUCTURE | OPENINGS and max(_sides(item)) <= SMALL


def frames_in_front(sequence: Sequence) -> float:
    """Frames in which both focus things are seen well and one is clearly in front of the other."""
    return _frames_with(sequence, lambda a, b: YES in (in_front_of(a, b), in_front_of(b, a)))


def frames_beside(sequence: Sequence) -> float:
    """Frames in which both focus things are seen well and one is clearly left of the other."""
    return _frames_with(sequence, lambda a, b: YES in (left_of(a, b), left_of(b, a)))


def frames_above(sequence: Sequence) -> float:
    """Frames in which both focus things are seen well and one is on or over the other."""
    return _frames_with(sequence, lambda a, b: is_above(a.instance, b.instance))


def frames_near_far(sequence: Sequence) -> float:
    """Frames in which both focus things are seen well, one 1.5 times as far away as the other and 1 m more."""
    return _frames_with(sequence, is_nearer)


def frames_between(sequence: Sequence) -> float:
    """Frames in which all three focus things are seen well and the second is between the others."""
    focus = focus_of(sequence)
    if len(focus) != 3:
        return 0.0
    items = instances_of(sequence)
    if not is_between(items[focus[1]], items[focus[0]], items[focus[2]]):
        return 0.0
    return float(sum(all(i in frame for i in focus) for frame in sightings(sequence)))


def is_above(a: Instance, b: Instance) -> bool:
    """Whether one of two things stands on the other or hangs over it."""
    one, other = Thing(a, 0), Thing(b, 0)
    return YES in (above(one, other), above(other, one), on(one, other), on(other, one))


def is_nearer(a: Thing, b: Thing) -> bool:
    """Whether one of two things is clearly nearer to the camera than the other."""
    near, far = sorted((a.depth or 0.0, b.depth or 0.0))
    return near > 0 and far >= FARTHER * near and far - near >= FARTHER_METRES


def is_between(middle: Instance, a: Instance, b: Instance) -> bool:
    """Whether a thing is between two others, half a metre or more apart from each other."""
    apart = box_gap(a, b) >= LEAST_BETWEEN
    return apart and between(Thing(middle, 0), Thing(a, 0), Thing(b, 0)) == YES


def inside_and_out(sequence: Sequence) -> float:
    """Frames that show the focus thing well from its own room, or from outside it: the fewer of the two."""
    thing = focus_of(sequence)[0]
    place = instances_of(sequence)[thing].room
    states = np.stack(sequence.frames["state"].to_list())  # [T, 6]
    rooms = rooms_of(sequence)
    here = np.array([room_at(rooms, x, z, y) for x, y, z in states[:, :3]])
    seen = shares(sequence, thing) >= SEEN_WELL
    return float(min((seen & (here == place)).sum(), (seen & (here != place) & (here >= 0)).sum()))


def angle_off_view(sequence: Sequence) -> float:
    """Degrees between the last view's axis and the focus thing, which was seen well for 2 frames or more and is
    not seen in the last 2; 0 otherwise."""
    thing = focus_of(sequence)[0]
    share = shares(sequence, thing)
    if share[-2:].any() or (share >= SEEN_WELL).sum() < 2:
        return 0.0
    ray = (centres(sequence, thing)[-1] - eyes(sequence)[-1]) * (1.0, 0.0, 1.0)
    return angle_between(ray, sequence.poses[-1, :3, 2] * (1.0, 0.0, 1.0))


def moved_in_view(sequence: Sequence) -> float:
    """Metres that the focus thing goes, in all, from frame to frame in which it is seen."""
    thing = focus_of(sequence)[0]
    seen = shares(sequence, thing) >= SEEN
    steps = np.linalg.norm(np.diff(centres(sequence, thing), axis=0), axis=1)
    return float(steps[seen[1:] & seen[:-1]].sum())


def moved_out_of_view(sequence: Sequence) -> float:
    """Metres between the places of the focus thing on two visits with 3 unseen frames or more between them;
    0 if it moves while it is seen."""
    thing = focus_of(sequence)[0]
    share, place = shares(sequence, thing), centres(sequence, thing)
    if moved_in_view(sequence) > 1e-6:
        return 0.0
    visits = runs(share > 0)
    gaps = [
        float(np.linalg.norm(place[later[0]] - place[first[1] - 1]))
        for first, later in pairwise(visits)
        if later[0] - first[1] >= UNSEEN_FRAMES
        and min(share[slice(*first)].max(), share[slice(*later)].max()) >= SEEN_WELL
    ]
    return max(gaps, default=0.0)


def _frames_with(sequence: Sequence, verdict: Verdict) -> float:
    focus = focus_of(sequence)
    if len(focus) != 2:
        return 0.0
    both = (frame for frame in sightings(sequence) if all(i in frame for i in focus))
    return float(sum(verdict(frame[focus[0]], frame[focus[1]]) for frame in both))


def _covered(sequence: Sequence, wanted: Callable[[Instance], bool], *, least: float) -> float:
    ids = [i for i, item in instances_of(sequence).items() if wanted(item)]
    cover: NDArray[np.float64] = np.isin(sequence.instance, ids).mean(axis=(1, 2))  # [T]
    return float((cover >= least).mean())


def is_furniture(item: Instance) -> bool:
    """Whether a thing is a piece of furniture: half a metre long, not flat, and not of the building."""
    sides = _sides(item)
    return item.category not in STRUCTURE | OPENINGS and max(sides) >= 0.5 and sides[1] >= 0.2


def _sides(item: Instance) -> NDArray[np.float64]:
    return np.subtract(item.box_max, item.box_min)
