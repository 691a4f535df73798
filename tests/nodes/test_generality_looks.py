"""Looks are filmed from one plan: the same houses and walks, spoilt or shown in other ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_wall import write_frames

from vln_heatmap.datasets.sequence_shards import SequenceStore
from vln_heatmap.datasets.sequence_store import store_sequence
from vln_heatmap.nodes import generality_looks
from vln_heatmap.nodes.generality_looks import RecordingTask, film_looks, look_of, plan_looks
from vln_heatmap.params import CollectParams, GeneralityParams

COLLECT = CollectParams.model_validate(
    {
        "camera": {"width": 32, "height": 32},
        "house": {"light": False, "texture_size": 16, "rooms_max": 3, "side_min": 6, "side_max": 7},
    }
)


def params(**changes: Any) -> GeneralityParams:
    """A look that is spoilt, one of other textures and one that is narrow, beside the plain one."""
    values = {
        "scenes": 2,
        "walks_per_scene": 1,
        "length": (6, 6),
        "scenarios": {"random_exploration": 1},
        "looks": {
            "plain": {"counted": False},
            "spoilt": {"sensor": 2},
            "photographs": {"house": {"pattern": "photographs"}},
            "narrow": {"hfov": 50, "aspect": 4 / 3, "camera_height": 0.6},
        },
        "workers": 0,
    }
    return GeneralityParams.model_validate(values | changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SequenceStore:
    """All looks and a recording, filmed."""
    recording = tmp_path_factory.mktemp("real") / "a room"
    recording.mkdir()
    write_frames(recording, 7)
    plan = plan_looks(params(recordings=str(recording), rgbd={"length": 4, "width": 32}), COLLECT)
    folder = tmp_path_factory.mktemp("store")
    for encoded in film_looks(plan, {}):
        store_sequence(folder, encoded, shard=plan.store.shard(encoded.id))
    assert set(plan.store.ids) == set(SequenceStore(folder))
    return SequenceStore(folder)


def of_look(store: SequenceStore, look: str) -> list[Any]:
    return [stored for key, stored in store.items() if look_of(key) == look]


def test_every_look_has_every_walk_and_a_recording_its_parts(store: SequenceStore) -> None:
    counts = {
        look: len(of_look(store, look)) for look in ("plain", "spoilt", "photographs", "narrow", "a-room")
    }
    assert counts == dict.fromkeys(counts, 2)
    assert {stored.metadata["look"] for stored in of_look(store, "spoilt")} == {"spoilt"}
    scenes = {stored.metadata["scene"] for stored in of_look(store, "narrow")}
    assert scenes == {stored.metadata["scene"] for stored in of_look(store, "plain")}


def test_a_spoilt_walk_has_the_same_geometry_and_other_colours(store: SequenceStore) -> None:
    for plain, spoilt in zip(of_look(store, "plain"), of_look(store, "spoilt"), strict=True):
        np.testing.assert_array_equal(plain.poses, spoilt.poses)
        np.testing.assert_array_equal(plain.depth(), spoilt.depth())
        np.testing.assert_array_equal(plain.instance(), spoilt.instance())
        assert np.abs(plain.rgb().astype(int) - spoilt.rgb()).mean() > 2


def test_other_textures_leave_the_walk_as_it_is(store: SequenceStore) -> None:
    for plain, other in zip(of_look(store, "plain"), of_look(store, "photographs"), strict=True):
        np.testing.assert_allclose(plain.poses, other.poses)
        assert np.abs(plain.rgb().astype(int) - other.rgb()).mean() > 5


def test_a_narrow_look_has_its_camera(store: SequenceStore) -> None:
    for stored in of_look(store, "narrow"):
        assert (stored.camera.width, stored.camera.height) == (32, 24)
        assert abs(stored.camera.hfov - 50) <= COLLECT.variation.hfov
        height = stored.column("state")[:, 5]
        assert np.abs(height - 0.6).max() <= COLLECT.variation.camera_height + 1e-6


def test_a_recording_has_depth_and_poses_but_no_ids(store: SequenceStore) -> None:
    for stored in of_look(store, "a-room"):
        assert stored.absent == {"instance", "state", "velocity"}
        assert stored.depth().max() > 1


def test_what_is_finished_is_not_filmed_again(store: SequenceStore) -> None:
    plan = plan_looks(params(), COLLECT)
    finished = frozenset(key for key in plan.store.ids if "photographs" not in key)
    made = [each.id for each in film_looks(plan, {plan.store.fingerprint: finished})]
    assert sorted(made) == sorted(key for key in plan.store.ids if "photographs" in key)
    everything = {plan.store.fingerprint: frozenset(plan.store.ids)}
    assert list(film_looks(plan, everything)) == []


def test_the_fingerprint_is_of_the_content() -> None:
    def of(**changes: Any) -> str:
        return plan_looks(params(**changes), COLLECT).store.fingerprint

    assert of() == of(workers=2)
    assert of() == of(samples={"test": 5})
    assert len({of(), of(seed=7), of(length=(6, 7)), of(sensor={"shot": 0.01})}) == 4


def test_houses_must_be_new() -> None:
    with pytest.raises(ValueError, match=r"generality\.seed must not be that of collect"):
        plan_looks(params(seed=5), COLLECT.model_copy(update={"seed": 5}))


def test_the_other_renderer_is_left_out_where_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = {"plain": {}, "renderer": {"renderer": "other"}}
    monkeypatch.setattr(generality_looks, "resolve_simulator", lambda collect: "raycast")
    names = {look_of(key) for key in plan_looks(params(looks=looks), COLLECT).store.ids}
    assert names == {"plain", "renderer"}

    def only_raycast(collect: CollectParams) -> str:
        if collect.simulator == "raster":
            raise RuntimeError("no driver")
        return "raycast"

    monkeypatch.setattr(generality_looks, "resolve_simulator", only_raycast)
    names = {look_of(key) for key in plan_looks(params(looks=looks), COLLECT).store.ids}
    assert names == {"plain"}


def test_recordings_of_one_name_are_two_looks(tmp_path: Path) -> None:
    folders = [tmp_path / part / "plain" for part in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
        write_frames(folder, 7)
    tasks = plan_looks(params(recordings=tuple(map(str, folders))), COLLECT).tasks
    names = [task.look for task in tasks if isinstance(task, RecordingTask)]
    assert len({"plain", *names}) == 3


def test_a_recording_that_is_not_there_is_refused() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        plan_looks(params(recordings="nowhere"), COLLECT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "other"}, "reference must be one of"),
        ({"looks": {"plain": {"counted": False}}}, "no look is counted"),
        ({"looks": {"plain": {}, "a.b": {}}}, "letters, digits"),
        ({"looks": {"plain": {"house": {"colour": 1}}}}, "colour"),
        ({"length": (9, 4)}, "least, most"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        params(**changes)
