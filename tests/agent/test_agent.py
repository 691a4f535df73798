"""An agent gives one action for each whole observation, and refuses everything else without a trace."""

from __future__ import annotations

import numpy as np
import pytest

from vln_heatmap.agent import Observation, VLNAgent
from vln_heatmap.agent.agent import EpisodeOverError
from vln_heatmap.nodes.navigation.policy import ForwardOnly, ShortestPath


def seen(**changes) -> Observation:
    return Observation(**{"rgb": np.zeros((8, 10, 3), np.uint8), **changes})


def test_it_acts_until_it_stops_and_then_needs_an_instruction():
    agent = VLNAgent(ForwardOnly(2))
    agent.reset("go on")
    assert [agent.act(seen()) for _ in range(3)] == [1, 1, 0]
    with pytest.raises(EpisodeOverError, match="call reset"):
        agent.act(seen())
    agent.reset("again")
    assert agent.act(seen()) == 1
    assert agent.steps == 1


def test_nothing_happens_before_an_instruction():
    with pytest.raises(EpisodeOverError):
        VLNAgent(ForwardOnly()).act(seen())


def test_it_stops_by_itself_in_the_end():
    agent = VLNAgent(ForwardOnly(100), max_steps=3)
    agent.reset("go on")
    assert [agent.act(seen()) for _ in range(3)] == [1, 1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": np.zeros((8, 10), np.uint8)}, "rgb must be"),
        ({"rgb": np.zeros((8, 10, 3))}, "uint8"),
        ({"rgb": np.zeros((0, 10, 3), np.uint8)}, "rgb must be"),
        ({"rgb": np.zeros((1, 4000, 3), np.uint8)}, "at most 2048"),
        ({"rgb": "picture"}, "rgb must be"),
        ({"depth": np.zeros((8, 9), np.float32)}, "depth must be"),
        ({"depth": np.full((8, 10), -1.0, np.float32)}, "depth must be"),
        ({"depth": np.full((8, 10), np.nan, np.float32)}, "depth must be"),
        ({"camera_to_world": np.eye(3)}, "4x4"),
        ({"camera_to_world": np.full((4, 4), np.inf)}, "4x4"),
    ],
)
def test_a_malformed_observation_is_refused_and_takes_no_step(changes, message):
    agent = VLNAgent(ForwardOnly(1))
    agent.reset("go on")
    with pytest.raises(ValueError, match=message):
        agent.act(seen(**changes))
    assert [agent.act(seen()) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("wrong", ["", "  ", None, 3, "x" * 2001])
def test_an_instruction_must_be_a_text(wrong):
    with pytest.raises(ValueError, match="instruction"):
        VLNAgent(ForwardOnly()).reset(wrong)


def test_policies_that_need_a_simulator_are_no_agents():
    with pytest.raises(ValueError, match="expert"):
        VLNAgent(ShortestPath())
    with pytest.raises(ValueError, match="max_steps"):
        VLNAgent(ForwardOnly(), max_steps=0)
