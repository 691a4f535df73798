"""Navigation episodes as R2R-CE and RxR-CE publish them, and how to walk them.

Invariant: an ``Episode`` is in our frame (world +Y up, yaw 0 looks along -Z), whatever file it comes from, and
everything in it has been checked: a broken file is refused with the place where it is broken.

Formats: R2R_VLNCE and RxR_VLNCE of VLN-CE (Krantz et al. 2020): ``<split>.json.gz`` and
``<split>_gt.json.gz`` (RxR: ``<split>_guide.json.gz`` and ``<split>_guide_gt.json.gz``).
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vln_heatmap.params import AgentParams, CameraParams
from vln_heatmap.simulation.simulators.base import LOOK_DOWN, LOOK_UP, STOP, AgentState, Simulator
from vln_heatmap.simulation.trajectories import Walk, WalkRequest, WalkStep
from vln_heatmap.simulation.trajectories.walker import Walker

MAX_BYTES = 2_000_000_000  # of an unpacked file; RxR's largest is below 0.5 GB
_SCENES = "data/scene_datasets/"

Position = tuple[float, float, float]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e5, le=1e5)]
Vector = tuple[Finite, Finite, Finite]


class EpisodeFileError(ValueError):
    """A file that is no list of episodes: the message names the file, the episode and what is wrong."""


@dataclass(frozen=True)
class EpisodeSettings:
    """How the agent of a benchmark sees and moves."""

    agent: AgentParams
    camera: CameraParams
    tilt_angle: float = 0.0  # degrees of LOOK_UP and LOOK_DOWN; 0 if there are none
    success_distance: float = 3.0  # metres


#: The agents of the published task configurations of VLN-CE.
SETTINGS: dict[str, EpisodeSettings] = {
    "r2r": EpisodeSettings(
        AgentParams(height=1.5, radius=0.1, camera_height=1.25, turn_angle=15.0, sliding=True),
        CameraParams(width=224, height=224, hfov=90.0),
    ),
    "rxr": EpisodeSettings(
        AgentParams(height=0.88, radius=0.18, camera_height=0.88, turn_angle=30.0, sliding=False),
        CameraParams(width=640, height=480, hfov=79.0),
        tilt_angle=30.0,
    ),
}


@dataclass(frozen=True)
class Episode:
    """An instruction, where to start, and where to end up.

    Attributes:
        id, trajectory: of the file; several episodes may describe one trajectory.
        benchmark: "r2r" or "rxr", a key of ``SETTINGS``.
        scene: path of the scene below the folder of scene data sets ("mp3d/<name>/<name>.glb").
        start: floor point and yaw. Points of R2R and RxR lie on the navigation mesh.
        goals: points [3] in metres, any of which will do, and ``radius`` around them.
        instruction, language: text and its language tag ("en-US").
        reference_path: [N, 3] way points in metres.
        geodesic: published length of the shortest path in metres, NaN if the file gives none.
        actions: the published expert's actions (with 4 look up, 5 look down); empty without ground truth.
        locations: [M, 3] the expert's positions; empty without ground truth.
    """

    id: str
    trajectory: str
    benchmark: str
    scene: str
    start: AgentState
    goals: tuple[Position, ...]
    radius: float
    instruction: str
    language: str
    reference_path: NDArray[np.float64]
    geodesic: float
    actions: tuple[int, ...] = ()
    locations: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))

    @property
    def scene_name(self) -> str:
        return PurePosixPath(self.scene).stem


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore")  # the files hold more than is needed


class _Goal(_Record):
    position: Vector
    radius: float = Field(3.0, gt=0, le=100)


class _Instruction(_Record):
    instruction_text: str = Field(min_length=1, max_length=100_000)
    language: str = "en-US"


class _Info(_Record):
    geodesic_distance: float | None = None


class _Episode(_Record):
    episode_id: int | str
    trajectory_id: int | str = ""
    scene_id: str = Field(min_length=1)
    start_position: Vector
    start_rotation: tuple[Finite, Finite, Finite, Finite]
    goals: tuple[_Goal, ...] = ()
    instruction: _Instruction
    reference_path: tuple[Vector, ...] = ()
    info: _Info | None = None


class _Truth(_Record):
    locations: tuple[Vector, ...] = ()
    actions: tuple[Annotated[int, Field(ge=0, le=5)], ...] = ()


def read_episodes(
    path: Path,
    *,
    ground_truth: Path | None = None,
    benchmark: Literal["auto", "r2r", "rxr"] = "auto",
    languages: Iterable[str] = (),
) -> list[Episode]:
    """Read the episodes of one split.

    Args:
        path: ``.json.gz`` (or ``.json``) with the list ``episodes``.
        ground_truth: the file of actions and locations by episode id that belongs to it.
        benchmark: "auto" tells R2R by its instruction vocabulary, which RxR files do not have.
        languages: keep these language tags only; empty for all.

    Raises:
        FileNotFoundError: a file that is not there.
        EpisodeFileError: not JSON, not episodes, an unsafe scene path, or ground truth that does not fit.
    """
    document = _read_json(path)
    entries = document.get("episodes") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise EpisodeFileError(f"{path} has no list 'episodes': it is not a split of R2R-CE or RxR-CE")
    if benchmark == "auto":
        benchmark = "r2r" if "instruction_vocab" in document else "rxr"
    truths = _read_json(ground_truth) if ground_truth is not None else {}
    if not isinstance(truths, dict):
        raise EpisodeFileError(f"{ground_truth} must map episode ids to actions and locations")
    chosen, episodes = set(languages), []
    for number, entry in enumerate(entries):
        record = _parse(_Episode, entry, f"{path}: episode {number}")
        if chosen and record.instruction.language not in chosen:
            continue
        truth = _Truth()
        if ground_truth is not None:
            if str(record.episode_id) not in truths:
                raise EpisodeFileError(f"{ground_truth} has nothing about episode {record.episode_id}")
            where = f"{ground_truth}: episode {record.episode_id}"
            truth = _parse(_Truth, truths[str(record.episode_id)], where)
        episodes.append(_to_episode(record, truth, benchmark, f"{path}: episode {record.episode_id}"))
    return episodes


def replay(sim: Simulator, episode: Episode, *, length: int = 500) -> Walk:
    """Walk an episode by its published actions, or along the shortest path if it has none.

    Args:
        sim: with the episode's scene; its agent should be that of ``SETTINGS``.
        length: greatest number of frames; a longer episode is cut (``stopped`` is then False).

    Raises:
        ValueError: neither actions nor a goal that can be reached.
    """
    actions = episode.actions or tuple(_expert(sim, episode))
    tilt_step = math.radians(SETTINGS[episode.benchmark].tilt_angle)
    state, tilt, steps = episode.start, 0.0, []
    for action in actions[: length - 1]:
        if action == STOP:
            break
        if action in (LOOK_UP, LOOK_DOWN):
            steps.append(WalkStep(state, action, False, tilt=tilt))
            tilt += tilt_step if action == LOOK_UP else -tilt_step
            continue
        result = sim.step(state, action)
        steps.append(WalkStep(state, action, result.collided, tilt=tilt))
        state = result.state
    stopped = len(steps) < length - 1 or actions[length - 1 : length] == (STOP,)
    goal = episode.goals[0] if episode.goals else None
    return Walk((*steps, WalkStep(state, STOP, False, tilt=tilt)), stopped, goal)


def _expert(sim: Simulator, episode: Episode) -> Sequence[int]:
    request = WalkRequest(500, SETTINGS[episode.benchmark].agent)
    for goal in episode.goals:
        path = sim.shortest_path(np.asarray(episode.start.position), np.asarray(goal))
        walker = Walker(sim, episode.start, request)
        if len(path) and walker.go_to(goal, path):
            return [step.action for step in walker.finish(stopped=True).steps]
    raise ValueError(f"episode {episode.id} has no actions, and no goal that can be reached")


def yaw_of(rotation: Sequence[float]) -> float:
    """Yaw in radians (0 looks along -Z, left is +) of a quaternion (x, y, z, w), which may also tilt.

    Raises:
        ValueError: not a unit quaternion, or one that looks straight up or down.
    """
    x, y, z, w = rotation
    if not math.isclose(x * x + y * y + z * z + w * w, 1.0, abs_tol=1e-3):
        raise ValueError(f"a rotation must be a unit quaternion (x, y, z, w), got {tuple(rotation)}")
    ahead_x, ahead_z = -2 * (x * z + w * y), -(1 - 2 * (x * x + y * y))  # R (0, 0, -1)
    if math.hypot(ahead_x, ahead_z) < 1e-6:
        raise ValueError(f"a rotation that looks straight up or down has no yaw: {tuple(rotation)}")
    return math.atan2(-ahead_x, -ahead_z)


def _to_episode(record: _Episode, truth: _Truth, benchmark: str, where: str) -> Episode:
    try:
        yaw = yaw_of(record.start_rotation)
        scene = _safe_scene(record.scene_id)
    except ValueError as error:
        raise EpisodeFileError(f"{where}: {error}") from error
    info = record.info.geodesic_distance if record.info else None
    return Episode(
        id=str(record.episode_id),
        trajectory=str(record.trajectory_id),
        benchmark=benchmark,
        scene=scene,
        start=AgentState(record.start_position, yaw),
        goals=tuple(goal.position for goal in record.goals),
        radius=record.goals[0].radius if record.goals else 3.0,
        instruction=" ".join(record.instruction.instruction_text.split()),
        language=record.instruction.language,
        reference_path=np.array(record.reference_path, np.float64).reshape(-1, 3),
        geodesic=math.nan if info is None or not math.isfinite(info) else info,
        actions=truth.actions,
        locations=np.array(truth.locations, np.float64).reshape(-1, 3),
    )


def _safe_scene(scene_id: str) -> str:
    """The scene's path below the folder of scene data sets."""
    path = PurePosixPath(scene_id.removeprefix(_SCENES))
    if path.is_absolute() or ".." in path.parts or "\\" in scene_id:
        raise ValueError(f"scene_id must be a path below the scene data sets, got {scene_id!r}")
    return str(path)


def _parse(kind: type[Any], entry: Any, where: str) -> Any:
    try:
        return kind.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        got = f"{first['input']!r:.80}"
        raise EpisodeFileError(f"{where}: {place or 'entry'}: {first['msg']}, got {got}") from error


def _read_json(path: Path) -> Any:
    data = path.read_bytes()
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise EpisodeFileError(f"{path} unpacks to more than {MAX_BYTES:,} bytes")
        return json.loads(data)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, EpisodeFileError):
            raise
        raise EpisodeFileError(f"{path} is not (gzipped) JSON: {error}") from error
