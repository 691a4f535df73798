"""The policy server over loopback: the same actions as without it, and nothing that a client can break."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from vln_heatmap.agent import Observation, VLNAgent
from vln_heatmap.agent.client import RemoteAgent
from vln_heatmap.agent.messages import MessageError, Reset, pack_observation
from vln_heatmap.agent.policies import POLICIES, policy_maker
from vln_heatmap.agent.server import PolicyServer, ServerLimits

START = Reset(instruction="go on").model_dump_json()


class Brightness:
    """Turns left in the dark and right in the light, STOPs at white; counts its episode's steps."""

    fingerprint, needs_expert = "brightness", False

    def reset(self, instructions, *, seeds):
        self.steps = 0

    def act(self, observations, done):
        self.steps += 1
        level = float(observations[0].rgb.mean())
        return [0 if level == 255 else 2 if level < 128 else 3]

    def notes(self):
        return [{}]


def shade(level: int) -> Observation:
    return Observation(np.full((6, 8, 3), level, np.uint8))


@pytest.fixture
def serve():
    """Starts servers on free ports."""
    servers = []

    def start(**limits) -> PolicyServer:
        servers.append(PolicyServer(lambda: VLNAgent(Brightness()), port=0, limits=ServerLimits(**limits)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ask(connection, message) -> dict:
    connection.send(message)
    return json.loads(connection.recv(timeout=30))


def test_a_remote_agent_acts_as_the_agent_itself(serve):
    shades = [0, 200, 100, 250, 255]
    near = VLNAgent(Brightness())
    near.reset("go on")
    with RemoteAgent(serve().url) as agent:
        for _ in range(2):  # a second episode on the same connection
            agent.reset("go on")
            assert [agent.act(shade(level)) for level in shades] == [2, 3, 2, 3, 0]
    assert [near.act(shade(level)) for level in shades] == [2, 3, 2, 3, 0]


def test_sessions_do_not_disturb_each_other(serve):
    server, found = serve(sessions=3), {}

    def walk(level: int) -> None:
        with RemoteAgent(server.url) as agent:
            agent.reset("go on")
            found[level] = [agent.act(shade(level)) for _ in range(10)]

    threads = [threading.Thread(target=walk, args=(level,)) for level in (10, 150, 220)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {10: [2] * 10, 150: [3] * 10, 220: [3] * 10}


def test_out_of_order_is_refused_and_changes_nothing(serve):
    with connect(serve().url) as connection:
        assert ask(connection, pack_observation(shade(0), 0))["code"] == "out_of_order"  # no instruction yet
        assert ask(connection, START)["type"] == "ready"
        assert ask(connection, pack_observation(shade(0), 1))["code"] == "out_of_order"
        assert ask(connection, pack_observation(shade(0), 0))["action"] == 2
        again = ask(connection, pack_observation(shade(0), 0))
        assert (again["code"], again["step"]) == ("out_of_order", 1)  # it says which step is due
        assert ask(connection, pack_observation(shade(255), 1))["name"] == "stop"
        assert ask(connection, pack_observation(shade(0), 2))["code"] == "out_of_order"  # the episode is over
        assert ask(connection, START)["type"] == "ready"
        assert ask(connection, pack_observation(shade(0), 0))["action"] == 2


def test_malformed_is_refused_and_many_refusals_end_the_session(serve):
    with connect(serve(refusals=3).url) as connection:
        assert ask(connection, START)["type"] == "ready"
        assert ask(connection, b"\x00\x00\x00\x00")["code"] == "malformed"
        assert ask(connection, "{")["code"] == "malformed"
        assert ask(connection, pack_observation(shade(0), 0))["action"] == 2  # it still serves
        assert ask(connection, b"")["code"] == "malformed"
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=30)
        assert closed.value.rcvd.code == 1008


def test_oversize_ends_the_session_and_the_server_lives(serve):
    server = serve(message_bytes=1000)
    with connect(server.url) as connection:
        connection.send(bytes(2000))
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=30)
        assert closed.value.rcvd.code == 1009
    with RemoteAgent(server.url) as agent:
        agent.reset("go on")
        assert agent.act(shade(0)) == 2


def test_sessions_are_bounded_and_come_free_again(serve):
    server = serve(sessions=1)
    with RemoteAgent(server.url) as first:
        first.reset("go on")
        with connect(server.url) as second:
            assert json.loads(second.recv(timeout=30))["code"] == "busy"
            with pytest.raises(ConnectionClosed) as closed:
                second.recv(timeout=30)
            assert closed.value.rcvd.code == 1013
        assert first.act(shade(0)) == 2
    assert server._slots.acquire(timeout=30)  # the session's place is free when its connection has gone
    server._slots.release()
    with RemoteAgent(server.url) as third:
        third.reset("go on")


def test_a_silent_session_ends(serve):
    with connect(serve(silence=0.01).url) as connection, pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=30)
    assert closed.value.rcvd.code == 1001


def test_the_client_says_what_was_refused(serve):
    with RemoteAgent(serve().url) as agent:
        with pytest.raises(MessageError) as refused:
            agent.act(shade(0))
        assert refused.value.code == "out_of_order"
        with pytest.raises(MessageError, match="instruction"):
            agent.reset("")
        with pytest.raises(ValueError, match="rgb must be"):
            agent.act(Observation(np.zeros((3, 3), np.uint8)))
        agent.reset("go on")
        assert agent.act(shade(0)) == 2


def test_it_listens_on_this_machine_only(serve):
    assert serve()._server.socket.getsockname()[0] == "127.0.0.1"


def test_policies_by_name():
    for name in set(POLICIES) - {"model"}:
        make = policy_maker(name)
        assert make() is not make()
        VLNAgent(make()).reset("go on")
    with pytest.raises(ValueError, match="got 'best'"):
        policy_maker("best")
    with pytest.raises(ValueError, match="needs the folder of a checkpoint"):
        policy_maker("model")
