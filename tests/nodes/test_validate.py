"""The validate stage on hand-made walks through an empty box: clean ones pass, each fault has its reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from box_walks import CAMERA_HEIGHT, ROOT, blind, store, walk

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.datasets.sequence_store import SequenceStore
from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.nodes import validate
from vln_heatmap.nodes.quality.controller import SCORES
from vln_heatmap.nodes.validation.inspection import rotation_error, velocity_error
from vln_heatmap.params import ExpectationParams, ValidateParams
from vln_heatmap.params.data import CollectionParams


def teleported(sequence: Sequence) -> Sequence:
    frames = sequence.frames.copy()
    pose = sequence.poses[4]
    pose[0, 3] += 2.0
    frames.at[4, "camera_to_world"] = pose.ravel().tolist()
    return dataclasses.replace(sequence, frames=frames)


def with_noisy_depth(sequence: Sequence) -> Sequence:
    noise = np.random.default_rng(0).uniform(0.8, 1.25, sequence.depth[3].shape)
    depth = sequence.depth.copy()
    depth[3] *= noise
    return dataclasses.replace(sequence, depth=depth)


def with_late_depth(sequence: Sequence) -> Sequence:
    return dataclasses.replace(sequence, depth=np.roll(sequence.depth, 1, axis=0))


def frozen(sequence: Sequence) -> Sequence:
    rgb = sequence.rgb.copy()
    rgb[2:5] = rgb[1]
    return dataclasses.replace(sequence, rgb=rgb)


def black(sequence: Sequence) -> Sequence:
    return dataclasses.replace(sequence, rgb=np.zeros_like(sequence.rgb))


def without_a_wall(sequence: Sequence) -> Sequence:
    metadata = {**sequence.metadata, "objects": sequence.metadata["objects"][:2]}
    return dataclasses.replace(sequence, metadata=metadata)


def with_other_ids_in_the_image(sequence: Sequence) -> Sequence:
    instance = sequence.instance.copy()
    instance[0, :4, :4] = 6
    return dataclasses.replace(sequence, instance=instance)


def without_objects(sequence: Sequence) -> Sequence:
    metadata = {key: value for key, value in sequence.metadata.items() if key != "objects"}
    return dataclasses.replace(sequence, metadata=metadata)


def out_of_scale(sequence: Sequence) -> Sequence:
    return dataclasses.replace(sequence, depth=sequence.depth * np.float32(1.05))


def set_cell(column: str, row: int, value: Any) -> Callable[[Sequence], Sequence]:
    def fault(sequence: Sequence) -> Sequence:
        frames = sequence.frames.copy()
        frames.at[row, column] = value
        return dataclasses.replace(sequence, frames=frames)

    return fault


NAN_POSE = np.full(16, np.nan).tolist()
SKEWED_POSE = (look_pose((0, CAMERA_HEIGHT, 1.0), 0.3) * [[1.01], [1], [1], [1]]).ravel().tolist()

FAULTS: dict[str, tuple[Callable[[Sequence], Sequence], set[str]]] = {
    "teleported": (teleported, {"pose_jump", "pose_against_state", "depth_contradicts"}),
    "noisy depth": (with_noisy_depth, {"depth_against_pose"}),
    "late depth": (with_late_depth, {"depth_against_pose", "depth_contradicts"}),
    "frozen image": (frozen, {"frozen_image"}),
    "black image": (black, {"exposure", "no_contrast"}),
    "unknown id": (without_a_wall, {"unknown_instance"}),
    "table against image": (with_other_ids_in_the_image, {"ids_against_image"}),
    "NaN pose": (set_cell("camera_to_world", 2, NAN_POSE), {"pose_not_finite"}),
    "skewed pose": (set_cell("camera_to_world", 0, SKEWED_POSE), {"pose_not_rigid"}),
    "short pose": (set_cell("camera_to_world", 2, [1.0] * 12), {"unreadable"}),
    "time goes back": (set_cell("timestamp", 3, 0.05), {"time_goes_back"}),
    "no timestamp": (set_cell("timestamp", 3, np.nan), {"no_timestamp"}),
    "unknown action": (set_cell("action", 3, 9), {"unknown_action"}),
    "frame twice": (set_cell("frame_index", 3, 2), {"duplicate_frame", "frame_order"}),
    "two first frames": (set_cell("is_first", 3, True), {"wrong_flag"}),
    "wrong velocity": (set_cell("velocity", 1, (0.0, 0.25, 0.0, 0.0, 0.0)), {"state_against_velocity"}),
    "no objects": (without_objects, {"unreadable"}),
    "no depth": (blind, {"no_depth"}),
    "depth out of scale": (out_of_scale, {"quality_verdict", "quality_geometric"}),
    "one frame": (lambda sequence: walk(sequence.id, ""), {"length"}),
}


#: What the quality controller says of them: the one score that falls.
QUALITY_OF = {
    "teleported": "geometric",
    "noisy depth": "geometric",
    "frozen image": "smoothness",
    "black image": "visual",
    "unknown id": "annotation",
    "table against image": "annotation",
    "NaN pose": "geometric",
    "time goes back": "smoothness",
    "no depth": "geometric",
    "depth out of scale": "geometric",
}


def default_params(**changes: Any) -> ValidateParams:
    """The parameters that ``kedro run`` uses."""
    group = yaml.safe_load((ROOT / "conf/base/parameters_validate.yml").read_text())["validate"]
    return ValidateParams(**{**group, "workers": 2, **changes})


def run(
    sequences: SequenceStore, index: pd.DataFrame, params: ValidateParams
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any], dict[str, str], str]:
    """All nodes but the last: judged index, quarantine, report, Data Docs, summary."""
    frames, facts = validate.inspect_sequences(sequences, index, params)
    broken, outcomes, pages = validate.judge_sequences(index, frames, facts, params)
    judged, quarantine, report = validate.sort_sequences(index, frames, facts, broken, outcomes)
    return judged, quarantine, report, pages, validate.summarize_validation(report, judged, sequences, params)


@pytest.fixture(scope="module")
def faulty_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """One validation of two clean walks and one walk per fault; its id is the fault's place in the list."""
    sequences = [walk("clean_00"), walk("clean_01", "rrfflllllff")]
    for number, (fault, _) in enumerate(FAULTS.values()):
        sequences.append(fault(walk(f"faulty_{number:02d}")))
    return run(*store(tmp_path_factory.mktemp("store"), *sequences), default_params())


