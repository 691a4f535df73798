"""habitat-sim behind our contract, versions 0.2.4 to 0.3.4.

Invariant: whatever Habitat's own conventions are (OpenGL camera, semantic ids, a navigation mesh that floats
above the floor), what leaves this module is in ours. One habitat-sim simulator lives in a process and is
reconfigured from scene to scene, since starting one takes seconds.

Habitat bakes no light and needs none: surfaces show their plain colours. ``illuminate`` scales the image.
After a collision the agent stands where Habitat stopped it, which may be short of its step.
"""

from __future__ import annotations

import atexit
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams, HabitatParams
from vln_heatmap.simulation.habitat_dataset import HabitatScene, export_scenes, read_description
from vln_heatmap.simulation.habitat_scenes import describe_scene, scene_name
from vln_heatmap.simulation.navigation.lines import resample
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    STOP,
    TURN_LEFT,
    TURN_RIGHT,
    AgentState,
    NoNavigableFloorError,
    Observation,
    SimulatorUnavailableError,
    StepResult,
    stop_or_turn,
)
from vln_heatmap.simulation.simulators.habitat_session import Session, rotation_coefficients
from vln_heatmap.simulation.variants import check_motion, illuminated

STANDING = 0.5  # metres between a floor point and the navigation mesh for the point to count as on it
FLOOR_REACH = 1.0  # metres below the navigation mesh in which its floor is looked for
SIGHT = 5.0  # metres up to which clearance is measured


