"""Scenes written as glTF and read back, and other people's files."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.gltf import SceneFileError, category_of, load_scene, save_scene
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.scene import Scene

SMALL = HouseParams(rooms_max=3, texture_size=16, light_voxel=0.6, light_rays=8)


@pytest.fixture(scope="module")
def house() -> Scene:
    return generate_house(7, SMALL)


@pytest.fixture(scope="module")
def restored(house, tmp_path_factory) -> Scene:
    path = tmp_path_factory.mktemp("scene") / "house.glb"
    save_scene(house, path)
    return load_scene(path)


def corners(scene: Scene) -> dict[str, np.ndarray]:
    """Per-corner data of all triangles, in order of instance, texture and face."""
    order = np.lexsort((np.arange(len(scene.faces)), scene.face_texture, scene.face_instance))
    faces = scene.faces[order]
    return {
        "vertices": scene.vertices[faces],
        "normals": scene.normals[faces],
        "uvs": scene.uvs[faces],
        "instance": scene.face_instance[order],
        "texture": scene.face_texture[order],
    }


def test_the_round_trip_restores_the_scene(house, restored):
    before, after = corners(house), corners(restored)
    for key in ("vertices", "instance", "texture"):
        assert np.array_equal(before[key], after[key]), key
    for key in ("normals", "uvs"):
        assert np.allclose(before[key], after[key], atol=2e-6), key
    assert np.array_equal(house.textures, restored.textures)
    assert restored.instances == house.instances
    assert restored.rooms == house.rooms
    assert (restored.name, restored.seed) == (house.name, house.seed)
    assert {k: v.dtype for k, v in after.items()} == {k: v.dtype for k, v in before.items()}


def test_the_round_trip_restores_the_light(house, restored):
    assert house.light is not None
    assert restored.light is not None
    for key in ("irradiance", "origin", "size"):
        assert np.array_equal(getattr(house.light, key), getattr(restored.light, key))


def test_the_round_trip_restores_the_sources_of_light(house, restored):
    assert [source.name for source in restored.sources] == ["daylight", "lamps"]
    for before, after in zip(house.sources, restored.sources, strict=True):
        for key in ("irradiance", "origin", "size"):
            assert np.array_equal(getattr(before.light, key), getattr(after.light, key))


def test_the_round_trip_restores_floors_and_what_is_movable(house, tmp_path):
    first = replace(house.rooms[0], floor=2.85)
    save_scene(replace(house, rooms=(first, *house.rooms[1:])), tmp_path / "upstairs.glb")
    again = load_scene(tmp_path / "upstairs.glb")
    assert [room.floor for room in again.rooms] == [2.85, *[0.0] * (len(house.rooms) - 1)]
    assert {i.movable for i in again.instances} == {True, False}
    assert [i.movable for i in again.instances] == [i.movable for i in house.instances]


def test_files_without_floors_sources_and_movables_still_load(house, tmp_path):
    save_scene(house, tmp_path / "old.glb")
    data = (tmp_path / "old.glb").read_bytes()
    for key in (b'"floor"', b'"sources"', b'"movable"'):
        data = data.replace(key, b'"x' + key[2:])
    (tmp_path / "old.glb").write_bytes(data)
    old = load_scene(tmp_path / "old.glb")
    assert [room.floor for room in old.rooms] == [0.0] * len(house.rooms)
    assert old.sources == ()
    assert not any(i.movable for i in old.instances)


def test_a_second_round_trip_changes_nothing(restored, tmp_path):
    save_scene(restored, tmp_path / "again.glb")
    again = load_scene(tmp_path / "again.glb")
    assert np.array_equal(again.faces, restored.faces)
    assert np.array_equal(again.vertices, restored.vertices)
    assert again.instances == restored.instances


def test_nodes_carry_what_the_instances_are(house, tmp_path):
    save_scene(house, tmp_path / "house.glb")
    data = (tmp_path / "house.glb").read_bytes()
    header = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    extras = [n["extras"] for n in header["nodes"] if "category" in n.get("extras", {})]
    assert sorted(e["id"] for e in extras) == [i.id for i in house.instances]
    assert {e["category"] for e in extras} == {i.category for i in house.instances}


def user_scene() -> trimesh.Scene:
    """A red chair that is turned and moved, a textured rug, and a lamp below a parent node."""
    scene = trimesh.Scene()
    red = PBRMaterial(name="red", baseColorFactor=[255, 0, 0, 255])
    chair = trimesh.creation.box((1, 2, 3))
    chair.visual = trimesh.visual.TextureVisuals(material=red)
    turn = trimesh.transformations.rotation_matrix(np.pi / 2, (0, 1, 0))
    turn[:3, 3] = 5, 1, 0
    scene.add_geometry(chair, node_name="Wooden_Chair.001", geom_name="a", transform=turn)
    image = np.zeros((8, 16, 3), np.uint8)
    image[:4] = 255
    rug = trimesh.Trimesh([[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 0, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    rug.visual = trimesh.visual.TextureVisuals(
        uv=[[0, 1], [0, 0], [1, 0], [1, 1]],
        material=PBRMaterial(name="rug", baseColorTexture=Image.fromarray(image)),
    )
    scene.add_geometry(rug, node_name="rug", geom_name="b", metadata={"category": "rug", "colour": "grey"})
    lamp = trimesh.creation.icosphere(1, 0.2)
    scene.add_geometry(lamp, node_name="CeilingLight-2", geom_name="c")
    return scene


@pytest.fixture(params=["glb", "gltf"])
def user_file(request, tmp_path) -> Path:
    if request.param == "glb":
        (tmp_path / "flat.glb").write_bytes(user_scene().export(file_type="glb"))
    else:
        for name, data in trimesh.exchange.gltf.export_gltf(user_scene()).items():
            (tmp_path / name).write_bytes(data)
        (tmp_path / "model.gltf").rename(tmp_path / "flat.gltf")
    return tmp_path / f"flat.{request.param}"


def test_each_node_of_another_file_is_an_instance(user_file):
    scene = load_scene(user_file)
    assert scene.name == "flat"
    assert scene.rooms == ()
    assert scene.light is None
    assert sorted(i.category for i in scene.instances) == ["ceiling light", "rug", "wooden chair"]
    assert [i.id for i in scene.instances] == [1, 2, 3]
    assert {i.category: i.colour for i in scene.instances}["rug"] == "grey"


def test_node_transforms_are_applied_to_boxes_and_normals(user_file):
    scene = load_scene(user_file)
    chair = next(i for i in scene.instances if i.category == "wooden chair")
    assert chair.box_min == pytest.approx((5 - 1.5, 0, -0.5), abs=1e-6)
    assert chair.box_max == pytest.approx((5 + 1.5, 2, 0.5), abs=1e-6)
    for face in np.flatnonzero(scene.face_instance == chair.id):
        a, b, c = scene.vertices[scene.faces[face]]
        outward = np.cross(b - a, c - a)
        assert outward @ (a + b + c - 3 * chair.centre) > 0


def test_images_and_plain_colours_share_one_array(user_file):
    scene = load_scene(user_file)
    assert scene.textures.shape[1:] == (16, 16, 3)
    by_category = {
        i.category: scene.textures[scene.face_texture[scene.face_instance == i.id][0]]
        for i in scene.instances
    }
    assert (by_category["wooden chair"] == (255, 0, 0)).all()
    assert by_category["rug"][2].mean() > 250
    assert by_category["rug"][-3].mean() < 5
    rug = next(i.id for i in scene.instances if i.category == "rug")
    used = np.unique(scene.faces[scene.face_instance == rug])
    far = scene.vertices[used][:, 2] < 0.5
    assert np.allclose(scene.uvs[used][far][:, 1], 0)  # v = 1 in trimesh is the top row, v = 0 in glTF


def test_large_images_are_limited(user_file):
    assert load_scene(user_file, texture_limit=4).textures.shape[1:] == (4, 4, 3)


def test_mirroring_nodes_keep_faces_outward(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box((1, 1, 1)), node_name="box", transform=np.diag([-1.0, 1, 1, 1]))
    (tmp_path / "mirror.glb").write_bytes(scene.export(file_type="glb"))
    loaded = load_scene(tmp_path / "mirror.glb")
    assert trimesh.Trimesh(loaded.vertices, loaded.faces, process=False).volume == pytest.approx(1)


def test_linear_colour_factors_become_srgb(tmp_path):
    box = trimesh.creation.box((1, 1, 1))
    box.visual = trimesh.visual.TextureVisuals(
        material=PBRMaterial(baseColorFactor=[0.2140, 0.2140, 0.2140, 1.0])
    )
    (tmp_path / "grey.glb").write_bytes(trimesh.Scene(box).export(file_type="glb"))
    textures = load_scene(tmp_path / "grey.glb").textures
    assert np.abs(textures.astype(int) - 127).max() <= 2  # IEC 61966-2-1: linear 0.214 is half of white


@pytest.mark.parametrize(
    ("node", "category"),
    [
        ("Kitchen_Chair.001", "kitchen chair"),
        ("wall_12", "wall"),
        ("BookShelf-2", "book shelf"),
        ("sofa", "sofa"),
        ("007", "object"),
    ],
)
def test_categories_come_from_node_names(node, category):
    assert category_of(node) == category


def test_only_glb_is_written(house, tmp_path):
    with pytest.raises(ValueError, match=r"scenes are written as \.glb, got 'house\.obj'"):
        save_scene(house, tmp_path / "house.obj")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.glb"):
        load_scene(tmp_path / "nowhere.glb")


@pytest.mark.parametrize("content", [b"", b"solid cube", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_something_else_than_gltf_is_refused(tmp_path, content):
    (tmp_path / "thing.glb").write_bytes(content)
    with pytest.raises(SceneFileError, match=r"thing\.glb is not a glTF file"):
        load_scene(tmp_path / "thing.glb")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.6, 0.99])
def test_a_truncated_file_is_refused(house, tmp_path, share):
    save_scene(house, tmp_path / "cut.glb")
    data = (tmp_path / "cut.glb").read_bytes()
    (tmp_path / "cut.glb").write_bytes(data[: int(share * len(data))])
    with pytest.raises(SceneFileError, match=r"cut\.glb"):
        load_scene(tmp_path / "cut.glb")


def test_a_file_without_triangles_is_refused(tmp_path):
    empty = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "nothing"}],
    }
    (tmp_path / "empty.gltf").write_text(json.dumps(empty))
    with pytest.raises(SceneFileError, match=r"empty\.gltf has no triangles"):
        load_scene(tmp_path / "empty.gltf")


def test_vertices_that_are_no_numbers_are_refused(tmp_path):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [np.nan, 1, 0]], dtype="<f4")
    tree = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36, "uri": "points.bin"}],
    }
    (tmp_path / "broken.gltf").write_text(json.dumps(tree))
    (tmp_path / "points.bin").write_bytes(vertices.tobytes())
    with pytest.raises(SceneFileError, match=r"broken\.gltf has 1 vertices with NaN or infinite coordinates"):
        load_scene(tmp_path / "broken.gltf")


def test_damaged_extras_are_named(house, tmp_path):
    save_scene(house, tmp_path / "odd.glb")
    data = (tmp_path / "odd.glb").read_bytes()
    (tmp_path / "odd.glb").write_bytes(data.replace(b'"rectangle"', b'"rectangel"'))
    with pytest.raises(SceneFileError, match="damaged 'vln_heatmap' extras"):
        load_scene(tmp_path / "odd.glb")
