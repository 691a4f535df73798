"""Files as R2R-CE and RxR-CE publish them, for houses in scene files, become episodes to walk and to film."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kedro.io import Version
from navigation_world import PARAMS, MemoryStore, Scripted, episodes

from vln_heatmap.datasets.sequence_store import SequenceStoreDataset
from vln_heatmap.nodes.navigation import filming
from vln_heatmap.nodes.navigation.dialogues import walk_dialogues
from vln_heatmap.nodes.navigation.episodes import (
    NavigationEpisode,
    episode_table,
    make_episodes,
    read_episode_table,
)
from vln_heatmap.nodes.navigation.policy import baselines
from vln_heatmap.nodes.navigation.rollout import Entrant, roll_out
from vln_heatmap.nodes.navigation.scenes import make_scene
from vln_heatmap.params.navigation import EpisodeParams
from vln_heatmap.params.navigation_data import DialogueParams
from vln_heatmap.params.navigation_episodes import PublishedEpisodeParams
from vln_heatmap.params.navigation_training import PerturbationParams
from vln_heatmap.simulation.episodes import EpisodeFileError
from vln_heatmap.simulation.gltf import save_scene
from vln_heatmap.simulation.simulators.base import LOOK_DOWN, LOOK_UP, STOP, TURN_LEFT, TURN_RIGHT

TOLD = "Walk past the door and stop."


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both houses of the little world, as files below a folder of scene data sets."""
    folder = tmp_path_factory.mktemp("scene_datasets")
    for source in dict.fromkeys(episode.scene for episode in episodes()):
        file = folder / "ours" / source.name / f"{source.name}.glb"
        file.parent.mkdir(parents=True)
        save_scene(make_scene(source, PARAMS.episodes.house), file)
    return folder


def entry(episode: NavigationEpisode, number: int, **changes: Any) -> dict[str, Any]:
    """An episode of ours as VLN-CE writes it."""
    half = episode.start.yaw / 2
    return {
        "episode_id": number,
        "trajectory_id": number,
        "scene_id": f"ours/{episode.scene.name}/{episode.scene.name}.glb",
        "start_position": list(episode.start.position),
        "start_rotation": [0.0, math.sin(half), 0.0, math.cos(half)],
        "info": {"geodesic_distance": 1.0},
        "goals": [{"position": list(episode.goals[0]), "radius": 3.0}],
        "instruction": {"instruction_text": TOLD},
        "reference_path": [list(episode.start.position), list(episode.goals[0])],
        **changes,
    }


def write(path: Path, content: Any) -> Path:
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def split(folder: Path, entries: Sequence[dict[str, Any]], *, benchmark: str = "r2r") -> Path:
    more = {"instruction_vocab": {"word_list": []}} if benchmark == "r2r" else {}
    return write(folder / "val_unseen.json.gz", {"episodes": list(entries), **more})


def read(path: Path, scenes: Path, **changes: Any) -> list[NavigationEpisode]:
    wanted = PublishedEpisodeParams(path=str(path), scenes=str(scenes), length=120, **changes)
    return make_episodes(EpisodeParams(published=wanted), PARAMS)


