"""The one habitat-sim simulator of a process, and all that differs between its versions.

Invariant: nothing outside this module and ``habitat_scenes`` calls habitat-sim. Environment variables that
its OpenGL needs are set before it is imported, and only if the user has not set them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.habitat_dataset import HabitatScene
from vln_heatmap.simulation.simulators.base import SimulatorUnavailableError

_SOFTWARE = {"EGL_PLATFORM": "surfaceless", "LIBGL_ALWAYS_SOFTWARE": "1"}
_QUIET = {"MAGNUM_LOG": "quiet", "HABITAT_SIM_LOG": "quiet", "GLOG_minloglevel": "2"}
_TO_OPENGL = np.diag([1.0, -1.0, -1.0])  # camera axes: OpenCV (y down, z forward) from OpenGL (y up, z back)
SENSORS = ("rgb", "depth", "semantic")
STEP_HEIGHT = 0.2  # metres that the agent climbs
CELL_HEIGHT = 0.05  # metres, of the navigation mesh


def rotation_coefficients(pose: NDArray[np.float64]) -> list[float]:
    """Quaternion (x, y, z, w) of a Habitat camera that looks as our camera_to_world pose [4, 4] does."""
    return Rotation.from_matrix(pose[:3, :3] @ _TO_OPENGL).as_quat().tolist()


def import_habitat(gpu: int) -> Any:
    """habitat-sim, with the environment that it needs.

    Raises:
        SimulatorUnavailableError: it is not installed, or its OpenGL cannot be loaded.
    """
    for name, value in {**_QUIET, **(_SOFTWARE if gpu < 0 else {})}.items():
        os.environ.setdefault(name, value)
    try:
        import habitat_sim
    except ImportError as error:
        raise SimulatorUnavailableError(
            f"habitat needs habitat-sim, which comes from conda: `conda install habitat-sim withbullet headless "
            f"-c conda-forge -c aihabitat` ({error})"
        ) from error
    return habitat_sim


class Session:
    """A habitat-sim simulator that is started with its first scene and reconfigured for the next ones.

    Args:
        gpu: CUDA device, -1 for software OpenGL. A device that is not there ends the process: Habitat aborts.
    """

    def __init__(self, gpu: int) -> None:
        self.habitat = import_habitat(gpu)
        self.version = str(getattr(self.habitat, "__version__", "unknown"))
        self.gpu = gpu
        self._sim: Any = None
        self._rest: dict[int, tuple[Any, NDArray[np.float64]]] = {}  # by semantic id
        self._moved: set[int] = set()

    @property
    def sim(self) -> Any:
        """The running simulator.

        Raises:
            RuntimeError: no scene is open.
        """
        if self._sim is None:
            raise RuntimeError("no scene is open in habitat-sim")
        return self._sim

    def open(
        self, place: HabitatScene, camera: PinholeCamera, agent: AgentParams, *, recompute: bool
    ) -> None:
        """Show another scene.

        Args:
            place: data set and scene.
            camera, agent: of all sensors and the navigation mesh.
            recompute: make a navigation mesh of the agent even if the scene has one.

        Raises:
            ValueError: habitat-sim cannot open the scene.
        """
        config = self._configuration(place, camera, agent)
        try:
            if self._sim is None:
                self._sim = self.habitat.Simulator(config)
            else:
                self._sim.reconfigure(config)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"habitat-sim cannot open {place.scene!r} of {place.dataset}: {error}"
            ) from error
        if recompute or not self._sim.pathfinder.is_loaded:
            self._make_navmesh(agent)
        self._rest = {int(body.semantic_id): (body, get_transform(body)) for body in self._objects()}
        self._moved = set()

    def look(self, position: NDArray[np.float64], rotation: list[float]) -> dict[str, Any]:
        """Observations of all sensors, which sit at the agent's origin."""
        state = self.habitat.AgentState(np.array(position, np.float32), list(rotation))
        self.sim.get_agent(0).set_state(state)
        return self.sim.get_sensor_observations()

    def place(self, motions: Mapping[int, NDArray[np.float64]]) -> None:
        """Move objects by semantic id with world transforms [4, 4] from rest, all others to rest."""
        if missing := sorted(set(motions) - set(self._rest)):
            raise ValueError(f"instance {missing[0]} is part of the stage, which cannot be moved")
        for key in set(motions) | self._moved:
            body, rest = self._rest[key]
            body.motion_type = self.habitat.physics.MotionType.KINEMATIC
            set_transform(body, np.asarray(motions[key], np.float64) @ rest if key in motions else rest)
        self._moved = set(motions)

    def find_path(self, start: list[float], goal: list[float]) -> Any:
        """A found ``ShortestPath`` between points of the navigation mesh, or None."""
        path = self.habitat.ShortestPath()
        path.requested_start, path.requested_end = np.array(start, np.float32), np.array(goal, np.float32)
        found = self.sim.pathfinder.find_path(path)
        return path if found and np.isfinite(path.geodesic_distance) else None

    def follow(
        self, start: list[float], yaw: float, goal: list[float], radius: float
    ) -> list[str | None] | None:
        """Action keys of the greedy geodesic follower, None last; None if it finds no way."""
        rotation = [0.0, float(np.sin(yaw / 2)), 0.0, float(np.cos(yaw / 2))]
        agent = self.sim.get_agent(0)
        agent.set_state(self.habitat.AgentState(np.array(start, np.float32), rotation))
        follower = self.habitat.GreedyGeodesicFollower(self.sim.pathfinder, agent, goal_radius=radius)
        try:
            return list(follower.find_path(np.array(goal, np.float32)))
        except self.habitat.errors.GreedyFollowerError:
            return None

    def floor_below(self, point: NDArray[np.float64], reach: float) -> float:
        """Height of what lies under a point, at most ``reach`` metres; the point's own if nothing is hit."""
        try:
            ray = self.habitat.geo.Ray(
                np.array(point + [0, 0.05, 0], np.float32), np.array([0, -1, 0], np.float32)
            )
            hits = self.sim.cast_ray(ray, max_distance=reach)
        except (AttributeError, RuntimeError):  # built without Bullet
            return float(point[1])
        return float(np.array(hits.hits[0].point)[1]) if hits.has_hits() else float(point[1])

    def close(self) -> None:
        """End habitat-sim."""
        if self._sim is not None:
            self._sim.close()
            self._sim = None

    def _objects(self) -> list[Any]:
        manager = self.sim.get_rigid_object_manager()
        return list(manager.get_objects_by_handle_substring("").values())

    def _configuration(self, place: HabitatScene, camera: PinholeCamera, agent: AgentParams) -> Any:
        hs = self.habitat
        backend = hs.SimulatorConfiguration()
        backend.scene_dataset_config_file = str(place.dataset)
        backend.scene_id = place.scene
        backend.gpu_device_id = self.gpu
        backend.enable_physics = bool(getattr(hs, "built_with_bullet", True))
        backend.load_semantic_mesh = True
        backend.allow_sliding = agent.sliding
        backend.random_seed = 0
        steps = {
            "move_forward": agent.forward_step,
            "turn_left": agent.turn_angle,
            "turn_right": agent.turn_angle,
        }
        actions = {
            name: hs.agent.ActionSpec(name, hs.agent.ActuationSpec(amount=amount))
            for name, amount in steps.items()
        }
        body = hs.agent.AgentConfiguration(
            height=agent.height,
            radius=agent.radius,
            sensor_specifications=[self._sensor(name, camera) for name in SENSORS],
            action_space=actions,
        )
        return hs.Configuration(backend, [body])

    def _sensor(self, name: str, camera: PinholeCamera) -> Any:
        kinds = self.habitat.SensorType
        spec = self.habitat.CameraSensorSpec()
        spec.uuid = name
        spec.sensor_type = {"rgb": kinds.COLOR, "depth": kinds.DEPTH, "semantic": kinds.SEMANTIC}[name]
        spec.resolution = [camera.height, camera.width]
        spec.hfov = camera.hfov
        spec.position = [0.0, 0.0, 0.0]
        spec.orientation = [0.0, 0.0, 0.0]
        return spec

    def _make_navmesh(self, agent: AgentParams) -> None:
        settings = self.habitat.NavMeshSettings()
        settings.set_defaults()
        settings.agent_radius, settings.agent_height = agent.radius, agent.height
        settings.cell_size, settings.cell_height = agent.cell, CELL_HEIGHT
        settings.agent_max_climb = STEP_HEIGHT
        recompute_navmesh(self.sim, settings)


def get_transform(body: Any) -> NDArray[np.float64]:
    """World transform [4, 4] of a rigid object."""
    matrix = np.eye(4)
    quaternion = [*map(float, body.rotation.vector), float(body.rotation.scalar)]  # x, y, z, w
    matrix[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    matrix[:3, 3] = [float(value) for value in body.translation]
    return matrix


def set_transform(body: Any, matrix: NDArray[np.float64]) -> None:
    """Put a rigid object at a world transform [4, 4]."""
    import magnum

    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat().tolist()
    body.translation = magnum.Vector3(*matrix[:3, 3].tolist())
    body.rotation = magnum.Quaternion(magnum.Vector3(x, y, z), w)


def recompute_navmesh(sim: Any, settings: Any) -> None:
    """Make the navigation mesh with static objects in it: an argument up to 0.2.4, a setting from 0.2.5 on.

    Raises:
        ValueError: no navigation mesh can be made.
    """
    if hasattr(settings, "include_static_objects"):
        settings.include_static_objects = True
        made = sim.recompute_navmesh(sim.pathfinder, settings)
    else:
        made = sim.recompute_navmesh(sim.pathfinder, settings, include_static_objects=True)
    if not made:
        raise ValueError("habitat-sim could make no navigation mesh of this scene")
