"""Episodes to navigate: an instruction, where it starts, where it leads, and the way of the expert.

Invariant: an episode depends on the parameters, its house and its number only. Its goals can be reached from its
start, and the expert gets there; an object instruction names one thing, and one alone in the whole house.
Houses of the split "unseen" are in no collection and not in the split "train".
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from vln_heatmap.datasets.sequence_files import depth_to_millimetres
from vln_heatmap.nodes.executors import stream_results
from vln_heatmap.nodes.metrics.navigation import path_length
from vln_heatmap.nodes.navigation.dialogues import GOAL_PHRASES
from vln_heatmap.nodes.navigation.expert import Expert
from vln_heatmap.params import AgentParams
from vln_heatmap.params.navigation import EpisodeParams, NavigationParams
from vln_heatmap.simulation.instructions import Phrase, object_phrases
from vln_heatmap.simulation.recording import Mount, camera_pose
from vln_heatmap.simulation.relations import Thing
from vln_heatmap.simulation.routes import describe_route, distance, landmarks
from vln_heatmap.simulation.scene import STRUCTURE, Instance, Scene
from vln_heatmap.simulation.simulators.base import STOP, AgentState, NoNavigableFloorError, Simulator
from vln_heatmap.simulation.trajectories import Walk, WalkStep
from vln_heatmap.simulation.trajectories.walks import as_point, bearing
from vln_heatmap.simulation.visibility import visible_instances

logger = logging.getLogger(__name__)

Point = tuple[float, float, float]
#: First house seeds of the splits: those of collections are below 10 000 000 000.
_FIRST_SEED = {"train": 10_000_000_000, "unseen": 20_000_000_000}
_HOUSES = 1_000_000  # house seeds of one seed of a split
_TRIES = 60
_GOALS = 12
_SPACING = 0.25  # metres between the floor points that may be goals
_LEAST_SIZE = 0.35  # metres that the largest side of a goal thing must have


@dataclass(frozen=True)
class SceneSource:
    """Where a scene comes from: a seed of the house generator, or a file (or handle of a Habitat data set)."""

    name: str
    seed: int | None = None
    file: str | None = None


@dataclass(frozen=True)
class NavigationEpisode:
    """An instruction to follow.

    Attributes:
        id: unique.
        scene: where.
        kind: type of the instruction: "route", or for an object what tells it apart: "category", "attribute" or
            "relation".
        instruction: text.
        start: floor point and heading.
        goals: floor points [3], any of which will do.
        target: what the goals stand beside; None if it is no thing.
        geodesic: walkable metres from the start to the nearest goal.
        reference: the expert's positions [M, 3].
        actions: the expert's, the last one STOP.
        also: the same told otherwise, to be learned too: the way where the instruction names a thing, the thing's
            name where it tells the way; "" if there are no such words.
    """

    id: str
    scene: SceneSource
    kind: str
    instruction: str
    start: AgentState
    goals: tuple[Point, ...]
    target: Point | None
    geodesic: float
    reference: NDArray[np.float64]
    actions: tuple[int, ...]
    also: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The instruction, and the same told otherwise if it can be."""
        return (self.instruction, self.also) if self.also else (self.instruction,)

    def fingerprint(self) -> str:
        """Changes with whatever decides how the episode goes."""
        said = [self.scene, self.instruction, self.start, self.goals, self.target, self.reference.tolist()]
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def plan_episodes(params: NavigationParams) -> pd.DataFrame:
    """The episodes that are measured, one row each; see ``episode_table``."""
    return episode_table(make_episodes(params.episodes, params))


def make_episodes(wanted: EpisodeParams, params: NavigationParams) -> list[NavigationEpisode]:
    """Generate houses and episodes in them, in the order of the houses; or read published ones.

    Args:
        wanted: which.
        params: camera, agent, simulator and workers.

    Raises:
        ValueError: no house gave a single episode.
    """
    if wanted.published is not None:
        from vln_heatmap.nodes.navigation.published_episodes import read_published_episodes

        return read_published_episodes(wanted.published, params)
    work = partial(_house_episodes, wanted=wanted, params=params)
    seeds = house_seeds(wanted)
    made: dict[int, list[NavigationEpisode]] = {}
    results = stream_results(work, seeds, workers=params.workers, losses=2)
    for seed, episodes in tqdm(results, "episodes", total=len(seeds), unit="house", disable=None):
        made[seed] = episodes
    found = [episode for seed in seeds for episode in made[seed]]
    if not found:
        raise ValueError(f"no episode of {wanted.distance} m is possible in {wanted.houses} houses")
    if len(found) < wanted.houses * wanted.per_house:
        logger.warning("%d of %d episodes were possible", len(found), wanted.houses * wanted.per_house)
    return found


def house_seeds(wanted: EpisodeParams) -> list[int]:
    """Seeds of the houses of some episodes, in order."""
    return [_FIRST_SEED[wanted.split] + wanted.seed * _HOUSES + number for number in range(wanted.houses)]


