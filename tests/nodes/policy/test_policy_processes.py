"""A policy that several processes train: what one process makes of the same batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from box_walks import store, walk
from robot_episodes import folder_of_episodes

from vln_heatmap.datasets.tracker import Tracker
from vln_heatmap.nodes.policy.data import gather_episodes, learn_policy_tokenizer, policy_statistics
from vln_heatmap.nodes.policy.objective import policy_loss
from vln_heatmap.nodes.policy.training import PolicyTraining, Trained, _trained
from vln_heatmap.params.policy import PolicyParams

MODEL: dict[str, Any] = {
    "vision": {"image_size": 16, "patch": 8, "dim": 16, "hidden": 16, "depth": 1, "attention_heads": 2},
    "language": {
        "kind": "paligemma",
        "vocab_size": 330,
        "dim": 32,
        "hidden": 32,
        "depth": 1,
        "attention_heads": 2,
        "kv_heads": 1,
    },
    "head": {"horizon": 3, "width": 16, "depth": 1, "attention_heads": 2, "steps": 3},
}
TRAIN = {"steps": 4, "batch_size": 4, "num_workers": 0, "threads": 1, "validate_every": 2, "device": "cpu"}


def training(own: Any = None, *, data: Any = None, **train: Any) -> PolicyTraining:
    params = PolicyParams.model_validate(
        {
            "data": {"max_seq_len": 3, **(data or {})},
            "model": MODEL,
            "train": TRAIN | train,
            "evaluate": {"validation_windows": 2},
        }
    )
    episodes, _ = gather_episodes(own, params)
    parts = policy_statistics(episodes, params), learn_policy_tokenizer(episodes, params)
    return PolicyTraining(episodes, *parts, params)


def run(data: PolicyTraining) -> Trained:
    return _trained(data, state=None, tracker=Tracker())[1]


def test_two_processes_give_the_losses_of_one_with_the_same_batch(tmp_path: Path) -> None:
    """Noise and times of flow matching included, for they belong to the windows."""
    names = [f"house_0000{number}_00" for number in range(4)]
    sequences, _ = store(tmp_path, *(walk(name, "fflfrff") for name in names))
    splits = pd.DataFrame({"id": names, "split": ["train", "train", "val", "test"]})

    def own() -> tuple[Any, pd.DataFrame]:
        return sequences, splits

    one, two = run(training(own)), run(training(own, processes=2))
    for column in ("loss", "loss/flow_matching", "grad_norm", "lr", "val/mse", "val/loss"):
        np.testing.assert_allclose(two.history[column], one.history[column], atol=1e-5, rtol=1e-5)
    assert two.metrics["step"] == one.metrics["step"]
    assert two.state_dict.keys() == one.state_dict.keys()
    apart = [(value - one.state_dict[name]).abs().flatten() for name, value in two.state_dict.items()]
    assert torch.cat(apart).mean() < 1e-4


def test_micro_batches_change_no_loss_either(tmp_path: Path) -> None:
    data = {"format": "parquet", "source": str(folder_of_episodes(tmp_path))}
    one, more = run(training(data=data)), run(training(data=data, accumulation=2))
    np.testing.assert_allclose(more.history["loss"], one.history["loss"], atol=1e-5, rtol=1e-5)


def test_a_window_brings_the_seed_of_its_noise_in_training_only(tmp_path: Path) -> None:
    """The same batch has the same loss in both modes, alone and among others."""
    from vln_heatmap.nodes.model.policy.assemble import make_policy

    data = training(data={"format": "parquet", "source": str(folder_of_episodes(tmp_path))})
    windows = data.episodes.windows("train", data.params)
    assert "seed" not in windows.get(0)
    samples = [windows.get(index, np.random.default_rng(index)) for index in range(3)]
    policy = make_policy(data.params.model, data.tokenizer, data.statistics)
    with torch.no_grad():
        losses = [policy_loss(policy.train(mode), windows.collate(samples)).samples for mode in (True, False)]
        alone = policy_loss(policy, windows.collate(samples[2:])).samples
    assert losses[0] is not None
    assert losses[1] is not None
    assert alone is not None
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(alone[0], losses[0][2], atol=1e-5, rtol=1e-5)
    again = windows.get(2, np.random.default_rng(7))
    other = policy_loss(policy, windows.collate([again])).total.item()
    assert other != pytest.approx(alone[0].item(), rel=1e-3)
