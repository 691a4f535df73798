"""Messages: what is packed comes back, and no bytes whatever do more than raise ``MessageError``."""

from __future__ import annotations

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.agent import Observation
from vln_heatmap.agent.messages import MessageError, Reset, pack_observation, unpack, unpack_reply

RNG = np.random.default_rng(0)
FULL = Observation(
    RNG.integers(0, 256, (6, 8, 3), np.uint8), RNG.random((6, 8), np.float32), RNG.normal(size=(4, 4))
)


def header(**changes) -> bytes:
    fields = {"type": "act", "step": 0, "height": 2, "width": 2, **changes}
    text = json.dumps({k: v for k, v in fields.items() if v is not None}).encode()
    return struct.pack("<I", len(text)) + text


def test_an_observation_comes_back_bit_for_bit():
    look, seen = unpack(pack_observation(FULL, 7))
    assert look.step == 7
    np.testing.assert_array_equal(seen.rgb, FULL.rgb)
    np.testing.assert_array_equal(seen.depth, FULL.depth)
    np.testing.assert_array_equal(seen.camera_to_world, FULL.camera_to_world)


def test_depth_and_pose_may_be_missing():
    _, seen = unpack(pack_observation(Observation(FULL.rgb), 0))
    assert seen.depth is None
    assert seen.camera_to_world is None


def test_a_reset_comes_back():
    assert unpack(Reset(instruction="go on", seed=3).model_dump_json()) == Reset(instruction="go on", seed=3)


BODY = bytes(12)
MALFORMED = {
    "nothing": b"",
    "short": b"\x01\x00",
    "no header": struct.pack("<I", 2**31) + BODY,
    "header beyond the message": struct.pack("<I", 100) + BODY,
    "header is no JSON": struct.pack("<I", 3) + b"{a}" + BODY,
    "header is a list": struct.pack("<I", 2) + b"[]" + BODY,
    "too few pixels": header() + BODY[:-1],
    "too many pixels": header() + BODY + b"\x00",
    "huge image": header(height=2**20, width=2**20) + BODY,
    "no height": header(height=None) + BODY,
    "text for a number": header(step="0") + BODY,
    "negative step": header(step=-1) + BODY,
    "unknown key": header(code="import os") + BODY,
    "another type": header(type="reset") + BODY,
    "pose of three": header(pose=[1, 2, 3]) + BODY,
    "pose that is no number": header(pose=[float("nan")] * 16) + BODY,
    "depth that is missing": header(depth=True) + BODY,
    "depth that is no number": header(depth=True) + BODY + struct.pack("<4f", 1, 1, 1, float("nan")),
    "deep JSON": struct.pack("<I", 4000) + b"[" * 4000 + BODY,
    "text": "go to the sofa",
    "text of another type": json.dumps({"type": "act", "instruction": "x"}),
    "empty instruction": json.dumps({"type": "reset", "instruction": " "}),
    "endless instruction": json.dumps({"type": "reset", "instruction": "x" * 2001}),
    "another version": json.dumps({"type": "reset", "instruction": "x", "version": 2}),
    "endless text": " " * 20_000,
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_messages_are_refused(message):
    with pytest.raises(MessageError):
        unpack(message)


def test_a_text_is_read_only_if_it_is_short():
    with pytest.raises(MessageError) as refused:
        unpack(json.dumps({"type": "reset", "instruction": "x"}) + " " * 20_000)
    assert refused.value.code == "oversize"


def test_a_pickle_is_only_bytes():
    import pickle

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    with pytest.raises(MessageError):
        unpack(pickle.dumps(Bomb()))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=100)))
def test_any_bytes_are_a_message_or_refused(data):
    for read in (unpack, unpack_reply):
        with contextlib.suppress(MessageError):  # any other error fails the test
            assert read(data) is not None


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_a_damaged_observation_is_an_observation_or_refused(place, damage):
    message = bytearray(pack_observation(FULL, 0))
    message[place : place + len(damage)] = damage
    with contextlib.suppress(MessageError):  # any other error fails the test
        _, seen = unpack(bytes(message))
        assert seen.rgb.dtype == np.uint8
