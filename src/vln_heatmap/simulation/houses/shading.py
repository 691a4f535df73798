"""Normals and texture coordinates of many parts at once.

Invariant: edges sharper than the crease angle stay hard, all others are smooth; texture coordinates are
metres divided by the material's scale, never mirrored and upright when seen from outside.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Texture axes of a face whose normal is dominated by +x, +y, +z, -x, -y, -z: (axis, sign) of u and of v.
_U_AXIS, _U_SIGN = np.array([2, 0, 0, 2, 0, 0]), np.array([-1, 1, 1, 1, 1, -1])
_V_AXIS, _V_SIGN = np.array([1, 2, 1, 1, 2, 1]), np.array([-1, 1, -1, -1, -1, -1])


def face_normals(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Normals [F, 3] of length twice the face's area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def corner_normals(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], *, crease: float = 35.0
) -> NDArray[np.float64]:
    """Unit normals of all face corners, smoothed over adjacent faces that meet below the crease angle.

    Args:
        vertices, faces: [V, 3] and [F, 3]; faces that should be smoothed share vertices.
        crease: degrees; faces at a corner whose normals differ by more do not mix.

    Returns:
        [F, 3 corners, 3]; area-weighted means; a zero-area face takes +y.
    """
    weighted = face_normals(vertices, faces)  # [F, 3]
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    unit = np.divide(weighted, length, out=np.zeros_like(weighted), where=length > 1e-14)
    corner = faces.ravel()  # [3F]
    order = np.argsort(corner, kind="stable")
    count = np.bincount(corner, minlength=len(vertices))
    start = np.cumsum(count) - count
    repeats = count[corner[order]]  # [3F] partners of each sorted corner, itself included
    first = np.repeat(np.arange(len(order)), repeats)  # [pairs]
    block = np.cumsum(repeats) - repeats
    second = start[corner[order[first]]] + np.arange(len(first)) - block[first]  # [pairs]
    mine, theirs = order[first] // 3, order[second] // 3
    mixes = np.einsum("ij,ij->i", unit[mine], unit[theirs]) > math.cos(math.radians(crease))
    sums = np.add.reduceat(weighted[theirs] * mixes[:, None], block, axis=0)  # [3F, 3] in sorted order
    normals = np.empty_like(sums)
    normals[order] = sums
    norm = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(norm > 1e-14, normals / np.maximum(norm, 1e-14), (0.0, 1.0, 0.0))
    return normals.reshape(-1, 3, 3)


def box_sides(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which side of a box each face looks to [F]: 0..5 = +x, +y, +z, -x, -y, -z."""
    normal = face_normals(vertices, faces)
    axis = np.abs(normal).argmax(axis=1)
    return axis + 3 * (normal[np.arange(len(faces)), axis] < 0)


def box_uvs(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    sides: NDArray[np.int64],
    grain_extent: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Box-projected texture coordinates in metres [F, 3 corners, 2].

    Args:
        sides: [F] as ``box_sides`` gives them.
        grain_extent: [F, 3] extent of the face's part where its texture has a grain, which then runs along
            u, the longer of the two directions; zeros keep u horizontal.
    """
    u_axis, v_axis = _U_AXIS[sides], _V_AXIS[sides]  # [F]
    corners = vertices[faces]  # [F, 3, 3]
    row = np.arange(len(faces))
    u = corners[row, :, u_axis] * _U_SIGN[sides][:, None]  # [F, 3]
    v = corners[row, :, v_axis] * _V_SIGN[sides][:, None]
    turned = (grain_extent[row, v_axis] > grain_extent[row, u_axis])[:, None]
    return np.stack([np.where(turned, v, u), np.where(turned, -u, v)], axis=-1)


def weld(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    normals: NDArray[np.float64],
    sides: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corners that share vertex, normal and texture side become one vertex.

    Returns:
        (chosen [V'] corner index of each kept vertex, welded faces [F, 3]).
    """
    quantised = np.round(normals.reshape(-1, 3) * 511).astype(np.int64) + 511  # [3F, 3], 10 bits each
    key = faces.ravel().astype(np.int64) * 6 + np.repeat(sides, 3)
    for column in quantised.T:
        key = key * 1024 + column
    _, chosen, inverse = np.unique(key, return_index=True, return_inverse=True)
    return chosen, inverse.reshape(-1, 3)