def test_clean_sequences_are_accepted_without_a_reason(faulty_run: tuple[Any, ...]) -> None:
    judged = faulty_run[0].set_index("id")
    clean = judged.loc[["clean_00", "clean_01"]]
    assert clean["accepted"].all()
    assert (clean["reason"] == "").all()
    assert (clean["reprojection_error"] < 2e-3).all()  # millimetre rounding and corners of the room
    assert (clean["reprojection_inliers"] > 0.95).all()


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_rejected_for_its_reason(faulty_run: tuple[Any, ...], name: str) -> None:
    quarantine = faulty_run[1].set_index("id")
    reasons = set(quarantine.loc[f"faulty_{list(FAULTS).index(name):02d}", "reasons"].split(", "))
    assert FAULTS[name][1] <= reasons
    others = {reason for reason in reasons - FAULTS[name][1] if not reason.startswith("quality")}
    assert len(others) <= 1, others  # a bad pose may spoil the depth check, too


def test_report_counts_what_the_quarantine_lists(faulty_run: tuple[Any, ...]) -> None:
    judged, quarantine, report, _, _ = faulty_run
    assert report["sequences"] == {
        "total": len(FAULTS) + 2,
        "accepted": 2,
        "rejected": len(FAULTS),
        "accepted_share": pytest.approx(2 / (len(FAULTS) + 2)),
    }
    assert set(quarantine["id"]) == set(judged.loc[~judged["accepted"], "id"])
    assert report["reasons"]["unreadable"] == 2
    assert sum(report["reasons"].values()) == quarantine["reasons"].str.split(",").map(len).sum()
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_reason_says_what_was_found_and_where(faulty_run: tuple[Any, ...]) -> None:
    reasons = faulty_run[1].set_index("id")["reason"]
    teleport = reasons[f"faulty_{list(FAULTS).index('teleported'):02d}"]
    assert "pose_jump: step is 1.879 at frame 3 and 1 more" in teleport  # 2 m sideways and 0.25 m ahead
    assert teleport.endswith("re-collect: the pose jumps: move and turn in smaller steps (pose_jumps 0.00)")


