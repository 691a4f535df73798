"""An episode as a Rerun recording: views, depth, poses, ways and distance on one time line.

Invariant: rerun-sdk is imported only when a recording is made; without it there is none, and a word in the log.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vln_heatmap.reporting.navigation_frames import ARROWS
from vln_heatmap.simulation.scene import STRUCTURE

if TYPE_CHECKING:
    from vln_heatmap.nodes.navigation.videos import EpisodeFilm, Moment

logger = logging.getLogger(__name__)
_TOLD: set[str] = set()


def rerun_recording(film: EpisodeFilm, moments: Sequence[Moment], name: str) -> bytes | None:
    """The contents of a ``.rrd`` file; None if rerun-sdk is not installed.

    Args:
        film: scene, episode and camera.
        moments: in order.
        name: of the recording.
    """
    try:
        import rerun
    except ImportError as error:
        if "rerun" not in _TOLD:
            logger.warning("no Rerun recordings: %s (pip install rerun-sdk)", error)
            _TOLD.add("rerun")
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episode.rrd"
        stream = rerun.RecordingStream("vln_heatmap", recording_id=name)
        stream.save(path)
        _house(rerun, stream, film)
        for step, moment in enumerate(moments):
            _moment(rerun, stream, film, step, moment)
        stream.disconnect()
        return path.read_bytes()


def _house(rerun: Any, stream: Any, film: EpisodeFilm) -> None:
    """What does not change: things, the expert's way, goals and the instruction."""
    stream.log("world", rerun.ViewCoordinates.RIGHT_HAND_Y_UP, static=True)
    things = [thing for thing in film.scene.instances if thing.category not in STRUCTURE]
    low = np.array([thing.box_min for thing in things]).reshape(-1, 3)
    high = np.array([thing.box_max for thing in things]).reshape(-1, 3)
    boxes = rerun.Boxes3D(
        mins=low,
        sizes=high - low,
        labels=[f"{t.colour} {t.category}".strip() for t in things],
        show_labels=False,
    )
    stream.log("world/things", boxes, static=True)
    reference = rerun.LineStrips3D([film.episode.reference], colors=[(44, 150, 84)], radii=0.02)
    stream.log("world/reference", reference, static=True)
    goals = rerun.Points3D(np.array(film.episode.goals), colors=[(226, 133, 24)], radii=0.06)
    stream.log("world/goals", goals, static=True)
    stream.log("instruction", rerun.TextDocument(film.record.instruction), static=True)


def _moment(rerun: Any, stream: Any, film: EpisodeFilm, step: int, moment: Moment) -> None:
    stream.set_time("step", sequence=step)
    camera = film.sim.camera
    stream.log("world/camera", rerun.Transform3D(translation=moment.pose[:3, 3], mat3x3=moment.pose[:3, :3]))
    pinhole = rerun.Pinhole(
        focal_length=camera.focal,
        resolution=[camera.width, camera.height],
        camera_xyz=rerun.ViewCoordinates.RDF,
        image_plane_distance=0.3,
    )
    stream.log("world/camera", pinhole)
    stream.log("world/camera/rgb", rerun.Image(moment.view.rgb).compress(jpeg_quality=90))
    stream.log("world/camera/depth", rerun.DepthImage(moment.view.depth, meter=1.0))
    if moment.heat is not None:
        stream.log("heatmap", rerun.Image((moment.heat.clip(0, 1) * 255).astype(np.uint8)))
    path = rerun.LineStrips3D([moment.way.path], colors=[(36, 99, 196)], radii=0.02)
    stream.log("world/path", path)
    stream.log("distance", rerun.Scalars(moment.distance if np.isfinite(moment.distance) else -1.0))
    stream.log("action", rerun.TextLog("out of steps" if moment.action is None else ARROWS[moment.action]))
