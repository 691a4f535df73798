"""What the continuous expert does in training houses, as Parquet episodes for the policy.

The expert is disturbed now and then, and what is learned is its answer: a policy that has only seen perfect walks
knows no way back (DART, Laskey et al., arXiv:1703.09327). Invariant: a walk is shown by the very world in which
policies are measured; a house's file depends on the parameters and the house, and is never made twice.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from vln_heatmap import __version__
from vln_heatmap.datasets.episode_files import EpisodeFiles
from vln_heatmap.interchange.parquet_episodes import encode_image
from vln_heatmap.nodes.executors import stream_results
from vln_heatmap.nodes.navigation.episodes import (
    NavigationEpisode,
    episodes_of,
    house_seeds,
    house_source,
)
from vln_heatmap.nodes.navigation.scenes import open_scene
from vln_heatmap.nodes.policy.closed_loop_world import ContinuousWorld, task_episodes
from vln_heatmap.nodes.policy.data import PolicyEpisodes, gather_episodes
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.params.policy import PolicyParams
from vln_heatmap.params.policy_navigation import DemonstrationParams, PolicyNavigationParams
from vln_heatmap.simulation.simulators.base import NoNavigableFloorError, Simulator

_ROW_GROUP = 256
#: Parameters of the closed loop that decide what a demonstration looks like.
_CONTENT = {"simulator", "agent", "max_steps"}


def record_demonstrations(
    files: EpisodeFiles, navigation: NavigationParams, own: PolicyNavigationParams, policy: PolicyParams
) -> tuple[PolicyEpisodes, pd.DataFrame, PolicyParams]:
    """Let the expert walk in training houses, and open what it did as data of the policy.

    Args:
        files: of finished houses; those in it are not walked again.
        navigation: agent, simulator and processes.
        own: which walks, and the training.
        policy: model and normalisation.

    Returns:
        The episodes, a table of them (see ``gather_episodes``), and the parameters of the policy as they are
        trained here: the data are these demonstrations.

    Raises:
        ValueError: no walk is possible.
    """
    params = loop_params(navigation, own)
    key = demonstration_key(params, own)
    wanted = own.demonstrations.episodes
    names = {seed: f"{house_source(seed, wanted).name}.parquet" for seed in house_seeds(wanted)}
    left = [seed for seed, name in names.items() if not files.has(key, name)]
    results = stream_results(
        partial(_house_walks, params=params, own=own), left, workers=params.workers, losses=2
    )
    for seed, content in tqdm(results, "demonstrate", total=len(left), unit="house", disable=None):
        if content is not None:
            files.put(key, names[seed], content)
    settings = closed_loop_policy(policy, own, str(files.folder(key)))
    return *gather_episodes(None, settings), settings


def loop_params(navigation: NavigationParams, own: PolicyNavigationParams) -> NavigationParams:
    """The closed loop with the policy's camera."""
    return navigation.model_copy(update={"camera": own.camera})


def closed_loop_policy(policy: PolicyParams, own: PolicyNavigationParams, folder: str) -> PolicyParams:
    """Parameters of a policy that is trained on the demonstrations in a folder."""
    content = policy.model_dump()
    content["data"] |= {"format": "parquet", "source": folder, "last_action": True}
    content["data"] |= {"cameras": None, "state": None, "action": None}
    content["model"]["previous_action"] = own.previous_action
    content |= {"train": own.train.model_dump(), "compare": (), "warm_start": None}
    return PolicyParams.model_validate(content)


def demonstration_key(params: NavigationParams, own: PolicyNavigationParams) -> str:
    """Name of everything that the demonstrations depend on."""
    content = [
        __version__,
        params.model_dump(mode="json", include=_CONTENT),
        own.model_dump(mode="json", include={"tasks", "camera", "demonstrations"}),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _house_walks(
    seed: int, *, params: NavigationParams, own: PolicyNavigationParams
) -> tuple[int, bytes | None]:
    """The Parquet file of a house; None if no walk is possible in it."""
    wanted = own.demonstrations.episodes
    source = house_source(seed, wanted)
    sim, scene = open_scene(source, params, wanted.house)
    try:
        found = list(episodes_of(sim, scene, source, wanted, params))
        walks = [each for task in own.tasks for each in task_episodes(task, found)]
        tables = [demonstrate(sim, each, params, own.demonstrations) for each in walks]
    except NoNavigableFloorError:
        tables = []
    finally:
        sim.close()
    if not tables:
        return seed, None
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), buffer, row_group_size=_ROW_GROUP, compression="zstd")
    return seed, buffer.getvalue()


def demonstrate(
    sim: Simulator, episode: NavigationEpisode, params: NavigationParams, how: DemonstrationParams
) -> pa.Table:
    """One walk: a row for each of T steps, and ``stops`` rows at its end.

    Args:
        sim: with the episode's scene.
        episode: of a task, see ``task_episodes``.
        params: agent, camera, greatest number of steps.
        how: disturbances, image quality.

    Returns:
        Columns ``image_1``, ``state`` (``STATE_NAMES``), ``action`` (``ACTION_NAMES``: the expert's, whatever was
        done), ``prompt`` and the flags of an episode.
    """
    rng = np.random.default_rng([how.seed, zlib.crc32(episode.id.encode())])
    world = ContinuousWorld(sim, episode, params, expert=True)
    rows: list[dict[str, Any]] = []
    while not world.done:
        seen: Any = world.observation()
        rows.append(
            {
                "image_1": encode_image(seen.rgb, "jpeg", how.quality),
                "state": seen.state().tolist(),
                "action": np.asarray(seen.expert).tolist(),
                "prompt": episode.instruction,
            }
        )
        world.step(disturbed(seen.expert, how, rng))
    rows += [rows[-1]] * (how.stops - 1 if world.stopped else 0)
    return pa.table({**{name: [row[name] for row in rows] for name in rows[0]}, **_flags(len(rows))})


def disturbed(action: Sequence[float], how: DemonstrationParams, rng: np.random.Generator) -> np.ndarray:
    """The action [4] that is done where the expert says another; a stop is a stop."""
    right, forward, turn, stop = action
    noise = rng.normal(size=3) * (rng.random() < how.disturbed)
    if stop:
        return np.asarray(action, np.float64)
    turn += math.radians(how.turn) * noise[2]
    return np.array([right + how.shift * noise[0], forward + how.shift * noise[1], turn, 0.0])


def _flags(length: int) -> dict[str, np.ndarray]:
    place = np.arange(length)
    last = place == length - 1
    return {"is_first": place == 0, "is_last": last, "is_terminal": last}
