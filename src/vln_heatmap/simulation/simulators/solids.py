"""When back faces cannot be in sight, so that a renderer may leave them out without changing the image.

Invariant: in doubt they are drawn. A wrong "may be seen" costs time, a wrong "cannot" would open a wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import Scene


@dataclass(frozen=True)
class Solids:
    """The faces of a scene, kept only if they bound solids.

    Attributes:
        corners: [F, 3, 3] world metres; F = 0 if an instance has an open surface or one that faces inwards.
        low, high: [F, 3] bounding box of each face.
    """

    corners: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @staticmethod
    def of(scene: Scene) -> Solids:
        """The solids of a scene."""
        corners = scene.vertices[scene.faces].astype(np.float64)  # [F, 3, 3]
        if not _bounds_solids(scene, corners):
            corners = corners[:0]
        return Solids(corners, corners.min(1), corners.max(1))

    def hide_back_faces(self, eye: NDArray[np.float64], near: float) -> bool:
        """Whether a camera at ``eye`` [3] that sees nothing closer than ``near`` metres sees no back face.

        That is so from outside of all solids with no face cut by the near plane. Inside or outside is told by
        a ray straight up: it leaves as many solids as it enters, counted by the turn of the faces that it meets.
        """
        if len(self.corners) == 0 or ((self.low < eye + near) & (self.high > eye - near)).all(1).any():
            return False
        plan = (self.low <= eye) & (self.high >= eye)  # [F, 3]
        above = plan[:, 0] & plan[:, 2] & (self.high[:, 1] >= eye[1])
        return _crossings_upwards(self.corners[above] - eye) == 0


def _crossings_upwards(corners: NDArray[np.float64]) -> int:
    """Faces [F, 3, 3] facing up less faces facing down that the ray from the origin along +y meets."""
    following = np.roll(corners, -1, axis=1)
    turn = corners[..., 2] * following[..., 0] - corners[..., 0] * following[..., 2]  # [F, 3], x-z plane
    met = (turn > 0).all(1) | (turn < 0).all(1)
    volume = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum(1)  # [F] 6 x, origin to face
    facing = np.sign(turn[:, 0])
    return int(facing[met & (volume * facing > 0)].sum())


def _bounds_solids(scene: Scene, corners: NDArray[np.float64]) -> bool:
    """Whether every instance is a closed surface that faces outwards.

    Closed: each edge is walked as often one way as the other, once vertices at one place (0.1 mm) are one.
    Outwards: the enclosed volume is not negative.
    """
    places = np.unique(np.round(scene.vertices * 1e4).astype(np.int64), axis=0, return_inverse=True)[1]
    faces = places.reshape(-1)[scene.faces]  # [F, 3]
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()  # [3F]
    forth, back = np.sort(start * len(places) + end), np.sort(end * len(places) + start)
    volumes = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum(1)  # [F] 6 x, origin to face
    return np.array_equal(forth, back) and bool((np.bincount(scene.face_instance, volumes) > -1e-6).all())
