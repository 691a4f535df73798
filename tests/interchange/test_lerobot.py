"""LeRobot data sets: laid out as the format says, videos frame by frame where they belong, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from imported import PHRASE, ROUTE, kept, same_frames, spoken_walk

from vln_heatmap.datasets.sequence_files import StoredSequence
from vln_heatmap.datasets.video import decode_grey12, encode_grey12, encode_rgb
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.interchange.incoming import Stated
from vln_heatmap.interchange.lerobot_format import (
    CHUNK,
    DEPTH_KEY,
    QUANTILES,
    RGB_KEY,
    VIDEO_PATH,
    DepthCodes,
    Histogram,
    next_file,
    number_summary,
    numbers,
)
from vln_heatmap.interchange.lerobot_reader import LeRobotFolder, frames_at
from vln_heatmap.interchange.lerobot_videos import VideoFiles
from vln_heatmap.interchange.lerobot_writer import TableFiles, write_dataset
from vln_heatmap.nodes.export import feature_statistics

CODES = DepthCodes(10.0)
NOT_THERE = frozenset({"visible_ids", "visible_pixels", "visible_u", "visible_v", "visible_depth"})


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> list[StoredSequence]:
    folder = tmp_path_factory.mktemp("store")
    second = spoken_walk("house_00001_00", "rrrfl")
    second.metadata["instructions"] = [PHRASE]
    return [
        kept(folder, spoken_walk()),
        kept(folder, second),
        kept(folder, spoken_walk("house_00001_01", "ff")),
    ]


@pytest.fixture(scope="module")
def exported(walks: list[StoredSequence], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lerobot")
    statistics = feature_statistics({walk.id: walk for walk in walks})
    write_dataset(root, walks, statistics, depth=CODES, stats_frames=100)
    return root


@pytest.fixture
def own_copy(exported: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(exported, tmp_path / "copy"))


# --- what is written ------------------------------------------------------------------------------------


def test_the_folder_is_laid_out_as_the_format_says(exported: Path) -> None:
    files = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert files == {
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "meta/vln_heatmap.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "data/chunk-000/file-000.parquet",
        f"videos/{RGB_KEY}/chunk-000/file-000.mp4",
        f"videos/{DEPTH_KEY}/chunk-000/file-000.mp4",
    }
    info = json.loads((exported / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", 3, 18)
    assert (info["total_tasks"], info["splits"], info["fps"]) == (2, {"train": "0:3"}, 10)
    assert info["features"][RGB_KEY]["shape"] == [48, 64, 3]
    assert info["features"][DEPTH_KEY]["info"]["is_depth_map"] is True


def test_every_feature_has_its_column_and_type(exported: Path) -> None:
    features = json.loads((exported / "meta/info.json").read_text())["features"]
    schema = pq.read_schema(exported / "data/chunk-000/file-000.parquet")
    columns = [name for name, feature in features.items() if feature["dtype"] != "video"]
    assert schema.names == columns
    assert schema.field("observation.state").type == pa.list_(pa.float32(), 6)
    assert schema.field("camera_to_world").type == pa.list_(pa.float64(), 16)
    assert schema.field("timestamp").type == pa.float32()
    assert {schema.field(n).type for n in ("frame_index", "episode_index", "index", "task_index")} == {
        pa.int64()
    }


def test_rows_and_episodes_count_through(exported: Path, walks: list[StoredSequence]) -> None:
    rows = pd.read_parquet(exported / "data/chunk-000/file-000.parquet")
    episodes = pd.read_parquet(exported / "meta/episodes/chunk-000/file-000.parquet")
    lengths = [len(walk) for walk in walks]
    assert rows["index"].tolist() == list(range(sum(lengths)))
    assert rows["episode_index"].tolist() == np.repeat([0, 1, 2], lengths).tolist()
    np.testing.assert_allclose(rows["timestamp"], rows["frame_index"] / 10, atol=1e-6)
    assert episodes["dataset_from_index"].tolist() == [0, lengths[0], lengths[0] + lengths[1]]
    assert episodes["dataset_to_index"].tolist() == np.cumsum(lengths).tolist()
    assert [list(tasks) for tasks in episodes["tasks"]] == [
        [ROUTE["text"]],
        [PHRASE["text"]],
        [ROUTE["text"]],
    ]
    tasks = pd.read_parquet(exported / "meta/tasks.parquet")
    assert tasks.loc[PHRASE["text"], "task_index"] == rows["task_index"][lengths[0]] == 1


def test_an_observation_does_not_tell_the_action(walks: list[StoredSequence]) -> None:
    found = numbers(walks[0])
    assert not found["observation.velocity"][0].any()
    np.testing.assert_array_equal(found["observation.velocity"][1:], found["action"][:-1])
    assert not {"camera_to_world", "discrete_action"} & {n for n in found if n.startswith(("obs", "action"))}


def test_statistics_are_those_of_all_rows(exported: Path, walks: list[StoredSequence]) -> None:
    stats = json.loads((exported / "meta/stats.json").read_text())
    states = np.concatenate([numbers(walk)["observation.state"] for walk in walks])
    np.testing.assert_allclose(stats["observation.state"]["mean"], states.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats["observation.state"]["std"], states.std(0), atol=1e-6)
    assert stats["observation.state"]["count"] == [18]
    rgb = np.concatenate([walk.rgb() for walk in walks]) / 255
    np.testing.assert_allclose(np.squeeze(stats[RGB_KEY]["mean"]), rgb.mean((0, 1, 2)), rtol=1e-6)
    assert np.shape(stats[RGB_KEY]["q10"]) == (3, 1, 1)
    depth = np.concatenate([walk.depth() for walk in walks]) * 1000
    assert np.squeeze(stats[DEPTH_KEY]["max"]) == pytest.approx(depth.max(), abs=5)
    episode = pd.read_parquet(exported / "meta/episodes/chunk-000/file-000.parquet").iloc[2]
    np.testing.assert_allclose(
        episode["stats/action/max"], numbers(walks[2])["action"].max(0).astype(float), rtol=1e-6
    )


def test_sequences_that_are_not_alike_are_refused(tmp_path: Path, walks: list[StoredSequence]) -> None:
    other = spoken_walk("house_00002_00", "f")
    other.metadata["fps"] = 20
    with pytest.raises(ValueError, match=r"house_00002_00: .* must be alike"):
        write_dataset(tmp_path / "a", [walks[0], kept(tmp_path, other)], {}, depth=CODES)
    other = spoken_walk("house_00003_00", "f")
    other.metadata["fps"] = 7.5
    with pytest.raises(ValueError, match=r"house_00003_00: LeRobot counts whole frames a second, got 7\.5"):
        write_dataset(tmp_path / "b", [kept(tmp_path, other)], {})
    with pytest.raises(ValueError, match="no sequence to write"):
        write_dataset(tmp_path / "c", [], {})


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4095), st.floats(1.0, 100.0))
def test_a_depth_code_stands_for_its_depth(code: int, farthest: float) -> None:
    codes = DepthCodes(farthest)
    depth = codes.decode(np.array([code], np.uint16))
    assert codes.encode(depth)[0] == code
    assert 0 < depth[0] <= farthest * (1 + 1e-6)


def test_nothing_there_stays_nothing_and_what_is_too_far_is_cut() -> None:
    assert CODES.decode(CODES.encode(np.array([0.0, 10.0, 50.0]))).tolist() == pytest.approx([0, 10, 10])
    depth = np.linspace(0.01, 10, 5000)
    step = np.diff(CODES.decode(np.arange(1, 4096, dtype=np.uint16)).astype(float)).max()
    assert np.abs(CODES.decode(CODES.encode(depth)) - depth).max() <= 0.5 * step + 1e-6 < 0.0025


@settings(max_examples=15, deadline=None)
@given(
    arrays(np.uint16, st.tuples(st.integers(1, 4), st.just(48), st.just(64)), elements=st.integers(0, 4095))
)
def test_twelve_bit_video_is_lossless(frames: np.ndarray) -> None:
    indices = np.arange(len(frames))
    np.testing.assert_array_equal(decode_grey12(encode_grey12(frames, fps=10), indices), frames)


def test_twelve_bit_video_is_lossless_where_contrasts_are_strong() -> None:
    """x265 loses some pixels of noise like this in predicted frames, which is why there are none."""
    frames = np.random.default_rng(0).integers(0, 4096, (12, 64, 64)).astype(np.uint16)
    np.testing.assert_array_equal(decode_grey12(encode_grey12(frames, fps=10), np.arange(12)), frames)
    with pytest.raises(ValueError, match="below 4096"):
        encode_grey12(frames + 1, fps=10)


@settings(max_examples=50, deadline=None)
@given(arrays(np.int64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.integers(0, 9)))
def test_histograms_give_exact_statistics(codes: np.ndarray) -> None:
    values = np.arange(10) / 2.0
    middle = len(codes) // 2
    parts = [Histogram.of(part, values) for part in (codes[:middle], codes[middle:]) if len(part)]
    summary = (parts[0] + parts[1] if len(parts) > 1 else parts[0]).summary(7)
    seen = values[codes]
    for name, expected in (("min", seen.min(0)), ("max", seen.max(0)), ("mean", seen.mean(0))):
        np.testing.assert_allclose(np.squeeze(summary[name], (1, 2)), expected)
    np.testing.assert_allclose(np.squeeze(summary["std"], (1, 2)), seen.std(0), atol=1e-9)
    median = np.quantile(seen, 0.5, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(np.squeeze(summary["q50"], (1, 2)), median)
    assert summary["count"] == [7]


def test_one_row_has_quantiles_too() -> None:
    summary = number_summary(np.array([[2.0, 3.0]]))
    assert all(summary[name] == [2.0, 3.0] for name in ("min", "max", "mean", *QUANTILES))
    assert (summary["std"], summary["count"]) == ([0.0, 0.0], [1])


# --- files and their limits -----------------------------------------------------------------------------


def clip(length: int, shade: int, crf: int = 18) -> bytes:
    """A video whose frame t has the grey level shade + 4 t."""
    levels = shade + 4 * np.arange(length, dtype=np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (length, 32, 48, 3)).copy()
    frames[:, 8:24, 8:24] = 255 - frames[:, 8:24, 8:24]
    return encode_rgb(frames, fps=10, crf=crf)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5), data=st.data())
def test_joined_episodes_are_shown_where_they_belong(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("videos")
    limit = data.draw(st.sampled_from([1, 3000, 10**9]))
    clips = [clip(length, 10 + 20 * number) for number, length in enumerate(lengths)]
    with VideoFiles(root, "cam", limit=limit, fps=10) as videos:
        spans = [videos.append(one) for one in clips]
    assert (
        len({(span.chunk, span.file) for span in spans}) == (len(clips) if limit == 1 else 1) or limit == 3000
    )
    for number, (span, length) in enumerate(zip(spans, lengths, strict=True)):
        assert span.stop - span.start == pytest.approx(length / 10)
        file = root / VIDEO_PATH.format(video_key="cam", chunk_index=span.chunk, file_index=span.file)
        corner = [int(frame[0, 0, 0]) for frame in frames_at(file, span.start, length, 10)]
        expected = 10 + 20 * number + 4 * np.arange(length)
        np.testing.assert_allclose(corner, expected, atol=3)
        assert file.stat().st_size <= max(limit, len(clips[number]) + 4096)


def test_videos_of_another_size_begin_a_new_file(tmp_path: Path) -> None:
    with VideoFiles(tmp_path, "cam", limit=10**9, fps=10) as videos:
        first, same = videos.append(clip(3, 10)), videos.append(clip(3, 90))
        other = videos.append(encode_rgb(np.zeros((2, 16, 16, 3), np.uint8), fps=10, crf=18))
    assert (first.file, same.file, other.file) == (0, 0, 1)
    assert (first.start, same.start, other.start) == (0, 0.3, 0)


def test_tables_roll_over_before_their_limit(tmp_path: Path) -> None:
    rows = pa.table({"x": np.random.default_rng(0).normal(size=1000)})
    with TableFiles(tmp_path, "t/{chunk_index}-{file_index}.parquet", limit=20_000) as files:
        places = [files.append(rows) for _ in range(5)]
    assert places == [(0, 0), (0, 0), (0, 1), (0, 1), (0, 2)]
    assert max(path.stat().st_size for path in tmp_path.rglob("*.parquet")) < 20_000
    assert sum(pq.read_metadata(path).num_rows for path in tmp_path.rglob("*.parquet")) == 5000


def test_a_full_chunk_is_followed_by_the_next() -> None:
    assert next_file(0, -1) == (0, 0)
    assert next_file(3, CHUNK - 1) == (4, 0)


# --- what is read ---------------------------------------------------------------------------------------


def test_our_own_data_set_comes_back(exported: Path, walks: list[StoredSequence]) -> None:
    source = LeRobotFolder(exported, Stated())
    assert source.ids == tuple(walk.id for walk in walks)
    for walk in walks:
        after, before = source.read(walk.id), walk.load()
        np.testing.assert_array_equal(after.rgb, before.rgb)  # the very same packets
        assert np.abs(after.depth - before.depth).max() < 0.003
        assert after.absent == {"instance"}
        same_frames(after, before, but=NOT_THERE | {"timestamp"})
        assert after.metadata["instructions"] == before.metadata["instructions"]
        assert after.metadata["objects"] == before.metadata["objects"]


def test_a_data_set_of_others_is_read_without_our_table(own_copy: Path, walks: list[StoredSequence]) -> None:
    (own_copy / "meta/vln_heatmap.parquet").unlink()
    source = LeRobotFolder(own_copy, Stated(hfov=80.0))
    assert source.ids == ("episode_000000", "episode_000001", "episode_000002")
    sequence = source.read("episode_000001")
    assert [item["text"] for item in sequence.metadata["instructions"]] == [PHRASE["text"]]
    assert sequence.camera.hfov == 80.0
    np.testing.assert_array_equal(sequence.rgb, walks[1].rgb())


def rewrite(path: Path, edit: Callable[[pd.DataFrame], Any]) -> None:
    schema = pq.read_schema(path)
    table = pd.read_parquet(path)
    edit(table)
    pq.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), path)


def state_nan(table: pd.DataFrame) -> None:
    table.at[10, "observation.state"] = [0, 0, np.nan, 0, 0, 0]


DATA = "data/chunk-000/file-000.parquet"
BROKEN_TABLES: dict[str, tuple[str, Callable[[pd.DataFrame], Any], str]] = {
    "NaN": (DATA, state_nan, r"row 10: observation.state\[2\] is nan"),
    "order": (
        DATA,
        lambda t: t.__setitem__("frame_index", t["frame_index"][::-1].to_numpy()),
        "frame_index is",
    ),
    "length": (DATA, lambda t: t.drop(index=11, inplace=True), "episode 1 has 5 rows, should have 6"),
    "action": (DATA, lambda t: t.__setitem__("discrete_action", 9), "row 9: action must be -1, 0, 1, 2 or 3"),
}


@pytest.mark.parametrize("name", BROKEN_TABLES)
def test_a_broken_episode_is_refused(own_copy: Path, name: str) -> None:
    file, edit, message = BROKEN_TABLES[name]
    rewrite(own_copy / file, edit)
    with pytest.raises(RefusedError, match=rf"file-000\.parquet.*{message}"):
        LeRobotFolder(own_copy, Stated()).read("house_00001_00")


def test_a_missing_column_and_damaged_files_are_named(own_copy: Path) -> None:
    table = pq.read_table(own_copy / DATA)
    pq.write_table(table.drop_columns(["task_index"]), own_copy / DATA)
    with pytest.raises(RefusedError, match="column task_index is missing"):
        LeRobotFolder(own_copy, Stated()).read("house_00001_00")
    pq.write_table(table, own_copy / DATA)
    video = own_copy / f"videos/{RGB_KEY}/chunk-000/file-000.mp4"
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(RefusedError, match=r"file-000\.mp4: not a readable video"):
        LeRobotFolder(own_copy, Stated()).read("house_00001_00")
    (own_copy / DATA).write_bytes(b"PAR1")
    with pytest.raises(RefusedError, match="not a readable Parquet file"):
        LeRobotFolder(own_copy, Stated()).read("house_00001_00")


def test_a_video_that_ends_too_early_is_refused(own_copy: Path, walks: list[StoredSequence]) -> None:
    short = own_copy / f"videos/{RGB_KEY}/chunk-000/file-000.mp4"
    short.write_bytes((walks[0].folder / "rgb.mp4").read_bytes())
    source = LeRobotFolder(own_copy, Stated())
    assert len(source.read("house_00000_00")) == 9
    with pytest.raises(RefusedError, match=r"file-000\.mp4, row 0: there is no frame at 0\.900 s"):
        source.read("house_00001_00")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v2.1"}, "must be version v3"),
        ({"features": {}}, "no colour camera"),
        ({"features": 3}, "not the description|must be version"),
        ({"fps": 0}, "must be version v3.x with features, got 'v3.0' at 0 fps"),
    ],
)
def test_a_description_that_is_none_is_refused(own_copy: Path, changes: dict[str, Any], message: str) -> None:
    file = own_copy / "meta/info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(RefusedError, match=rf"info\.json: .*{message}"):
        LeRobotFolder(own_copy, Stated())


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../{chunk_index}", "data/{wrong}", "data/../../x"])
def test_a_pattern_cannot_lead_out_of_the_folder(own_copy: Path, pattern: str) -> None:
    file = own_copy / "meta/info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "data_path": pattern}))
    with pytest.raises(RefusedError, match=r"info\.json: (the path .* leads out|data_path cannot be filled)"):
        LeRobotFolder(own_copy, Stated()).read("house_00001_00")


def test_every_frame_of_a_video_file_has_its_own_time(exported: Path) -> None:
    with av.open(str(exported / f"videos/{RGB_KEY}/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
    np.testing.assert_allclose(times, np.arange(18) / 10, atol=1e-6)
