"""Fused shading of primary rays, compiled by numba.

Invariant: given the triangle that a ray meets, everything else (depth, texture footprint, light, tone) follows
from plain arithmetic here; formulas and constants are ``shading``'s. One thread: workers are processes.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _add_bilinear(level, size, layer, start, u, v, weight, colour):  # type: ignore[no-untyped-def]
    """Add ``weight`` times the repeated texture at (u, v), texels of one mip level, to ``colour`` [3]."""
    x, y = u * size - 0.5, v * size - 0.5
    x_floor, y_floor = math.floor(x), math.floor(y)
    fx, fy = x - x_floor, y - y_floor
    x0, y0 = int(x_floor) % size, int(y_floor) % size
    x1, y1 = (x0 + 1) % size, (y0 + 1) % size
    top, bottom = start + (layer * size + y0) * size, start + (layer * size + y1) * size
    w00, w10 = weight * (1 - fx) * (1 - fy), weight * fx * (1 - fy)
    w01, w11 = weight * (1 - fx) * fy, weight * fx * fy
    for channel in range(3):
        colour[channel] += (
            w00 * level[top + x0, channel]
            + w10 * level[top + x1, channel]
            + w01 * level[bottom + x0, channel]
            + w11 * level[bottom + x1, channel]
        )


@_jit
def _sample_texture(texels, sizes, starts, layer, u, v, lod, colour):  # type: ignore[no-untyped-def]
    """Trilinear look-up of the mip pyramid in [0, 255] into ``colour`` [3]."""
    colour[:] = 0.0
    lod = min(max(lod, 0.0), len(sizes) - 1.0)
    low = int(lod)
    blend = lod - low
    _add_bilinear(texels, sizes[low], layer, starts[low], u, v, 1.0 - blend, colour)
    if blend > 0.0:
        _add_bilinear(texels, sizes[low + 1], layer, starts[low + 1], u, v, blend, colour)


@_jit
def _volume_light(volume, place, point, n):  # type: ignore[no-untyped-def]
    """Light on a surface with unit normal n at a point, from the ambient cubes [X, Y, Z, 6]."""
    base, fraction = np.empty(3, np.int64), np.empty(3)
    for axis in range(3):
        count = volume.shape[axis]
        at = (point[axis] + n[axis] * place[2, 0] - place[0, axis]) / place[1, axis] * count - 0.5
        at = min(max(at, 0.0), count - 1.0)
        base[axis] = min(int(at), max(count - 2, 0))
        fraction[axis] = at - base[axis]
    total = 0.0
    for corner in range(8):
        weight = 1.0
        i, j, k = base[0], base[1], base[2]
        weight *= fraction[0] if corner & 1 else 1 - fraction[0]
        weight *= fraction[1] if corner & 2 else 1 - fraction[1]
        weight *= fraction[2] if corner & 4 else 1 - fraction[2]
        if weight > 0.0:
            i, j, k = i + (corner & 1), j + (corner >> 1 & 1), k + (corner >> 2 & 1)
            for axis in range(3):
                side = axis if n[axis] >= 0 else axis + 3
                total += weight * n[axis] * n[axis] * volume[i, j, k, side]
    return total


@_jit
def _footprint(face, uv_slope, direction, step_x, step_y, depth, facing, size):  # type: ignore[no-untyped-def]
    """Mip level of the texels that one pixel covers on the plane of the face."""
    largest = 0.0
    for step in (step_x, step_y):
        slide = (face[0] * step[0] + face[1] * step[1] + face[2] * step[2]) / facing
        du, dv = 0.0, 0.0
        for axis in range(3):
            move = depth * (step[axis] - direction[axis] * slide)
            du += uv_slope[0, axis] * move
            dv += uv_slope[1, axis] * move
        largest = max(largest, du * du + dv * dv)
    return 0.5 * math.log2(max(largest * size * size, 1e-12))


@_jit
def shade(  # type: ignore[no-untyped-def]
    hit, directions, steps, eye, faces, planes, slopes, uv_slopes, uvs, normals, instances, layers,
    texels, sizes, starts, volume, place, plain, knee, sky, rgb, depth, instance,
):  # fmt: skip
    """Fill rgb [P, 3] uint8, z-depth [P] and instance [P] from the faces hit [P] (-1: none).

    ``directions`` [P, 3] have z = 1 in the camera, ``steps`` [2, 3] is their change to the next pixel in x and
    y. A face has its ``planes`` row (unit normal, offset), ``slopes`` [F, 2, 4] (barycentric 1 and 2 as affine
    functions of the world point) and ``uv_slopes`` [F, 2, 3] (change of uv per metre).
    """
    colour, n, point = np.empty(3), np.empty(3), np.empty(3)
    for pixel in range(len(hit)):
        face = hit[pixel]
        if face < 0:
            rgb[pixel] = sky
            depth[pixel], instance[pixel] = 0.0, 0
            continue
        plane, direction = planes[face], directions[pixel]
        facing = plane[0] * direction[0] + plane[1] * direction[1] + plane[2] * direction[2]
        z = (plane[3] - plane[0] * eye[0] - plane[1] * eye[1] - plane[2] * eye[2]) / facing
        for axis in range(3):
            point[axis] = eye[axis] + z * direction[axis]
        b1, b2 = slopes[face, 0, 3], slopes[face, 1, 3]
        for axis in range(3):
            b1 += slopes[face, 0, axis] * point[axis]
            b2 += slopes[face, 1, axis] * point[axis]
        b0 = 1 - b1 - b2
        i0, i1, i2 = faces[face, 0], faces[face, 1], faces[face, 2]
        length, along = 0.0, 0.0
        for axis in range(3):
            n[axis] = b0 * normals[i0, axis] + b1 * normals[i1, axis] + b2 * normals[i2, axis]
            length += n[axis] * n[axis]
        scale = (-1.0 if facing > 0 else 1.0) / max(math.sqrt(length), 1e-12)
        for axis in range(3):
            n[axis] *= scale
            along += n[axis] * direction[axis]
        u = b0 * uvs[i0, 0] + b1 * uvs[i1, 0] + b2 * uvs[i2, 0]
        v = b0 * uvs[i0, 1] + b1 * uvs[i1, 1] + b2 * uvs[i2, 1]
        lod = _footprint(plane, uv_slopes[face], direction, steps[0], steps[1], z, facing, sizes[0])
        _sample_texture(texels, sizes, starts, layers[face], u, v, lod, colour)
        if volume.size > 0:
            light = _volume_light(volume, place, point, n)
        else:
            reach = math.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
            light = plain[0] + plain[1] * (0.5 + 0.5 * n[1]) + plain[2] * abs(along) / reach
        light /= 255.0
        m = max(colour[0], colour[1], colour[2]) * light
        if m > knee:
            light *= (knee + (1 - knee) * (1 - math.exp((knee - m) / (1 - knee)))) / m
        for channel in range(3):
            rgb[pixel, channel] = int(min(max(colour[channel] * light, 0.0), 1.0) * 255.0 + 0.5)
        depth[pixel], instance[pixel] = z, instances[face]
