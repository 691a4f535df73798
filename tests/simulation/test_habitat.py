"""Habitat: what can be checked without it (files, poses, tables), and behind its marker the real simulator."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.nodes.plan import plan_collection
from vln_heatmap.params import AgentParams, CollectParams, HouseParams
from vln_heatmap.simulation.gltf import load_scene
from vln_heatmap.simulation.habitat_dataset import (
    export_scenes,
    main,
    read_description,
    single_instance,
    stage_instance,
)
from vln_heatmap.simulation.habitat_scenes import category_name, describe_scene, list_scenes, scene_name
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.selfcheck import build_room
from vln_heatmap.simulation.simulators import SIMULATORS, habitat_session, make_simulator
from vln_heatmap.simulation.simulators.base import SimulatorUnavailableError
from vln_heatmap.simulation.simulators.habitat import instance_table
from vln_heatmap.simulation.simulators.habitat_session import (
    get_transform,
    recompute_navmesh,
    rotation_coefficients,
)


@pytest.fixture(scope="module")
def house() -> Scene:
    return generate_house(3, HouseParams(rooms_min=2, rooms_max=2, light=False, texture_size=16))


@given(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5))
def test_a_habitat_camera_looks_where_ours_does(yaw: float, pitch: float) -> None:
    """Habitat looks along -Z of its camera with +Y up, ours along +Z with +Y down."""
    pose = look_pose((0, 0, 0), yaw, pitch)
    habitat = Rotation.from_quat(rotation_coefficients(pose))
    np.testing.assert_allclose(habitat.apply([0, 0, -1]), pose[:3, 2], atol=1e-9)
    np.testing.assert_allclose(habitat.apply([0, 1, 0]), -pose[:3, 1], atol=1e-9)
    np.testing.assert_allclose(habitat.apply([1, 0, 0]), pose[:3, 0], atol=1e-9)


def test_a_turn_to_the_left_is_a_positive_turn_about_y() -> None:
    x, y, z, w = rotation_coefficients(look_pose((0, 0, 0), 0.4))
    np.testing.assert_allclose((x, y, z, w), (0, np.sin(0.2), 0, np.cos(0.2)), atol=1e-12)


def test_an_export_has_the_whole_house_in_place(house: Scene, tmp_path: Path) -> None:
    [place] = export_scenes([house], tmp_path)
    config = json.loads(place.dataset.read_text())
    assert config["stages"]["paths"][".json"] == ["stages/*.stage_config.json"]
    instance = json.loads((tmp_path / "scenes" / f"{house.name}.scene_instance.json").read_text())
    assert instance["stage_instance"]["template_name"] == house.name
    stage = json.loads((tmp_path / "stages" / f"{house.name}.stage_config.json").read_text())
    assert (stage["up"], stage["front"]) == ([0, 1, 0], [0, 0, -1])
    area = _area(load_scene(tmp_path / "stages" / stage["render_asset"]))
    for placed in instance["object_instances"]:
        assert placed["translation_origin"] == "asset_local"
        assert placed["motion_type"] == "STATIC"
        assert (placed["translation"], placed["rotation"]) == ([0, 0, 0], [1, 0, 0, 0])
        config = json.loads(
            (tmp_path / "objects" / f"{placed['template_name']}.object_config.json").read_text()
        )
        part = load_scene(tmp_path / "objects" / config["render_asset"])
        own = house.instances[config["semantic_id"] - 1]
        np.testing.assert_allclose(part.vertices.min(0), own.box_min, atol=1e-3)
        np.testing.assert_allclose(part.vertices.max(0), own.box_max, atol=1e-3)
        area += _area(part)
    assert area == pytest.approx(_area(house), rel=1e-4)
    assert len(instance["object_instances"]) + 1 == len(np.unique(house.face_instance))
    described, stage = read_description(place.dataset, place.scene) or (None, 0)
    assert stage == place.stage_id == stage_instance(house)
    assert [item.category for item in described.instances] == [item.category for item in house.instances]
    assert [room.name for room in described.rooms] == [room.name for room in house.rooms]
    assert house.instances[place.stage_id - 1].category == "floor"


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    [place] = export_scenes([build_room()], tmp_path)
    assert read_description(place.dataset, "another") is None
    (tmp_path / "ids" / "selfcheck_room.json").write_text("{}")
    with pytest.raises(ValueError, match="export it again"):
        read_description(place.dataset, place.scene)


def test_houses_are_exported_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main([str(tmp_path / "set"), "--houses", "1", "--seed", "5"])
    assert "1 scenes:" in capsys.readouterr().out
    assert (tmp_path / "set" / "scenes" / "house_00005.scene_instance.json").is_file()
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--houses", "0"])


def _area(scene: Scene) -> float:
    a, b, c = np.moveaxis(scene.vertices[scene.faces].astype(float), 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_a_part_shows_the_same_texture(house: Scene) -> None:
    whole = house.instances[-1]
    part = single_instance(house, whole.id)
    faces = np.flatnonzero(house.face_instance == whole.id)
    np.testing.assert_array_equal(part.textures[part.face_texture], house.textures[house.face_texture[faces]])
    np.testing.assert_array_equal(part.uvs[part.faces], house.uvs[house.faces[faces]])


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", ""])
def test_a_scene_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="plain file name"):
        export_scenes([replace(build_room(), name=name)], tmp_path / "out")


def test_semantic_ids_become_ours() -> None:
    table = instance_table({5: 2, 9: 1}, stage_id=7)
    assert (table[0], table[5], table[9], table[3]) == (7, 2, 1, 0)
    assert table[np.clip(1000, 0, len(table) - 1)] == 0  # an id that nobody knows


@pytest.mark.parametrize(
    ("handle", "said"),
    [
        ("frl_apartment_chair_01.object_config.json", "chair"),
        ("objects/frl_apartment_tv_screen_:0003", "tv screen"),
        ("coffee table", "coffee table"),
        ("Potted_Plant-2", "potted plant"),
    ],
)
def test_categories_are_words(handle: str, said: str) -> None:
    assert category_name(handle) == said


def test_scene_names_are_plain() -> None:
    assert scene_name("data/replica_cad/configs/scenes/apt_0.scene_instance.json") == "apt_0"


class Range:
    """A Magnum range: corners are methods."""

    def __init__(self, low: Any, high: Any) -> None:
        self._low, self._high = low, high

    def min(self) -> Any:
        return self._low

    def max(self) -> Any:
        return self._high


def semantic(number: int, category: str, box: Any, region: Any = None) -> Any:
    return SimpleNamespace(
        semantic_id=number, category=SimpleNamespace(name=lambda: category), aabb=box, region=region
    )


def test_annotated_scenes_are_described_with_both_kinds_of_boxes() -> None:
    old = SimpleNamespace(center=np.array([1.0, 1, 1]), sizes=np.array([2.0, 1, 0.5]))
    region = SimpleNamespace(
        id="_3", category=SimpleNamespace(name=lambda: "Kitchen"), aabb=Range([0, 0.1, 0], [4, 2.5, 5])
    )
    objects = [
        semantic(0, "Unknown", old),
        semantic(12, "chair", old, region),
        semantic(4, "Wall", Range([0, 0, 0], [1, 2, 3])),
    ]
    sim = SimpleNamespace(semantic_scene=SimpleNamespace(objects=objects, regions=[region]))
    scene, table = describe_scene(sim, "mp3d/xyz/xyz.glb")
    assert (scene.name, table) == ("xyz", {4: 1, 12: 2})
    assert [item.category for item in scene.instances] == ["wall", "chair"]
    assert scene.instances[1].box_min == (0.0, 0.5, 0.75)
    assert (scene.instances[0].room, scene.instances[1].room) == (-1, 0)
    assert scene.rooms[0].name == "kitchen"
    assert (scene.rooms[0].rectangle, scene.rooms[0].floor) == ((0, 0, 4, 5), 0.1)


def test_a_scene_of_objects_is_described_by_them() -> None:
    class Body:
        handle, semantic_id = "frl_apartment_sofa_:0001", 3
        translation = (1.0, 0.0, 0.0)
        rotation = SimpleNamespace(vector=(0.0, np.sin(np.pi / 4), 0.0), scalar=np.cos(np.pi / 4))
        root_scene_node = SimpleNamespace(cumulative_bb=Range([0, 0, 0], [2, 1, 1]))

    manager = SimpleNamespace(get_objects_by_handle_substring=lambda _: {"x": Body()})
    sim = SimpleNamespace(semantic_scene=None, get_rigid_object_manager=lambda: manager)
    scene, table = describe_scene(sim, "apt_0")
    assert table == {3: 1}
    [sofa] = scene.instances
    assert sofa.category == "sofa"
    np.testing.assert_allclose(sofa.box_min, (1, 0, -2), atol=1e-9)  # +X turns to -Z
    np.testing.assert_allclose(sofa.box_max, (2, 1, 0), atol=1e-9)
    np.testing.assert_allclose(get_transform(Body()) @ (2, 0, 0, 1), (1, 0, -2, 1), atol=1e-9)


def test_static_objects_are_in_the_navigation_mesh_of_every_version() -> None:
    calls: list[Any] = []

    def recompute(_: Any, settings: Any, **options: Any) -> bool:
        calls.append(options or settings.include_static_objects)
        return True

    sim = SimpleNamespace(pathfinder=None, recompute_navmesh=recompute)
    recompute_navmesh(sim, SimpleNamespace(include_static_objects=False))  # 0.2.5 and later
    recompute_navmesh(sim, SimpleNamespace())  # up to 0.2.4
    assert calls == [True, {"include_static_objects": True}]
    with pytest.raises(ValueError, match="no navigation mesh"):
        recompute_navmesh(
            SimpleNamespace(pathfinder=None, recompute_navmesh=lambda *_, **__: False), SimpleNamespace()
        )


def test_sliding_is_habitats_alone() -> None:
    with pytest.raises(ValueError, match="sliding"):
        make_simulator("raycast", PinholeCamera(16, 16, 90.0), agent=AgentParams(sliding=True))


def test_without_habitat_the_message_says_how_to_get_it() -> None:
    try:
        import habitat_sim  # noqa: F401
    except ImportError:
        with pytest.raises(SimulatorUnavailableError, match="conda install habitat-sim"):
            make_simulator("habitat", PinholeCamera(16, 16, 90.0), agent=AgentParams())
    else:
        assert "habitat" in SIMULATORS


CAMERA = PinholeCamera(112, 112, 90.0)


@pytest.fixture(scope="module")
def pair(house: Scene) -> Any:
    """The same house in habitat and in raycast."""
    pytest.importorskip("habitat_sim", reason="habitat-sim is not installed (conda install habitat-sim)")
    sims = [make_simulator(name, CAMERA, agent=AgentParams()) for name in ("habitat", "raycast")]
    for sim in sims:
        sim.load(house)
    yield sims
    for sim in sims:
        sim.close()


@pytest.mark.habitat
def test_habitat_sees_the_same_depth_and_ids(pair: Any) -> None:
    """Within 1 cm on 99 % of the pixels away from edges, and equal ids there."""
    habitat, ours = pair
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, y, z = ours.random_navigable_point(rng)
        pose = look_pose((x, y + 1.25, z), rng.uniform(-3, 3), rng.uniform(-0.3, 0.3))
        theirs, mine = habitat.render(pose), ours.render(pose)
        inner = ~_edges(mine.instance) & ~_edges(theirs.instance)
        close = np.abs(theirs.depth - mine.depth)[inner] < 0.01
        assert close.mean() >= 0.99
        assert (theirs.instance == mine.instance)[inner].mean() >= 0.99


@pytest.mark.habitat
def test_habitat_walks_as_far(pair: Any) -> None:
    """Geodesics agree within 5 % and a step of 0.3 m (the navigation mesh is coarser than the grid)."""
    habitat, ours = pair
    for seed in range(6):
        rng = np.random.default_rng(seed)
        a, b = ours.random_navigable_point(rng), ours.random_navigable_point(rng)
        if habitat.is_navigable(a) and habitat.is_navigable(b):
            expected = ours.geodesic_distance(a, b)
            assert habitat.geodesic_distance(a, b) == pytest.approx(expected, rel=0.05, abs=0.3)


@pytest.mark.habitat
def test_habitats_follower_arrives(pair: Any) -> None:
    from vln_heatmap.simulation.simulators.base import AgentState

    habitat, _ = pair
    rng = np.random.default_rng(1)
    start, goal = habitat.random_navigable_point(rng), habitat.random_navigable_point(rng)
    state = AgentState(tuple(start), 0.0)
    for action in habitat.shortest_path_actions(state, goal):
        state = habitat.step(state, action).state
    assert habitat.geodesic_distance(np.array(state.position), goal) < 0.6


@pytest.mark.habitat
def test_one_habitat_serves_the_next_scene(pair: Any, house: Scene) -> None:
    """A second simulator takes over the process's habitat-sim; loading the first scene again gives it back."""
    habitat, _ = pair
    pose = look_pose((1.5, 1.25, 1.5), 0.3)
    before = habitat.render(pose)
    other = make_simulator("habitat", CAMERA, agent=AgentParams())
    other.load(build_room())
    other.render(pose)
    habitat.load(house)
    after = habitat.render(pose)
    np.testing.assert_array_equal(before.instance, after.instance)


