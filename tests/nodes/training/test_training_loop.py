"""The loop learns; interruptions, workers and accumulation change nothing; what is not finite stops it."""

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
import toy_training as toy
from torch import nn

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training.loop import DivergedError, TrainingResult
from vln_heatmap.params import TrainParams

CLOCK = ["samples_per_s", "wait"]  # the only columns that time itself


@pytest.fixture(scope="module")
def uninterrupted() -> TrainingResult:
    return toy.run()


def assert_same(a: TrainingResult, b: TrainingResult) -> None:
    """Bit for bit, but for the clock."""
    pd.testing.assert_frame_equal(
        a.history.drop(columns=CLOCK), b.history.drop(columns=CLOCK), check_exact=True
    )
    assert a.best is not None
    assert b.best is not None
    assert (a.best.step, a.best.metrics) == (b.best.step, b.best.metrics)
    for x, y in ((a.state_dict, b.state_dict), (a.last, b.last)):
        assert x.keys() == y.keys()
        assert all(torch.equal(x[name], y[name]) for name in x)


class Interruption(BaseException):
    """As Ctrl-C is, no ordinary error."""


def interrupted_in(calls: int) -> Any:
    """A loss that is interrupted when it is called for the ``calls``-th time."""
    count = 0

    def loss(model: nn.Module, batch: Any) -> Any:
        nonlocal count
        count += 1
        if count == calls:
            raise Interruption
        return toy.toy_loss(model, batch)

    return loss


def test_it_learns_and_reports_every_step(uninterrupted: TrainingResult):
    result = toy.run(steps=300, ema_decay=0.9)
    losses = result.history["loss"]
    assert losses[-30:].mean() < 0.5 * losses[:30].mean()
    history = uninterrupted.history
    assert history["step"].tolist() == list(range(1, 21))
    assert {"loss/square", "loss/absolute", "grad_norm", "lr", *CLOCK} < set(history.columns)
    total = history["loss/square"] + 0.1 * history["loss/absolute"]
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)
    assert history["val/error"].notna().tolist() == [s in {6, 12, 18, 20} for s in range(1, 21)]


def test_frozen_weights_stay_and_the_model_stays_a_plain_one():
    model = toy.ToyModel()
    before = model.frozen.weight.clone()
    result = toy.run(model=model, mixed_precision="bf16")
    assert torch.equal(result.state_dict["frozen.weight"], before)
    assert "forward" not in vars(model)
    assert result.state_dict.keys() == model.state_dict().keys()


@pytest.mark.parametrize("calls", [1, 10, 11, 23, 40])  # at the start, in a step, after one, at the very end
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, uninterrupted: TrainingResult, calls: int
):
    state = TrainingState(tmp_path / "training.safetensors")
    with pytest.raises(Interruption):
        toy.run(state, loss_fn=interrupted_in(calls))
    assert_same(toy.run(state), uninterrupted)


def test_a_run_that_is_interrupted_again_and_again_gets_there(tmp_path: Path, uninterrupted: TrainingResult):
    state = TrainingState(tmp_path / "training.safetensors")
    for _ in range(3):  # five steps and a half each time
        with pytest.raises(Interruption):
            toy.run(state, loss_fn=interrupted_in(11))
    assert_same(toy.run(state), uninterrupted)


def test_kill_9_in_a_step_and_while_saving_loses_nothing_but_time(
    tmp_path: Path, uninterrupted: TrainingResult
):
    for kill_at, when in ((8, "step"), (0, "saving"), (0, "never")):
        command = [sys.executable, str(Path(toy.__file__)), str(tmp_path), str(kill_at), when]
        code = subprocess.run(command, check=False, capture_output=True, timeout=120).returncode
        assert code == (0 if when == "never" else -signal.SIGKILL)
    result = torch.load(tmp_path / "result.pt", weights_only=True)
    assert result["losses"] == uninterrupted.history["loss"].tolist()
    assert all(torch.equal(result["weights"][k], v) for k, v in uninterrupted.state_dict.items())
    assert [file.name for file in tmp_path.glob("*.safetensors*")] == ["training.safetensors"]


