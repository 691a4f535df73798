"""The box walks with a white cube in the room that may slide while the camera walks: exact by construction."""

from __future__ import annotations

import dataclasses

import numpy as np
from box_walks import CAMERA, walk

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.simulation.visibility import visible_instances

CUBE = 7
LOW, HIGH = np.array([-1.4, 0.0, -1.6]), np.array([-0.6, 0.8, -0.8])  # at rest, metres


def cube_walk(
    name: str = "house_00000_00", actions: str = "frflfrflfrfl", *, step: float = 0.0, told: bool = True
) -> Sequence:
    """A walk past the cube, which slides by ``step`` metres along +x at every frame; ``told``: the table says so.

    Instance 7, category "box".
    """
    plain = walk(name, actions)
    shifts = np.arange(len(plain))[:, None] * np.array([step, 0, 0])  # [T, 3]
    rgb, depth, instance = plain.rgb.copy(), plain.depth.copy(), plain.instance.copy()
    for frame, (pose, shift) in enumerate(zip(plain.poses, shifts, strict=True)):
        rays = CAMERA.directions() @ pose[:3, :3].T  # [H, W, 3], z-depth 1
        with np.errstate(divide="ignore"):
            ends = (np.stack([LOW, HIGH])[:, None, None] + shift - pose[:3, 3]) / rays  # [2, H, W, 3]
        enter, leave = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
        hit = (enter <= leave) & (enter > 0) & (enter < depth[frame])
        depth[frame][hit] = np.rint(enter[hit] * 1000) / 1000
        instance[frame][hit] = CUBE
        rgb[frame][hit] = 250
    seen = [
        visible_instances(ids, np.rint(z * 1000).astype(np.uint16))
        for ids, z in zip(instance, depth, strict=True)
    ]
    frames = plain.frames.assign(**{key: [item[key].tolist() for item in seen] for key in seen[0]})
    if step and told:
        motions = np.tile(np.eye(4), (len(plain), 1, 1))
        motions[:, :3, 3] = shifts
        frames["moved_ids"] = [[], *([CUBE] for _ in range(len(plain) - 1))]
        frames["moved_poses"] = [[], *(motion.ravel() for motion in motions[1:])]
    cube = {"id": CUBE, "category": "box", "box_min": LOW.tolist(), "box_max": HIGH.tolist()}
    metadata = {**plain.metadata, "objects": [*plain.metadata["objects"], cube]}
    return dataclasses.replace(
        plain, rgb=rgb, depth=depth, instance=instance, frames=frames, metadata=metadata
    )
