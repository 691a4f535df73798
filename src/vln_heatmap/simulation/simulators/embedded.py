"""What the simulators that come with the package share: loading, checks and walking.

Invariant: a subclass only draws. Everything that concerns the floor is ``NavigationGrid``'s answer, so two
embedded simulators walk alike on the same scene.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.navigation import NavigationGrid
from vln_heatmap.simulation.scene import LightVolume, Scene
from vln_heatmap.simulation.simulators.base import AgentState, Observation, StepResult
from vln_heatmap.simulation.variants import check_motion, illuminated


class EmbeddedSimulator(ABC):
    """Base of the embedded simulators; implements ``Simulator`` but for the drawing.

    Args:
        camera: image size and field of view of every rendered frame.
        agent: body and step sizes; they decide where one can stand and how far an action goes.
    """

    name: str
    version: str

    def __init__(self, camera: PinholeCamera, *, agent: AgentParams) -> None:
        self.camera = camera
        self.agent = agent
        self._scene: Scene | None = None
        self._navigation: NavigationGrid | None = None

    @property
    def scene(self) -> Scene:
        """The loaded scene.

        Raises:
            RuntimeError: nothing is loaded.
        """
        if self._scene is None:
            raise RuntimeError(f"simulator {self.name!r} has no scene: call load(scene) first")
        return self._scene

    @property
    def navigation(self) -> NavigationGrid:
        """Walkable floor of the loaded scene, built at the first use.

        Raises:
            NoNavigableFloorError: the scene has none.
        """
        if self._navigation is None:
            self._navigation = NavigationGrid.from_scene(self.scene, self.agent)
        return self._navigation

    def load(self, scene: Scene) -> None:
        """Replace the current scene and free what it held.

        Raises:
            ValueError: no triangles, a vertex that is not finite, or a face that points at a vertex or texture
                that is not there.
        """
        _check_scene(scene)
        self._release_scene()
        self._scene, self._navigation = None, None
        self._upload(scene)
        self._scene = scene

    def move(self, motions: Mapping[int, NDArray[np.float64]]) -> None:
        """Put instances where rigid transforms [4, 4] take them from rest; all others go back to rest.

        Raises:
            ValueError: the scene has no such instance, or a transform is not rigid.
        """
        checked = {i: check_motion(self.scene, i, motion) for i, motion in motions.items()}
        self._place({i: matrix for i, matrix in checked.items() if not np.array_equal(matrix, np.eye(4))})

    def illuminate(self, weights: Mapping[str, float]) -> None:
        """Scale the scene's light sources; those that are not named shine with 1.

        Raises:
            ValueError: the scene has no such source, or a weight is negative.
        """
        self._relight(illuminated(self.scene, weights).light)

    def render(self, camera_to_world: NDArray[np.float64]) -> Observation:
        """Render the view of a camera pose [4, 4] (OpenCV camera, world +Y up); depth is z-depth in metres.

        Raises:
            RuntimeError: no scene is loaded.
            ValueError: the pose is not a finite 4 x 4 matrix.
        """
        pose = np.asarray(camera_to_world, dtype=np.float64)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise ValueError(f"camera_to_world must be a finite 4x4 matrix, got shape {pose.shape}: {pose}")
        return self._draw(self.scene, pose)

    def random_navigable_point(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A uniformly drawn floor point [3] where the agent can stand, world metres."""
        return self.navigation.random_point(rng)

    def is_navigable(self, position: NDArray[np.float64]) -> bool:
        """Whether the agent can stand at floor point [3]."""
        return self.navigation.is_navigable(position)

    def clearance(self, position: NDArray[np.float64]) -> float:
        """Metres from floor point [3] to the nearest obstacle or end of the floor; 0 where the agent cannot
        stand."""
        return self.navigation.clearance(position)

    def navigable_points(self, spacing: float) -> NDArray[np.float64]:
        """A regular sample [N, 3] of where the agent can stand: a floor point for each ``spacing`` x ``spacing``
        metres of every storey."""
        return self.navigation.sample(spacing)

    def geodesic_distance(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> float:
        """Length in metres of the shortest walkable path; ``math.inf`` if there is none."""
        return self.navigation.geodesic_distance(start, goal)

    def shortest_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Way points [N, 3] of the shortest walkable path, both ends included; N = 0 if there is none."""
        return self.navigation.shortest_path(start, goal)

    def roomy_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points [N, 3] of a walkable path that keeps away from obstacles where there is room; N = 0 if there is
        none."""
        return self.navigation.roomy_path(start, goal)

    def step(self, state: AgentState, action: int) -> StepResult:
        """Apply STOP, FORWARD, TURN_LEFT or TURN_RIGHT with the step sizes of ``agent``."""
        return self.navigation.step(state, action)

    def close(self) -> None:
        """Free the scene and the renderer; the simulator cannot be used afterwards."""
        self._release_scene()
        self._scene, self._navigation = None, None

    @abstractmethod
    def _upload(self, scene: Scene) -> None:
        """Prepare ``scene`` for drawing, at rest and in its own light."""

    @abstractmethod
    def _place(self, motions: Mapping[int, NDArray[np.float64]]) -> None:
        """Draw these instances where checked motions [4, 4] take them, none of them the identity, and all others
        at rest."""

    @abstractmethod
    def _relight(self, light: LightVolume | None) -> None:
        """Draw in this light, of the same size as the scene's own (None if that has none)."""

    @abstractmethod
    def _release_scene(self) -> None:
        """Free what ``_upload`` made; harmless if there is nothing."""

    @abstractmethod
    def _draw(self, scene: Scene, pose: NDArray[np.float64]) -> Observation:
        """Render a checked pose [4, 4]."""


def _check_scene(scene: Scene) -> None:
    if len(scene.faces) == 0:
        raise ValueError(f"scene {scene.name!r} has no triangles")
    if not np.isfinite(scene.vertices).all():
        raise ValueError(f"scene {scene.name!r}: vertices must be finite numbers")
    for label, index, count in (
        ("vertex", scene.faces, len(scene.vertices)),
        ("texture", scene.face_texture, len(scene.textures)),
    ):
        if index.min() < 0 or index.max() >= count:
            raise ValueError(
                f"scene {scene.name!r}: {label} indices must be in [0, {count}), "
                f"got {index.min()} to {index.max()}"
            )