def test_a_finished_run_is_taken_from_its_state_until_that_is_cleared(
    tmp_path: Path, uninterrupted: TrainingResult
):
    state = TrainingState(tmp_path / "training.safetensors")
    toy.run(state)
    never = interrupted_in(1)
    assert_same(toy.run(state, loss_fn=never), uninterrupted)
    state.clear()
    with pytest.raises(Interruption):
        toy.run(state, loss_fn=never)


@pytest.mark.parametrize("change", [{"seed": 1}, {"fingerprint": "other data"}, {"batch_size": 8}])
def test_the_state_of_another_run_is_not_resumed_and_kept_until_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
):
    state = TrainingState(tmp_path / "training.safetensors")
    toy.run(state, steps=5)
    before = state.path.read_bytes()
    with pytest.raises(Interruption):
        toy.run(state, loss_fn=interrupted_in(1), steps=5, **change)
    assert state.path.read_bytes() == before
    assert "other parameters or data" in caplog.text
    assert_same(toy.run(state, steps=5, **change), toy.run(steps=5, **change))


def test_neither_workers_nor_what_is_only_operational_change_the_result(uninterrupted: TrainingResult):
    assert_same(toy.run(num_workers=2, prefetch=1, save_every=3), uninterrupted)


def test_accumulation_does_not_change_the_loss_or_the_weights():
    def without_batch_statistics(accumulation: int) -> TrainingResult:
        model = toy.ToyModel()
        model.norm = nn.Identity()
        model.mix = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        nn.init.zeros_(model.mix.self_attn.out_proj.weight)  # else windows of a batch would see each other
        model.mix.self_attn.requires_grad_(False)
        return toy.run(model=model, accumulation=accumulation, steps=5)

    torch.manual_seed(0)
    whole = without_batch_statistics(1)
    torch.manual_seed(0)
    parts = without_batch_statistics(4)
    np.testing.assert_allclose(whole.history["loss"], parts.history["loss"], rtol=1e-5)
    np.testing.assert_allclose(whole.history["grad_norm"], parts.history["grad_norm"], rtol=1e-4)


def test_samples_come_as_often_as_they_weigh():
    seen: list[str] = []

    def loss(model: nn.Module, batch: Any) -> Any:
        seen.extend(batch["names"])
        return toy.toy_loss(model, batch)

    toy.run(loss_fn=loss, weights=[0, 0, 1, 0, 0, 3, 0], steps=7, batch_size=4, accumulation=1)
    assert {name: seen.count(name) for name in seen} == {"sample 2": 7, "sample 5": 21}


def test_the_best_weights_are_those_of_the_best_validation():
    scores = iter([0.3, 0.9, math.nan, 0.5])
    snapshots: list[dict[str, torch.Tensor]] = []

    def validate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        snapshots.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"score": next(scores)}

    result = toy.run(validate=validate, metric="score", mode="max")
    assert result.best is not None
    assert (result.best.step, result.best.metrics) == (12, {"score": 0.9})
    assert all(torch.equal(result.state_dict[k], snapshots[1][k]) for k in snapshots[1])
    assert all(torch.equal(result.last[k], snapshots[3][k]) for k in snapshots[3])
    assert not torch.equal(result.last["out.weight"], result.state_dict["out.weight"])
    again = toy.run(validate=lambda _: {"score": 0.5}, metric="score", keep="last")
    assert torch.equal(again.state_dict["out.weight"], again.last["out.weight"])


def test_a_metric_that_validation_does_not_compute_is_refused():
    with pytest.raises(ValueError, match=r"one that validation computes: \['error'\], got 'auc'"):
        toy.run(metric="auc")


