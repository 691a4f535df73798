"""Films show the episode that was recorded, from where the agent stood, with or without heatmaps and Rerun."""

from __future__ import annotations

import io
import sys

import av
import numpy as np
import pytest
from navigation_world import PARAMS, MemoryStore, Scripted, episodes, record_of

from vln_heatmap.nodes.navigation import recording
from vln_heatmap.nodes.navigation.episodes import episode_table
from vln_heatmap.nodes.navigation.policy import ShortestPath
from vln_heatmap.nodes.navigation.rollout import Entrant, roll_out
from vln_heatmap.nodes.navigation.scenes import open_scene
from vln_heatmap.nodes.navigation.videos import EpisodeFilm, film_navigation, predicted_heat, showcase
from vln_heatmap.params.navigation import VideoSheetParams
from vln_heatmap.simulation.simulators.base import FORWARD, STOP

LOOKS = VideoSheetParams(policies=("expert", "nobody"), episodes=2, size=64, rerun=False, fps=2, crf=0)
FILMED = PARAMS.model_copy(update={"videos": LOOKS, "max_steps": 40})


@pytest.fixture(scope="module")
def walks():
    entrants = {
        "expert": Entrant(ShortestPath(), episodes()),
        "still": Entrant(Scripted([FORWARD, STOP]), episodes()),
    }
    return roll_out(entrants, MemoryStore(), FILMED)


@pytest.fixture(scope="module")
def opened():
    sim, scene = open_scene(episodes()[0].scene, FILMED)
    yield sim, scene
    sim.close()


def frames_of(content: bytes) -> np.ndarray:
    with av.open(io.BytesIO(content)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_video_for_each_chosen_episode_of_each_policy(walks):
    files = film_navigation(episode_table(episodes()), FILMED, walks)
    assert len(files) == 2
    by_id = {record.id: record for record in walks["expert"]}
    for name, content in files.items():
        record = by_id[name.removeprefix("expert_").removesuffix(".mp4")]
        film = frames_of(content)
        assert len(film) == len(record.actions) + 2  # a frame before each action, and a second at the end
        assert film.shape[1] == 64 + 64  # pictures and caption
        assert film.shape[2] == 64 * 32 // 24 + 1 + 64  # the view is 32 x 24, widths are even


def test_films_show_the_recorded_views(walks, opened):
    record, sim = walks["still"][0], opened[0]
    film = EpisodeFilm(*opened, episodes()[0], record, FILMED)
    moments = list(film.moments())
    assert [moment.action for moment in moments] == [FORWARD, STOP]
    assert [len(moment.way.path) for moment in moments] == [1, 2]
    assert moments[0].distance == pytest.approx(episodes()[0].geodesic, abs=0.02)
    for moment, state in zip(moments, record.states, strict=False):
        np.testing.assert_allclose(moment.pose[:3, 3], np.add(state[:3], (0, FILMED.agent.camera_height, 0)))
        np.testing.assert_array_equal(moment.view.rgb, sim.render(moment.pose).rgb)
    assert film.outcome == "stopped in the wrong place"


def test_an_episode_that_was_cut_ends_where_the_agent_was(opened):
    params = FILMED.model_copy(update={"max_steps": 3})
    chosen = Entrant(Scripted([FORWARD]), episodes()[:1])
    (record,) = roll_out({"it": chosen}, MemoryStore(), params)["it"]
    film = EpisodeFilm(*opened, episodes()[0], record, params)
    moments = list(film.moments())
    assert len(moments) == 4
    assert moments[-1].action is None
    assert film.outcome == "out of steps"
    assert sum(record.collided) == len(moments[-1].way.bumps)


def test_heatmaps_are_drawn_beside_the_view(walks, opened):
    asked = []

    def heat(instruction):
        asked.append(instruction)
        return lambda rgb: np.ones((3, 4))

    plain = EpisodeFilm(*opened, episodes()[0], walks["still"][0], FILMED)
    heated = EpisodeFilm(*opened, episodes()[0], walks["still"][0], FILMED, heat)
    moment = next(heated.moments())
    assert asked == [walks["still"][0].instruction]
    wide, narrow = heated.frame(0, moment), plain.frame(0, next(plain.moments()))
    assert wide.shape[1] - narrow.shape[1] in (84, 85, 86)  # one more view
    assert not np.array_equal(wide[:64, :85], wide[:64, 85:170])


class Stream(list):
    """A streaming predictor whose first keyframe is seen on the left, the second on the right."""

    def add(self, frame):
        self.append(frame)

    def predict(self, instruction):
        heatmaps = np.zeros((2, 4, 4))
        heatmaps[0, :, 0], heatmaps[1, :, 3] = 0.5, 0.75
        return type("Prediction", (), {"heatmaps": heatmaps})


def test_the_strongest_heatmap_is_shown():
    predictor = type("Predictor", (), {"stream": lambda self, max_frames: Stream()})()
    draw = predicted_heat(predictor)("go to the sofa")
    assert not draw(np.zeros((4, 4, 3), np.uint8)).any()  # nothing is remembered in the first view
    second = draw(np.zeros((4, 4, 3), np.uint8))
    assert (second[0].tolist(), second.shape) == ([0.5, 0, 0, 0.75], (4, 4))


def test_successes_and_failures_of_different_houses_are_shown():
    good = [record_of(k, scene="a") for k in (0, 1)] + [record_of(2, scene="b")]
    bad = [record_of(k, scene="a", success=0.0) for k in (3, 4)]
    assert [record.id for record in showcase([*good, *bad], 3)] == ["e0", "e3", "e2"]
    assert [record.id for record in showcase(bad, 5)] == ["e3", "e4"]
    assert showcase([], 3) == []


def test_without_rerun_there_are_no_recordings_and_one_word(walks, opened, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "rerun", None)
    monkeypatch.setattr(recording, "_TOLD", set())
    params = FILMED.model_copy(update={"videos": LOOKS.model_copy(update={"rerun": True})})
    for _ in range(2):
        files = EpisodeFilm(*opened, episodes()[0], walks["still"][0], params).files("x")
        assert list(files) == ["x.mp4"]
    assert caplog.text.count("pip install rerun-sdk") == 1


def test_a_rerun_recording_is_written(walks, opened):
    pytest.importorskip("rerun", reason="needs rerun-sdk (the extra rerun)")
    params = FILMED.model_copy(update={"videos": LOOKS.model_copy(update={"rerun": True})})
    files = EpisodeFilm(
        *opened, episodes()[0], walks["still"][0], params, lambda _: lambda rgb: np.ones((3, 4))
    ).files("x")
    assert files["x.rrd"][:4] in (b"RRF2", b"RRF1", b"RRIO")
    assert b"world/camera/rgb" in files["x.rrd"]
