"""The collect stage gives the same data whatever happens on the way, and says what it could not do."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner

from vln_heatmap.datasets.sequence_shards import SequenceStore
from vln_heatmap.datasets.sequence_store import store_sequence
from vln_heatmap.nodes import collect
from vln_heatmap.nodes.collect import collect_scene, collect_sequences
from vln_heatmap.nodes.collect_report import summarise_collection
from vln_heatmap.nodes.plan import plan_collection
from vln_heatmap.params import CollectParams
from vln_heatmap.pipelines.collect import create_pipeline
from vln_heatmap.simulation import houses
from vln_heatmap.simulation.gltf import save_scene
from vln_heatmap.simulation.scene import Instance, Scene
from vln_heatmap.simulation.simulators.base import NoNavigableFloorError

TINY = {
    "sequences": 4,
    "walks_per_scene": 2,
    "length": 8,
    "retries": 1,
    "workers": 0,
    "route_distance": (0.3, 1.5),
    "camera": {"width": 32, "height": 24},
    "house": {"light": False, "texture_size": 16, "rooms_max": 3, "side_min": 6, "side_max": 7},
}
PARAMS = CollectParams.model_validate(TINY)


def files(params: CollectParams, unfinished: dict | None = None) -> dict[str, dict[str, bytes]]:
    stream = collect_sequences(plan_collection(params), unfinished or {}, params)
    return {encoded.id: dict(encoded.files) for encoded in stream}


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, bytes]]:
    return files(PARAMS)


@pytest.fixture(scope="module")
def store(made, tmp_path_factory: pytest.TempPathFactory) -> SequenceStore:
    folder = tmp_path_factory.mktemp("sequences")
    for encoded in collect_sequences(plan_collection(PARAMS), {}, PARAMS):
        store_sequence(folder, encoded)
    return SequenceStore(folder)


def no_floor(name: str = "pit", seed: int | None = None) -> Scene:
    """A lonely wall high above the ground."""
    wall = Instance(1, "wall", "", -1, (0, 5, 0), (1, 6, 0))
    return Scene(
        name=name,
        seed=seed,
        vertices=np.array([[0, 5, 0], [1, 5, 0], [1, 6, 0]], np.float32),
        normals=np.tile(np.array([0, 0, 1], np.float32), (3, 1)),
        uvs=np.zeros((3, 2), np.float32),
        faces=np.array([[0, 1, 2]], np.int32),
        face_instance=np.ones(1, np.int32),
        face_texture=np.zeros(1, np.int32),
        textures=np.full((1, 4, 4, 3), 128, np.uint8),
        instances=(wall,),
    )


# --- scene files -----------------------------------------------------------------------------------------


def test_a_folder_without_scenes_is_refused(tmp_path: Path) -> None:
    for folder, words in ((tmp_path, r"holds no \.glb"), (tmp_path / "none", "does not exist")):
        with pytest.raises(FileNotFoundError, match=words):
            plan_collection(PARAMS.model_copy(update={"scenes_folder": str(folder)}))
    (tmp_path / "a b.glb").touch()
    with pytest.raises(ValueError, match="'a b'"):
        plan_collection(PARAMS.model_copy(update={"scenes_folder": str(tmp_path)}))


# --- determinism and resume -----------------------------------------------------------------------------


def test_workers_do_not_change_a_byte(made) -> None:
    assert files(PARAMS.model_copy(update={"workers": 2})) == made


def test_what_is_finished_is_not_made_again(made) -> None:
    fingerprint = plan_collection(PARAMS).fingerprint
    rest = files(PARAMS, {fingerprint: frozenset({"house_00000_00", "house_00001_00", "house_00001_01"})})
    assert rest == {"house_00000_01": made["house_00000_01"]}
    assert files(PARAMS, {fingerprint: frozenset(made)}) == {}
    assert collect_sequences(plan_collection(PARAMS), {"other": frozenset(made)}, PARAMS).plan.ids == tuple(
        made
    )


def test_seeds_change_the_walks_and_the_houses(made) -> None:
    other = files(PARAMS.model_copy(update={"seed": 1, "sequences": 1}))
    assert other["house_1000000_00"]["frames.parquet"] != made["house_00000_00"]["frames.parquet"]


# --- what is recorded -----------------------------------------------------------------------------------


def test_frames_describe_their_images(store: SequenceStore) -> None:
    for stored in store.values():
        sequence = stored.load()
        for t, row in sequence.frames.iterrows():
            ids, counts = np.unique(sequence.instance[t], return_counts=True)
            assert row.visible_ids.tolist() == ids[ids > 0].tolist()
            assert row.visible_pixels.tolist() == counts[ids > 0].tolist()
            for i, u, v, depth in zip(
                row.visible_ids, row.visible_u, row.visible_v, row.visible_depth, strict=True
            ):
                rows, columns = np.nonzero(sequence.instance[t] == i)
                assert u == pytest.approx((columns.mean() + 0.5) / 32, abs=1e-5)
                assert v == pytest.approx((rows.mean() + 0.5) / 24, abs=1e-5)
                ordered = np.sort(sequence.depth[t][rows, columns])
                assert depth == pytest.approx(ordered[(len(ordered) - 1) // 2], abs=1e-6)


def test_poses_states_and_velocities_agree(store: SequenceStore) -> None:
    for stored in store.values():
        frames, metadata = stored.frames, stored.metadata
        states = np.stack(frames["state"].to_list()).astype(float)  # [T, 6]
        eyes = stored.poses[:, :3, 3]
        np.testing.assert_allclose(
            eyes - states[:, :3], [[0, metadata["camera_height"], 0]] * len(eyes), atol=1e-5
        )
        forward = stored.poses[:, :3, 2]
        np.testing.assert_allclose(np.arcsin(forward[:, 1]), states[:, 4], atol=1e-6)
        np.testing.assert_allclose(np.arctan2(-forward[:, 0], -forward[:, 2]), states[:, 3], atol=1e-5)
        velocity = np.stack(frames["velocity"].to_list()).astype(float)  # [T, 5]
        yaw = states[:-1, 3]
        moved = velocity[:-1, 0, None] * np.stack([-np.sin(yaw), -np.cos(yaw)], 1)
        moved += velocity[:-1, 1, None] * np.stack([-np.cos(yaw), np.sin(yaw)], 1)
        np.testing.assert_allclose(moved, np.diff(states[:, [0, 2]], axis=0), atol=1e-5)
        turn = math.pi / 12
        expected = {0: (0,) * 5, 1: (0.25, 0, 0, 0, 0), 2: (0, 0, 0, turn, 0), 3: (0, 0, 0, -turn, 0)}
        for action, collided, motion in zip(frames["action"], frames["collided"], velocity, strict=True):
            np.testing.assert_allclose(motion, (0,) * 5 if collided else expected[action], atol=1e-5)
        assert frames["action"].iloc[-1] == 0
        assert frames["is_first"].tolist() == [True] + [False] * (len(frames) - 1)


def test_metadata_names_what_later_stages_need(store: SequenceStore) -> None:
    for stored in store.values():
        metadata = stored.metadata
        ids = {entry["id"] for entry in metadata["objects"]}
        seen = set().union(*map(set, stored.frames["visible_ids"]))
        assert seen <= ids
        assert metadata["scene"] == stored.id.rsplit("_", 1)[0]
        for instruction in metadata["instructions"]:
            assert set(instruction) >= {"text", "kind", "instances", "frame"}
            assert set(instruction["instances"]) <= seen
        route = [entry for entry in metadata["instructions"] if entry["kind"] == "route"]
        assert len(route) == (metadata["trajectory"] == "point_to_point")


def test_cameras_vary_within_their_range(store: SequenceStore) -> None:
    heights = [s.metadata["camera_height"] for s in store.values()]
    assert len(set(heights)) == len(heights)
    assert all(abs(height - 1.25) <= 0.1 for height in heights)
    fields = {s.metadata["scene"]: s.metadata["camera"]["hfov"] for s in store.values()}
    assert len(set(fields.values())) == 2
    assert all(abs(hfov - 90) <= 4 for hfov in fields.values())


def test_the_summary_counts_what_is_there(store: SequenceStore) -> None:
    index, report = summarise_collection(store, PARAMS)
    assert index["id"].tolist() == list(store)
    assert index["length"].tolist() == [len(sequence) for sequence in store.values()]
    size = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    assert index["bytes"].sum() == size
    assert report["frames"] == index["length"].sum()
    assert report["megabytes"] == pytest.approx(size / 1e6, abs=1e-3)
    for _, row in index.iterrows():
        states = np.stack(store[row.id].frames["state"].to_list())
        steps = np.linalg.norm(np.diff(states[:, :3], axis=0), axis=1)
        assert row.path_metres == pytest.approx(steps.sum(), abs=1e-5)
        assert row.rooms >= 1


def test_the_stage_runs_as_a_kedro_pipeline(tmp_path: Path, made) -> None:
    entry = {"type": "vln_heatmap.datasets.SequenceStoreDataset", "filepath": str(tmp_path / "sequences")}
    catalog = DataCatalog.from_config(
        {
            "sequences": {**entry, "versioned": True},
            "unfinished_sequences": {**entry, "versioned": True, "unfinished": True},
        },
        save_version="1",
    )
    catalog["params:collect"] = PARAMS
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    index, report = outputs["sequence_index"].load(), outputs["collect_report"].load()
    assert index["id"].tolist() == list(made)
    assert report["frames_per_second"] > 0
    stored = catalog.load("sequences")
    assert {i: (stored[i].folder / "depth.mkv").read_bytes() for i in stored} == {
        i: content["depth.mkv"] for i, content in made.items()
    }


def test_scenes_from_files_are_walked_like_generated_ones(tmp_path: Path, made) -> None:
    house = houses.generate_house(0, PARAMS.house)
    save_scene(house, tmp_path / "my_flat.glb")
    params = PARAMS.model_copy(update={"scenes_folder": str(tmp_path), "sequences": 1})
    (encoded,) = collect_sequences(plan_collection(params), {}, params)
    (tmp_path / "store").mkdir()
    store_sequence(tmp_path / "store", encoded)
    store = SequenceStore(tmp_path / "store")
    metadata = store["my_flat_00"].metadata
    assert metadata["scene"] == "my_flat"
    categories = {entry["id"]: entry["category"] for entry in metadata["objects"]}
    assert categories == {instance.id: instance.category for instance in house.instances}


# --- what can go wrong ----------------------------------------------------------------------------------


def test_a_house_without_floor_is_replaced(made, monkeypatch: pytest.MonkeyPatch) -> None:
    real = houses.generate_house

    def sometimes(seed: int, params) -> Scene:
        return no_floor(seed=seed) if seed == 1 else real(seed, params)

    monkeypatch.setattr(houses, "generate_house", sometimes)
    again = files(PARAMS)
    assert list(again) == list(made)
    assert again["house_00000_01"] == made["house_00000_01"]
    metadata = json.loads(again["house_00001_00"]["metadata.json"])
    assert (metadata["scene"], metadata["seed"]) == ("house_00001", 200_001)


def test_houses_without_any_floor_end_the_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(houses, "generate_house", lambda seed, params: no_floor(seed=seed))
    with pytest.raises(NoNavigableFloorError, match=r"house_00000: .*5 scenes tried"):
        files(PARAMS)


def test_a_scene_file_without_floor_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("good", "pit"):
        (tmp_path / f"{name}.glb").write_bytes(b"glTF")
    house = houses.generate_house(0, PARAMS.house)
    scenes = {"good": replace(house, name="good", seed=None), "pit": no_floor()}
    monkeypatch.setattr(collect, "_make_scene", lambda task, number: scenes[task.name])
    params = PARAMS.model_copy(update={"scenes_folder": str(tmp_path), "sequences": 2})
    plan = plan_collection(params)
    assert plan.store.ids == ("good_00", "pit_00")
    folder = tmp_path / "store"
    folder.mkdir()
    for encoded in collect_sequences(plan, {}, params):
        store_sequence(folder, encoded)
    index, report = summarise_collection(SequenceStore(folder), params)
    assert index["id"].tolist() == ["good_00"]
    assert index["seed"].isna().all()
    assert "no floor" in report["skipped"]["pit_00"]
    (tmp_path / "empty").mkdir()
    (skipped,) = collect_scene(plan.scenes[1], params=params, simulator="auto")
    store_sequence(tmp_path / "empty", skipped)
    with pytest.raises(ValueError, match=r"no sequence could be recorded: .*no floor"):
        summarise_collection(SequenceStore(tmp_path / "empty"), params)


def test_collecting_imports_no_torch() -> None:
    script = """
import sys
from vln_heatmap.params import CollectParams
from vln_heatmap.pipelines.collect import create_pipeline
from vln_heatmap.datasets import SequenceStoreDataset
from vln_heatmap.nodes.collect import collect_sequences
from vln_heatmap.nodes.plan import plan_collection
params = CollectParams.model_validate(eval(sys.argv[1]) | {"sequences": 1})
assert create_pipeline().nodes
assert len(list(collect_sequences(plan_collection(params), {}, params))) == 1
heavy = {"torch", "transformers", "great_expectations", "mlflow"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script, repr(TINY)], check=True)
