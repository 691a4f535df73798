"""What a robot senses beside the picture at each step: how near things are, where it has come, what is round it.

One vector a step. That of a view is added to the last token before the reply, that after an action to the
action's last token: so every action is read off what is sensed when it is to be done, though a view is shown for
several.

Invariant: what is sensed at a step depends on its own depth and on the poses up to it, counted from the episode's
start; so training, which has whole walks, and the running agent sense the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vln_heatmap.nodes.model.context.surroundings import Surroundings
from vln_heatmap.params.navigation_model import ContextParams

_HIDDEN = 128
_QUIET = 0.4  # of the usual initial weights, so that words are still heard
#: Numbers of ``odometry``.
ODOMETRY = 8
#: Those that change their sign in a mirror.
_ODD = [0, 2, 5]


def nearness(depth: Any, side: int) -> Tensor:
    """Mean of 1 / (1 + z) in each of ``side`` x ``side`` cells of depth images [..., side, side], in [0, 1].

    Args:
        depth: z-depth in metres [..., H, W], 0 = unknown, which counts as infinitely far.
        side: cells.
    """
    metres = torch.as_tensor(depth).float()
    near = torch.where(metres > 0, 1 / (1 + metres), 0.0)
    shape = (*near.shape[:-2], side, side)
    return F.adaptive_avg_pool2d(near.reshape(-1, 1, *near.shape[-2:]), side).reshape(shape)


def odometry(poses: NDArray[np.floating]) -> NDArray[np.float32]:
    """Where a walk has led, at each of its steps [T, 8].

    Metres to the right of the start and ahead of it (/ 3), sine and cosine of the heading against the first one
    (right is positive), the last step's length (/ 0.25 m) and its turn to the right (/ 0.25 rad), the length of
    the path (/ 5 m), and the number of steps (/ 30).

    Args:
        poses: camera_to_world [T, 4, 4] from the episode's start on (OpenCV camera, any world with +Y up).
    """
    poses = np.asarray(poses, np.float64)
    ahead = poses[:, [0, 2], 2]  # [T, 2] on the floor
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    front = ahead[0]
    right = np.array([-front[1], front[0]])  # +X is to the right of -Z
    moved = poses[:, [0, 2], 3] - poses[0, [0, 2], 3]
    yaw = np.unwrap(np.arctan2(ahead @ right, ahead @ front))
    steps = np.linalg.norm(np.diff(moved, axis=0, prepend=moved[:1]), axis=1)
    columns = (
        *(moved @ right / 3, moved @ front / 3),
        *(np.sin(yaw), np.cos(yaw)),
        *(steps / 0.25, np.diff(yaw, prepend=yaw[:1]) / 0.25),
        *(np.cumsum(steps) / 5, np.arange(len(poses)) / 30),
    )
    return np.stack(columns, 1).astype(np.float32)


def numbers(params: ContextParams) -> int:
    """How many numbers are sensed at a step."""
    around = 0 if params.surroundings is None else 2 * params.surroundings.side**2
    return params.ranges**2 + ODOMETRY * params.odometry + around


def sensed(
    depth: NDArray[np.floating] | None,
    track: NDArray[np.floating] | None,
    params: ContextParams,
    surroundings: Surroundings | None = None,
) -> Tensor:
    """What is sensed at one step, as ``Senses`` reads it [n].

    Args:
        depth: z-depth in metres [H, W].
        track: poses since the episode's start, the last one now [T, 4, 4].
        params: which of it the model reads.
        surroundings: map of the walk so far, into which this step's depth is entered; needed if it is read.

    Raises:
        ValueError: the model reads what is not there.
    """
    mapped = params.surroundings is not None
    placed = mapped or params.value_map is not None
    if depth is None and (params.ranges or placed):
        raise ValueError(
            "this dialogue reads depth (context.ranges, surroundings, value_map): every step needs it, got "
            "None"
        )
    if (track is None or not len(track)) and (params.odometry or placed):
        raise ValueError(
            "this dialogue reads poses (context.odometry, surroundings, value_map): every step needs one, got "
            "None"
        )
    parts = []
    if params.ranges:
        parts.append(nearness(depth, params.ranges).flatten())
    if params.odometry:
        parts.append(torch.from_numpy(odometry(np.asarray(track))[-1]))
    if mapped:
        if surroundings is None:
            raise ValueError("this dialogue reads a map (context.surroundings), got None")
        surroundings.add(np.asarray(depth), np.asarray(track)[-1])
        parts.append(torch.from_numpy(surroundings.around(np.asarray(track)[-1]).ravel()))
    return torch.cat(parts) if parts else torch.zeros(0)


def mirrored(senses: NDArray[np.float32], params: ContextParams) -> NDArray[np.float32]:
    """What would have been sensed in the mirror image of the building: [..., n] as of ``sensed``."""
    flipped, cells = senses.copy(), params.ranges**2
    near = flipped[..., :cells].reshape(*senses.shape[:-1], params.ranges, params.ranges)
    flipped[..., :cells] = near[..., ::-1].reshape(*senses.shape[:-1], cells)
    if params.odometry:
        flipped[..., [cells + place for place in _ODD]] *= -1
    if params.surroundings is not None:
        side, first = params.surroundings.side, cells + ODOMETRY * params.odometry
        around = flipped[..., first:].reshape(*senses.shape[:-1], 2, side, side)
        flipped[..., first:] = around[..., ::-1].reshape(*senses.shape[:-1], 2 * side**2)
    return flipped


class Senses(nn.Module):
    """A vector of what is sensed at each step.

    Args:
        params: what that is.
        width: channels D of the tokens that it is added to.
    """

    def __init__(self, params: ContextParams, width: int) -> None:
        super().__init__()
        valued = 0 if params.value_map is None else params.value_map.cells
        first, last = nn.Linear(numbers(params) + valued, _HIDDEN), nn.Linear(_HIDDEN, width)
        with torch.no_grad():
            last.weight.mul_(_QUIET)
        self.read = nn.Sequential(first, nn.GELU(), last)

    def forward(self, sensed: Tensor, values: Tensor | None = None) -> Tensor:
        """Of what is sensed at N steps [N, n], and of value maps [N, cells] if they are read: [N, D]."""
        parts = [sensed] if values is None else [sensed, values]
        return self.read(torch.cat(parts, -1).to(next(self.parameters()).dtype))
