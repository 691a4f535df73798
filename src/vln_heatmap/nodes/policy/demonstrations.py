"""What the continuous expert does in training houses, as Parquet episodes for the policy.

Now and then it is led astray, as a beginner would be: straight on to the goal until walls stop it, or anywhere.
How it comes back is an episode of its own; the way astray is in none. A policy that has only seen perfect walks
knows no way back (Ross et al., arXiv:1011.0686). Invariant: a walk is shown by the very world in which policies
are measured; a house's file depends on the parameters and the house, and is never made twice.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zlib
from dataclasses import replace
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
from vln_heatmap.nodes.policy.pursuit import towards
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.params.policy import PolicyParams
from vln_heatmap.params.policy_navigation import DemonstrationParams, PolicyNavigationParams
from vln_heatmap.simulation.continuous import Motion, glide, seen_from
from vln_heatmap.simulation.simulators.base import AgentState, NoNavigableFloorError, Simulator

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
    """One walk, in pieces: on the way, and from each place to which it was led astray.

    Args:
        sim: with the episode's scene.
        episode: of a task, see ``task_episodes``.
        params: agent, camera, greatest number of steps of a piece.
        how: how often it is led astray and how far; image quality.

    Returns:
        Columns ``image_1``, ``state`` (``STATE_NAMES``), ``action`` (``ACTION_NAMES``), ``prompt`` and the flags
        that divide pieces, of which those that end by a stop are terminal. A row for each step of the expert.
    """
    rng = np.random.default_rng([how.seed, zlib.crc32(episode.id.encode())])
    pieces, start = [], episode.start
    for turn in range(how.astray + 1):
        steps = params.max_steps if turn == how.astray else int(rng.integers(1, how.follow + 1))
        world = ContinuousWorld(sim, replace(episode, start=start), params, expert=True)
        pieces.append(_piece(world, steps, how.quality))
        if world.stopped:
            break
        start = astray(sim, world.states[-1], episode, params, how.wander, rng)
    return pa.concat_tables(pieces)


def _piece(world: ContinuousWorld, steps: int, quality: int) -> pa.Table:
    """What the expert does in at most so many steps."""
    rows: list[dict[str, Any]] = []
    while not world.done and len(rows) < steps:
        seen: Any = world.observation()
        rows.append(
            {
                "image_1": encode_image(seen.rgb, "jpeg", quality),
                "state": seen.state().tolist(),
                "action": seen.expert.tolist(),
                "prompt": world.episode.instruction,
            }
        )
        world.step(seen.expert)
    place = np.arange(len(rows))
    last = place == len(rows) - 1
    flags = {"is_first": place == 0, "is_last": last, "is_terminal": last & world.stopped}
    return pa.table({**{name: [row[name] for row in rows] for name in rows[0]}, **flags})


def astray(
    sim: Simulator,
    state: AgentState,
    episode: NavigationEpisode,
    params: NavigationParams,
    most: int,
    rng: np.random.Generator,
) -> AgentState:
    """Where up to ``most`` steps end that go straight to the nearest goal, or the same way all the time."""
    agent, steps = params.agent, int(rng.integers(1, most + 1))
    straight, widest = rng.random() < 0.5, math.radians(agent.turn_angle)
    right, forward, turn = rng.uniform((-0.5, -0.2, -1.0), (0.5, 1.0, 1.0))
    same = Motion(agent.forward_step * right, agent.forward_step * forward, widest * turn)
    for _ in range(steps):
        goal = min((seen_from(state, goal) for goal in episode.goals), key=lambda point: math.hypot(*point))
        state = glide(sim, state, towards(*goal, agent) if straight else same, agent).state
    return state
