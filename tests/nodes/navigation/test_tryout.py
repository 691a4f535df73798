"""In front of an obstacle: one turns, one way, until a step succeeds."""

from __future__ import annotations

import numpy as np
import pytest

from vln_heatmap.nodes.navigation.tryout import Tryout

STOP, FORWARD, LEFT, RIGHT = range(4)


def at(x: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def barred_after(*steps: tuple[int, float], start: float = 0.0) -> list[set[int]]:
    """What is barred after each of some actions, each with where it led."""
    tryout, here, found = Tryout(), start, []
    for action, there in steps:
        tryout.notice(action, at(here), at(there))
        here = there
        found.append(set(tryout.barred))
    return found


def test_nothing_is_barred_where_the_way_is_free() -> None:
    assert barred_after((FORWARD, 0.25), (LEFT, 0.25), (RIGHT, 0.25), (FORWARD, 0.5)) == [set()] * 4


@pytest.mark.parametrize(("turn", "back"), [(LEFT, RIGHT), (RIGHT, LEFT)])
def test_after_a_bump_one_turns_one_way_until_a_step_succeeds(turn: int, back: int) -> None:
    found = barred_after(
        (FORWARD, 0.01), (turn, 0.01), (turn, 0.01), (FORWARD, 0.01), (turn, 0.01), (FORWARD, 0.26)
    )
    assert found == [{FORWARD}, {back}, {back}, {FORWARD}, {back}, set()]


def test_nobody_turns_round_and_round() -> None:
    found = barred_after(*[(LEFT, 0.0)] * 12, (FORWARD, 0.25))
    assert found[:11] == [set()] * 11
    assert found[11:] == [{LEFT, RIGHT}, set()]


def test_without_poses_no_step_has_failed() -> None:
    tryout = Tryout()
    tryout.notice(FORWARD, None, at(1.0))
    assert not tryout.barred
    tryout.notice(FORWARD, at(1.0), None)
    assert not tryout.barred


def test_stop_is_never_barred() -> None:
    for steps in ([(FORWARD, 0.0)], [(FORWARD, 0.0), (LEFT, 0.0)], [(LEFT, 0.0)] * 30):
        assert STOP not in barred_after(*steps)[-1]
