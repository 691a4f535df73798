"""One batch step by step: the numbers of each step are those that training would see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robot_episodes import episode, folder_of_episodes, picture, write
from toy_policy import SIZES

from vln_heatmap.nodes.model.policy.assemble import make_policy
from vln_heatmap.nodes.policy.data import gather_episodes, learn_policy_tokenizer, policy_statistics
from vln_heatmap.nodes.policy.objective import policy_loss
from vln_heatmap.nodes.policy.one_batch import COLUMNS, analyse_batch
from vln_heatmap.params.policy import PolicyParams


def params(folder: Path, **head: Any) -> PolicyParams:
    return PolicyParams.model_validate(
        {
            "data": {"format": "parquet", "source": str(folder), "max_seq_len": 3},
            "model": {**SIZES, "head": {**SIZES["head"], **head}},
            "train": {"batch_size": 4},
        }
    )


def test_every_step_from_bytes_to_loss_is_told(tmp_path: Path) -> None:
    wanted = params(folder_of_episodes(tmp_path))
    table, report = analyse_batch(None, wanted)
    assert tuple(table.columns) == COLUMNS
    rows = {(row.step, row.what): row for row in table.itertuples()}
    image = rows["decoded image", ""]
    assert (image.shape, image.dtype) == ("6x8x3", "uint8")
    assert abs(image.low - picture(0, 0).min()) <= 40 * 6  # of one of the episodes
    assert rows["bytes of an image", ""].dtype == "uint8"
    assert rows["batch", "images"].shape == "4x3x2x3x28x28"
    assert -1.2 < rows["normalised state", ""].low < rows["normalised state", ""].high < 1.2
    time = rows["noise and time", "time"]
    assert 0 < time.low < time.high <= 1
    assert table.groupby("step")["milliseconds"].max().ge(0).all()
    low, high = report["prefix_length"]
    text = report["prompt_tokens"]
    assert (low, high) == (report["visual_tokens"] + text[0] + 2, report["visual_tokens"] + text[1] + 2)
    assert report["visual_tokens"] == 2 * 4  # cameras of 2 x 2 patches


def test_its_loss_is_that_of_training(tmp_path: Path) -> None:
    wanted = params(folder_of_episodes(tmp_path))
    _, report = analyse_batch(None, wanted)
    episodes, _ = gather_episodes(None, wanted)
    statistics, tokenizer = policy_statistics(episodes, wanted), learn_policy_tokenizer(episodes, wanted)
    policy = make_policy(wanted.model, tokenizer, statistics).eval()
    windows = episodes.windows("train", wanted)
    batch = windows.collate([windows.get(index, np.random.default_rng(index)) for index in range(4)])
    with torch.no_grad():
        assert report["loss"] == pytest.approx(policy_loss(policy, batch).total.item(), rel=1e-5)
    assert report["loss_by_dimension"]["action_2"] == 0  # it never changes
    assert np.mean(report["loss_by_step"]) > 0


def test_a_head_without_noise_has_fewer_steps(tmp_path: Path) -> None:
    table, report = analyse_batch(None, params(folder_of_episodes(tmp_path), name="regression"))
    assert "noise and time" not in set(table["step"])
    assert report["loss"] > 0


def test_data_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.parquet", episode(number, 4, image_1=[b"no picture"] * 4))
    with pytest.raises(ValueError, match=r"parquet, row 0: the image cannot be decoded"):
        analyse_batch(None, params(tmp_path))
