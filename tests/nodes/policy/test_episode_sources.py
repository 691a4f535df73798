"""Episodes of every format, and the windows that they become."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from box_walks import store, walk
from robot_episodes import ACTION, STATE, action, episode, folder_of_episodes, picture, write

from vln_heatmap.datasets.episode_windows import (
    EpisodeWindows,
    action_chunks,
    episode_table,
    resized,
    split_episodes,
)
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.nodes.export import export_sequences
from vln_heatmap.nodes.policy.sources import open_episodes
from vln_heatmap.params import ExportParams
from vln_heatmap.params.policy import PolicyDataParams


def parameters(folder: Path, **changes: Any) -> PolicyDataParams:
    return PolicyDataParams.model_validate({"format": "parquet", "source": str(folder), **changes})


def windows(folder: Path, *, horizon: int = 4, size: int = 8, **changes: Any) -> EpisodeWindows:
    params = parameters(folder, **changes)
    source = open_episodes(params)
    return EpisodeWindows(source, source.episodes, params, horizon=horizon, image_size=size)


def test_files_are_divided_into_episodes_by_their_flags(tmp_path: Path) -> None:
    source = open_episodes(parameters(folder_of_episodes(tmp_path, count=3, length=4)))
    table = episode_table(source.episodes)
    assert table["id"].tolist() == ["many_000000", "many_000001", "one"]
    assert table["length"].tolist() == [4, 4, 5]
    assert table["first_row"].tolist() == [0, 4, 0]
    assert source.cameras == ("image_1", "image_2")
    assert (len(source.state_names), len(source.action_names)) == (STATE, ACTION)
    rows = source.numbers(source.episodes[1], 1, 3)
    assert rows.action.tolist() == [action(1, 1), action(1, 2)]
    assert rows.state[:, 0].tolist() == [11.0, 12.0]
    assert rows.prompts == ["task 1"] * 2
    wrist = source.images(source.episodes[1], "image_2", 2, 3)[0]
    assert np.abs(wrist.astype(int) - picture(1, 2, 2)).max() <= 2  # JPEG


def test_windows_cover_every_step_once_and_chunks_reach_beyond_them(tmp_path: Path) -> None:
    data = windows(folder_of_episodes(tmp_path, count=2, length=7), max_seq_len=4, horizon=4)
    first, second = data.get(0), data.get(1)
    assert len(data) == 2 + 2  # 6 and 7 steps with an action
    assert first["mask"].tolist() == [True] * 4
    assert second["mask"].tolist() == [True, True, False, False]
    assert first["target"][:, :, 0].tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 5]]
    assert first["target_mask"].sum(1).tolist() == [4, 4, 4, 3]
    assert second["target"][0, :, 0].tolist() == [4, 5, 5, 5]
    assert second["target_mask"].sum(1).tolist() == [2, 1, 0, 0]
    assert second["previous"][:, 0].tolist() == [3, 4, 0, 0]
    assert first["has_previous"].tolist() == [False, True, True, True]
    assert first["prompt"] == ["task 0"] * 4
    assert first["images"].shape == (4, 2, 3, 8, 8)
    assert abs(int(first["images"][3, 1, 0, 0, 0]) - int(picture(0, 3, 2)[0, 0, 0])) <= 2
    assert not second["images"][2:].any()


def test_the_last_action_is_learned_only_if_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "short"
    folder.mkdir()
    write(folder / "a.parquet", episode(0, 1), episode(1, 2))
    assert [data["target_mask"].sum() for data in map(windows(folder).get, range(1))] == [1]
    assert len(windows(folder, last_action=True)) == 2
    write(folder / "a.parquet", episode(0, 1))
    with pytest.raises(ValueError, match="none of 1 episodes"):
        windows(folder)


def test_batches_are_tensors_and_copies_in_other_processes_give_the_same(tmp_path: Path) -> None:
    data = windows(folder_of_episodes(tmp_path))
    copied = pickle.loads(pickle.dumps(data))
    batch = data.collate([data.get(0), data.get(2)])
    other = copied.collate([copied.get(0), copied.get(2)])
    assert batch["images"].shape == (2, 4, 2, 3, 8, 8)
    assert all((batch[name] == other[name]).all() for name in ("images", "state", "target", "mask"))
    assert batch["prompt"] == other["prompt"]


def test_splits_are_fixed_by_the_seed_and_none_is_empty(tmp_path: Path) -> None:
    source = open_episodes(parameters(folder_of_episodes(tmp_path, count=8, length=2)))
    params = parameters(tmp_path, val_share=0.25, test_share=0.25)
    split = episode_table(split_episodes(source.episodes, params)).set_index("id")["split"]
    assert split.value_counts().to_dict() == {"train": 4, "val": 2, "test": 2}
    assert split.equals(episode_table(split_episodes(source.episodes, params)).set_index("id")["split"])
    with pytest.raises(ValueError, match="there are 2"):
        split_episodes(source.episodes[:2], params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": None}, "column state is missing"),
        ({"image_1": None}, "column image_1 is missing"),
        ({"is_first": [False] * 3}, "row 0: is_first must be true"),
        ({"action": [[1.0, 2.0, 3.0], [1.0, float("nan"), 0.0], [0.0] * 3]}, r"row 1: action\[1\] is nan"),
        ({"state": [[1.0], [1.0, 2.0], [1.0]]}, "row 1: state must be 1 numbers, got 2"),
        ({"image_1": [b"no picture"] * 3}, "row 0: the image cannot be decoded"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_row(tmp_path: Path, changes: dict, message: str) -> None:
    columns = episode(0, 3, image_2=None, **changes)
    write(tmp_path / "bad.parquet", columns)
    with pytest.raises(RefusedError, match=rf"bad\.parquet.*{message}"):
        windows(tmp_path, last_action=True).get(0)


def test_a_folder_without_episodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.parquet file"):
        open_episodes(parameters(tmp_path))
    with pytest.raises(ValueError, match="must be a folder or file"):
        open_episodes(parameters(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"needs a data\.source"):
        PolicyDataParams(format="lerobot")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, pd.DataFrame]:
    names = [f"house_0000{number}_00" for number in range(3)]
    sequences, _ = store(tmp_path_factory.mktemp("own"), *(walk(name, "fflfrffl") for name in names))
    return sequences, pd.DataFrame({"id": names, "split": ["train", "val", "test"]})


def test_our_sequences_are_episodes_with_velocity_as_action(own: tuple[Any, pd.DataFrame]) -> None:
    params = PolicyDataParams()
    source = open_episodes(params, lambda: own)
    before = walk("house_00000_00", "fflfrffl")
    assert [episode.split for episode in source.episodes] == ["train", "val", "test"]
    rows = source.numbers(source.episodes[0], 0, len(before))
    np.testing.assert_allclose(rows.action, np.stack(before.frames["velocity"].to_list()), atol=1e-6)
    np.testing.assert_allclose(rows.state, np.stack(before.frames["state"].to_list()), atol=1e-6)
    data = EpisodeWindows(source, source.episodes, params, horizon=2, image_size=16)
    assert sum(window["mask"].sum() for window in map(data.get, range(len(data)))) == 3 * (len(before) - 1)


def test_an_exported_lerobot_folder_gives_the_same_windows(
    tmp_path: Path, own: tuple[Any, pd.DataFrame]
) -> None:
    sequences, _ = own
    (tmp_path / "set").mkdir()
    export_sequences(sequences, ExportParams(lerobot={"stats_frames": 1})).write(tmp_path / "set")
    params = PolicyDataParams(format="lerobot", source=str(tmp_path / "set"))
    exported, ours = open_episodes(params), open_episodes(PolicyDataParams(), lambda: own)
    assert [e.id for e in exported.episodes] == [e.id for e in ours.episodes]
    assert exported.action_names == ("forward", "left", "up", "yaw", "pitch")
    made: list[Callable[[int], dict]] = [
        EpisodeWindows(source, source.episodes, PolicyDataParams(), horizon=3, image_size=16).get
        for source in (exported, ours)
    ]
    for index in range(4):
        there, here = made[0](index), made[1](index)
        np.testing.assert_allclose(there["target"], here["target"], atol=1e-6)
        np.testing.assert_allclose(there["state"], here["state"], atol=1e-6)
        np.testing.assert_array_equal(there["mask"], here["mask"])
        np.testing.assert_array_equal(there["images"], here["images"])  # the same packets of video


def test_chunks_of_one_action_repeat_it() -> None:
    chunks, known = action_chunks(np.array([[7.0]]), 1, 3)
    assert chunks.tolist() == [[[7.0], [7.0], [7.0]]]
    assert known.tolist() == [[True, False, False]]


def test_resizing_keeps_flat_colours_and_the_mean() -> None:
    flat = np.full((30, 50, 3), 77, np.uint8)
    assert (resized(flat, 16) == 77).all()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert abs(resized(noise, 16).mean() - noise.mean()) < 0.6