def test_a_scenario_that_does_not_hold_is_rejected(tmp_path: Path) -> None:
    walks = [walk(f"a_0{number}") for number in range(3)]
    walks[0].metadata["scenario"] = {"name": "sharp_turns", "holds": False}
    walks[1].metadata["scenario"] = {"name": "sharp_turns", "holds": True}
    judged, quarantine, *_ = run(*store(tmp_path, *walks), default_params())
    assert judged["accepted"].to_list() == [False, True, True]
    assert quarantine["reason"].to_list() == ["scenario_does_not_hold: scenario_holds is 0"]


def test_pages_are_whole_and_the_summary_needs_no_other_file(faulty_run: tuple[Any, ...]) -> None:
    _, _, _, pages, summary = faulty_run
    assert "index.html" in pages
    assert any("velocity_error" in text for name, text in pages.items() if name.startswith("validations"))
    assert "2 of 22 sequences accepted" in summary
    assert 'src="http' not in summary
    assert "href=" not in summary
    assert summary.count("data:image/jpeg;base64,") == default_params().thumbnails


def test_corrupt_and_missing_sequences_are_quarantined(tmp_path: Path) -> None:
    sequences, index = store(tmp_path, walk("good_00"), walk("cut_00"), walk("gone_00"))
    video = tmp_path / "shard_00000/cut_00/depth.mkv"
    video.write_bytes(video.read_bytes()[:-20])
    frames, facts = validate.inspect_sequences(
        sequences,
        pd.concat([index, pd.DataFrame({"id": ["other_00"], "scene": ["other"]})]),
        default_params(),
    )
    errors = facts.set_index("sequence_id")["error"]
    assert errors["good_00"] == errors["gone_00"] == ""
    assert "depth.mkv: truncated" in errors["cut_00"]
    assert "not in the store" in errors["other_00"]
    assert set(frames["sequence_id"]) == {"good_00", "gone_00"}


def test_nothing_readable_still_gives_a_report(tmp_path: Path) -> None:
    sequences, index = store(tmp_path, walk("a_00"), walk("b_00"))
    for path in tmp_path.glob("*/*/rgb.mp4"):
        path.write_bytes(b"")
    judged, quarantine, report, pages, summary = run(sequences, index, default_params())
    assert not judged["accepted"].any()
    assert list(quarantine["reasons"]) == ["unreadable", "unreadable"]
    assert report["reasons"] == {"unreadable": 2}
    assert pages == {}
    assert "0 of 2 sequences accepted" in summary


def test_below_the_share_the_run_stops_and_names_the_reasons(tmp_path: Path) -> None:
    params = default_params(min_accepted_share=0.6)
    judged, _, report, _, summary = run(*store(tmp_path, walk("a_00"), blind(walk("b_00"))), params)
    with pytest.raises(validate.TooFewGoodSequencesError, match=r"only 1 of 2 .*no_depth \(1\).*b_00"):
        validate.require_good_share(judged, report, summary, params)
    enough = default_params(min_accepted_share=0.5)
    pd.testing.assert_frame_equal(validate.require_good_share(judged, report, summary, enough), judged)


def test_empty_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing was collected"):
        validate.inspect_sequences(SequenceStore(tmp_path), pd.DataFrame({"id": []}), default_params())


def test_the_collection_as_a_whole_is_judged_and_rejects_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    walks = [walk("a_00"), walk("a_01"), walk("b_00"), blind(walk("c_00"))]
    sequences, index = store(tmp_path, *walks)
    index = index.assign(part=["one", "one", "one", "two"], quality=0.1, kind=[None] * 4)
    mean = {"type": "expect_column_mean_to_be_between", "column": "quality_passed"}
    divergence = {"type": "expect_column_kl_divergence_to_be_less_than", "column": "part", "threshold": 0.01}
    most = {"type": "expect_column_values_to_be_between", "column": "quality", "mostly": 0.7}
    count = {"type": "expect_column_unique_value_count_to_be_between", "min_value": 1}
    collection = {
        "passing": {**mean, "min_value": 0.9},
        "some_pass": {**mean, "min_value": 0.7},
        "as_planned": {**divergence, "shares": {"one": 0.6, "two": 0.2}},
        "evenly": {**divergence, "shares": {"one": 1, "two": 1}},
        "most": {**most, "min_value": 0.95},
        "not_there": {**count, "column": "scenario"},
        "empty": {**count, "column": "kind"},
    }
    params = default_params(min_accepted_share=0.5, collection=collection)
    judged, quarantine, report, pages, summary = run(sequences, index, params)
    outcome = report["collection"]
    assert {name: item["met"] for name, item in outcome.items()} == {
        "passing": False,
        "some_pass": True,
        "as_planned": True,
        "evenly": False,
        "most": True,
    }
    assert outcome["passing"]["observed"] == 0.75
    assert outcome["most"]["observed"] == 0.75  # the quality found now, not what the index said
    half = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    assert outcome["evenly"]["observed"] == pytest.approx(half)
    assert quarantine["id"].to_list() == ["c_00"]
    assert "not as expected: passing (quality_passed is 0.75)" in caplog.text
    assert "as_planned" in summary
    assert judged["quality"].to_list()[:3] == [1.0] * 3
    assert any("kl" in text.lower() for name, text in pages.items() if name.startswith("expectations"))


