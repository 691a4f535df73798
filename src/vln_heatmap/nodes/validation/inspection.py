"""Facts about a recorded sequence, as plain numbers that limits can be set on.

Invariant: inspecting judges nothing. It turns lists, images and poses into one flat row a frame and one row a
sequence; what is acceptable stands in the parameters alone. A fact that was not looked at is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.nodes.quality import QualityController
from vln_heatmap.nodes.quality.annotation import visible_error
from vln_heatmap.nodes.quality.controller import SCORES, QualityReport
from vln_heatmap.nodes.quality.footage import Footage, look_at
from vln_heatmap.nodes.quality.geometric import rotation_angles
from vln_heatmap.nodes.quality.reprojection import Agreement
from vln_heatmap.nodes.quality.smoothness import change
from vln_heatmap.params import QualityParams, ValidateParams

#: Columns of the frame table that are copied from the store.
STORED = ("frame_index", "timestamp", "action", "collided", "is_first", "is_last", "is_terminal")
#: Columns of the quality controller's scores.
QUALITY = ("quality", *(f"quality_{name}" for name in SCORES))


@dataclass(frozen=True)
class Inspection:
    """What was found in one sequence.

    Attributes:
        id: the sequence.
        frames: one row a frame, flat columns only; empty if the sequence cannot be read.
        scores: what describes the sequence as a whole; empty likewise.
        error: why it cannot be read, "" if it can.
    """

    id: str
    frames: pd.DataFrame = field(default_factory=pd.DataFrame)
    scores: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def inspect_sequence(stored: Any, params: ValidateParams) -> Inspection:
    """Inspect a ``StoredSequence``; one that cannot be read gives an ``error`` instead of raising.

    Content that is not what its columns promise (a pose of 15 numbers, metadata without a camera) counts as
    unreadable too, hence the wide net.
    """
    if absent := sorted(getattr(stored, "absent", ())):
        reason = f"it was imported without {', '.join(absent)}: no heatmap can be made of it"
        return Inspection(stored.id, error=reason)
    try:
        controller = QualityController(params.quality)
        footage = look_at(stored, params.quality)
        agreed = controller.agreement(footage)
        frames = frame_facts(footage.table, footage.metadata)
        frames = frames.join(image_facts(footage, agreed, params.quality))
        scores = sequence_facts(frames, footage.metadata)
        scores |= quality_facts(controller.assess_footage(footage, agreed))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        name = "" if type(error).__name__ == "CorruptSequenceError" else f"{type(error).__name__}: "
        return Inspection(stored.id, error=f"{name}{error}")
    frames.insert(0, "sequence_id", stored.id)
    return Inspection(stored.id, frames, scores)


def frame_facts(frames: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
    """Facts that need no image.

    Args:
        frames: the stored frame table of T rows.
        metadata: of its sequence.

    Returns:
        T rows: the ``STORED`` columns and time_step (s since the frame before), index_error (frame_index
        minus row), flag_error (0/1: first, last or terminal flag on the wrong row), rotation_error (see
        there), step (m) and turn (degrees) to the next frame, state_error (pose against state) and
        velocity_error (next state against velocity; m, rad), visible (number of ids), unknown_ids (ids that
        no object of the metadata has).
    """
    poses = np.stack(frames["camera_to_world"].to_list()).astype(np.float64).reshape(-1, 4, 4)  # [T, 4, 4]
    states = np.stack(frames["state"].to_list()).astype(np.float64)  # [T, 6]
    velocities = np.stack(frames["velocity"].to_list()).astype(np.float64)  # [T, 5]
    rows = np.arange(len(frames))
    last = rows == len(frames) - 1
    known = {int(item["id"]) for item in metadata["objects"]}
    flags_right = (
        (frames["is_first"] == (rows == 0)) & (frames["is_last"] == last) & (~frames["is_terminal"] | last)
    )
    facts = {
        "time_step": frames["timestamp"].diff(),
        "index_error": frames["frame_index"] - rows,
        "flag_error": (~flags_right).astype(np.int64),
        "rotation_error": rotation_error(poses),
        "step": _until_next(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1)),
        "turn": _until_next(rotation_angles(poses[:-1], poses[1:])),
        "state_error": state_error(poses, states),
        "velocity_error": _until_next(velocity_error(states, velocities)),
        "visible": frames["visible_ids"].map(len),
        "unknown_ids": frames["visible_ids"].map(lambda ids: len({int(i) for i in ids} - known)),
    }
    return pd.DataFrame({**{name: frames[name] for name in STORED}, **facts}).reset_index(drop=True)


def image_facts(footage: Footage, agreed: Agreement, params: QualityParams) -> pd.DataFrame:
    """Facts from the images that were looked at; NaN for all other frames.

    Returns:
        Rows of these frames: brightness and contrast (mean and standard deviation of grey levels, 0 to 255),
        depth_valid (share of pixels with depth), visible_error (share of pixels on which the image and the
        ``visible_pixels`` column disagree); and for the first frame of each pair of neighbours
        reprojection_error, reprojection_inliers and shift (see ``Agreement``), change (mean difference to the
        next image over its contrast, where it must differ) and frozen (0/1: none to speak of).
    """
    grey, table = footage.grey, footage.table.iloc[footage.frames]
    rows = zip(footage.instance, table["visible_ids"], table["visible_pixels"], strict=True)
    facts = pd.DataFrame(
        {
            "brightness": grey.mean(axis=(1, 2)),
            "contrast": grey.std(axis=(1, 2)),
            "depth_valid": (footage.depth > 0).mean(axis=(1, 2)),
            "visible_error": [visible_error(*row) for row in rows],
        },
        index=footage.frames,
    )
    changes = change(footage, agreed, params)  # [P]
    pairs = pd.DataFrame(
        {
            "reprojection_error": agreed.error,
            "reprojection_inliers": agreed.inliers,
            "shift": agreed.shift,
            "change": changes,
            "frozen": (changes < params.change[0]).astype(float),
        },
        index=footage.frames[footage.pairs],
    )
    return facts.join(pairs)


def quality_facts(report: QualityReport) -> dict[str, Any]:
    """The quality controller's scores, whether they pass (0/1), and its recommendation."""
    values = (report.overall, *(getattr(report, name) for name in SCORES))
    scores = dict(zip(QUALITY, values, strict=True))
    return {**scores, "quality_passed": float(report.passed), "recommendation": report.recommendation}