def house_source(seed: int, wanted: EpisodeParams) -> SceneSource:
    """The house of a seed."""
    return SceneSource(f"{wanted.split}_{seed % _HOUSES:06d}", seed=seed)


def _house_episodes(
    seed: int, *, wanted: EpisodeParams, params: NavigationParams
) -> tuple[int, list[NavigationEpisode]]:
    from vln_heatmap.nodes.navigation.scenes import open_scene

    source = house_source(seed, wanted)
    sim, scene = open_scene(source, params, wanted.house)
    try:
        return seed, list(episodes_of(sim, scene, source, wanted, params))
    except NoNavigableFloorError as error:
        logger.warning("%s: %s", source.name, error)
        return seed, []
    finally:
        sim.close()


def episodes_of(
    sim: Simulator, scene: Scene, source: SceneSource, wanted: EpisodeParams, params: NavigationParams
) -> Iterator[NavigationEpisode]:
    """Up to ``per_house`` episodes, objects and routes spread over the numbers as their shares say."""
    rng = np.random.default_rng([wanted.seed, source.seed or 0])
    phrases = house_phrases(scene)
    floor = sim.navigable_points(_SPACING)  # [N, 3]
    first = (source.seed or 0) % _HOUSES * wanted.per_house  # number over all houses
    for number in range(wanted.per_house):
        share = np.array([first + number, first + number + 1]) * wanted.objects + 1e-9
        named = int(share[1]) > int(share[0])
        for _ in range(_TRIES):
            episode = _try(sim, scene, floor, phrases, named, wanted, params, rng)
            if episode is not None:
                yield NavigationEpisode(id=f"{source.name}_{number:03d}", scene=source, **episode)
                break


def house_phrases(scene: Scene) -> dict[int, list[Phrase]]:
    """By id, the phrases that fit one thing of the whole house and no other."""
    things = [Thing(each, 1) for each in scene.instances if each.category not in STRUCTURE]
    found: dict[int, list[Phrase]] = {}
    for phrase in object_phrases(things, min_pixels=1, rooms=scene.rooms):
        if len(phrase.instances) == 1 and phrase.needed:
            found.setdefault(phrase.instances[0], []).append(phrase)
    return found


