"""Fused shading of primary rays, compiled by numba.

Invariant: given the triangle that a ray meets, everything else (depth, texture footprint, light, tone) follows
from plain arithmetic here; formulas and constants are ``shading``'s. One thread: workers are processes. Points,
directions and colours are 3-tuples, which live in registers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_jit: Any = njit(cache=True, nogil=True, error_model="numpy")
PLANE, U, V, NORMAL = 0, 1, 2, 3  # rows of a face's maps; NORMAL is the first of three


@_jit
def shade(hit, directions, steps, eye, surface, pyramid, light, plain, knee, sky, rgb, depth, instance):
    """Fill rgb [P, 3] uint8, z-depth [P] and instance [P] from the faces hit [P] (-1: none).

    ``directions`` [P, 3] have z = 1 in the camera, ``steps`` [2, 3] is their change to the next pixel in x and
    y, ``eye`` is the camera centre. ``surface``, ``pyramid`` and ``light`` are the fields of ``raycast.Tables``,
    ``plain``, ``knee`` and ``sky`` the constants of ``shading``.
    """
    maps, instances, layers = surface
    right, down = _row(steps, 0), _row(steps, 1)
    for pixel in range(len(hit)):
        face = hit[pixel]
        if face < 0:
            rgb[pixel, 0], rgb[pixel, 1], rgb[pixel, 2] = sky
            depth[pixel], instance[pixel] = 0.0, 0
            continue
        direction = _row(directions, pixel)
        facing = _linear(maps, face, PLANE, direction)
        z = -_affine(maps, face, PLANE, eye) / facing
        point = _add(eye, direction, z)
        across = _stride(maps, face, direction, right, z, facing)
        along = _stride(maps, face, direction, down, z, facing)
        u, v = _affine(maps, face, U, point), _affine(maps, face, V, point)
        colour = _trilinear(pyramid, layers[face], u, v, max(across, along))
        n = _shading_normal(maps, face, point, facing)
        lit = light[0].size > 0
        strength = _volume_light(light, point, n) if lit else _plain_light(plain, n, direction)
        strength *= _tone(max(colour[0], colour[1], colour[2]) * strength / 255.0, knee)
        for channel in range(3):
            rgb[pixel, channel] = int(min(max(colour[channel] * strength, 0.0), 255.0) + 0.5)
        depth[pixel], instance[pixel] = z, instances[face]


@_jit
def _row(array, i):
    i = np.uint64(i)  # spares a look at the sign
    return array[i, 0], array[i, 1], array[i, 2]


@_jit
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@_jit
def _add(a, b, scale):
    return a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2]


@_jit
def _linear(maps, face, row, v):
    """Change of a face's property along the vector v."""
    return maps[face, row, 0] * v[0] + maps[face, row, 1] * v[1] + maps[face, row, 2] * v[2]


@_jit
def _affine(maps, face, row, point):
    """A face's property at a point."""
    return _linear(maps, face, row, point) + maps[face, row, 3]


@_jit
def _shading_normal(maps, face, point, facing):
    """The interpolated unit normal, on the side of the face that the ray comes from."""
    x, y = _affine(maps, face, NORMAL, point), _affine(maps, face, NORMAL + 1, point)
    z = _affine(maps, face, NORMAL + 2, point)
    scale = (-1.0 if facing > 0 else 1.0) / max(math.sqrt(x * x + y * y + z * z), 1e-12)
    return x * scale, y * scale, z * scale


@_jit
def _stride(maps, face, direction, step, depth, facing):
    """Squared length in texture coordinates of the way from this ray's hit to the next ray's."""
    move = _add(step, direction, -_linear(maps, face, PLANE, step) / facing)
    du, dv = depth * _linear(maps, face, U, move), depth * _linear(maps, face, V, move)
    return du * du + dv * dv


@_jit
def _trilinear(pyramid, layer, u, v, stride):
    """Colour in [0, 255] from the two mip levels whose texels are nearest in size to the stride (squared)."""
    texels, sizes, starts = pyramid
    level = 0.5 * math.log2(max(stride * sizes[0] * sizes[0], 1e-12))
    level = min(max(level, 0.0), len(sizes) - 1.0)
    low = int(level)
    fine = _bilinear(texels, sizes[low], starts[low], layer, u, v)
    if level == low:
        return fine
    coarse = _bilinear(texels, sizes[low + 1], starts[low + 1], layer, u, v)
    return _mix(fine, coarse, level - low)


@_jit
def _bilinear(texels, size, start, layer, u, v):
    """The repeated texture at (u, v) in one mip level, [0, 255]."""
    x, y = (u - math.floor(u)) * size - 0.5, (v - math.floor(v)) * size - 0.5  # [-0.5, size - 0.5)
    left, top = math.floor(x), math.floor(y)
    fx, fy = x - left, y - top
    x0, y0 = int(left), int(top)
    x1, y1 = (x0 + 1 if x0 + 1 < size else 0), (y0 + 1 if y0 + 1 < size else 0)
    x0, y0 = (x0 if x0 >= 0 else size - 1), (y0 if y0 >= 0 else size - 1)
    upper, lower = start + (layer * size + y0) * size, start + (layer * size + y1) * size
    above = _mix(_row(texels, upper + x0), _row(texels, upper + x1), fx)
    below = _mix(_row(texels, lower + x0), _row(texels, lower + x1), fx)
    return _mix(above, below, fy)


@_jit
def _mix(a, b, t):
    s = 1.0 - t  # a sum, as differences of bytes wrap around
    return s * a[0] + t * b[0], s * a[1] + t * b[1], s * a[2] + t * b[2]


@_jit
def _plain_light(plain, n, direction):
    headlight = abs(_dot(n, direction)) / math.sqrt(_dot(direction, direction))
    return plain[0] + plain[1] * (0.5 + 0.5 * n[1]) + plain[2] * headlight


@_jit
def _volume_light(light, point, n):
    """Light on a surface with unit normal n from the ambient cubes [X, Y, Z, 6], trilinear."""
    volume, origin, density, offset = light
    x, y, z = _add(_add(point, n, offset), origin, -1.0)
    i, fx = _voxel(x * density[0], volume.shape[0])
    j, fy = _voxel(y * density[1], volume.shape[1])
    k, fz = _voxel(z * density[2], volume.shape[2])
    sides = (0 if n[0] >= 0 else 3, 1 if n[1] >= 0 else 4, 2 if n[2] >= 0 else 5)
    weights = n[0] * n[0], n[1] * n[1], n[2] * n[2]
    total = 0.0
    for a in range(min(2, volume.shape[0])):
        for b in range(min(2, volume.shape[1])):
            for c in range(min(2, volume.shape[2])):
                share = (fx if a else 1 - fx) * (fy if b else 1 - fy) * (fz if c else 1 - fz)
                cube = volume[i + a, j + b, k + c]
                total += share * _dot(weights, (cube[sides[0]], cube[sides[1]], cube[sides[2]]))
    return total


@_jit
def _voxel(at, count):
    """Lower one of the two voxels around a coordinate (in voxels from the border), and the upper one's weight."""
    at = min(max(at - 0.5, 0.0), count - 1.0)
    low = min(int(at), max(count - 2, 0))
    return low, at - low


@_jit
def _tone(m, knee):
    """Factor by which a colour of brightness m is dimmed."""
    if m <= knee:
        return 1.0
    return (knee + (1 - knee) * (1 - math.exp((knee - m) / (1 - knee)))) / m
