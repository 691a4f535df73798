"""A world whose process is killed at its second step, the first time or always: importable by such processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from vln_heatmap.nodes.navigation.worlds import World

#: Names the file that remembers that a process has died; "" = each one dies.
MEMORY = "VLN_HEATMAP_TEST_MORTAL"


class MortalWorld(World):
    def _do(self, action):
        memory = os.environ[MEMORY]
        if len(self.actions) == 1 and not (memory and Path(memory).exists()):
            if memory:
                Path(memory).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._do(action)
