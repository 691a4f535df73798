"""Planted faults in weights are found, named and told by the exit code; sound ones are sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from box_walks import ROOT
from dialogue_world import toy_dialogue
from toy_policy import TOKENIZER, statistics, toy_policy

from vln_heatmap.datasets.checkpoint import CheckpointDataset
from vln_heatmap.nodes.model.dialogue_checkpoint import dialogue_meta
from vln_heatmap.nodes.model.policy.assemble import policy_meta
from vln_heatmap.nodes.model.weights import main, summarised, unsound

CONF = f"--conf={ROOT / 'conf'}"


def save(folder: Path, **changed: torch.Tensor) -> dict[str, torch.Tensor]:
    """A toy policy's checkpoint, with other tensors by their names (dots written as __)."""
    stats = statistics()
    policy = toy_policy(stats)
    state = policy.state_dict() | {name.replace("__", "."): value for name, value in changed.items()}
    dataset = CheckpointDataset(filepath=str(folder))
    dataset.save({"state_dict": state, "meta": policy_meta(policy, TOKENIZER, stats)})
    return state


def looked_at(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--format=json"])
    return code, json.loads(capsys.readouterr().out)


def test_norms_by_part_are_those_of_all_its_numbers() -> None:
    state = {
        "head.a": torch.full((2, 2), 3.0),
        "head.b": torch.tensor([8.0, float("inf")]),
        "c": torch.ones(4),
    }
    head, other = summarised(state)
    assert (head.part, head.tensors, head.numbers, head.not_finite) == (
        "head",
        2,
        6,
        1,
    ) or head.part == "heads"
    assert head.norm == pytest.approx(10.0)  # sqrt(4 * 9 + 64)
    assert head.rms == pytest.approx((100 / 5) ** 0.5)
    assert head.largest == 8.0
    assert (other.norm, other.not_finite) == (2.0, 0)


def test_dead_units_and_constants_are_told_from_what_begins_that_way() -> None:
    matrix = torch.arange(1.0, 13.0).view(3, 4)
    matrix[1] = 0
    matrix[:, 2:] = 0
    state = {
        "a": matrix,
        "b": torch.zeros(2, 3),
        "c": torch.full((2, 2), 0.5),
        "bias": torch.zeros(7),
        "norm": torch.ones(7),
        "count": torch.ones(2, 2, dtype=torch.int64),
    }
    assert [(f.kind, f.tensor, f.what) for f in unsound(state)] == [
        ("dead_outputs", "a", "1 of 3, such as [1]"),
        ("dead_inputs", "a", "2 of 4, such as [2, 3]"),
        ("zeros", "b", "all 6 numbers are 0"),
        ("constant", "c", "all 4 numbers are 0.5"),
    ]


def test_a_sound_checkpoint_is_sound_and_another_preset_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "policy")
    code, found = looked_at(capsys, str(tmp_path / "policy"))
    assert (code, found["kind"], found["sound"]) == (0, "policy", True)
    assert {f["kind"] for f in found["findings"]} == {
        "zeros",
        "dead_outputs",
    }  # new cameras; the padding token
    code, found = looked_at(capsys, str(tmp_path / "policy"), "--env=tiny", CONF)
    assert code == 1
    assert {"shape", "missing"} <= {f["kind"] for f in found["findings"]}


def test_planted_faults_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave = torch.ones(2, 16)
    leave[1, 3] = float("nan")
    save(tmp_path / "policy", head__leave__weight=leave, head__more=torch.ones(3))
    assert main([str(tmp_path / "policy")]) == 1
    text = capsys.readouterr().out
    assert "NOT SOUND" in text
    assert "head.leave.weight: 1 of 32 numbers, first nan at [1, 3]" in text
    assert "head.more: (3,), the model has none" in text


def test_the_checkpoint_of_the_package_is_sound_and_fits_its_preset(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, found = looked_at(capsys, "reference")
    assert (code, found["kind"]) == (0, "heatmap")
    code, found = looked_at(capsys, "reference", "--env=reference", CONF)
    assert code == 0, found["findings"]


def test_an_action_dialogue_fits_its_own_description(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = toy_dialogue()
    meta = dialogue_meta(model, synthetic.TOKENIZER)
    CheckpointDataset(filepath=str(tmp_path / "it")).save({"state_dict": model.state_dict(), "meta": meta})
    code, found = looked_at(capsys, str(tmp_path / "it"))
    assert (code, found["kind"]) == (0, "dialogue"), found["findings"]


def test_what_cannot_be_looked_at_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
    save(tmp_path / "policy")
    assert main([str(tmp_path / "policy"), "--env=nowhere", CONF]) == 2
    assert "no environment 'nowhere'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
