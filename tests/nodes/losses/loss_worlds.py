"""A flat wall seen by cameras that step sideways: every warp is a whole number of cells and known on paper."""

import torch
from torch import Tensor

#: Camera i stands at x = STEP * i metres, looks along +z at a wall 2 m ahead, and sees 4 cells a metre there.
SIZE, STEP, DISTANCE, PER_METRE = 6, 0.25, 2.0, 4
FOCAL = DISTANCE * PER_METRE


def wall(views: int = 3, batch: int = 1) -> dict[str, Tensor]:
    """Depth, poses and intrinsics of the views; view i sees columns i to i + SIZE of the wall."""
    pose = torch.eye(4, dtype=torch.float64).repeat(batch, views, 1, 1)
    pose[..., 0, 3] = STEP * torch.arange(views)
    centre = SIZE / 2
    matrix = [[FOCAL, 0, centre], [0, FOCAL, centre], [0, 0, 1.0]]
    return {
        "view_depth": torch.full((batch, views, SIZE, SIZE), DISTANCE, dtype=torch.float64),
        "view_pose": pose,
        "intrinsics": torch.tensor(matrix, dtype=torch.float64).repeat(batch, 1, 1),
    }


def painted(views: int, *, seed: int = 0) -> Tensor:
    """What the views see of a random picture on the wall: [1, views, SIZE, SIZE]."""
    g = torch.Generator().manual_seed(seed)
    picture = torch.rand(SIZE, SIZE + views, generator=g, dtype=torch.float64)
    return torch.stack([picture[:, i : i + SIZE] for i in range(views)])[None]