def sequence_facts(frames: pd.DataFrame, metadata: dict[str, Any]) -> dict[str, Any]:
    """One row about the whole sequence: medians of looks, the worst agreement, sums of what is counted."""
    camera, scenario = metadata["camera"], metadata.get("scenario") or {}
    typical = frames[["brightness", "contrast", "depth_valid"]].median()
    counts = frames[["frozen", "unknown_ids", "collided"]].sum()
    return {
        "length": len(frames),
        "width": camera["width"],
        "height": camera["height"],
        "hfov": float(camera["hfov"]),
        "instructions": len(metadata["instructions"]),
        "objects": len(metadata["objects"]),
        "scenario_holds": float(scenario["holds"]) if "holds" in scenario else np.nan,
        "path_metres": float(frames["step"].sum()),
        **{name: float(value) for name, value in typical.items()},
        "reprojection_error": float(frames["reprojection_error"].max()),
        "reprojection_inliers": float(frames["reprojection_inliers"].min()),
        **{str(name): float(value) for name, value in counts.items()},
    }


def rotation_error(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far poses [T, 4, 4] are from rigid motions [T]: largest entry of |RᵀR - I|, plus 2 for a mirror
    image, plus what the last row lacks to (0, 0, 0, 1)."""
    rotation = poses[:, :3, :3]
    with np.errstate(invalid="ignore", over="ignore"):
        skew = np.abs(np.swapaxes(rotation, 1, 2) @ rotation - np.eye(3)).max(axis=(1, 2))  # [T]
        mirrored = np.where(np.linalg.det(rotation) < 0, 2.0, 0.0)  # [T]
        return skew + mirrored + np.abs(poses[:, 3] - [0, 0, 0, 1]).max(axis=-1)


def state_error(poses: NDArray[np.float64], states: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest difference [T] between camera poses [T, 4, 4] and the agent's states [T, 6] (floor point x, y, z,
    yaw, pitch, camera height above the floor point)."""
    expected = [look_pose((x, y + height, z), yaw, pitch) for x, y, z, yaw, pitch, height in states]
    with np.errstate(invalid="ignore"):
        return np.abs(poses - np.stack(expected)).max(axis=(1, 2))


def velocity_error(states: NDArray[np.float64], velocities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest difference [T - 1] between states [T, 6] and where velocities [T, 5] lead from the one before.

    Velocity is the camera's motion forward, left and up in metres in the agent's frame (yaw 0 looks along -Z),
    and the change of yaw and pitch.
    """
    yaw, (forward, left, up, turn, tilt) = states[:-1, 3], velocities[:-1].T
    x = -np.sin(yaw) * forward - np.cos(yaw) * left  # [T-1]
    z = -np.cos(yaw) * forward + np.sin(yaw) * left  # [T-1]
    motion = np.diff(states, axis=0)  # [T-1, 6]
    with np.errstate(invalid="ignore"):
        rotation = np.abs(np.angle(np.exp(1j * (motion[:, 3] - turn))))  # [T-1]
        rise = motion[:, 1] + motion[:, 5] - up  # [T-1]
        moves = [motion[:, 0] - x, motion[:, 2] - z, rise, motion[:, 4] - tilt, rotation]
        return np.abs(moves).max(axis=0)


def _until_next(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Facts about T - 1 steps as a column of T rows: the last frame has no next one."""
    return np.append(values, np.nan)
