"""The same scene with things moved or lights dimmed.

Invariant: a variant differs from its scene only in what was asked for; ids, textures and rooms stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import LightVolume, Scene


def moved(scene: Scene, motions: Mapping[int, NDArray[np.float64]]) -> Scene:
    """The scene with instances taken from rest by rigid transforms, vertices and normals only.

    Args:
        scene: at rest.
        motions: world transforms [4, 4] by instance id.

    Raises:
        ValueError: no such instance, or a transform that is not rigid.
    """
    if not motions:
        return scene
    checked = {instance: check_motion(scene, instance, motion) for instance, motion in motions.items()}
    scene = _unshared(scene, list(checked))
    vertices, normals = scene.vertices.copy(), scene.normals.copy()
    for instance, matrix in checked.items():
        chosen = np.unique(scene.faces[scene.face_instance == instance])
        vertices[chosen] = scene.vertices[chosen] @ matrix[:3, :3].T + matrix[:3, 3]
        normals[chosen] = scene.normals[chosen] @ matrix[:3, :3].T
    return replace(scene, vertices=vertices, normals=normals)


def part(scene: Scene, chosen: NDArray[np.bool_]) -> Scene:
    """The scene with some of its faces (a mask [F]) and the vertices that they use, all else as it was."""
    used, faces = np.unique(scene.faces[chosen], return_inverse=True)
    return replace(
        scene,
        vertices=scene.vertices[used],
        normals=scene.normals[used],
        uvs=scene.uvs[used],
        faces=faces.reshape(-1, 3).astype(np.int32),
        face_instance=scene.face_instance[chosen],
        face_texture=scene.face_texture[chosen],
    )


def _unshared(scene: Scene, instances: list[int]) -> Scene:
    """The same scene, in which instances have no vertices in common with each other or with the rest."""
    owner = np.where(np.isin(scene.face_instance, instances), scene.face_instance, 0)  # [F]
    corners = np.repeat(owner, 3).astype(np.int64) * len(scene.vertices) + scene.faces.reshape(-1)  # [3F]
    pairs, index = np.unique(corners, return_inverse=True)
    vertices = pairs % len(scene.vertices)
    if len(np.unique(vertices)) == len(vertices):
        return scene
    faces = index.reshape(-1, 3).astype(np.int32)
    arrays = {name: getattr(scene, name)[vertices] for name in ("vertices", "normals", "uvs")}
    return replace(scene, faces=faces, **arrays)


def check_motion(scene: Scene, instance: int, motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """The transform [4, 4] of an instance, if it is one.

    Raises:
        ValueError: no such instance, or a transform that is not rigid.
    """
    if not 1 <= instance <= len(scene.instances):
        raise ValueError(f"scene {scene.name!r} has instances 1 to {len(scene.instances)}, got {instance}")
    matrix = np.asarray(motion, np.float64)
    rigid = matrix.shape == (4, 4) and np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-9)
    if not (rigid and np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-6)):
        raise ValueError(f"the motion of instance {instance} must be a rigid 4x4 transform, got {matrix}")
    return matrix


def illuminated(scene: Scene, weights: Mapping[str, float]) -> Scene:
    """The scene with its light sources scaled by weights; sources without one shine with 1. If all do, the scene
    itself.

    Raises:
        ValueError: the scene has no such source, or a weight is negative.
    """
    if not weights:
        return scene
    names = [source.name for source in scene.sources]
    for name, weight in weights.items():
        if name not in names:
            raise ValueError(f"scene {scene.name!r} has the light sources {names}, not {name!r}")
        if not weight >= 0:
            raise ValueError(f"the weight of light source {name!r} must be at least 0, got {weight}")
    if all(weight == 1 for weight in weights.values()):
        return scene
    parts = [weights.get(source.name, 1.0) * source.light.irradiance for source in scene.sources]
    volume = scene.sources[0].light
    return replace(scene, light=LightVolume(np.sum(parts, axis=0), volume.origin, volume.size))
