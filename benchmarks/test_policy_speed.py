"""The policy: windows from Parquet beside bare decoding, and one chunk of actions.

``pytest benchmarks/test_policy_speed.py -s`` prints both. Times are of the process (``process_time``): what one
loader needs of a core, whoever else is on the machine.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from kedro.config import OmegaConfigLoader
from PIL import Image

from vln_heatmap.datasets.episode_windows import EpisodeWindows
from vln_heatmap.interchange.checks import decode_image
from vln_heatmap.nodes.model.policy.assemble import make_policy
from vln_heatmap.nodes.model.tokenizer import train_tokenizer
from vln_heatmap.nodes.policy.inference import Policy
from vln_heatmap.nodes.policy.sources import open_episodes
from vln_heatmap.nodes.statistics import Moments
from vln_heatmap.params.policy import PolicyDataParams, PolicyParams

ROOT = Path(__file__).parents[1]
SIDE, EPISODES, LENGTH = 224, 8, 64


def photographs(count: int) -> list[bytes]:
    """JPEG images of about 25 KB with structure at all scales: decoding costs what it does for photographs."""
    rng, images = np.random.default_rng(0), []
    for _ in range(count):
        layers = [rng.integers(0, 256 // 2**n, (SIDE >> n, SIDE >> n, 3)) for n in (5, 4, 3, 2, 1)]
        image = sum(np.kron(layer, np.ones((SIDE // len(layer),) * 2 + (1,))) for layer in layers) / 2
        buffer = io.BytesIO()
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    return images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """One file of all episodes in row groups of 64 rows."""
    images, rows = photographs(LENGTH), EPISODES * LENGTH
    file = tmp_path_factory.mktemp("speed") / "episodes.parquet"
    table = pa.table(
        {
            "image_1": images * EPISODES,
            "state": np.random.default_rng(0).normal(size=(rows, 7)).tolist(),
            "action": np.random.default_rng(1).normal(size=(rows, 7)).tolist(),
            "prompt": ["pick up the cup"] * rows,
            "is_first": [row % LENGTH == 0 for row in range(rows)],
        }
    )
    pq.write_table(table, file, row_group_size=LENGTH)
    return file, images


def seconds(run: Callable[[], None], *, repeats: int = 3) -> float:
    """Least time of the process, after one run to warm up."""
    times = []
    for _ in range(repeats + 1):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times[1:])


def test_a_loader_is_bound_by_decoding(data: tuple[Path, list[bytes]]) -> None:
    """The images are decoded anew in each run: no window is asked for twice."""
    file, images = data
    params = PolicyDataParams(format="parquet", source=str(file), max_seq_len=8)
    source = open_episodes(params)
    order = np.random.default_rng(0).permutation(EPISODES * 8)[:16]

    def load() -> None:
        windows = EpisodeWindows(source, source.episodes, params, horizon=8, image_size=SIDE)
        for index in order:
            windows.get(int(index))

    def decode() -> None:
        for image in images * 2:
            decode_image(image, file=file, row=None)

    steps = 16 * 8
    loading, bare = seconds(load), seconds(decode)
    print(
        f"\nloading {steps / loading:.0f} steps/s a core, decoding alone {len(images) * 2 / bare:.0f} images/s"
    )
    assert loading / steps < 2 * bare / (2 * len(images))


def test_a_chunk_of_ten_steps(benchmark) -> None:
    conf = OmegaConfigLoader(str(ROOT / "conf"), base_env="base", default_run_env="base")
    params = PolicyParams.model_validate(conf["parameters"]["policy"])
    rng = np.random.default_rng(0)
    summaries = {
        name: Moments.of(rng.normal(size=(100, 7))).summary([f"{name}_{n}" for n in range(7)])
        for name in ("state", "action")
    }
    statistics = {**summaries, "normalisation": {}, "cameras": ["image_1", "image_2"]}
    model = make_policy(params.model, train_tokenizer(["pick up the cup"], 300), statistics).eval()
    policy = Policy(model, statistics, "cpu")
    images = [rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)] * 2
    torch.set_num_threads(1)
    chunk = benchmark(policy.act, images, "pick up the cup", np.zeros(7))
    assert chunk.shape == (8, 7)
    spent = seconds(lambda: policy.act(images, "pick up the cup", np.zeros(7)), repeats=5)
    print(f"\na chunk of {params.model.head.steps} Euler steps: {spent:.3f} s of one core")
    assert spent <= 0.3
