"""The other end of the policy server: the same two calls as ``VLNAgent``, over the network.

Invariant: an action is the answer to the observation that was just sent; whatever the server refuses is raised
here with its reason.
"""

from __future__ import annotations

from typing import Any

from websockets.sync.client import connect

from vln_heatmap.agent.messages import MessageError, Reply, Reset, pack_observation, unpack_reply
from vln_heatmap.nodes.navigation.policy import Observation

_MAX_REPLY = 64 * 1024


class RemoteAgent:
    """An agent on a policy server.

    Args:
        url: "ws://host:port".
        timeout: seconds to wait for a connection and for each answer.

    Raises:
        OSError: nobody listens there.

    Example:
        >>> with RemoteAgent("ws://127.0.0.1:8765") as agent:  # doctest: +SKIP
        ...     agent.reset("go to the red chair")
        ...     action = agent.act(Observation(camera.read()))
    """

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        self._timeout, self._step = timeout, 0
        self._connection = connect(url, open_timeout=timeout, max_size=_MAX_REPLY, compression=None)

    def reset(self, instruction: str, *, seed: int = 0) -> None:
        """Begin an episode.

        Raises:
            MessageError: the server refuses, or the instruction is none.
            ConnectionClosed, TimeoutError: it is gone, or does not answer.
        """
        try:
            asked = Reset(instruction=instruction, seed=seed)
        except ValueError as error:
            raise MessageError(str(error)) from error
        self._ask(asked.model_dump_json(), "ready")
        self._step = 0

    def act(self, observation: Observation) -> int:
        """The next action.

        Raises:
            ValueError: an observation that is none.
            MessageError, ConnectionClosed, TimeoutError: as ``reset``.
        """
        reply = self._ask(pack_observation(observation, self._step), "action")
        if reply.step != self._step or reply.action is None:
            raise MessageError(
                f"expected the action of step {self._step}, got that of {reply.step}", "out_of_order"
            )
        self._step += 1
        return reply.action

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def __enter__(self) -> RemoteAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, message: Any, expected: str) -> Reply:
        self._connection.send(message)
        reply = unpack_reply(self._connection.recv(timeout=self._timeout))
        if reply.type == "error":
            raise MessageError(reply.message, reply.code)
        if reply.type != expected:
            raise MessageError(
                f"the server answered {reply.type!r} where {expected!r} was due", "out_of_order"
            )
        return reply
