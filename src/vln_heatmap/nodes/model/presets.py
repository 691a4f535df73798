"""Parameters of a configuration environment, for commands that kedro does not start.

Invariant: they are what ``kedro run --env=…`` would read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read_parameters(env: str, conf: str | Path = "conf") -> dict[str, Any]:
    """All parameter groups of an environment; ``base`` and ``tiny`` are the same.

    Raises:
        FileNotFoundError: no such environment.
    """
    from kedro.config import OmegaConfigLoader

    name = "base" if env == "tiny" else env
    if not (Path(conf) / name).is_dir():
        raise FileNotFoundError(f"no environment {env!r}: {Path(conf) / name} must be a folder")
    loader = OmegaConfigLoader(
        str(conf),
        env=name,
        base_env="base",
        default_run_env="base",
        merge_strategy={"parameters": "soft"},
    )
    return dict(loader["parameters"])
