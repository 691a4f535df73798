"""A curriculum, samples and reports to direct a training with."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from vln_heatmap.nodes.training.director import EpochReport
from vln_heatmap.params.curriculum import CurriculumParams

CONF = Path(__file__).parents[4] / "conf" / "base" / "parameters_curriculum.yml"
LEVELS = (["geometric"], ["correspondence", "geometric"], ["reasoning"], [], ["coherence"])


def project_curriculum(**changes: Any) -> CurriculumParams:
    """The curriculum of the base configuration, in use."""
    stored = yaml.safe_load(CONF.read_text())["finetune"]["curriculum"]
    return CurriculumParams.model_validate({**stored, "enabled": True, **changes})


def make_samples(count: int = 40) -> pd.DataFrame:
    """Samples of every kind of level, with unequal weights."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "weight": rng.uniform(0.5, 2.0, count),
            "levels": [LEVELS[i % len(LEVELS)] for i in range(count)],
            "current": np.full(count, 9),
            "candidates": [list(range(i % 8)) for i in range(count)],
            "level": np.arange(count) % 4,
        }
    )


def report(epoch: int, *, losses: Any = None, step: int | None = None, **validation: float) -> EpochReport:
    """A report of one epoch with these validation metrics."""
    samples = {epoch % 40: 1.0 + epoch, (3 * epoch) % 40: 0.5}
    return EpochReport(
        epoch, 10 * (epoch + 1) if step is None else step, losses or {}, validation, sample_losses=samples
    )
