"""A policy server: robots and other simulators connect by websocket, each connection is a session with its agent.

Invariant: a message that is too large, malformed or out of order is answered with an error and changes nothing,
and who sends many of them is disconnected. There are never more sessions than allowed, a silent one ends, and
the memory of a session goes with its connection. Whoever can connect can ask for actions: there is no password,
so the server listens on this machine only, unless it is told otherwise.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from vln_heatmap.agent.agent import EpisodeOverError, VLNAgent, action_name
from vln_heatmap.agent.messages import Look, MessageError, Reply, Reset, unpack
from vln_heatmap.nodes.navigation.policy import Observation

logger = logging.getLogger(__name__)

TRY_AGAIN_LATER, POLICY_VIOLATION, GOING_AWAY = 1013, 1008, 1001


@dataclass(frozen=True)
class ServerLimits:
    """What one may ask of the server.

    Attributes:
        sessions: at once.
        message_bytes: of a message; a larger one ends the connection before it is read whole.
        silence: seconds without a message after which a session ends.
        refusals: messages that may be refused before the connection is closed.
    """

    sessions: int = 4
    message_bytes: int = 32 * 2**20
    silence: float = 300.0
    refusals: int = 8


class PolicyServer:
    """Serves agents until it is closed.

    Args:
        make_agent: gives each session an agent of its own; what they share (weights) must not change.
        host, port: where to listen; port 0 = any free one.
        limits: see there.

    Example:
        ``with PolicyServer(make_agent, port=8765) as server: server.wait()``
    """

    def __init__(
        self,
        make_agent: Callable[[], VLNAgent],
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        limits: ServerLimits | None = None,
    ) -> None:
        self.make_agent, self.limits = make_agent, limits or ServerLimits()
        self._slots = threading.BoundedSemaphore(self.limits.sessions)
        self._thinking = (
            threading.Lock()
        )  # one action at a time: the sessions share the machine and the weights
        self._server: Server = serve(
            self._session, host, port, max_size=self.limits.message_bytes, compression=None
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where to connect from this machine."""
        return f"ws://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Serve until somebody else closes it, or Ctrl-C."""
        self._thread.join()

    def close(self) -> None:
        """End all sessions and stop listening."""
        self._server.shutdown()
        self._thread.join()

    def __enter__(self) -> PolicyServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _session(self, connection: ServerConnection) -> None:
        if not self._slots.acquire(blocking=False):
            reason = f"all {self.limits.sessions} sessions are taken, try again later"
            _send(connection, Reply(type="error", code="busy", message=reason))
            connection.close(TRY_AGAIN_LATER, reason)
            return
        try:
            self._converse(connection, _Session(self.make_agent(), self._thinking))
        except ConnectionClosed:
            return
        finally:
            self._slots.release()

    def _converse(self, connection: ServerConnection, session: _Session) -> None:
        refused = 0
        while refused < self.limits.refusals:
            try:
                message = connection.recv(timeout=self.limits.silence)
            except TimeoutError:
                connection.close(GOING_AWAY, f"nothing came for {self.limits.silence:g} s")
                return
            try:
                _send(connection, session.answer(message))
            except MessageError as error:
                refused += 1
                logger.info("refused (%s): %s", error.code, error)
                _send(connection, Reply(type="error", code=error.code, message=str(error), step=session.step))
        connection.close(POLICY_VIOLATION, f"{refused} messages were refused")


class _Session:
    """One client's episode: what it may say next."""

    def __init__(self, agent: VLNAgent, thinking: threading.Lock) -> None:
        self.agent, self._thinking = agent, thinking
        self.step = 0  # number that the next observation must have

    def answer(self, message: bytes | str) -> Reply:
        """The reply to a message.

        Raises:
            MessageError: it is refused.
        """
        asked = unpack(message)
        with self._thinking:
            return self._reset(asked) if isinstance(asked, Reset) else self._act(*asked)

    def _reset(self, asked: Reset) -> Reply:
        self.agent.reset(asked.instruction, seed=asked.seed)
        self.step = 0
        return Reply(type="ready")

    def _act(self, look: Look, observation: Observation) -> Reply:
        if look.step != self.step:
            raise MessageError(
                f"the next observation is that of step {self.step}, got {look.step}", "out_of_order"
            )
        try:
            action = self.agent.act(observation)
        except EpisodeOverError as error:
            raise MessageError(str(error), "out_of_order") from error
        self.step += 1
        return Reply(type="action", step=look.step, action=action, name=action_name(action))


def _send(connection: Any, reply: Reply) -> None:
    connection.send(reply.model_dump_json())
