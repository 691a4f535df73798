"""The policy stage node by node, on robot episodes at toy size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from robot_episodes import action, episode, folder_of_episodes, picture, write

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset, TrainingState
from vln_heatmap.datasets.tracker import Tracker
from vln_heatmap.nodes.model.policy.normalisation import StatisticsMismatchError
from vln_heatmap.nodes.policy.data import (
    PolicyEpisodes,
    gather_episodes,
    learn_policy_tokenizer,
    policy_statistics,
)
from vln_heatmap.nodes.policy.evaluation import draw_errors, predict_actions, score_actions
from vln_heatmap.nodes.policy.inference import Policy
from vln_heatmap.nodes.policy.training import train_comparisons, train_policy
from vln_heatmap.params.policy import PolicyParams

HORIZON = 3
SMALL: dict[str, Any] = {
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
    "head": {"horizon": HORIZON, "width": 16, "depth": 1, "attention_heads": 2, "steps": 3},
}
TRAIN = {"steps": 4, "batch_size": 2, "num_workers": 0, "threads": 1, "validate_every": 2, "device": "cpu"}


def params(folder: Path, **changes: Any) -> PolicyParams:
    return PolicyParams.model_validate(
        {
            "data": {"format": "parquet", "source": str(folder), "max_seq_len": 3},
            "model": SMALL,
            "train": TRAIN,
            "evaluate": {"windows": 4, "validation_windows": 2, "samples": 3},
            **changes,
        }
    )


def prepared(wanted: PolicyParams) -> tuple[PolicyEpisodes, dict[str, Any], dict[str, Any]]:
    episodes, _ = gather_episodes(None, wanted)
    return episodes, policy_statistics(episodes, wanted), learn_policy_tokenizer(episodes, wanted)


def trained(folder: Path, wanted: PolicyParams, parts: Any) -> tuple[Checkpoint, pd.DataFrame]:
    """The checkpoint, stored, and the history."""
    state = TrainingState(folder / "state" / "training.safetensors")
    state.path.parent.mkdir(parents=True)
    node = train_policy(*parts, wanted, state, Tracker())
    content, history = next(node)
    dataset = CheckpointDataset(filepath=str(folder / "policy"))
    dataset.save(content)
    assert state.path.exists()
    assert next(node, None) is None
    assert not state.path.exists()  # what is stored needs no state
    return dataset.load(), history


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything that the stage makes of six short episodes."""
    folder = tmp_path_factory.mktemp("policy")
    wanted = params(folder_of_episodes(folder / "data"))
    parts = prepared(wanted)
    checkpoint, history = trained(folder, wanted, parts)
    others = train_comparisons(*parts, wanted, Tracker())
    table = predict_actions(checkpoint, others, *parts[:2], wanted)
    results, section = score_actions(table, checkpoint, *parts[:2], wanted)
    return dict(locals())


def test_only_training_episodes_are_measured(stage: dict[str, Any]) -> None:
    episodes, statistics = stage["parts"][:2]
    rows = np.concatenate([rows.action for rows in episodes.training_rows(stage["wanted"])])
    assert statistics["action"]["count"] == len(rows) < sum(e.length for e in episodes.episodes)
    np.testing.assert_allclose(statistics["action"]["mean"], rows.mean(0))
    assert statistics["cameras"] == ["image_1", "image_2"]


def test_the_history_has_losses_and_validations(stage: dict[str, Any]) -> None:
    history = stage["history"]
    assert len(history) == TRAIN["steps"]
    assert history["loss/flow_matching"].gt(0).all()
    assert {"val/mse", "val/mae", "val/loss"} <= set(history.columns)
    best = history["val/mse"].min()
    assert stage["checkpoint"].meta["metrics"]["mse"] == pytest.approx(best)


def test_predictions_hold_truth_and_baselines_of_every_known_action(stage: dict[str, Any]) -> None:
    table, (episodes, statistics, _) = stage["table"], stage["parts"]
    methods = {"hold_last", "mean_action", "flow_matching", "flow_matching_mean", "regression"}
    assert set(table.columns) == {"episode", "row", "step", "truth"} | methods
    test = episodes.of("test")[0]
    rows = table[table["episode"] == test.id]
    known = {
        (row, step)
        for row in range(test.length - 1)
        for step in range(HORIZON)
        if row + step < test.length - 1
    }
    assert set(zip(rows["row"], rows["step"], strict=True)) == known
    actions = episodes.source.numbers(test, 0, test.length).action
    for row in rows.itertuples():
        np.testing.assert_allclose(row.truth, actions[row.row + row.step], atol=1e-6)
        np.testing.assert_allclose(row.mean_action, statistics["action"]["mean"], atol=1e-6)
        held = actions[row.row - 1] if row.row else statistics["action"]["mean"]
        np.testing.assert_allclose(row.hold_last, held, atol=1e-6)
        assert row.flow_matching[2] == pytest.approx(0.5)  # it never changes


def test_scores_are_those_of_the_table(stage: dict[str, Any]) -> None:
    results, table, statistics = stage["results"], stage["table"], stage["parts"][1]
    assert stage["section"] == {"policy": results}
    std = np.array(statistics["action"]["std"])[:2]
    apart = np.stack(table["hold_last"].to_list()) - np.stack(table["truth"].to_list())
    expected = ((apart[:, :2] / std) ** 2).mean()
    assert results["methods"]["hold_last"]["mse"] == pytest.approx(expected)
    assert results["data"]["actions"] == len(table)
    assert results["seconds_per_chunk"] > 0
    assert len(draw_errors(results).axes) == 2


def test_a_policy_acts_from_its_checkpoint_alone(stage: dict[str, Any]) -> None:
    policy = Policy.open(stage["checkpoint"].path)
    images = [picture(5, 0, camera, size=(20, 10)) for camera in (1, 2)]
    chunk = policy.act(images, "task 5", [50.0, 1.0, 0.0, 0.0], previous=action(5, 0))
    assert chunk.shape == (HORIZON, 3)
    again = policy.act(images, "task 5", [50.0, 1.0, 0.0, 0.0], previous=action(5, 0))
    np.testing.assert_array_equal(chunk, again)
    assert not np.allclose(chunk, policy.act(images, "task 5", [50.0, 1.0, 0.0, 0.0], seed=1))
    with pytest.raises(ValueError, match="an image of each of"):
        policy.act(images[:1], "", [0.0] * 4)
    with pytest.raises(ValueError, match="state must be the 4 numbers"):
        policy.act(images, "", [0.0] * 3)


def test_other_statistics_are_refused(stage: dict[str, Any]) -> None:
    episodes, statistics, _ = stage["parts"]
    other = {**statistics, "state": {**statistics["state"], "q99": [0.0] * 4}}
    with pytest.raises(StatisticsMismatchError, match=r"state\.q99"):
        predict_actions(stage["checkpoint"], {}, episodes, other, stage["wanted"])


def test_a_warm_start_with_another_robot_trains(stage: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        changes = {"action": [[float(row), -1.0 * number] for row in range(4)]}
        write(data / f"{number}.parquet", episode(number, 4, **changes))
    wanted = params(data, warm_start=str(stage["checkpoint"].path), compare=())
    episodes, statistics, _ = prepared(wanted)
    tokenizer = stage["checkpoint"].meta["tokenizer"]
    checkpoint, history = trained(tmp_path, wanted, (episodes, statistics, tokenizer))
    assert np.isfinite(history["loss"]).all()
    assert Policy.open(checkpoint).act([picture(0, 0)] * 2, "task 0", [0.0] * 4).shape == (HORIZON, 2)
