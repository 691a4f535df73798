"""When back faces cannot be in sight, so that a renderer may leave them out without changing the image.

Invariant: in doubt they are drawn. A wrong "may be seen" costs time, a wrong "cannot" would open a wall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vln_heatmap.simulation.scene import Scene

#: The ray that tells inside from outside starts this far (metres) beside the eye: round coordinates would let it
#: run along edges, where it meets neither of two faces.
ASIDE = np.array([3.7e-5, 0.0, 1.3e-5])


@dataclass(frozen=True)
class Solids:
    """The connected pieces of a scene's surface, if each bounds a solid.

    Attributes:
        pieces: faces of each piece, [F_i, 3, 3] world metres; none if one is open or faces inwards.
        low, high: [P, 3] bounding box of each piece.
        instance: [P] instance id of each piece.
    """

    pieces: list[NDArray[np.float64]]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    instance: NDArray[np.int32]

    @staticmethod
    def of(scene: Scene) -> Solids:
        """The solids of a scene; an instance's vertices at one place (0.1 mm) are one."""
        corners = scene.vertices[scene.faces].astype(np.float64)  # [F, 3, 3]
        places = np.unique(np.round(scene.vertices * 1e4).astype(np.int64), axis=0, return_inverse=True)[1]
        keys = (
            scene.face_instance[:, None].astype(np.int64) * len(scene.vertices)
            + places.reshape(-1)[scene.faces]
        )
        faces = np.unique(keys, return_inverse=True)[1].reshape(-1, 3)  # [F, 3]
        piece = _pieces(faces)  # [F]
        pieces, instance = [], np.zeros(0, np.int32)
        if _is_closed(faces) and (np.bincount(piece, _six_volumes(corners)) > -1e-6).all():
            order = np.argsort(piece, kind="stable")
            ends = np.cumsum(np.bincount(piece))
            pieces, instance = np.split(corners[order], ends[:-1]), scene.face_instance[order][ends - 1]
        low, high = (np.array([f(p, axis=(0, 1)) for p in pieces]).reshape(-1, 3) for f in (np.min, np.max))
        return Solids(pieces, low, high, instance)

    def moved(self, motions: Mapping[int, NDArray[np.float64]]) -> Solids:
        """The same solids, those of some instances taken from rest by rigid transforms [4, 4]."""
        pieces, low, high = list(self.pieces), self.low.copy(), self.high.copy()
        for instance, matrix in motions.items():
            for i in np.flatnonzero(self.instance == instance):
                pieces[i] = self.pieces[i] @ matrix[:3, :3].T + matrix[:3, 3]
                low[i], high[i] = pieces[i].min((0, 1)), pieces[i].max((0, 1))
        return Solids(pieces, low, high, self.instance)

    def hide_back_faces(self, eye: NDArray[np.float64], near: float) -> bool:
        """Whether a camera at ``eye`` [3] that sees nothing closer than ``near`` metres sees no back face.

        That is so from outside of all solids with no face cut by the near plane.
        """
        close = ((self.low < eye + near) & (self.high > eye - near)).all(1)  # [P]
        return len(self.pieces) > 0 and not any(
            _holds(self.pieces[i] - eye, near) for i in np.flatnonzero(close)
        )


def _holds(corners: NDArray[np.float64], near: float) -> bool:
    """Whether the origin lies in a solid with faces [F, 3, 3], or may lie within ``near`` of a face.

    A ray straight up leaves a solid once more than it enters it if it starts inside.
    """
    if ((corners.min(1) < near) & (corners.max(1) > -near)).all(1).any():
        return True
    corners = corners - ASIDE
    following = np.roll(corners, -1, axis=1)
    turn = (
        corners[..., 2] * following[..., 0] - corners[..., 0] * following[..., 2]
    )  # [F, 3], in the floor plan
    met = (turn > 0).all(1) | (turn < 0).all(1)
    facing = np.sign(turn[:, 0])  # 1 up, -1 down
    return bool(facing[met & (_six_volumes(corners) * facing > 0)].sum() != 0)


def _six_volumes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Six times the signed volume between the origin and each face: [F]; their sum is what they bound."""
    return np.asarray((corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum(1))


def _is_closed(faces: NDArray[np.intp]) -> bool:
    """Whether each edge of faces [F, 3] is walked as often one way as the other."""
    start, end, count = faces.ravel(), np.roll(faces, -1, axis=1).ravel(), int(faces.max()) + 1
    return np.array_equal(np.sort(start * count + end), np.sort(end * count + start))


def _pieces(faces: NDArray[np.intp]) -> NDArray[np.intp]:
    """Number [F] of the connected piece that each face [F, 3] belongs to."""
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])  # [2F, 2]
    count = int(faces.max()) + 1
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1][faces[:, 0]]  # [F]
    return np.asarray(np.unique(labels, return_inverse=True)[1])  # without vertices that no face uses
