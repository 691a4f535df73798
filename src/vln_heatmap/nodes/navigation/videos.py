"""Films of episodes that were walked, to be looked at: MP4 videos and Rerun recordings.

Invariant: a film shows what was recorded. Views are rendered anew from the recorded states, so that a film can
be made of any finished episode, whoever walked it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.video import encode_rgb
from vln_heatmap.nodes.metrics.navigation import goal_distance
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, read_episode_table
from vln_heatmap.nodes.navigation.recording import rerun_recording
from vln_heatmap.nodes.navigation.scenes import OpenScenes
from vln_heatmap.nodes.navigation.worlds import EpisodeRecord, state_pose
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.reporting.floor_plans import FloorPlan, Way
from vln_heatmap.reporting.navigation_frames import navigation_frame, status_line
from vln_heatmap.reporting.overlays import overlay_heatmap
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import AgentState, Observation, Simulator
from vln_heatmap.simulation.trajectories.walks import as_point

logger = logging.getLogger(__name__)

Records = Mapping[str, Sequence[EpisodeRecord]]
#: Draws the heatmaps of an episode: given the instruction, what draws [h, w] in [0, 1] of each view in turn.
Heat = Callable[[str], Callable[[NDArray[np.uint8]], NDArray[np.floating]]]
_SPACING = 0.1  # metres between the floor points of a plan


@dataclass(frozen=True)
class Moment:
    """One step of a film.

    Attributes:
        view: what the camera sees.
        heat: [h, w] in [0, 1]; None without a model.
        pose: camera_to_world [4, 4].
        way: up to here.
        action: taken here; None at the end of an episode that was cut.
        distance: walkable metres to the nearest goal.
    """

    view: Observation
    heat: NDArray[np.floating] | None
    pose: NDArray[np.float64]
    way: Way
    action: int | None
    distance: float


def film_navigation(
    episodes: pd.DataFrame,
    params: NavigationParams,
    baseline_records: Records,
    model_records: Records | None = None,
    heat: Heat | None = None,
) -> dict[str, bytes]:
    """Videos, and recordings if rerun-sdk is there, of some episodes.

    Args:
        episodes: from ``plan_episodes``.
        params: ``videos`` says of which policies and how many.
        baseline_records, model_records: by policy.
        heat: draws heatmaps; None = films without them.

    Returns:
        Contents by file name, ``<policy>_<episode>.mp4`` and ``.rrd``.
    """
    wanted, files = params.videos, dict[str, bytes]()
    records = {**baseline_records, **(model_records or {})}
    by_id = {episode.id: episode for episode in read_episode_table(episodes)}
    names = [name for name in wanted.policies if name in records]
    chosen = [(name, record) for name in names for record in showcase(records[name], wanted.episodes)]
    scenes = OpenScenes(params, params.episodes.house)
    try:
        for name, record in sorted(chosen, key=lambda item: item[1].scene):
            sim, scene = scenes.get(by_id[record.id].scene)
            film = EpisodeFilm(sim, scene, by_id[record.id], record, params, heat)
            files |= film.files(f"{name}_{record.id}")
    finally:
        scenes.close()
    return files


def showcase(records: Sequence[EpisodeRecord], count: int) -> list[EpisodeRecord]:
    """Episodes to show: successes and failures in turn, from different scenes as far as there are some."""
    families = [[r for r in records if (r.measures.sr > 0) == good] for good in (True, False)]
    chosen: list[EpisodeRecord] = []
    while len(chosen) < count and any(families):
        family = families[len(chosen) % 2] or families[(len(chosen) + 1) % 2]
        shown = [record.scene for record in chosen]
        best = min(family, key=lambda record: shown.count(record.scene))
        family.remove(best)
        chosen.append(best)
    return chosen


class EpisodeFilm:
    """The film of one episode.

    Args:
        sim: with the scene.
        scene: where it was walked.
        episode, record: what was to be done, and what was.
        params: camera and agent of the closed loop, looks of the video.
        heat: draws heatmaps; None = none are shown.
    """

    def __init__(
        self,
        sim: Simulator,
        scene: Scene,
        episode: NavigationEpisode,
        record: EpisodeRecord,
        params: NavigationParams,
        heat: Heat | None = None,
    ) -> None:
        self.sim, self.episode, self.record, self.params, self.heat = sim, episode, record, params, heat
        self.scene, size = scene, params.videos.size
        floor = sim.navigable_points(_SPACING)
        self.plan = FloorPlan(scene, floor, spacing=_SPACING, size=size, target=episode.target)

    def files(self, name: str) -> dict[str, bytes]:
        """The video, and the recording if it is wanted and possible, by file name."""
        moments, wanted = list(self.moments()), self.params.videos
        frames = np.stack([self.frame(step, moment) for step, moment in enumerate(moments)])
        frames = np.concatenate(
            [frames, frames[-1:].repeat(max(1, round(wanted.fps)), 0)]
        )  # time to read the end
        files = {f"{name}.mp4": encode_rgb(frames, fps=wanted.fps, crf=wanted.crf)}
        recording = rerun_recording(self, moments, name) if wanted.rerun else None
        return files | ({f"{name}.rrd": recording} if recording is not None else {})

    def moments(self) -> Iterator[Moment]:
        """Every state of the episode in turn, the last one where it ended."""
        draw = self.heat(self.record.instruction) if self.heat else None
        states = [AgentState(as_point(state[:3]), float(state[3])) for state in self.record.states]
        if self.record.stopped:
            states = states[:-1]  # it stood there already when it said STOP
        path = np.array([state.position for state in states])
        goals, bumps = np.array(self.episode.goals), np.array(self.record.collided, bool)
        for step, state in enumerate(states):
            pose = state_pose(state, self.params.agent.camera_height)
            view = self.sim.render(pose)
            bumped = path[: step + 1][np.resize(bumps[: step + 1], step + 1)] if len(bumps) else path[:0]
            yield Moment(
                view=view,
                heat=None if draw is None else draw(view.rgb),
                pose=pose,
                way=Way(
                    self.episode.reference,
                    path[: step + 1],
                    state.yaw,
                    goals,
                    bumped,
                    self.params.camera.hfov,
                ),
                action=self.record.actions[step] if step < len(self.record.actions) else None,
                distance=goal_distance(path[step], goals, self.sim.geodesic_distance),
            )

    def frame(self, step: int, moment: Moment) -> NDArray[np.uint8]:
        """One picture of the video [H, W, 3]."""
        view = moment.view.rgb
        heat = [] if moment.heat is None else [overlay_heatmap(view, moment.heat)]
        last = step == len(self.record.states) - 1 - self.record.stopped
        status = status_line(step, moment.action, moment.distance, self.outcome if last else "")
        return navigation_frame(
            [view, *heat, self.plan.draw(moment.way)],
            height=self.params.videos.size,
            instruction=self.record.instruction,
            status=status,
        )

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        if self.record.measures.sr:
            return "arrived"
        return "stopped in the wrong place" if self.record.stopped else "out of steps"


def predicted_heat(predictor: Any, *, max_frames: int = 32) -> Heat:
    """Heatmaps of a ``HeatmapPredictor``: the strongest of all keyframes at each pixel.

    Args:
        predictor: of the finetuned model.
        max_frames: remembered views.
    """

    def begin(instruction: str) -> Callable[[NDArray[np.uint8]], NDArray[np.floating]]:
        stream = predictor.stream(max_frames=max_frames)

        def draw(rgb: NDArray[np.uint8]) -> NDArray[np.floating]:
            stream.add(rgb)
            if len(stream) < 2:  # nothing to remember yet
                return np.zeros(rgb.shape[:2], np.float32)
            return stream.predict(instruction).heatmaps.max(0)

        return draw

    return begin
