"""What a scenario asks the recorder to film: a walk, and what happens meanwhile.

Invariant: every per-frame value has exactly one entry a step of the walk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.trajectories import Walk


@dataclass(frozen=True)
class Take:
    """A walk of T frames and everything else that changes from frame to frame.

    Attributes:
        walk: where the camera is.
        motions: rigid world transforms [T, 4, 4] of moved instances from rest, by id.
        lights: weights [T] of the scene's light sources, by name; those that are not named shine with 1.
        exposure: gain [T] of the camera, by which linear light is multiplied; None for 1.
        shutter: share of the time between two frames in which the shutter is open, 0 (sharp) to 1.
        focus: ids of the instances that the take is about.
        details: facts for the metadata (JSON).
    """

    walk: Walk
    motions: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    lights: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    exposure: NDArray[np.float64] | None = None
    shutter: float = 0.0
    focus: tuple[int, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        length = len(self.walk.steps)
        rows = {f"motion of {key}": value for key, value in self.motions.items()}
        rows |= {f"light {key!r}": value for key, value in self.lights.items()}
        if self.exposure is not None:
            rows["exposure"] = self.exposure
        for name, value in rows.items():
            if len(value) != length:
                raise ValueError(f"{name} has {len(value)} entries for {length} frames")
        if not 0 <= self.shutter <= 1:
            raise ValueError(f"shutter must be in [0, 1], got {self.shutter}")
