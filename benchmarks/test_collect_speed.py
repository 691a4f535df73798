"""How fast walks are recorded and stored, and what reading only a part of a sequence saves.

``pytest benchmarks/test_collect_speed.py`` prints frames a second and the share of each step. Two workers must
store 60 frames of plain walks a second at 128 x 128, so one must make 30 in a second of its own CPU time; what
scenarios cost more than plain walks is printed.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from vln_heatmap.datasets.sequence_files import StoredSequence, encode_sequence
from vln_heatmap.datasets.sequence_store import store_sequence
from vln_heatmap.nodes.collect import collect_scene
from vln_heatmap.nodes.plan import PlannedWalk, SceneTask, Shot
from vln_heatmap.params import CollectParams
from vln_heatmap.simulation.visibility import visible_instances

PARAMS = CollectParams(agent={"radius": 0.09}, retries=0)
PLAIN = ("random_exploration", "point_to_point", "random_exploration")
SCENARIOS = ("single_object_tracking", "lighting_variation", "motion_blur")
pytestmark = pytest.mark.benchmark(timer=time.process_time)  # other processes do not count


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker: software OpenGL on one thread."""
    monkeypatch.setenv("LP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredSequence:
    folder = tmp_path_factory.mktemp("sequences")
    (encoded,) = collect_scene(task(3, PLAIN[:1]), params=PARAMS, simulator="auto")
    store_sequence(folder, encoded)
    return StoredSequence(folder / "shard_00000" / encoded.id)


def task(seed: int, names: tuple[str, ...]) -> SceneTask:
    """A house in which some scenarios are filmed, 32 frames each."""
    walks = [PlannedWalk(k, Shot("part", name), name, (), 32) for k, name in enumerate(names)]
    return SceneTask(f"house_{seed:05d}", seed, None, PARAMS.house, tuple(walks))


@pytest.mark.parametrize(("names", "least"), [(PLAIN, 30), (SCENARIOS, 0)], ids=["plain", "scenarios"])
def test_frames_a_second_of_one_worker(
    benchmark, names: tuple[str, ...], least: float, tmp_path: Path
) -> None:
    """A whole scene: house, renderer, three walks, quality, encoding, storing."""
    seeds = iter(range(4, 100))
    frames = []

    def scene() -> None:
        for encoded in collect_scene(task(next(seeds), names), params=PARAMS, simulator="auto"):
            store_sequence(tmp_path, encoded)
            if "frames.parquet" in encoded.files:  # else it was not possible
                frames.append(len(StoredSequence(tmp_path / "shard_00000" / encoded.id)))

    benchmark.pedantic(scene, rounds=4, warmup_rounds=0)
    rate = sum(frames) / benchmark.stats.stats.total
    benchmark.extra_info["frames_per_second"] = round(rate, 1)
    assert rate >= least


def test_encoding_is_a_small_part_of_a_frame(benchmark, stored: StoredSequence) -> None:
    sequence = stored.load()
    benchmark(encode_sequence, sequence)
    per_frame = benchmark.stats.stats.median / len(sequence)
    benchmark.extra_info["milliseconds_per_frame"] = round(per_frame * 1e3, 2)
    benchmark.extra_info["bytes_per_frame"] = sum(f.stat().st_size for f in stored.folder.iterdir()) // len(
        sequence
    )
    assert per_frame <= 0.25 / 30  # a quarter of what a worker has for a frame


def test_one_depth_frame_costs_a_fraction_of_all(benchmark, stored: StoredSequence) -> None:
    start = time.process_time()
    for _ in range(10):
        StoredSequence(stored.folder).depth()
    whole = (time.process_time() - start) / 10
    benchmark(lambda: StoredSequence(stored.folder).depth([20]))
    assert whole >= 4 * benchmark.stats.stats.median


def test_visibility_beats_a_loop_over_instances(benchmark, stored: StoredSequence) -> None:
    instance, depth = stored.instance([0])[0], (stored.depth([0])[0] * 1000).astype(np.uint16)

    def loop() -> dict[int, tuple]:
        found = {}
        for i in np.unique(instance):
            rows, columns = np.nonzero(instance == i)
            found[int(i)] = (len(rows), columns.mean(), rows.mean(), np.median(depth[rows, columns]))
        return found

    start = time.process_time()
    for _ in range(50):
        loop()
    plain = (time.process_time() - start) / 50
    benchmark(visible_instances, instance, depth)
    benchmark.extra_info["instances"] = len(np.unique(instance))
    benchmark.extra_info["times_faster"] = round(plain / benchmark.stats.stats.median, 2)
    assert plain >= 1.3 * benchmark.stats.stats.median
