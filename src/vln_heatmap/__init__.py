"""vln_heatmap: where in the current view is what the robot saw before, as far as the instruction cares.

Invariant: importing this package imports no torch, and no dependency sends telemetry unless the user
has asked for it (each switch below is only a default).
"""

import os
from typing import Any

__version__ = "0.1.0"
__all__ = ["HeatmapPredictor", "__version__"]

for _switch, _value in {
    "DO_NOT_TRACK": "true",  # kedro-telemetry, kedro-viz
    "MLFLOW_DISABLE_TELEMETRY": "true",  # mlflow accepts only this word
    "GX_ANALYTICS_ENABLED": "false",  # great_expectations
    "HF_HUB_DISABLE_TELEMETRY": "1",  # transformers, accelerate, tokenizers
}.items():
    os.environ.setdefault(_switch, _value)

# Threads of one operation wait asleep. Spinning, they hold up each other wherever cores are shared: a training
# step of the tiny model on two busy cores took five times as long. Read by OpenMP when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    if name == "HeatmapPredictor":
        from vln_heatmap.nodes.model.predictor import HeatmapPredictor

        return HeatmapPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
