"""How fast walks are recorded and stored, and what reading only a part of a sequence saves.

``pytest benchmarks/test_collect_speed.py`` prints frames a second and the share of each step. Two workers must
store 60 frames a second at 128 x 128, so one must make 30 in a second of its own CPU time.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from vln_heatmap.datasets.sequence_files import StoredSequence, encode_sequence
from vln_heatmap.datasets.sequence_store import store_sequence
from vln_heatmap.nodes.collect import SceneTask, collect_scene
from vln_heatmap.params import CollectParams
from vln_heatmap.simulation.visibility import visible_instances

PARAMS = CollectParams(agent={"radius": 0.09})
pytestmark = pytest.mark.benchmark(timer=time.process_time)  # other processes do not count


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker: software OpenGL on one thread."""
    monkeypatch.setenv("LP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredSequence:
    folder = tmp_path_factory.mktemp("sequences")
    (encoded,) = collect_scene(SceneTask("house_00003", 3, None, (0,)), params=PARAMS, simulator="auto")
    store_sequence(folder, encoded)
    return StoredSequence(folder / encoded.id)


def test_a_worker_stores_30_frames_a_second(benchmark, stored: StoredSequence, tmp_path: Path) -> None:
    """A whole scene: house, renderer, three walks, encoding, storing."""
    seeds = iter(range(4, 100))
    frames = []

    def scene() -> None:
        seed = next(seeds)
        task = SceneTask(f"house_{seed:05d}", seed, None, (0, 1, 2))
        for encoded in collect_scene(task, params=PARAMS, simulator="auto"):
            store_sequence(tmp_path, encoded)
            frames.append(len(StoredSequence(tmp_path / encoded.id)))

    benchmark.pedantic(scene, rounds=4, warmup_rounds=0)
    rate = sum(frames) / benchmark.stats.stats.total
    benchmark.extra_info["frames_per_second"] = round(rate, 1)
    assert rate >= 30


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