def _edges(instance: np.ndarray) -> np.ndarray:
    """Pixels beside another instance."""
    from scipy import ndimage

    return ndimage.maximum_filter(instance, 3) != ndimage.minimum_filter(instance, 3)


def stub_habitat(handles: list[str]) -> Any:
    """The part of habitat_sim that lists scenes."""
    mediator = SimpleNamespace(get_scene_handles=lambda: handles)
    return SimpleNamespace(metadata=SimpleNamespace(MetadataMediator=lambda: mediator))


def test_scenes_of_a_data_set_are_chosen_by_pattern(tmp_path: Path) -> None:
    dataset = tmp_path / "hm3d.scene_dataset_config.json"
    dataset.write_text("{}")
    habitat = stub_habitat(["b/00801-y.scene_instance.json", "a/00800-x.scene_instance.json"])
    assert list_scenes(dataset, (), habitat=habitat) == [
        "a/00800-x.scene_instance.json",
        "b/00801-y.scene_instance.json",
    ]
    assert list_scenes(dataset, ("00801-*",), habitat=habitat) == ["b/00801-y.scene_instance.json"]
    with pytest.raises(ValueError, match=r"has 2 scenes \(00800-x, 00801-y…\), none that fits \['z'\]"):
        list_scenes(dataset, ("z",), habitat=habitat)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list_scenes(tmp_path / "missing.json", (), habitat=habitat)


def test_a_plan_shares_its_walks_among_the_scenes_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tmp_path / "set.scene_dataset_config.json"
    dataset.write_text("{}")
    stub = stub_habitat(["x/apt_1.scene_instance.json", "x/apt_0.scene_instance.json"])
    monkeypatch.setattr(habitat_session, "import_habitat", lambda gpu: stub)
    params = CollectParams.model_validate(
        {"simulator": "habitat", "sequences": 4, "habitat": {"dataset": str(dataset)}}
    )
    plan = plan_collection(params)
    assert [(scene.name, scene.file, len(scene.walks)) for scene in plan.scenes] == [
        ("apt_0", "x/apt_0.scene_instance.json", 2),
        ("apt_1", "x/apt_1.scene_instance.json", 2),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"simulator": "raster"}, "needs simulator: habitat, got 'raster'"),
        ({"simulator": "habitat", "scenes_folder": "scenes"}, "not from both"),
    ],
)
def test_a_data_set_needs_habitat_and_nothing_else(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CollectParams.model_validate({"habitat": {"dataset": "x.json"}, **changes})