def test_quality_is_recomputed_for_every_sequence_and_says_what_to_do(faulty_run: tuple[Any, ...]) -> None:
    judged, _, report, _, summary = faulty_run
    scores = judged.set_index("id")
    columns = [f"quality_{name}" for name in SCORES]
    assert (scores.loc[["clean_00", "clean_01"], [*columns, "quality"]] == 1.0).all(axis=None)
    for name, column in QUALITY_OF.items():
        row = scores.loc[f"faulty_{list(FAULTS).index(name):02d}", columns]
        assert row[f"quality_{column}"] < 0.7, name
        assert row.drop(f"quality_{column}").min() >= 0.98, name
    worst = report["worst"]
    assert len(worst) == 10
    assert worst[0]["quality"] == min(scores["quality"].dropna())
    assert all(item["recommendation"].startswith("re-collect") for item in worst)
    assert f"{worst[0]['id']}" in summary
    assert "re-collect: " in summary


def test_limit_on_an_unknown_column_is_refused(tmp_path: Path) -> None:
    limits = {"speed": ExpectationParams(type="expect_column_values_to_not_be_null", column="speeed")}
    params = default_params(frames=limits)
    sequences, index = store(tmp_path, walk())
    frames, facts = validate.inspect_sequences(sequences, index, params)
    with pytest.raises(ValueError, match=r"validate\.frames\.speed looks at column 'speeed', but .*step"):
        validate.judge_sequences(index, frames, facts, params)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "expect_column_values_to_be_between", "column": "x"},
        {"type": "expect_column_values_to_be_in_set", "column": "x"},
        {"type": "expect_column_values_to_not_be_null"},
        {"type": "expect_compound_columns_to_be_unique", "column": "x"},
        {"type": "expect_something_else", "column": "x"},
    ],
)
def test_impossible_expectations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expect_"):
        ExpectationParams(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "expect_column_mean_to_be_between"},
        {"type": "expect_column_mean_to_be_between", "min_value": 0, "mostly": 0.5},
        {"type": "expect_column_values_to_be_between", "min_value": 0},
        {"type": "expect_column_kl_divergence_to_be_less_than", "shares": {"a": 1}},
        {"type": "expect_column_unique_value_count_to_be_between", "min_value": 0, "threshold": 1},
        {"type": "expect_column_values_to_not_be_null"},
    ],
)
def test_impossible_expectations_of_the_collection_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expect_"):
        CollectionParams(column="x", **wrong)


def test_rotation_measures() -> None:
    turned = look_pose((1, 0, 0), 0.2 + np.radians(40))[None]
    assert rotation_error(turned) == pytest.approx(0, abs=1e-12)
    mirrored = turned * [1, -1, 1, 1]
    assert rotation_error(mirrored) == pytest.approx(2)
    assert rotation_error(turned * 1.1) > 0.2


def test_velocity_leads_from_state_to_state() -> None:
    yaw = np.pi / 2  # looks along -x, left is +z
    states = np.array([[0, 0, 0, yaw, 0, 1], [-0.25, 0.1, 0.1, yaw + 0.3 - 2 * np.pi, 0.2, 1.5]])
    assert velocity_error(states, np.array([[0.25, 0.1, 0.6, 0.3, 0.2], [0] * 5])) == pytest.approx(
        0, abs=1e-12
    )
    assert velocity_error(states, np.array([[0.25, 0.1, 0.6, 0.2, 0.2], [0] * 5])) == pytest.approx(0.1)
