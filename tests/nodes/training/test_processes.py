"""Several processes give what one gives; what they log arrives; who fails is named and the state is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sharded_steps
import synthetic
import torch
import toy_training as toy

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.nodes.training.launch import (
    FileLog,
    ProcessFailedError,
    Tail,
    _failure,
    free_port,
    launch_command,
    read_result,
)
from vln_heatmap.nodes.training.sharding import fsdp_plugin
from vln_heatmap.nodes.training.stage import StageData, StageResult, run_stage
from vln_heatmap.params import StageParams, TrainParams
from vln_heatmap.params.training import FsdpParams, LaunchParams

WALKS = synthetic.walks()
SAMPLES = synthetic.sample_table(WALKS)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FrameFeatures:
    return synthetic.store_features(tmp_path_factory.mktemp("features"), WALKS)


class Metrics:
    def __init__(self) -> None:
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.tags: dict[str, str] = {}

    def log_metrics(self, metrics: Any, step: int) -> None:
        self.metrics.append((step, dict(metrics)))

    def log_tags(self, tags: Any) -> None:
        self.tags |= tags


def run(features: FrameFeatures, state: Any = None, tracker: Any = None, **train: Any) -> StageResult:
    content = synthetic.STAGE.model_dump()
    params = StageParams.model_validate(content | {"train": content["train"] | train})
    data = StageData("finetune", SAMPLES, features, synthetic.TOKENIZER, {})
    network = synthetic.toy_model()
    return run_stage(network, data, synthetic.PARAMS, params, state=state, tracker=tracker)


def test_two_processes_give_the_losses_of_one_with_the_same_batch(
    features: FrameFeatures, tmp_path: Path
) -> None:
    """Also the weights, the validations and the live metrics."""
    one = run(features, steps=6)
    tracker, state = Metrics(), TrainingState(tmp_path / "training.safetensors")
    two = run(features, state, tracker, steps=6, processes=2)
    for column in ("loss", "loss/mask", "grad_norm", "lr", "val/auc"):
        np.testing.assert_allclose(two.history[column], one.history[column], atol=1e-5, rtol=1e-5)
    assert two.history["step"].tolist() == list(range(1, 7))
    weights = one.checkpoint["state_dict"]
    assert two.checkpoint["state_dict"].keys() == weights.keys()
    apart = [(value - weights[name]).abs().flatten() for name, value in two.checkpoint["state_dict"].items()]
    assert torch.cat(apart).mean() < 1e-4  # single ones with no gradient to speak of may go the other way
    assert two.checkpoint["meta"]["model"] == one.checkpoint["meta"]["model"]
    assert [step for step, metrics in tracker.metrics if "val/auc" in metrics] == [2, 4, 6]
    assert "<html" in two.report
    assert state.path.is_file()
    assert list(tmp_path.iterdir()) == [state.path]


def test_the_first_traceback_of_a_failed_process_is_told_and_the_state_kept(
    features: FrameFeatures, tmp_path: Path
) -> None:
    """A sample without features: one of the processes stumbles over it."""
    state = TrainingState(tmp_path / "training.safetensors")
    state.save("an earlier one", {}, {})
    before = state.path.read_bytes()
    fewer = FrameFeatures(features.folder, list(features)[1:], features.fingerprint)
    with pytest.raises(ProcessFailedError, match=r"(?s)2 processes failed.*rank \d.*house_00000_00"):
        run(fewer, state, steps=6, processes=2)
    assert state.path.read_bytes() == before


def test_what_failed_first_is_told(tmp_path: Path) -> None:
    params = TrainParams(processes=4, batch_size=8)
    (tmp_path / "errors").mkdir()
    assert "killed before it could say why" in _failure(tmp_path, -9, params)
    for number, name in enumerate(("rank 3", "rank 0")):
        file = tmp_path / "errors" / f"{name}.txt"
        file.write_text(f"ValueError: of {name}")
        os.utime(file, ns=(number, number))
    text = _failure(tmp_path, 1, params)
    assert "4 processes failed (exit code 1)" in text
    assert text.endswith("rank 3 failed first:\nValueError: of rank 3")
    with pytest.raises(ProcessFailedError, match="without a result"):
        read_result(tmp_path)


def test_a_process_ends_when_whoever_started_it_is_gone() -> None:
    code = (
        "import time; from vln_heatmap.nodes.training import worker; worker.end_with_parent(); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=60) == 1


def test_a_process_that_is_done_leaves_without_the_shutdown_of_the_interpreter() -> None:
    code = (
        "import atexit; from vln_heatmap.nodes.training.worker import leave; "
        "atexit.register(print, 'shutdown'); print('done'); leave(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (3, "done\n")


def test_one_machine_meets_at_a_free_port_of_its_own(tmp_path: Path) -> None:
    command = launch_command(tmp_path, TrainParams(processes=4, batch_size=8), {"MASTER_PORT": "1"})
    assert command[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert {"--nnodes=1", "--master-addr=127.0.0.1", "--nproc-per-node=4"} < set(command)
    port = next(word for word in command if word.startswith("--master-port="))
    assert 1024 < int(port.partition("=")[2]) < 65536
    assert command[-4:] == ["-m", "vln_heatmap.nodes.training.worker", str(tmp_path), "--end-with-parent"]


@pytest.mark.parametrize("nodes", [3, None])
def test_several_machines_meet_where_the_scheduler_says(tmp_path: Path, nodes: int | None) -> None:
    launch = {"nodes": nodes, "prefix": "srun --ntasks-per-node=1", "folder": "jobs"}
    params = TrainParams.model_validate({"processes": 8, "batch_size": 24, "launch": launch})
    place = {"MASTER_ADDR": "node7", "MASTER_PORT": "29400", "SLURM_JOB_NUM_NODES": "3"}
    command = launch_command(tmp_path, params, place)
    assert command[:3] == ["srun", "--ntasks-per-node=1", sys.executable]
    assert {"--nnodes=3", "--rdzv-backend=c10d", "--rdzv-endpoint=node7:29400"} < set(command)
    assert command[-1] == str(tmp_path)
    with pytest.raises(ValueError, match="3 machines need MASTER_PORT"):
        launch_command(tmp_path, params, place | {"MASTER_PORT": ""})


def test_several_machines_need_a_way_to_start_and_a_shared_folder() -> None:
    with pytest.raises(ValueError, match=r"launch\.prefix"):
        LaunchParams(nodes=2, folder="jobs")
    with pytest.raises(ValueError, match=r"launch\.folder"):
        LaunchParams(nodes=None, prefix=("srun",))


def test_processes_that_cannot_share_a_batch_are_refused(
    features: FrameFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="3 processes x 1 micro-batches must divide batch_size, got 4"):
        run(features)


def test_entries_are_handed_on_whole_and_once(tmp_path: Path) -> None:
    path, tracker = tmp_path / "metrics.jsonl", Metrics()
    log = FileLog(path)
    with Tail(path, tracker) as tail:
        tail.hand_on()  # there is no file yet
        log.log_metrics({"loss": 1.5}, 3)
        with path.open("a") as file:
            file.write('{"tags": {"phase"')
        tail.hand_on()
        tail.hand_on()
        assert tracker.metrics == [(3, {"loss": 1.5})]
        with path.open("a") as file:
            file.write(': "first"}}\n')
        log.log_metrics({"loss": float("nan")}, 4)
    assert tracker.tags == {"phase": "first"}
    assert [step for step, _ in tracker.metrics] == [3, 4]
    assert json.loads(path.read_text().splitlines()[0]) == {"metrics": {"loss": 1.5}, "step": 3}


def test_sharded_weights_are_trained_validated_saved_and_resumed_like_whole_ones(tmp_path: Path) -> None:
    script = Path(sharded_steps.__file__)
    runner = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    command = [*runner, f"--master-port={free_port()}", str(script), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    found = json.loads((tmp_path / "result.json").read_text())
    whole = toy.run(model=sharded_steps.plain_toy(), ema_decay=0.5)
    np.testing.assert_allclose(found["losses"], whole.history["loss"], atol=1e-5)
    np.testing.assert_allclose(found["errors"], whole.history["val/error"].dropna(), atol=1e-5)
    for name, value in whole.state_dict.items():
        np.testing.assert_allclose(found["weights"][name], value, atol=1e-4)
    assert found["sharded"]
    assert found["resumed"]


def test_the_plugin_of_sharding_says_what_the_parameters_say() -> None:
    plugin = fsdp_plugin(FsdpParams(min_parameters=123, reshard=False))
    assert plugin.fsdp_version == 2
    assert plugin.min_num_params == 123
    assert plugin.reshard_after_forward is False
    assert "size_based" in str(plugin.auto_wrap_policy)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_sharding_is_refused_where_nothing_can_shard() -> None:
    with pytest.raises(ValueError, match="fsdp needs CUDA devices"):
        toy.run(fsdp={"enabled": True})
