"""Facts about a recorded sequence, as plain numbers that limits can be set on.

Invariant: inspecting judges nothing. It turns lists, images and poses into one flat row a frame and one row a
sequence; what is acceptable stands in the parameters alone. A fact that was not looked at is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.geometry.projection import project, relative_pose, transform, unproject
from vln_heatmap.params import ValidateParams

#: Columns of the frame table that are copied from the store.
STORED = ("frame_index", "timestamp", "action", "collided", "is_first", "is_last", "is_terminal")
#: Facts about a frame and the next one.
PAIR_FACTS = ("reprojection_error", "reprojection_inliers", "change", "frozen")
#: Fewest points that two frames must share before their depth is compared.
MIN_POINTS = 32


@dataclass(frozen=True)
class Inspection:
    """What was found in one sequence.

    Attributes:
        id: the sequence.
        frames: one row a frame, flat columns only; empty if the sequence cannot be read.
        scores: numbers that describe the sequence as a whole; empty likewise.
        error: why it cannot be read, "" if it can.
    """

    id: str
    frames: pd.DataFrame = field(default_factory=pd.DataFrame)
    scores: dict[str, float] = field(default_factory=dict)
    error: str = ""


def inspect_sequence(stored: Any, params: ValidateParams) -> Inspection:
    """Inspect a ``StoredSequence``; one that cannot be read gives an ``error`` instead of raising.

    Content that is not what its columns promise (a pose of 15 numbers, metadata without a camera) counts as
    unreadable too, hence the wide net.
    """
    try:
        if absent := sorted(stored.metadata.get("absent", ())):
            return Inspection(
                stored.id, error=f"it was imported without {', '.join(absent)}: no heatmap can be made of it"
            )
        frames = frame_facts(stored.frames, stored.metadata)
        facts = image_facts(stored, frames, params)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        name = "" if type(error).__name__ == "CorruptSequenceError" else f"{type(error).__name__}: "
        return Inspection(stored.id, error=f"{name}{error}")
    frames = frames.join(facts)
    frames.insert(0, "sequence_id", stored.id)
    return Inspection(stored.id, frames, sequence_facts(frames, stored.metadata))


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


def image_facts(stored: Any, frames: pd.DataFrame, params: ValidateParams) -> pd.DataFrame:
    """Facts from the images of evenly spread pairs of consecutive frames; NaN for all other frames.

    Returns:
        Rows of the checked frames: brightness and contrast (mean and standard deviation of grey levels, 0 to
        255), depth_valid (share of pixels with depth), visible_error (share of pixels on which the image and
        the ``visible_pixels`` column disagree); and for the first frame of each pair reprojection_error,
        reprojection_inliers (see ``reprojection``), change (mean difference to the next image, grey levels)
        and frozen (0/1: no change although the camera moved).
    """
    firsts = pair_starts(len(frames), params.pairs)
    checked = np.union1d(firsts, firsts + 1)  # [N]
    checked = checked[checked < len(frames)]
    grey = stored.rgb(checked).astype(np.float32).mean(axis=-1)  # [N, H, W]
    depth, instance = stored.depth(checked), stored.instance(checked)  # [N, H, W] each
    table = stored.frames.iloc[checked]
    facts = pd.DataFrame(
        {
            "brightness": grey.mean(axis=(1, 2)),
            "contrast": grey.std(axis=(1, 2)),
            "depth_valid": (depth > 0).mean(axis=(1, 2)),
            "visible_error": [
                visible_error(*row)
                for row in zip(instance, table["visible_ids"], table["visible_pixels"], strict=True)
            ],
        },
        index=checked,
    )
    moved = (frames["step"] >= params.moved_metres) | (frames["turn"] >= params.moved_degrees)
    poses, camera, compared = stored.poses, stored.camera, {}
    for first in firsts[firsts + 1 < len(frames)]:
        a, b = np.searchsorted(checked, [first, first + 1])
        agreement = reprojection(depth[[a, b]], poses[first : first + 2], camera, params=params)
        change = float(np.abs(grey[b] - grey[a]).mean())
        compared[first] = (*agreement, change, float(change < params.frozen_change and moved[first]))
    pairs = pd.DataFrame.from_dict(compared, orient="index", columns=list(PAIR_FACTS), dtype=float)
    return facts.join(pairs)


def sequence_facts(frames: pd.DataFrame, metadata: dict[str, Any]) -> dict[str, float]:
    """One row about the whole sequence: medians of looks, the worst agreement, sums of what is counted."""
    camera = metadata["camera"]
    typical = frames[["brightness", "contrast", "depth_valid"]].median()
    counts = frames[["frozen", "unknown_ids", "collided"]].sum()
    return {
        "length": len(frames),
        "width": camera["width"],
        "height": camera["height"],
        "hfov": float(camera["hfov"]),
        "instructions": len(metadata["instructions"]),
        "objects": len(metadata["objects"]),
        "path_metres": float(frames["step"].sum()),
        **{name: float(value) for name, value in typical.items()},
        "reprojection_error": float(frames["reprojection_error"].max()),
        "reprojection_inliers": float(frames["reprojection_inliers"].min()),
        **{str(name): float(value) for name, value in counts.items()},
    }


def pair_starts(length: int, pairs: int) -> NDArray[np.int64]:
    """First frames of at most ``pairs`` evenly spread pairs of neighbours; [0] for a single frame."""
    if length < 2:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 2, min(pairs, length - 1)).round().astype(np.int64))


def rotation_error(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far poses [T, 4, 4] are from rigid motions [T]: largest entry of |RᵀR - I|, plus 2 for a mirror
    image, plus what the last row lacks to (0, 0, 0, 1)."""
    rotation = poses[:, :3, :3]
    with np.errstate(invalid="ignore", over="ignore"):
        skew = np.abs(np.swapaxes(rotation, 1, 2) @ rotation - np.eye(3)).max(axis=(1, 2))  # [T]
        mirrored = np.where(np.linalg.det(rotation) < 0, 2.0, 0.0)  # [T]
        return skew + mirrored + np.abs(poses[:, 3] - [0, 0, 0, 1]).max(axis=-1)


