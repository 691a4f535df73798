"""The one description of light and lens that every embedded renderer implements.

Invariant: a renderer takes these numbers from here (the shader by uniforms, the ray kernel by arguments), so
that two of them cannot drift apart. The formulas, with n the unit normal turned towards the viewer, v the
unit vector to the eye and t the texture colour in [0, 1]:

    light  = AMBIENT + HEMISPHERE (1 + n_y) / 2 + HEADLIGHT |n.v|      without a light volume
    light  = sum_i n_i^2 E[i or i + 3 by the sign of n_i](p + offset n)   with one (ambient cube, Valve 2006)
    c      = t light,  m = max(c)
    colour = c                                                          where m <= KNEE
    colour = c (KNEE + (1 - KNEE) (1 - exp((KNEE - m) / (1 - KNEE)))) / m   elsewhere
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import LightVolume

NEAR = 0.02  # metres; nothing closer than this is seen, by either renderer
SKY = (150, 180, 215)  # where a ray leaves the scene
AMBIENT, HEMISPHERE, HEADLIGHT = 0.42, 0.28, 0.35
KNEE = 0.6  # brightness above which colours roll off instead of clipping

#: Light is looked up this many voxel edges in front of a surface, so that the wall itself does not darken it.
LIGHT_OFFSET_VOXELS = 0.7


def light_offset(light: LightVolume) -> float:
    """How far in front of a surface the light volume is sampled, metres."""
    shape = np.asarray(light.irradiance.shape[:3])
    return LIGHT_OFFSET_VOXELS * float(np.max(np.asarray(light.size) / shape))


def mip_pyramid(textures: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Box-filtered mipmaps of square textures [N, S, S, 3], full size to 1 x 1 (odd edges are cropped)."""
    levels = [np.ascontiguousarray(textures)]
    while (size := levels[-1].shape[1] // 2) >= 1:
        even = levels[-1][:, : 2 * size, : 2 * size].astype(np.uint16)  # [N, 2s, 2s, 3]
        blocks = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
        levels.append(((blocks + 2) // 4).astype(np.uint8))  # [N, s, s, 3]
    return levels
