"""What makes no sense to do next where the way is blocked: an agent that has run into something turns on the
spot, one way, until a step succeeds, and nobody turns round and round.

After the controller Tryout of ETPNav (arXiv:2304.03047), which is for agents that do not slide along walls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vln_heatmap.simulation.simulators.base import FORWARD, TURN_LEFT, TURN_RIGHT

_MOVED = 0.05  # metres; a step of less has failed
_TURNS = 12  # in a row, at most: half a turn of 15 degrees each
_OTHER = {TURN_LEFT: TURN_RIGHT, TURN_RIGHT: TURN_LEFT}


@dataclass
class Tryout:
    """What one episode's agent should not do next.

    Attributes:
        blocked: whether its last FORWARD failed.
        turned: the first turn since its last FORWARD; None = it has not turned.
        turns: how many it has done since.
    """

    blocked: bool = False
    turned: int | None = None
    turns: int = 0

    def notice(self, action: int, before: Any, after: Any) -> None:
        """Tell what was done, and the poses camera_to_world [4, 4] before and after it; None = unknown."""
        if action == FORWARD:
            known = before is not None and after is not None
            moved = float(np.linalg.norm(np.subtract(after, before)[:3, 3])) if known else _MOVED
            self.blocked, self.turned, self.turns = moved < _MOVED, None, 0
        elif action in _OTHER:
            self.turned, self.turns = self.turned or action, self.turns + 1

    @property
    def barred(self) -> frozenset[int]:
        """Actions that should not be done next; never STOP."""
        if self.turns >= _TURNS:
            return frozenset(_OTHER)
        if not self.blocked:
            return frozenset()
        return frozenset({FORWARD} if self.turned is None else {_OTHER[self.turned]})
