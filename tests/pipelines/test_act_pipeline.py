"""The act stage as a session runs it: one moment to a chunk of actions in files, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from box_walks import ROOT
from kedro.framework.cli.utils import _split_params
from kedro.framework.session import KedroSession
from PIL import Image
from toy_policy import TOKENIZER, statistics, toy_policy

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset, CheckpointMismatchError
from vln_heatmap.datasets.observation import ObservationDataset
from vln_heatmap.hooks import MissingUpstreamError
from vln_heatmap.nodes.model.policy.assemble import policy_meta
from vln_heatmap.nodes.policy.act import act
from vln_heatmap.nodes.policy.inference import Policy
from vln_heatmap.params.policy import ActParams

TRAINED = "data/06_models/policy/2026-01-01T00.00.00.000Z/policy"
STATE = [1.0, 2.5, -3.0, 0.0]


def save_policy(folder: Path) -> None:
    """A toy policy of two cameras, 4 numbers of state and 2 of action, 3 actions a chunk."""
    stats = statistics(cameras=2)
    policy = toy_policy(stats)
    meta = policy_meta(policy, TOKENIZER, stats)
    CheckpointDataset(filepath=str(folder)).save({"state_dict": policy.state_dict(), "meta": meta})


@pytest.fixture
def asked(project: Path) -> dict[str, Any]:
    """A project with a policy and two pictures; what to ask."""
    save_policy(project / TRAINED)
    for number, name in enumerate(("front.png", "my wrist.jpg")):
        Image.fromarray(np.full((20, 30, 3), 90 * number, np.uint8)).save(project / name)
    return {"images": ["front.png", "my wrist.jpg"], "prompt": "go, slowly", "state": STATE}


def run(project: Path, params: dict[str, Any]) -> None:
    conf = str(ROOT / "conf")
    with KedroSession.create(
        project, env="test", conf_source=conf, runtime_params={"act": params}
    ) as session:
        session.run(pipeline_names=["act"])


def answer(project: Path) -> pd.DataFrame:
    return pd.read_csv(project / "data/07_model_output/act/actions.csv")


def test_a_moment_becomes_a_table_a_summary_and_a_picture(project: Path, asked: dict[str, Any]) -> None:
    run(project, asked)
    out, table = project / "data/07_model_output/act", answer(project)
    policy = Policy.open(project / "data/06_models/policy")
    images = [np.asarray(Image.open(project / name).convert("RGB")) for name in asked["images"]]
    expected = policy.act(images, asked["prompt"], STATE)
    assert list(table.columns) == ["step", "action_0", "action_1"]
    np.testing.assert_allclose(table[["action_0", "action_1"]], expected, rtol=1e-6)
    summary = json.loads((out / "answer.json").read_text())
    assert summary["images"] == {"image_1": "front.png", "image_2": "my wrist.jpg"}
    assert summary["prompt"] == "go, slowly"
    assert summary["state"] == STATE
    assert len(summary["actions"]) == 3
    assert Image.open(out / "chunk.png").size[0] > 200


def test_a_request_file_says_it_all_and_parameters_count_before_it(
    project: Path, asked: dict[str, Any]
) -> None:
    folder = project / "requests"
    folder.mkdir()
    named = {**asked, "images": [f"../{name}" for name in asked["images"]], "left": [[1, 2], [3, 4]]}
    (folder / "one.json").write_text(json.dumps({**named, "state": [9.0] * 4}))
    real_time = {"chunking": {"name": "real_time", "delay": 1}, "request": "requests/one.json"}
    run(project, {**real_time, "state": STATE})
    held = answer(project)
    assert held.loc[0, ["action_0", "action_1"]].tolist() == [1, 2]  # is done while the policy thinks
    summary = json.loads((project / "data/07_model_output/act/answer.json").read_text())
    assert summary["state"] == STATE
    assert summary["left"] == [[1, 2], [3, 4]]
    run(project, asked)
    assert not np.allclose(held, answer(project))


def test_the_command_line_parts_words_at_spaces() -> None:
    text = r"act.images=my\ wrist.jpg front.png,act.prompt=go to the door,act.state=1 2.5 -3 0,act.previous=7"
    given = ActParams.model_validate(_split_params(None, None, text)["act"])  # as kedro reads it
    assert given.images == ("my wrist.jpg", "front.png")
    assert given.prompt == "go to the door"
    assert list(given.state or ()) == STATE
    assert given.previous == (7,)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"images": None}, r"--params=act\.images=PATH"),
    "absent image": ({"images": ["front.png", "back.png"]}, "there is no image at back.png"),
    "one image": ({"images": ["front.png"]}, r"an image of each of \['image_1', 'image_2'\], got 1"),
    "no state": ({"state": None}, r"the state is missing: --params='act\.state=0 0 0 0'"),
    "short state": ({"state": [1.0]}, r"state must be the 4 numbers .*got shape \(1,\)"),
    "long action": ({"previous": [0.0] * 3}, "previous must be the 2 numbers"),
    "words": ({"state": "one two"}, "unable to parse string as a number"),
    "absent request": ({"request": "no.json"}, r"there is no request file at no\.json"),
    "text": ({"images": ["front.png", "notes.txt"]}, r"notes\.txt cannot be read as an image"),
    "unknown key": ({"request": "notes.txt"}, r"notes\.txt is no request"),
    "left": ({"left": [[1.0, 2.0]]}, r"act\.chunking\.name is none"),
    "delay": (
        {"left": [[1.0, 2.0]], "chunking": {"name": "real_time", "delay": 2}},
        r"delay must be in \[0, 1\]",
    ),
}


@pytest.mark.parametrize("given", sorted(BAD))
def test_what_cannot_be_asked_is_one_clear_error(project: Path, asked: dict[str, Any], given: str) -> None:
    (project / "notes.txt").write_text("imagse: [front.png]")
    changes, message = BAD[given]
    params = {name: value for name, value in (asked | changes).items() if value is not None}
    seen = ObservationDataset(images=params.get("images"), request=params.get("request"))
    with pytest.raises(Exception, match=message):
        act(Checkpoint.open(project / TRAINED), seen.load(), ActParams.model_validate(params))


def test_without_a_policy_the_stage_that_makes_one_is_named(project: Path) -> None:
    with pytest.raises(MissingUpstreamError, match="run `kedro run --pipelines=policy"):
        run(project, {"images": ["front.png"]})


def test_a_checkpoint_of_something_else_is_refused(asked: dict[str, Any]) -> None:
    seen = ObservationDataset(images=asked["images"]).load()
    with pytest.raises(CheckpointMismatchError, match="does not describe a policy"):
        act(Checkpoint.open("reference"), seen, ActParams.model_validate(asked))