@pytest.fixture(scope="module")
def published(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[NavigationEpisode]:
    """Without ground truth, one of each house, the second house first and last."""
    chosen = [episodes()[3], episodes()[0], episodes()[4]]
    return read(split(tmp_path_factory.mktemp("split"), [entry(e, i) for i, e in enumerate(chosen)]), scenes)


def test_they_are_what_the_file_says_and_those_of_a_scene_stand_together(
    published: list[NavigationEpisode],
) -> None:
    ours = [episodes()[3], episodes()[4], episodes()[0]]
    assert [each.id.rsplit("_", 1)[1] for each in published] == ["0", "2", "1"]
    for each, own in zip(published, ours, strict=True):
        assert each.id.startswith(f"r2r_{own.scene.name}_")
        assert (each.kind, each.instruction, each.target) == ("route", TOLD, None)
        assert each.start.position == pytest.approx(own.start.position)
        assert math.cos(each.start.yaw - own.start.yaw) == pytest.approx(1)
        assert each.goals == (pytest.approx(own.goals[0]),)
        assert each.actions[-1] == STOP
        assert STOP not in each.actions[:-1]
        assert math.dist(each.reference[-1], each.goals[0]) < PARAMS.success_distance
        straight = math.dist(each.start.position, each.goals[0])
        assert straight <= each.geodesic < 3 * straight  # of this simulator, not the file's 1.0
        assert len(each.actions) == len(each.reference)


def test_the_closed_loop_walks_them_from_their_files(published: list[NavigationEpisode]) -> None:
    (expert,) = baselines(["expert"], []).values()
    still = Scripted([STOP])
    entrants = {"expert": Entrant(expert, published), "still": Entrant(still, published)}
    found = roll_out(entrants, MemoryStore(), PARAMS)
    assert [record.measures.sr for record in found["expert"]] == [1, 1, 1]
    assert [record.measures.sr for record in found["still"]] == [0, 0, 0]
    assert all(record.measures.ndtw > 0.6 for record in found["expert"])
    assert {record.scene for record in found["still"]} == {e.scene.name for e in episodes()}
    assert still.shown[0][0].rgb.std() > 0  # there is something to see


def test_a_table_keeps_where_their_scenes_are(published: list[NavigationEpisode]) -> None:
    again = read_episode_table(episode_table(published))
    assert [each.fingerprint() for each in again] == [each.fingerprint() for each in published]
    assert [each.scene for each in again] == [each.scene for each in published]


def test_they_are_filmed_as_demonstrations_of_their_words(
    published: list[NavigationEpisode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filming, "make_episodes", lambda *_: published[:1])
    store = SequenceStoreDataset(filepath=str(tmp_path / "walks"), version=Version(None, "v1"))
    store.save(filming.demonstrations(PARAMS.dagger.episodes, PARAMS, PerturbationParams()))
    walks = store.load()
    (name,) = walks
    dialogues = walk_dialogues(walks.load(name), DialogueParams())
    assert {dialogue.instruction for dialogue in dialogues} == {TOLD}
    assert [action for dialogue in dialogues for action in dialogue.actions] == list(published[0].actions)


def test_ground_truth_gives_the_actions_and_the_path_that_is_compared_with(
    scenes: Path, tmp_path: Path
) -> None:
    own = episodes()[0]
    truth = {"5": {"actions": list(own.actions), "locations": own.reference.tolist()}}
    write(tmp_path / "val_unseen_gt.json.gz", truth)  # found beside the split
    (found,) = read(split(tmp_path, [entry(own, 5)]), scenes)
    assert found.actions == own.actions
    np.testing.assert_allclose(found.reference, own.reference)


def test_turns_of_thirty_degrees_become_two_of_ours_and_looks_are_left_out(
    scenes: Path, tmp_path: Path
) -> None:
    own = episodes()[0]
    theirs = [LOOK_DOWN, TURN_LEFT, TURN_RIGHT, LOOK_UP, STOP]
    entries = [entry(own, 5, goals=[{"position": list(own.start.position), "radius": 3.0}])]
    write(tmp_path / "gt.json.gz", {"5": {"actions": theirs}})
    path = split(tmp_path, entries, benchmark="rxr")
    (found,) = read(path, scenes, ground_truth=str(tmp_path / "gt.json.gz"))
    assert found.actions == (TURN_LEFT, TURN_LEFT, TURN_RIGHT, TURN_RIGHT, STOP)
    assert found.id.startswith("rxr_")


def test_actions_that_lead_elsewhere_here_are_replaced_by_the_way_points(
    scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = max(episodes(), key=lambda each: each.geodesic)
    assert own.geodesic > 3  # or standing still would do
    write(tmp_path / "val_unseen_gt.json.gz", {"5": {"actions": [TURN_LEFT, STOP]}})
    (found,) = read(split(tmp_path, [entry(own, 5)]), scenes)
    assert len(found.actions) > 6
    assert math.dist(found.reference[-1], own.goals[0]) < 0.5
    assert "success_distance is 0.8 m, but 3 m" in caplog.text


def test_what_cannot_be_walked_is_left_out_with_its_reason(
    scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = episodes()[0]
    outside = [{"position": [99.0, 0.0, 99.0], "radius": 3.0}]
    entries = [
        entry(own, 0),
        entry(own, 1, goals=outside),
        entry(own, 2, goals=[]),
        entry(own, 3, scene_id="ours/gone/gone.glb"),
    ]
    path = split(tmp_path, entries)
    assert [each.id[-2:] for each in read(path, scenes)] == ["_0"]
    assert "no way leads from the start" in caplog.text
    assert "no goals" in caplog.text
    assert "1 of 2 scenes are not in" in caplog.text
    with pytest.raises(FileNotFoundError, match="none of the 2 scenes"):
        read(path, tmp_path)
    with pytest.raises(ValueError, match="not one of the 1 episodes"):
        read(split(tmp_path, entries[1:2]), scenes)


def test_a_part_of_a_file_is_evenly_spread_and_languages_are_chosen(scenes: Path, tmp_path: Path) -> None:
    own = episodes()[0]
    entries = [entry(own, number) for number in range(9)]
    entries[8]["instruction"] = {"instruction_text": "చూడు", "language": "te-IN"}
    path = split(tmp_path, entries)
    assert [each.id[-1] for each in read(path, scenes, most=3)] == ["0", "4", "8"]
    assert [each.instruction for each in read(path, scenes, languages=("te-IN",))] == ["చూడు"]


def test_ids_are_plain_names_and_must_differ(scenes: Path, tmp_path: Path) -> None:
    own = episodes()[0]
    (found,) = read(split(tmp_path, [entry(own, 0, episode_id="../é/7")]), scenes)
    assert found.id == f"r2r_{own.scene.name}_..---7"
    with pytest.raises(ValueError, match="occurs more than once"):
        read(split(tmp_path, [entry(own, 4), entry(own, 4)]), scenes)
    write(tmp_path / "val_unseen_gt.json.gz", {"5": {"actions": [STOP]}})
    with pytest.raises(EpisodeFileError, match="has nothing about episode 0"):
        read(split(tmp_path, [entry(own, 0)]), scenes)