class HabitatSimulator:
    """Implements ``Simulator`` with habitat-sim.

    Args:
        camera: image size and field of view.
        agent: body, steps and sliding.
        habitat: device, and which navigation mesh to use.

    Raises:
        SimulatorUnavailableError: habitat-sim is not installed.
    """

    name = "habitat"

    def __init__(
        self, camera: PinholeCamera, *, agent: AgentParams, habitat: HabitatParams | None = None
    ) -> None:
        self.camera, self.agent = camera, agent
        self.habitat = habitat or HabitatParams()
        self._session = _session(self.habitat.gpu)
        self.version = f"habitat-sim {self._session.version}"
        self._scene: Scene | None = None
        self._exported: tempfile.TemporaryDirectory[str] | None = None
        self._ids = np.zeros(1, np.int32)
        self._gain = 1.0

    @property
    def scene(self) -> Scene:
        """The loaded scene.

        Raises:
            RuntimeError: nothing is loaded.
        """
        if self._scene is None:
            raise RuntimeError("simulator 'habitat' has no scene: call load(scene) first")
        return self._scene

    def load(self, scene: Scene) -> None:
        """Load a scene of ours: it is exported as a scene data set first."""
        self._drop_export()
        self._exported = tempfile.TemporaryDirectory(prefix="vln_heatmap_habitat_")
        [place] = export_scenes([scene], Path(self._exported.name))
        self._open(place, recompute=True)
        self._ids = instance_table({item.id: item.id for item in scene.instances}, place.stage_id)
        self._scene, self._gain = scene, 1.0

    def load_scene(self, dataset: Path, name: str) -> Scene:
        """Load a scene of a data set; its description has instances and rooms but no triangles.

        Raises:
            FileNotFoundError: no such data set.
            ValueError: the data set has no such scene.
        """
        if not dataset.is_file():
            raise FileNotFoundError(f"scene data set {dataset} does not exist")
        self._drop_export()
        ours = read_description(dataset, scene_name(name))
        recompute = ours is not None or self.habitat.navmesh == "recompute"
        self._open(HabitatScene(dataset, name), recompute=recompute)
        if ours is None:
            scene, table = describe_scene(self._session.sim, name)
            self._ids = instance_table(table, 0)
        else:
            scene, stage = ours
            self._ids = instance_table({item.id: item.id for item in scene.instances}, stage)
        self._scene, self._gain = scene, 1.0
        return scene

    def render(self, camera_to_world: NDArray[np.float64]) -> Observation:
        """Render the view of a camera pose [4, 4] (OpenCV camera, world +Y up); depth is z-depth in metres."""
        pose = np.asarray(camera_to_world, np.float64)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise ValueError(f"camera_to_world must be a finite 4x4 matrix, got shape {pose.shape}: {pose}")
        self.scene  # noqa: B018  raises if nothing is loaded
        views = self._session.look(pose[:3, 3], rotation_coefficients(pose))
        depth = np.ascontiguousarray(views["depth"], np.float32)
        semantic = np.asarray(views["semantic"]).astype(np.int64)  # [H, W]
        instance = self._ids[np.clip(semantic, 0, len(self._ids) - 1)] * (depth > 0)
        rgb = np.ascontiguousarray(np.asarray(views["rgb"])[..., :3])
        if self._gain != 1.0:
            rgb = np.clip(np.rint(rgb * self._gain), 0, 255).astype(np.uint8)
        return Observation(rgb, depth, instance.astype(np.int32))

    def move(self, motions: Mapping[int, NDArray[np.float64]]) -> None:
        """Put instances where rigid transforms [4, 4] take them from rest; all others go back to rest.

        Raises:
            ValueError: no such instance, a transform that is not rigid, or the stage, which cannot be moved.
        """
        for instance, motion in motions.items():
            check_motion(self.scene, instance, motion)
        self._session.place(motions)

    def illuminate(self, weights: Mapping[str, float]) -> None:
        """Scale the image as the mean light of the scene's sources changes; see ``Simulator.illuminate``."""
        shown, light = illuminated(self.scene, weights).light, self.scene.light
        mean = 0.0 if light is None else float(light.irradiance.mean())
        self._gain = float(shown.irradiance.mean()) / mean if shown is not None and mean > 0 else 1.0

    def random_navigable_point(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A uniformly drawn floor point [3] where the agent can stand."""
        finder = self._pathfinder
        finder.seed(int(rng.integers(2**31)))
        point = np.array(finder.get_random_navigable_point(), np.float64)
        if not np.isfinite(point).all():
            raise NoNavigableFloorError(f"scene {self.scene.name!r}: the navigation mesh has no floor")
        return self._to_floor(point)

    def is_navigable(self, position: NDArray[np.float64]) -> bool:
        """Whether the agent can stand at floor point [3]."""
        point = np.asarray(position, np.float64)
        return bool(np.isfinite(point).all() and self._pathfinder.is_navigable(_plain(point), STANDING))

    def clearance(self, position: NDArray[np.float64]) -> float:
        """Metres from a floor point [3] to the nearest obstacle, up to 5; 0 where the agent cannot stand."""
        if not self.is_navigable(position):
            return 0.0
        free = self._pathfinder.distance_to_closest_obstacle(self._on_mesh(position), SIGHT)
        return min(float(free) + self.agent.radius, SIGHT)

    def navigable_points(self, spacing: float) -> NDArray[np.float64]:
        """Floor points [N, 3], one a square of ``spacing`` metres and storey."""
        low, high = (np.array(corner, np.float64) for corner in self._pathfinder.get_bounds())
        xs, zs = (np.arange(low[k] + spacing / 2, high[k], spacing) for k in (0, 2))
        heights = np.array(self._pathfinder.build_navmesh_vertices(), np.float64).reshape(-1, 3)[:, 1]
        found: dict[tuple[int, int, int], NDArray[np.float64]] = {}
        for i, x in enumerate(xs):
            for k, z in enumerate(zs):
                for height in np.unique(np.rint(heights / STANDING) * STANDING):
                    point = np.array([x, height, z])
                    if self.is_navigable(point):
                        floor = self._to_floor(np.array(self._on_mesh(point)))
                        found[i, k, round(floor[1] / STANDING)] = floor
        return np.array(list(found.values()), np.float64).reshape(-1, 3)

    def geodesic_distance(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> float:
        """Length in metres of the shortest walkable path; ``math.inf`` if there is none."""
        path = self._find_path(start, goal)
        return math.inf if path is None else float(path.geodesic_distance)

    def shortest_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Way points [N, 3] of the shortest walkable path, both ends included; N = 0 if there is none."""
        path = self._find_path(start, goal)
        points = [] if path is None else [np.array(point, np.float64) for point in path.points]
        return np.array([self._to_floor(point) for point in points], np.float64).reshape(-1, 3)

    def roomy_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """The shortest path, a point every 5 cm: Habitat plans no others."""
        path = self.shortest_path(start, goal)
        return resample(path, 0.05) if len(path) > 1 else path

    def step(self, state: AgentState, action: int) -> StepResult:
        """Apply an action; after a collision the agent stands where the navigation mesh stopped it.

        Raises:
            ValueError: the action is not one of STOP, FORWARD, TURN_LEFT, TURN_RIGHT.
        """
        turned = stop_or_turn(state, action, self.agent.turn_angle)
        if turned is not None:
            return turned
        start = np.array(self._on_mesh(state.position), np.float64)
        ahead = np.array([-math.sin(state.yaw), 0.0, -math.cos(state.yaw)])
        finder = self._pathfinder
        move = finder.try_step if self.agent.sliding else finder.try_step_no_sliding
        end = np.array(move(_plain(start), _plain(start + self.agent.forward_step * ahead)), np.float64)
        moved = float(np.linalg.norm((end - start)[[0, 2]]))
        x, y, z = self._to_floor(end)
        collided = moved < self.agent.forward_step * 0.99 and abs(end[1] - start[1]) < 1e-3
        return StepResult(AgentState((float(x), float(y), float(z)), state.yaw), collided)

    def shortest_path_actions(
        self, state: AgentState, goal: NDArray[np.float64], *, radius: float = 0.25
    ) -> list[int]:
        """Discrete actions of Habitat's greedy geodesic follower to within ``radius`` metres, STOP included.

        Raises:
            ValueError: the follower finds no way.
        """
        keys = self._session.follow(
            _plain(self._on_mesh(state.position)), state.yaw, self._on_mesh(goal), radius
        )
        if keys is None:
            raise ValueError(f"no way leads from {state.position} to {tuple(goal)}")
        names = {"move_forward": FORWARD, "turn_left": TURN_LEFT, "turn_right": TURN_RIGHT, None: STOP}
        return [names[key] for key in keys]

    def close(self) -> None:
        """Forget the scene. The habitat-sim simulator stays for the next one and ends with the process."""
        self._drop_export()
        self._scene = None

    @property
    def _pathfinder(self) -> Any:
        self.scene  # noqa: B018  raises if nothing is loaded
        return self._session.sim.pathfinder

    def _open(self, place: HabitatScene, *, recompute: bool) -> None:
        self._scene = None
        self._session.open(place, self.camera, self.agent, recompute=recompute)

    def _drop_export(self) -> None:
        if self._exported is not None:
            self._exported.cleanup()
            self._exported = None

    def _find_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> Any:
        if not (self.is_navigable(start) and self.is_navigable(goal)):
            return None
        return self._session.find_path(self._on_mesh(start), self._on_mesh(goal))

    def _on_mesh(self, position: Any) -> list[float]:
        """The point of the navigation mesh that is nearest to a floor point."""
        return _plain(np.array(self._pathfinder.snap_point(_plain(np.asarray(position, np.float64)))))

    def _to_floor(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """The floor below a point of the navigation mesh, which floats 0.2 to 0.35 m above it."""
        return np.array([point[0], self._session.floor_below(point, FLOOR_REACH), point[2]])


def instance_table(semantic: Mapping[int, int], stage_id: int) -> NDArray[np.int32]:
    """Instance id by semantic id [N + 1]; the last entry, for ids that are not known, is 0.

    Args:
        semantic: our instance id by Habitat's semantic id.
        stage_id: our id of what has the semantic id 0.
    """
    table = np.zeros(max(semantic, default=0) + 2, np.int32)
    for key, value in semantic.items():
        table[key] = value
    if stage_id:
        table[0] = stage_id
    return table


def _plain(point: Any) -> list[float]:
    return [float(value) for value in point]


_sessions: dict[tuple[int, int], Session] = {}


def _session(gpu: int) -> Session:
    """This process's habitat-sim, started at the first use."""
    key = (os.getpid(), gpu)
    if key not in _sessions:
        _sessions[key] = Session(gpu)
        atexit.register(_sessions[key].close)
    return _sessions[key]


__all__ = ["HabitatSimulator", "SimulatorUnavailableError", "instance_table"]
