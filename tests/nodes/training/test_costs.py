"""What a training is said to have taken."""

import pandas as pd
import pytest

from vln_heatmap.nodes.training.costs import training_costs


def test_an_epoch_takes_the_mean_time_of_a_window_times_the_windows() -> None:
    history = pd.DataFrame({"samples_per_s": [2.0, 4.0]})  # half a second and a quarter
    costs = training_costs(history, 100)
    assert costs["epoch_seconds"] == pytest.approx(37.5)
    assert costs["memory_gib"] > 0


def test_no_steps_tell_no_time() -> None:
    assert "epoch_seconds" not in training_costs(pd.DataFrame(), 100)
