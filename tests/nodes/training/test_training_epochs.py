"""What a director plans is what happens, what happened is what it is told, and a kill changes nothing."""

import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import toy_epochs
import toy_training as toy

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training.base import DivergedError, TrainingResult
from vln_heatmap.nodes.training.loader import varied

CLOCK = ["samples_per_s", "wait"]
EPOCHS = [0] * 3 + [1] * 5 + [2] * 4 + [3] * 6


@pytest.fixture(scope="module")
def whole() -> TrainingResult:
    return toy_epochs.run()


def assert_same(a: TrainingResult, b: TrainingResult) -> None:
    pd.testing.assert_frame_equal(
        a.history.drop(columns=CLOCK), b.history.drop(columns=CLOCK), check_exact=True
    )
    assert all(torch.equal(a.state_dict[name], b.state_dict[name]) for name in a.state_dict)
    assert all(torch.equal(a.last[name], b.last[name]) for name in a.last)
    assert a.events == b.events


class Interruption(BaseException):
    pass


class Interrupted(toy_epochs.WeightedLoss):
    """Interrupted when it is called for the n-th time in this process."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.most = calls

    def __call__(self, model: Any, batch: Any) -> Any:
        if self.calls + 1 == self.most:
            raise Interruption
        return super().__call__(model, batch)


def test_steps_follow_the_plan(whole: TrainingResult) -> None:
    history = whole.history
    assert history["epoch"].tolist() == EPOCHS
    assert history["phase"].tolist() == ["first"] * 8 + ["second"] * 10
    assert history["lr"][:3].tolist() == pytest.approx([0.01, 0.005, 0.01 / 3])
    assert history["weight/absolute"].tolist() == pytest.approx([0.1 * (e + 1) for e in EPOCHS])
    assert history["val/error"].notna().tolist() == [s in {2, 7, 11, 17} for s in range(18)]
    assert [event.epoch for event in whole.events] == [0, 1, 2, 3]


def test_a_report_tells_what_happened(whole: TrainingResult) -> None:
    director = toy_epochs.Adaptive()
    history = toy_epochs.run(director=director).history
    for report, (_, rows) in zip(director.reports, history.groupby("epoch"), strict=True):
        assert report.step == rows["step"].iloc[-1]
        assert report.losses.keys() == {"loss", "square", "absolute"}
        assert report.losses["square"] == pytest.approx(rows["loss/square"].mean())
        assert report.grad_norm_max == rows["grad_norm"].max()
        assert report.lr == rows["lr"].iloc[-1]
        assert report.validation == {"error": rows["val/error"].iloc[-1]}
        assert report.data == {"low_quality_share": pytest.approx(rows["data/low_quality"].mean())}
        assert 0 <= report.resources["wait_share"] <= 1
        assert 0 < report.resources["memory_share"] <= 1
        assert set(report.sample_losses) <= set(range(7))
    assert len(director.reports[1].sample_losses) == 7  # 20 draws of 7 samples, none rarer than half of equal


def test_sample_losses_are_the_last_ones_of_each_sample() -> None:
    """One sample a step, so that the loss of the step is the loss of the sample."""
    director = toy_epochs.Adaptive()
    seen: list[tuple[int, float]] = []

    class Watched(toy_epochs.WeightedLoss):
        def __call__(self, model: Any, batch: Any) -> Any:
            losses = super().__call__(model, batch)
            seen.append((int(batch["names"][0].split()[1]), losses.samples.item()))
            return losses

    model = toy.ToyModel()
    model.norm = torch.nn.Identity()  # batches of one have no variance
    toy_epochs.run(model=model, director=director, loss_fn=Watched(), batch_size=1, accumulation=1)
    assert director.reports[0].sample_losses == dict(seen[:3])
    assert director.reports[1].sample_losses == dict(seen[3:8])


@pytest.mark.parametrize("calls", range(1, 36, 2))
def test_an_interruption_in_any_step_changes_nothing(
    tmp_path: Path, whole: TrainingResult, calls: int
) -> None:
    state = TrainingState(tmp_path / "training.safetensors")
    with pytest.raises(Interruption):
        toy_epochs.run(state, loss_fn=Interrupted(calls))
    assert_same(toy_epochs.run(state), whole)


def test_kill_9_in_every_epoch_of_one_run_changes_nothing(tmp_path: Path, whole: TrainingResult) -> None:
    """Also in the first step after an epoch, and after one whose state was not saved."""
    for kill_at in (4, 10, 0):
        command = [sys.executable, str(Path(toy_epochs.__file__)), str(tmp_path), str(kill_at)]
        code = subprocess.run(command, check=False, capture_output=True, timeout=120).returncode
        assert code == (-signal.SIGKILL if kill_at else 0)
    result = torch.load(tmp_path / "result.pt", weights_only=True)
    assert result["losses"] == whole.history["loss"].tolist()
    assert all(torch.equal(result["weights"][name], value) for name, value in whole.state_dict.items())


def test_neither_workers_nor_the_interval_of_saving_change_an_epoch(
    tmp_path: Path, whole: TrainingResult
) -> None:
    state = TrainingState(tmp_path / "training.safetensors")
    assert_same(toy_epochs.run(state, num_workers=2, prefetch=3, save_every=7), whole)


def test_a_finished_run_is_not_run_again(tmp_path: Path, whole: TrainingResult) -> None:
    state = TrainingState(tmp_path / "training.safetensors")
    toy_epochs.run(state)
    assert_same(toy_epochs.run(state, loss_fn=Interrupted(1)), whole)


def test_an_epoch_has_its_own_clip_and_decay() -> None:
    seen: list[float] = []

    class Watched(toy_epochs.WeightedLoss):
        def after_step(self, model: Any, numbers: Any) -> None:
            super().after_step(model, numbers)
            norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
            seen.append(norm.item())

    class Kept(torch.optim.AdamW):
        """Keeps its gradients, and says how it decays."""

        def zero_grad(self, set_to_none: bool = True) -> None:
            decays.append({group["weight_decay"] for group in self.param_groups})

    decays: list[set[float]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Kept)
        toy_epochs.run(loss_fn=Watched())
    assert decays[:8] == [{0.01, 0.0}] * 8
    assert decays[8:12] == [{0.2, 0.0}] * 4
    assert decays[12:] == [{0.01, 0.0}] * 6
    assert max(seen[:3]) > 0.6  # gradients add up here, because nobody empties them
    assert max(seen[3:8]) == pytest.approx(0.5, rel=1e-4)


def test_an_epoch_changes_the_data_without_a_new_data_set() -> None:
    data = toy_epochs.VariedData()
    louder = varied(data, {"noise": 5.0})
    assert varied(data, {}) is data
    assert (data.params.noise, louder.params.noise) == (0.1, 5.0)
    with pytest.raises(ValueError, match="noise"):
        varied(data, {"noise": "loud"})


def test_a_rollback_goes_on_from_the_best_averaged_weights() -> None:
    scores = iter([3.0, 1.0, 2.0, 2.5])
    at_start: dict[int, torch.Tensor] = {}

    class Watched(toy_epochs.WeightedLoss):
        def begin(self, plan: Any, model: Any) -> Any:
            self.model = model
            at_start[plan.epoch] = model.out.weight.detach().clone()
            return super().begin(plan, model)

        def rolled_back(self) -> None:
            told.append(self.model.out.weight.detach().clone())

    told: list[torch.Tensor] = []
    averaged: list[torch.Tensor] = []

    def validate(model: Any) -> dict[str, float]:
        averaged.append(model.out.weight.detach().clone())
        return {"error": next(scores)}

    director = toy_epochs.Adaptive({2: "rollback"})
    result = toy_epochs.run(director=director, loss_fn=Watched(), validate=validate)
    assert torch.equal(at_start[3], averaged[1])  # the best so far, though the last epoch had others
    assert not torch.equal(at_start[2], averaged[1])
    assert len(told) == 1  # the loss hears of it, when the model has them
    assert torch.equal(told[0], averaged[1])
    assert result.best is not None
    assert result.best.step == 8


@pytest.mark.parametrize("calls", [25, 27, 35])
def test_a_run_with_a_rollback_resumes_exactly(tmp_path: Path, calls: int) -> None:
    def rolled(state: TrainingState | None = None, **more: Any) -> TrainingResult:
        return toy_epochs.run(state, director=toy_epochs.Adaptive({2: "rollback"}), **more)

    state = TrainingState(tmp_path / "training.safetensors")
    with pytest.raises(Interruption):
        rolled(state, loss_fn=Interrupted(calls))
    assert_same(rolled(state), rolled())


def test_a_stop_ends_the_run_with_the_best_weights_and_its_reason(tmp_path: Path) -> None:
    scores = iter([1.0, 2.0])
    state = TrainingState(tmp_path / "training.safetensors")

    def stopped(**more: Any) -> TrainingResult:
        return toy_epochs.run(state, director=toy_epochs.Adaptive({1: "stop"}), **more)

    result = stopped(validate=lambda _: {"error": next(scores)}, name="toy")
    assert result.stopped == "toy: stopped after step 8: toy"
    assert len(result.history) == 8
    assert result.best is not None
    assert result.best.step == 3
    assert stopped(loss_fn=Interrupted(1)).stopped is not None  # it is over, and stays so


class Breaking(toy_epochs.WeightedLoss):
    """Not a number in steps 5 and, if ``twice``, in the one after."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.broken = {9, 10, 11, 12} if twice else {9}

    def __call__(self, model: Any, batch: Any) -> Any:
        losses = super().__call__(model, batch)
        return losses._replace(total=losses.total * math.nan) if self.calls in self.broken else losses


class Patient(toy_epochs.Adaptive):
    """Rolls back once when a loss is not finite."""

    def report(self, report: Any) -> Any:
        broken = not math.isfinite(report.losses["loss"])
        if not broken:
            return super().report(report)
        self.reports.append(report)
        first = not self.state.get("broken")
        self.state = {**self.state, "epoch": report.epoch + 1, "broken": True}
        return "rollback" if first else "continue"


def test_a_loss_that_is_not_finite_may_be_rolled_back() -> None:
    director = Patient()
    result = toy_epochs.run(director=director, loss_fn=Breaking(twice=False))
    assert np.isfinite(result.history["loss"]).all()
    assert [r.step for r in director.reports] == [3, 4, 8, 14]  # the epoch of five steps broke off after one
    assert math.isnan(director.reports[1].losses["loss"])
    with pytest.raises(DivergedError, match="toy: loss is nan at step 5"):
        toy_epochs.run(director=Patient(), loss_fn=Breaking(twice=True), name="toy")
    with pytest.raises(DivergedError, match="loss is nan at step 5"):
        toy_epochs.run(loss_fn=Breaking(twice=False))  # a director that does not roll back
