"""Scenes with things moved or lights dimmed differ from their scene only in that."""

from dataclasses import replace

import numpy as np
import pytest
from hand_built import Box, build
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vln_heatmap.simulation.scene import LightSource, LightVolume
from vln_heatmap.simulation.variants import illuminated, moved, part

SCENE = build(Box((0, 0, 0), (1, 1, 1)), Box((2, 0, 0), (3, 2, 1)), Box((5, 0, 0), (6, 1, 2)))


def corners(scene, instance: int) -> np.ndarray:
    return scene.vertices[scene.faces[scene.face_instance == instance]]


@given(seed=st.integers(0, 2**32 - 1))
def test_only_what_is_named_moves_and_keeps_its_shape(seed):
    rng = np.random.default_rng(seed)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.random(rng=rng).as_matrix()
    motion[:3, 3] = rng.uniform(-3, 3, 3)
    variant = moved(SCENE, {2: motion})
    for instance in (1, 3):
        assert np.array_equal(corners(variant, instance), corners(SCENE, instance))
    there = corners(SCENE, 2) @ motion[:3, :3].T + motion[:3, 3]
    assert corners(variant, 2) == pytest.approx(there, abs=1e-5)
    assert np.linalg.norm(variant.normals, axis=1) == pytest.approx(1, abs=1e-5)
    back = moved(variant, {2: np.linalg.inv(motion)})
    assert back.vertices == pytest.approx(SCENE.vertices, abs=1e-5)


def test_a_vertex_of_two_instances_stays_with_the_one_that_stays():
    halves = replace(
        SCENE, face_instance=(np.arange(36) % 2 + 1).astype(np.int32), instances=SCENE.instances[:2]
    )
    motion = np.eye(4)
    motion[1, 3] = 5
    variant = moved(halves, {2: motion})
    assert np.array_equal(corners(variant, 1), corners(halves, 1))
    assert np.array_equal(corners(variant, 2), corners(halves, 2) + np.float32([0, 5, 0]))
    assert np.array_equal(variant.uvs[variant.faces], halves.uvs[halves.faces])


def test_a_part_keeps_its_faces_and_no_vertex_more():
    chosen = SCENE.face_instance != 2
    piece = part(SCENE, chosen)
    assert len(piece.vertices) == 48
    assert np.array_equal(piece.vertices[piece.faces], SCENE.vertices[SCENE.faces[chosen]])
    assert np.array_equal(piece.normals[piece.faces], SCENE.normals[SCENE.faces[chosen]])
    assert np.array_equal(piece.face_instance, SCENE.face_instance[chosen])
    assert piece.instances == SCENE.instances


def test_light_is_the_weighted_sum_of_its_sources():
    rng = np.random.default_rng(0)
    parts = rng.random((2, 3, 4, 5, 6)).astype(np.float32)
    volumes = [LightVolume(p, np.zeros(3, np.float32), np.ones(3, np.float32)) for p in parts]
    scene = replace(
        SCENE,
        light=replace(volumes[0], irradiance=parts.sum(0)),
        sources=(LightSource("daylight", volumes[0]), LightSource("lamps", volumes[1])),
    )
    dim = illuminated(scene, {"lamps": 0.25}).light
    assert dim.irradiance == pytest.approx(parts[0] + 0.25 * parts[1], abs=1e-6)
    assert illuminated(scene, {"lamps": 1.0}) is scene
    assert illuminated(scene, {}) is scene
