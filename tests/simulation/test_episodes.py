"""R2R-CE and RxR-CE files become episodes in our frame, and broken ones are refused with the place."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_built import build, slab, wall
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.simulation.episodes import (
    SETTINGS,
    EpisodeFileError,
    read_episodes,
    replay,
    yaw_of,
)
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.simulators.base import FORWARD, LOOK_DOWN, LOOK_UP, STOP, TURN_LEFT, TURN_RIGHT


def entry(**changes: Any) -> dict[str, Any]:
    """One episode as VLN-CE writes it; it looks along -Z."""
    return {
        "episode_id": 7,
        "trajectory_id": 3,
        "scene_id": "mp3d/17DRP5sb8fy/17DRP5sb8fy.glb",
        "start_position": [2.0, 0.0, 4.0],
        "start_rotation": [0.0, 0.0, 0.0, 1.0],
        "info": {"geodesic_distance": 2.5},
        "goals": [{"position": [2.0, 0.0, 1.5], "radius": 3.0}],
        "instruction": {"instruction_text": "Walk  to\nthe wall. ", "instruction_tokens": [1, 2]},
        "reference_path": [[2.0, 0.0, 4.0], [2.0, 0.0, 1.5]],
        **changes,
    }


def write(path: Path, content: Any) -> Path:
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def r2r(path: Path, *entries: dict[str, Any]) -> Path:
    return write(path, {"episodes": list(entries), "instruction_vocab": {"word_list": ["walk"]}})


def test_an_r2r_episode_is_read(tmp_path: Path) -> None:
    truth = {"7": {"locations": [[2, 0, 4], [2, 0, 3.75]], "actions": [1, 0], "forward_steps": 1}}
    split = r2r(tmp_path / "val.json.gz", entry())
    [episode] = read_episodes(split, ground_truth=write(tmp_path / "val_gt.json.gz", truth))
    assert (episode.id, episode.trajectory, episode.benchmark) == ("7", "3", "r2r")
    assert (episode.scene_name, episode.instruction) == ("17DRP5sb8fy", "Walk to the wall.")
    assert episode.start.position == (2.0, 0.0, 4.0)
    assert episode.start.yaw == 0.0
    assert episode.goals == ((2.0, 0.0, 1.5),)
    assert episode.actions == (FORWARD, STOP)
    np.testing.assert_array_equal(episode.locations, [[2, 0, 4], [2, 0, 3.75]])
    np.testing.assert_array_equal(episode.reference_path, [[2, 0, 4], [2, 0, 1.5]])
    assert episode.geodesic == 2.5


def test_rxr_is_told_by_its_missing_vocabulary_and_filtered_by_language(tmp_path: Path) -> None:
    said = {"instruction_text": "ఇప్పుడు", "language": "te-IN", "instruction_id": "9"}
    path = write(
        tmp_path / "val_guide.json.gz", {"episodes": [entry(), entry(episode_id="8", instruction=said)]}
    )
    assert [e.benchmark for e in read_episodes(path)] == ["rxr", "rxr"]
    [only] = read_episodes(path, languages=["te-IN"])
    assert (only.id, only.language, only.instruction) == ("8", "te-IN", "ఇప్పుడు")


def test_the_published_agents_differ_as_their_configurations_do() -> None:
    r2r_agent, rxr_agent = SETTINGS["r2r"].agent, SETTINGS["rxr"].agent
    assert (r2r_agent.turn_angle, r2r_agent.sliding, r2r_agent.camera_height) == (15.0, True, 1.25)
    assert (rxr_agent.turn_angle, rxr_agent.sliding, rxr_agent.camera_height) == (30.0, False, 0.88)
    assert (SETTINGS["rxr"].camera.hfov, SETTINGS["r2r"].camera.hfov) == (79.0, 90.0)


@given(st.floats(-math.pi + 1e-6, math.pi - 1e-6), st.floats(-1.4, 1.4))
def test_yaw_is_that_of_the_rotated_forward_vector(yaw: float, pitch: float) -> None:
    rotation = Rotation.from_euler("YX", [yaw, pitch])
    assert math.isclose(yaw_of(rotation.as_quat()), yaw, abs_tol=1e-9)
    ahead = rotation.apply([0, 0, -1])
    assert math.isclose(math.atan2(-ahead[0], -ahead[2]), yaw, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_rotation": [0, 0, 0, 2]}, "unit quaternion"),
        ({"start_rotation": [math.sqrt(0.5), 0, 0, math.sqrt(0.5)]}, "straight up or down"),
        ({"start_position": [0, 0]}, "episode 0: start_position"),
        ({"start_position": [0, float("nan"), 0]}, "episode 0: start_position.1"),
        ({"scene_id": "../../etc/passwd"}, "below the scene data sets"),
        ({"scene_id": "/data/x.glb"}, "below the scene data sets"),
        ({"instruction": {"instruction_text": ""}}, "instruction.instruction_text"),
        ({"goals": [{"position": [0, 0, 0], "radius": -1}]}, "goals.0.radius"),
    ],
)
def test_a_broken_episode_names_its_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EpisodeFileError, match=message):
        read_episodes(r2r(tmp_path / "val.json.gz", entry(**changes)))


@pytest.mark.parametrize(
    "data",
    [b"no json", b"\x1f\x8bnot gzip", gzip.compress(b"{}"), b"[1]"],
    ids=["text", "gzip magic", "no episodes", "list"],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "val.json.gz"
    path.write_bytes(data)
    with pytest.raises(EpisodeFileError, match=r"val\.json\.gz"):
        read_episodes(path)


def test_ground_truth_of_other_episodes_is_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "gt.json.gz", {"8": {"actions": [0], "locations": []}})
    with pytest.raises(EpisodeFileError, match="nothing about episode 7"):
        read_episodes(r2r(tmp_path / "val.json.gz", entry()), ground_truth=truth)


@pytest.fixture
def room() -> Any:
    """A room of 4 x 6 m."""
    sides = [wall(-0.1, 0, 0, 6), wall(4, 0, 4.1, 6), wall(0, -0.1, 4, 0), wall(0, 6, 4, 6.1)]
    sim = make_simulator(
        "raycast",
        PinholeCamera(16, 16, 90.0),
        agent=SETTINGS["rxr"].agent.model_copy(update={"sliding": False}),
    )
    sim.load(build(slab(0, 0, 4, 6), *sides))
    yield sim
    sim.close()


def rxr_episode(tmp_path: Path, actions: list[int], **changes: Any) -> Any:
    path = write(tmp_path / "guide.json.gz", {"episodes": [entry(**changes)]})
    truth = write(tmp_path / "guide_gt.json.gz", {"7": {"actions": actions, "locations": []}})
    return read_episodes(path, ground_truth=truth)[0]


def test_published_actions_are_replayed(room: Any, tmp_path: Path) -> None:
    actions = [FORWARD, TURN_LEFT, LOOK_UP, FORWARD, LOOK_DOWN, TURN_RIGHT, STOP]
    walk = replay(room, rxr_episode(tmp_path, actions))
    assert [step.action for step in walk.steps] == actions
    assert walk.stopped
    tilts = [round(math.degrees(step.tilt)) for step in walk.steps]
    assert tilts == [0, 0, 0, 30, 30, 0, 0]
    assert math.isclose(walk.steps[2].state.yaw, math.radians(30))
    assert math.isclose(walk.steps[-1].state.yaw, 0, abs_tol=1e-12)
    end = np.array([2 - 0.25 * math.sin(math.radians(30)), 0, 4 - 0.25 - 0.25 * math.cos(math.radians(30))])
    np.testing.assert_allclose(walk.steps[-1].state.position, end, atol=1e-9)


def test_a_long_episode_is_cut(room: Any, tmp_path: Path) -> None:
    walk = replay(room, rxr_episode(tmp_path, [TURN_LEFT] * 9 + [STOP]), length=5)
    assert (len(walk.steps), walk.stopped) == (5, False)


def test_without_actions_the_shortest_path_is_walked(room: Any, tmp_path: Path) -> None:
    walk = replay(room, rxr_episode(tmp_path, []))
    assert walk.stopped
    assert math.dist(walk.steps[-1].state.position, (2.0, 0.0, 1.5)) <= 0.25 + 1e-9


def test_a_goal_out_of_reach_is_said(room: Any, tmp_path: Path) -> None:
    lost = rxr_episode(tmp_path, [], goals=[{"position": [40.0, 0.0, 40.0], "radius": 3.0}])
    with pytest.raises(ValueError, match="no goal that can be reached"):
        replay(room, lost)
