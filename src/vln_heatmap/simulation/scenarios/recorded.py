"""What the measures read from a recording: what it is about, where things are, how much of them is seen.

Invariant: everything here comes from the recorded images and tables; boxes are those at rest, moved as the
frame table says.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import Sequence, read_motions
from vln_heatmap.simulation.instructions import frame_things, read_objects, read_rooms
from vln_heatmap.simulation.relations import Thing
from vln_heatmap.simulation.scene import Instance, Room

#: A thing is seen from this share of the image on, and seen well from that one.
SEEN, SEEN_WELL = 0.001, 0.004


def focus_of(sequence: Sequence) -> tuple[int, ...]:
    """Ids of the instances that the recording is about.

    Raises:
        ValueError: its metadata does not say.
    """
    focus = sequence.metadata.get("scenario", {}).get("focus")
    if focus is None:
        raise ValueError(f"sequence {sequence.id!r} has no focus in metadata['scenario']")
    return tuple(int(i) for i in focus)


def instances_of(sequence: Sequence) -> dict[int, Instance]:
    """All instances of the scene by id, at rest."""
    return {instance.id: instance for instance in read_objects(sequence.metadata)}


def shares(sequence: Sequence, instance: int) -> NDArray[np.float64]:
    """Share [T] of each image that shows an instance."""
    return np.asarray((sequence.instance == instance).mean(axis=(1, 2)))


def centres(sequence: Sequence, instance: int) -> NDArray[np.float64]:
    """World centre [T, 3] of an instance's box in every frame, metres."""
    rest = instances_of(sequence)[instance].centre
    motion = read_motions(sequence.frames).get(instance)
    if motion is None:
        return np.tile(rest, (len(sequence), 1))
    return motion[:, :3, :3] @ rest + motion[:, :3, 3]


def eyes(sequence: Sequence) -> NDArray[np.float64]:
    """Camera centres [T, 3], world metres."""
    return sequence.poses[:, :3, 3]


def sightings(sequence: Sequence, *, least: float = SEEN_WELL) -> list[dict[int, Thing]]:
    """For each frame, the things (without the building) that cover at least this share of it, by id."""
    objects = tuple(instances_of(sequence).values())
    pixels = least * sequence.camera.width * sequence.camera.height
    return [
        {thing.id: thing for thing in frame_things(objects, row) if thing.pixels >= pixels}
        for row in sequence.frames.to_dict("records")
    ]


def headings(sequence: Sequence) -> NDArray[np.float64]:
    """Heading [T] of the camera in radians, unwrapped; 0 looks along -Z, left is positive."""
    right = sequence.poses[:, :3, 0]  # [T, 3] = (cos yaw, 0, -sin yaw)
    return np.unwrap(np.arctan2(-right[:, 2], right[:, 0]))


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, last + 1) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def angle_between(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Angle in degrees between two vectors."""
    cosine = float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def rooms_of(sequence: Sequence) -> tuple[Room, ...]:
    """The rooms of the scene."""
    return read_rooms(sequence.metadata)