def test_live_metrics_are_means_since_the_last_ones(uninterrupted: TrainingResult):
    class Log:
        def __init__(self) -> None:
            self.sent: list[tuple[int, dict[str, float]]] = []

        def log_metrics(self, metrics: Any, step: int) -> None:
            self.sent.append((step, dict(metrics)))

    log = Log()
    toy.run(tracker=log)
    losses = {step: m["loss"] for step, m in log.sent if "loss" in m}
    assert list(losses) == [3, 6, 9, 12, 15, 18, 20]
    assert losses[6] == pytest.approx(uninterrupted.history["loss"][3:6].mean())
    assert [step for step, m in log.sent if "val/error" in m] == [6, 12, 18, 20]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("absolute", r"toy: loss/absolute is nan at step 7; the state"),
        ("total", "toy: loss is nan at step 7"),
    ],
)
def test_a_loss_that_is_not_finite_is_named_and_the_state_kept(tmp_path: Path, part: str, message: str):
    count = 0

    def loss(model: nn.Module, batch: Any) -> Any:
        nonlocal count
        count += 1
        total, parts = toy.toy_loss(model, batch)
        if count == 13:
            broken = total * math.nan
            return broken, parts | ({"absolute": broken} if part == "absolute" else {})
        return total, parts

    state = TrainingState(tmp_path / "training.safetensors")
    with pytest.raises(DivergedError, match=message):
        toy.run(state, loss_fn=loss, name="toy")
    assert_same(toy.run(state), toy.run())  # goes on from step 5, whose weights are sound


def test_a_gradient_that_is_not_finite_is_noticed_before_the_update():
    def loss(model: nn.Module, batch: Any) -> Any:
        total, parts = toy.toy_loss(model, batch)
        return total + model.out.bias.sum().sub(model.out.bias.detach().sum()).square().sqrt(), parts

    model = toy.ToyModel()
    before = model.out.weight.detach().clone()
    with pytest.raises(DivergedError, match="grad_norm is nan at step 1"):
        toy.run(model=model, loss_fn=loss)
    assert torch.equal(model.out.weight, before)


def test_the_process_is_left_as_it_was():
    threads, model = torch.get_num_threads(), toy.ToyModel()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    toy.run(model=model, threads=threads + 1, steps=2)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_half_precision_runs_beside_full_precision_in_one_process(uninterrupted: TrainingResult):
    half = toy.run(mixed_precision="bf16")
    assert (
        half.history["loss"][0] != uninterrupted.history["loss"][0]
    )  # same weights and samples: only rounding
    assert half.history["loss"][0] == pytest.approx(uninterrupted.history["loss"][0], rel=0.02)
    assert all(t.dtype != torch.bfloat16 for t in half.state_dict.values())
    assert_same(toy.run(), uninterrupted)


def test_a_compiled_model_trains_like_the_plain_one_and_stays_a_plain_one(uninterrupted: TrainingResult):
    """The backend that only traces: no compiler is needed, and nothing is computed in another way."""
    model = toy.ToyModel()
    compiled = toy.run(model=model, compile="eager")
    np.testing.assert_allclose(compiled.history["loss"], uninterrupted.history["loss"], rtol=1e-4)
    assert compiled.state_dict.keys() == model.state_dict().keys()
    assert type(model) is toy.ToyModel


def test_weights_that_are_left_out_are_not_copied(uninterrupted: TrainingResult):
    names = {"frozen.weight", "frozen.bias"}
    result = toy.run(leave_out=names)
    assert uninterrupted.state_dict.keys() - result.state_dict.keys() == names
    assert names.isdisjoint(result.last)


@pytest.mark.parametrize("able", [True, False])
def test_automatic_precision_is_what_the_processor_can_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, able: bool
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able})
    caplog.set_level("INFO")
    toy.run(mixed_precision="auto", device="cpu", steps=1)
    assert f"on cpu, precision {'bf16' if able else 'no'}" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"device": "cuda"}, "torch sees no CUDA device"),
        ({"mixed_precision": "fp16"}, "set it to bf16 or no"),
    ],
)
def test_a_machine_that_is_not_there_is_refused(setting: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        toy.run(**setting)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_gpu_run_learns_and_resumes(tmp_path: Path, precision: str):
    state = TrainingState(tmp_path / "training.safetensors")
    settings = {"device": "cuda", "mixed_precision": precision}
    with pytest.raises(Interruption):
        toy.run(state, loss_fn=interrupted_in(23), validate=None, **settings)
    result = toy.run(state, validate=None, **settings)
    whole = toy.run(validate=None, **settings)
    np.testing.assert_allclose(result.history["loss"], whole.history["loss"], rtol=1e-3)
    assert all(t.device.type == "cpu" for t in result.state_dict.values())


def test_defaults_are_valid():
    assert TrainParams().accumulation == 1