def rotation_angles(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle in degrees [N] by which camera_to_world poses [N, 4, 4] turn into others, in [0, 180]."""
    with np.errstate(invalid="ignore", over="ignore"):
        trace = np.einsum("nij,nij->n", source[:, :3, :3], target[:, :3, :3])  # [N]
        return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


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


def visible_error(instance: NDArray[np.int32], ids: Iterable[int], pixels: Iterable[int]) -> float:
    """Share of pixels of an id image [H, W] on which it disagrees with the frame table's counts."""
    found, counts = np.unique(instance[instance > 0], return_counts=True)
    difference = dict(zip(found.tolist(), counts.tolist(), strict=True))
    for key, count in zip(ids, pixels, strict=True):
        difference[int(key)] = difference.get(int(key), 0) - int(count)
    return sum(map(abs, difference.values())) / instance.size


def reprojection(
    depths: NDArray[np.float32], poses: NDArray[np.float64], camera: PinholeCamera, *, params: ValidateParams
) -> tuple[float, float]:
    """How well the depth of two frames, each moved by the poses into the other, agrees with what is there.

    A point behind the other frame's surface is hidden there and says nothing; one in front of it contradicts
    it, since it would have to be seen.

    Args:
        depths: [2, H, W] z-depth in metres, 0 = nothing.
        poses: camera_to_world [2, 4, 4].
        camera: of both.
        params: its ``stride`` between compared pixels, and ``agreement``, the relative error allowed.

    Returns:
        Median relative error |z / depth - 1| of the points that are not hidden, and the share of them that
        agree. Both NaN if fewer than ``MIN_POINTS`` can be compared or a pose is not finite.
    """
    if not np.isfinite(poses).all():
        return np.nan, np.nan
    ratio = np.concatenate(
        [
            depth_ratios(depths[order], poses[order], camera, stride=params.stride)
            for order in ([0, 1], [1, 0])
        ]
    )
    ratio = ratio[ratio <= 1 + params.agreement]  # drops NaN, too
    if len(ratio) < MIN_POINTS:
        return np.nan, np.nan
    errors = np.abs(ratio - 1)
    return float(np.median(errors)), float((errors <= params.agreement).mean())


def depth_ratios(
    depths: NDArray[np.float32], poses: NDArray[np.float64], camera: PinholeCamera, *, stride: int
) -> NDArray[np.floating]:
    """z-depth of the first frame's points in the second, over the depth that the second has there.

    Args:
        depths, poses, camera: see ``reprojection``.
        stride: use every n-th pixel of every n-th row.

    Returns:
        [N] for the points with depth; NaN where they fall outside, behind the camera or beside no depth.
    """
    points = unproject(depths[0], camera)[::stride, ::stride]  # [h, w, 3]
    points = points[points[..., 2] > 0]  # [N, 3]
    u, v, z = project(transform(points, relative_pose(poses[0], poses[1])), camera)  # [N] each
    return z * sample_inverse(depths[1], u, v)


def sample_inverse(
    depth: NDArray[np.float32], u: NDArray[np.floating], v: NDArray[np.floating]
) -> NDArray[np.floating]:
    """1 / depth at image coordinates [N] (pixels, first centre at 0.5), bilinear: exact on a plane.

    NaN outside the centres of the outer pixels, at NaN coordinates and beside pixels without depth.
    """
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        inside = (u >= 0.5) & (u <= width - 0.5) & (v >= 0.5) & (v <= height - 0.5)  # [N]
    x, y = np.where(inside, u - 0.5, 0), np.where(inside, v - 0.5, 0)
    column = np.minimum(x.astype(np.int64), width - 2)
    row = np.minimum(y.astype(np.int64), height - 2)
    fx, fy = x - column, y - row
    inverse = np.full(depth.shape, np.nan)
    np.divide(1, depth, out=inverse, where=depth > 0)
    top = inverse[row, column] * (1 - fx) + inverse[row, column + 1] * fx
    bottom = inverse[row + 1, column] * (1 - fx) + inverse[row + 1, column + 1] * fx
    return np.where(inside, top * (1 - fy) + bottom * fy, np.nan)


def _until_next(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Facts about T - 1 steps as a column of T rows: the last frame has no next one."""
    return np.append(values, np.nan)