def _try(
    sim: Simulator,
    scene: Scene,
    floor: NDArray[np.float64],
    phrases: Mapping[int, list[Phrase]],
    named: bool,
    wanted: EpisodeParams,
    params: NavigationParams,
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """One attempt at an episode: to a thing that a phrase names, or by a route."""
    things = [
        thing for thing in scene.instances if worth_a_walk(thing) and (not named or thing.id in phrases)
    ]
    if not things:
        return None
    thing = things[int(rng.integers(len(things)))]
    goals = goals_beside(thing, scene, floor, wanted.reach)
    start = floor[int(rng.integers(len(floor)))]
    if not len(goals) or np.linalg.norm(goals - start, axis=1).min() > wanted.distance[1]:
        return None
    state, geodesic = _begin(sim, start, goals, rng)
    if state is None or not wanted.distance[0] <= geodesic <= wanted.distance[1]:
        return None
    walk = expert_walk(sim, state, goals, as_point(thing.centre), params.agent, wanted.length)
    if walk is None:
        return None
    (again,) = rng.spawn(1)  # what is told beside changes nothing
    if named:
        kind, text = named_goal(phrases[thing.id], rng)
        also = route_text(sim, scene, walk, thing, params, again)
    else:
        kind, text = "route", route_text(sim, scene, walk, thing, params, rng)
        also = named_goal(phrases[thing.id], again)[1] if thing.id in phrases else ""
    if not text:
        return None
    return {
        "kind": kind,
        "instruction": text,
        "also": also,
        "start": state,
        "goals": tuple(as_point(goal) for goal in goals),
        "target": as_point(thing.centre),
        "geodesic": geodesic,
        "reference": np.array([step.state.position for step in walk.steps]),
        "actions": tuple(int(step.action) for step in walk.steps),
    }


def named_goal(phrases: Sequence[Phrase], rng: np.random.Generator) -> tuple[str, str]:
    """Kind and text of an instruction that names the goal, in one of the phrases that tell it apart."""
    phrase = phrases[int(rng.integers(len(phrases)))]
    return phrase.kind, GOAL_PHRASES[int(rng.integers(len(GOAL_PHRASES)))].format(phrase.text)


def worth_a_walk(thing: Instance) -> bool:
    """Whether a thing is large enough to be seen from afar, and no part of the building."""
    size = np.subtract(thing.box_max, thing.box_min)
    return thing.category not in STRUCTURE and float(size.max()) >= _LEAST_SIZE


def goals_beside(
    thing: Instance, scene: Scene, floor: NDArray[np.float64], reach: float
) -> NDArray[np.float64]:
    """Floor points [G, 3], at most 12, at most ``reach`` from a thing's box and in its room, all round it."""
    gaps = np.array([distance(thing, point) for point in floor])  # [N]
    near = floor[gaps <= reach]
    if thing.room >= 0:
        rooms = np.array([scene.room_at(x, z, y) for x, y, z in near], int)
        near = near[rooms == thing.room]
    if not len(near):
        return near
    chosen = [int(np.argmin([distance(thing, point) for point in near]))]
    apart = np.linalg.norm(near - near[chosen[0]], axis=1)
    while len(chosen) < _GOALS and apart.max() > 2 * _SPACING:  # the farthest from those chosen, each time
        chosen.append(int(apart.argmax()))
        apart = np.minimum(apart, np.linalg.norm(near - near[chosen[-1]], axis=1))
    return near[chosen]


def _begin(
    sim: Simulator, start: NDArray[np.float64], goals: NDArray[np.float64], rng: np.random.Generator
) -> tuple[AgentState | None, float]:
    """A start that looks at most 90 degrees away from the shortest way, and that way's length."""
    paths = [path for goal in goals if len(path := sim.shortest_path(start, goal)) > 1]
    if not paths:
        return None, math.inf
    path = min(paths, key=path_length)
    yaw = bearing(path[0], path[1]) + rng.uniform(-1, 1) * math.pi / 2
    return AgentState(as_point(start), float(yaw)), path_length(path)


def expert_walk(
    sim: Simulator,
    start: AgentState,
    goals: Sequence[Any] | NDArray[np.float64],
    target: Point | None,
    agent: AgentParams,
    length: int,
) -> Walk | None:
    """The expert's walk, at most ``length`` actions; None if it does not get there in that many."""
    expert, state = Expert(sim, agent, list(goals), target), start
    steps: list[WalkStep] = []
    while len(steps) < length:
        action = expert.action(state)
        result = sim.step(state, action)
        steps.append(WalkStep(state, action, result.collided))
        if action == STOP:
            there = min(math.dist(state.position, goal) for goal in goals) <= agent.forward_step
            return Walk(tuple(steps), stopped=True) if there else None
        state = result.state
    return None


def route_text(
    sim: Simulator,
    scene: Scene,
    walk: Walk,
    thing: Instance,
    params: NavigationParams,
    rng: np.random.Generator,
) -> str:
    """The walk in words, from what its camera sees on the way; "" if the thing at its end cannot be named."""
    frames = _seen_on(sim, walk, params.agent.camera_height)
    names = landmarks(scene.instances, frames, image_pixels=sim.camera.width * sim.camera.height)
    return describe_route(names, scene.rooms, frames, rng, goal=thing.id).text if thing.id in names else ""


def _seen_on(sim: Simulator, walk: Walk, height: float) -> pd.DataFrame:
    """What of a frame table a route is told from: states, actions, and what each view shows how large."""
    states = [Mount(height, 0.0).state(step) for step in walk.steps]
    views = [sim.render(camera_pose(state)) for state in states]
    seen = [visible_instances(view.instance, depth_to_millimetres(view.depth)) for view in views]
    return pd.DataFrame(
        {
            "state": states,
            "action": [step.action for step in walk.steps],
            "moved_ids": [()] * len(states),
            **{name: [each[name] for each in seen] for name in ("visible_ids", "visible_pixels")},  # type: ignore[literal-required]
        }
    )


# --- as a table -----------------------------------------------------------------------------------------------


def episode_table(episodes: Sequence[NavigationEpisode]) -> pd.DataFrame:
    """One row an episode: plain columns, positions as flat lists."""
    rows = [
        {
            "id": each.id,
            "scene": each.scene.name,
            "scene_seed": each.scene.seed,
            "scene_file": each.scene.file,
            "kind": each.kind,
            "instruction": each.instruction,
            "start": [*each.start.position, each.start.yaw],
            "goals": np.array(each.goals, np.float64).ravel(),
            "target": None if each.target is None else list(each.target),
            "geodesic": each.geodesic,
            "reference": each.reference.ravel(),
            "actions": np.array(each.actions, np.int8),
            "also": each.also,
        }
        for each in episodes
    ]
    table = pd.DataFrame(rows)
    table["scene_seed"] = table["scene_seed"].astype("Int64")
    return table


def read_episode_table(table: pd.DataFrame) -> list[NavigationEpisode]:
    """The episodes of ``episode_table``."""
    return [_read(row) for row in table.to_dict("records")]


def _read(row: Mapping[str, Any]) -> NavigationEpisode:
    *start, yaw = map(float, row["start"])
    seed, file = row["scene_seed"], row["scene_file"]
    return NavigationEpisode(
        id=row["id"],
        scene=SceneSource(
            row["scene"], None if pd.isna(seed) else int(seed), file if isinstance(file, str) else None
        ),
        kind=row["kind"],
        instruction=row["instruction"],
        start=AgentState(as_point(start), yaw),
        goals=tuple(as_point(goal) for goal in np.asarray(row["goals"], float).reshape(-1, 3)),
        target=None if row["target"] is None else as_point(row["target"]),
        geodesic=float(row["geodesic"]),
        reference=np.asarray(row["reference"], np.float64).reshape(-1, 3),
        actions=tuple(int(action) for action in row["actions"]),
        also=row.get("also") or "",
    )
