"""The loop under a real curriculum and monitor: all phases in order, and a killed run resumes bit for bit."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from training_curriculum import make_samples, project_curriculum

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training.base import Losses
from vln_heatmap.nodes.training.curriculum.director import CurriculumDirector
from vln_heatmap.nodes.training.monitor import Monitor
from vln_heatmap.params import TrainParams, WindowParams
from vln_heatmap.params.monitor import MonitorParams

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_training import PARAMS, ToyData, run, toy_validation

STEPS = 3  # an epoch


class WindowedToy(ToyData):
    """The toy data with window parameters for phases to change."""

    def __init__(self) -> None:
        self.params = WindowParams()


def loss(model: Any, batch: Any) -> Losses:
    """The toy's, with the loss of each sample for the techniques that choose samples by it."""
    samples = (model(batch["x"]) - batch["y"]).square()
    return Losses(samples.mean(), {"mask": samples.mean()}, samples=samples.detach())


def validation(model: Any) -> dict[str, float]:
    """The toy's error as if it were what a curriculum looks at."""
    error = toy_validation(model)["error"]
    names = ("correspondence_accuracy", "reasoning_accuracy")
    return {"error": error, "geometric_loss": error, **{name: max(0.0, 1 - error) for name in names}}


def director() -> CurriculumDirector:
    curriculum = project_curriculum(steps_per_epoch=STEPS, adjuster={"plateau": {"patience": 2}})
    train = TrainParams.model_validate(PARAMS)
    samples, monitor = make_samples(7), Monitor(MonitorParams())
    return CurriculumDirector(train, curriculum, samples, window=WindowParams(), monitor=monitor)


def train(state: TrainingState | None = None, *, loss_fn: Any = loss) -> Any:
    settings = {"validate": validation, "dataset": WindowedToy(), "loss_fn": loss_fn, "save_every": 2}
    return run(state, director=director(), **settings)


@pytest.fixture(scope="module")
def whole() -> Any:
    return train()


def test_the_loop_goes_through_all_phases_and_tells_why(whole: Any):
    names = [event.name for event in whole.events if event.kind == "phase"]
    assert names[0] == "geometric_foundation"
    assert [name.split(":")[0] for name in names if ": extended" not in name] == [
        "geometric_foundation",
        "geometric_foundation",
        "cross_frame_learning",
        "advanced_reasoning",
    ]
    assert STEPS * 8 <= len(whole.history) <= STEPS * 13
    assert whole.history["lr"].max() <= PARAMS["optimizer"]["lr"]
    assert whole.stopped is None


class KilledError(Exception):
    pass


@pytest.mark.parametrize("kill_at", [2, 9, 10, 20])
def test_a_killed_run_resumes_bit_for_bit(whole: Any, tmp_path: Path, kill_at: int):
    calls = 0

    def fatal(model: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2 * (kill_at - 1):  # two micro-batches a step
            raise KilledError
        return loss(model, batch)

    state = TrainingState(tmp_path / "state.safetensors")
    with pytest.raises(KilledError):
        train(state, loss_fn=fatal)
    resumed = train(state)
    clock = ["samples_per_s", "wait"]
    assert resumed.history.drop(columns=clock).equals(whole.history.drop(columns=clock))
    assert all(torch.equal(resumed.last[name], tensor) for name, tensor in whole.last.items())
    assert [e for e in resumed.events if e.kind != "alert"] == [e for e in whole.events if e.kind != "alert"]
