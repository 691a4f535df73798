"""What server and client say to each other: one websocket message each, a short JSON header and raw numbers.

Invariant: whatever bytes arrive, reading them gives a checked message or ``MessageError``; nothing is ever
unpickled or executed, and a header cannot make the reader allocate more than the message holds.

A binary message is 4 bytes (length of the header, little endian), the header, then the image's bytes
(H * W * 3, row by row) and, if the header says so, depth (H * W float32, little endian). Everything else is a
text message with a JSON object.
"""

from __future__ import annotations

import json
import struct
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vln_heatmap.agent.agent import MAX_INSTRUCTION, MAX_SIDE, check_instruction, check_observation
from vln_heatmap.nodes.navigation.policy import Observation

#: Bytes of a header, and characters of a text message.
MAX_HEADER, MAX_TEXT = 4096, 16384
_LENGTH = struct.Struct("<I")
Finite = Annotated[float, Field(allow_inf_nan=False)]


class MessageError(ValueError):
    """A message that is none, with the code of the refusal.

    Attributes:
        code: "malformed", "out_of_order", "oversize" or "busy".
    """

    def __init__(self, message: str, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Reset(_Message):
    """Begin an episode."""

    type: Literal["reset"] = "reset"
    version: Literal[1] = 1
    instruction: str = Field(min_length=1, max_length=MAX_INSTRUCTION)
    seed: int = Field(0, ge=0, lt=2**32)


class Look(_Message):
    """Header of an observation; ``step`` counts from 0 in each episode."""

    type: Literal["act"] = "act"
    step: int = Field(ge=0, lt=2**31)
    height: int = Field(ge=1, le=MAX_SIDE)
    width: int = Field(ge=1, le=MAX_SIDE)
    depth: bool = False
    pose: list[Finite] | None = Field(None, min_length=16, max_length=16)


class Reply(_Message):
    """What the server answers: "ready" to a reset, "action" to an observation, "error" to what it refuses."""

    type: Literal["ready", "action", "error"]
    step: int = 0
    action: int | None = Field(None, ge=0, le=3)
    name: str = ""
    code: str = ""
    message: str = ""


def pack_observation(observation: Observation, step: int) -> bytes:
    """A binary message of an observation.

    Raises:
        ValueError: an observation that is none.
    """
    check_observation(observation)
    height, width = observation.rgb.shape[:2]
    pose, depth = observation.camera_to_world, observation.depth
    look = Look(
        step=step,
        height=height,
        width=width,
        depth=depth is not None,
        pose=None if pose is None else np.asarray(pose, float).ravel().tolist(),
    )
    header = look.model_dump_json().encode()
    parts = [_LENGTH.pack(len(header)), header, np.ascontiguousarray(observation.rgb).tobytes()]
    if depth is not None:
        parts.append(np.ascontiguousarray(depth, "<f4").tobytes())
    return b"".join(parts)


def unpack(message: bytes | str) -> Reset | tuple[Look, Observation]:
    """The message of a client.

    Raises:
        MessageError: it is none.
    """
    if isinstance(message, str):
        if len(message) > MAX_TEXT:
            raise MessageError(
                f"a text of {len(message)} characters, at most {MAX_TEXT} are read", "oversize"
            )
        reset = _parse(Reset, message.encode())
        try:
            check_instruction(reset.instruction)
        except ValueError as error:
            raise MessageError(str(error)) from error
        return reset
    if len(message) < _LENGTH.size:
        raise MessageError(f"a binary message begins with the length of its header, got {len(message)} bytes")
    (length,) = _LENGTH.unpack_from(message)
    if length > min(MAX_HEADER, len(message) - _LENGTH.size):
        raise MessageError(f"a header of {length} bytes does not fit into a message of {len(message)}")
    body = memoryview(message)[_LENGTH.size + length :]
    look = _parse(Look, bytes(message[_LENGTH.size : _LENGTH.size + length]))
    return look, _observation(look, body)


def unpack_reply(message: bytes | str) -> Reply:
    """The answer of a server.

    Raises:
        MessageError: it is none.
    """
    return _parse(Reply, message.encode() if isinstance(message, str) else message)


def _observation(look: Look, body: memoryview) -> Observation:
    pixels = look.height * look.width
    expected = pixels * (7 if look.depth else 3)
    if len(body) != expected:
        raise MessageError(f"{look.width}x{look.height} pixels are {expected} bytes, got {len(body)}")
    rgb = np.frombuffer(body, np.uint8, 3 * pixels).reshape(look.height, look.width, 3)
    depth = np.frombuffer(body, "<f4", offset=3 * pixels).reshape(rgb.shape[:2]) if look.depth else None
    pose = None if look.pose is None else np.array(look.pose).reshape(4, 4)
    observation = Observation(rgb, None if depth is None else depth.astype(np.float32), pose)
    try:
        check_observation(observation)
    except ValueError as error:
        raise MessageError(str(error)) from error
    return observation


def _parse(kind: type[Any], data: bytes) -> Any:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"not JSON: {error}") from error
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "message"
        raise MessageError(f"{place}: {first['msg']}, got {first['input']!r:.80}") from error
