"""The kedro command line, as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def kedro(folder: Path, command: str, *options: str, fails: bool = False) -> str:
    """Output of a kedro command with ``--env=test`` in a project folder, as a user would start it."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", "kedro", command, "--env=test", *options],
        cwd=folder,
        env=environment | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, output[-3000:]
    return output
