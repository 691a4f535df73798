"""A scene as every simulator takes it: one triangle soup with textures, instance ids and rooms.

Invariant: a ``Scene`` is plain arrays in the world frame (right-handed, +Y up, metres, floor of the ground
storey at y = 0), so that two renderers that are given the same scene can be compared pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Categories that are the building itself, not things in it: never referred to by an instruction.
STRUCTURE = frozenset({"wall", "floor", "ceiling", "skirting", "door frame", "window frame"})


#: Nobody who stands in a room is so far above its floor, in metres: he is a storey higher.
STOREY = 2.0


@dataclass(frozen=True)
class Instance:
    """One thing in the scene.

    Attributes:
        id: instance id in rendered images, from 1; 0 is "nothing".
        category: what it is ("chair", "wall").
        colour: a plain colour name ("red") if a person would use one to tell it apart, else "".
        room: index into ``Scene.rooms``, -1 if it belongs to none.
        box_min, box_max: axis-aligned bounding box in the world, metres, at rest.
        movable: whether a person could carry it off (a chair, a box; not a wardrobe).
    """

    id: int
    category: str
    colour: str
    room: int
    box_min: tuple[float, float, float]
    box_max: tuple[float, float, float]
    movable: bool = False

    @property
    def centre(self) -> NDArray[np.float64]:
        return (np.asarray(self.box_min) + np.asarray(self.box_max)) / 2


@dataclass(frozen=True)
class Room:
    """An axis-aligned room: type name ("kitchen"), inner floor rectangle (x0, z0, x1, z1) and height y of its
    floor, in metres."""

    name: str
    rectangle: tuple[float, float, float, float]
    floor: float = 0.0


@dataclass(frozen=True)
class LightVolume:
    """Soft baked light: one ambient cube per voxel.

    Attributes:
        irradiance: [X, Y, Z, 6] float32, incoming light for the directions +x +y +z -x -y -z; 1 lights a
            surface to its own colour.
        origin: world position of the volume's lower corner, metres [3].
        size: extent of the volume, metres [3].
    """

    irradiance: NDArray[np.float32]
    origin: NDArray[np.float32]
    size: NDArray[np.float32]


@dataclass(frozen=True)
class LightSource:
    """What one group of lights ("daylight", "lamps") adds to the light of a scene; all of them add up to it."""

    name: str
    light: LightVolume = field(repr=False)


@dataclass(frozen=True)
class Scene:
    """Geometry, looks and meaning of one building.

    Attributes:
        name: unique name; splits are made by it.
        seed: seed of the generator, None for a scene from a file.
        vertices, normals: [V, 3] float32, world metres / unit length.
        uvs: [V, 2] float32 glTF texture coordinates (v grows downwards in the image; textures repeat).
        faces: [F, 3] int32, counter-clockwise seen from outside.
        face_instance: [F] int32 instance id of each triangle.
        face_texture: [F] int32 layer of ``textures`` of each triangle.
        textures: [N, S, S, 3] uint8, sRGB, one size for all, row 0 on top.
        instances: what there is; ``instances[i].id == i + 1``.
        rooms: inner rectangles; may be empty for scenes from files.
        light: baked light, None for the renderers' plain default.
        sources: the same light by source, for simulators that dim them (``Simulator.illuminate``); empty if
            the light cannot be divided.
    """

    name: str
    seed: int | None
    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32]
    faces: NDArray[np.int32]
    face_instance: NDArray[np.int32]
    face_texture: NDArray[np.int32]
    textures: NDArray[np.uint8]
    instances: tuple[Instance, ...]
    rooms: tuple[Room, ...] = ()
    light: LightVolume | None = field(default=None, repr=False)
    sources: tuple[LightSource, ...] = ()

    def room_at(self, x: float, z: float, y: float = 0.0) -> int:
        """Index of the room in which somebody at floor point (x, y, z) is: the highest whose floor is at most
        0.5 m above y; -1 outside, in doorways, and ``STOREY`` or more above that floor (high on stairs)."""
        return room_at(self.rooms, x, z, y)


def room_at(rooms: Sequence[Room], x: float, z: float, y: float = 0.0) -> int:
    """``Scene.room_at`` of any rooms."""
    found = [
        (room.floor, index)
        for index, room in enumerate(rooms)
        if room.rectangle[0] <= x <= room.rectangle[2]
        and room.rectangle[1] <= z <= room.rectangle[3]
        and y - STOREY < room.floor <= y + 0.5
    ]
    return max(found, key=lambda item: (item[0], -item[1]))[1] if found else -1
