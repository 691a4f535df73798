"""What only the rasteriser can do wrong: its context belongs to one process, its buffer is written in part."""

import os

import numpy as np
import pytest
from hand_built import Box, build
from views import AHEAD, head_on, look

pytestmark = pytest.mark.egl


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_is_told_to_spawn_and_may_close(make_named):
    simulator = make_named("raster")
    simulator.load(head_on(2))
    child = os.fork()
    if child == 0:  # nothing of pytest may run here
        try:
            simulator.render(AHEAD)
        except RuntimeError as error:
            simulator.close()
            os._exit(0 if "spawn" in str(error) else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert simulator.render(AHEAD).instance.all()  # the parent's context is unharmed
    simulator.close()


def test_a_move_writes_only_the_records_of_what_moves(make_named):
    simulator = make_named("raster")
    look(simulator, build(*[Box((i, 0, -3), (i + 0.5, 1, -2)) for i in range(5)]))
    before = np.frombuffer(simulator._vertex_buffer.read(), np.float32).reshape(5, 24, 10)
    motion = np.eye(4)
    motion[:3, 3] = 0.25, 0.5, -1
    simulator.move({3: motion})
    after = np.frombuffer(simulator._vertex_buffer.read(), np.float32).reshape(5, 24, 10)
    assert np.array_equal(np.delete(after, 2, axis=0), np.delete(before, 2, axis=0))
    assert after[2, :, :3] == pytest.approx(before[2, :, :3] + motion[:3, 3], abs=1e-6)
    assert np.array_equal(after[2, :, 3:], before[2, :, 3:])
    assert simulator.render(AHEAD).rgb.any()
