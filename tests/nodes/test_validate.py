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
from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.nodes import validate
from vln_heatmap.nodes.validation.inspection import (
    depth_ratios,
    pair_starts,
    reprojection,
    rotation_angles,
    rotation_error,
    sample_inverse,
    velocity_error,
    visible_error,
)
from vln_heatmap.params import ExpectationParams, ValidateParams


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
    "black image": (black, {"exposure", "no_contrast", "frozen_image"}),
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
    "one frame": (lambda sequence: walk(sequence.id, ""), {"length"}),
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
    broken, outcomes, pages = validate.judge_sequences(frames, facts, params)
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
    assert len(reasons - FAULTS[name][1]) <= 1, reasons  # a bad pose may spoil the depth check, too


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


def test_pages_are_whole_and_the_summary_needs_no_other_file(faulty_run: tuple[Any, ...]) -> None:
    _, _, _, pages, summary = faulty_run
    assert "index.html" in pages
    assert any("velocity_error" in text for name, text in pages.items() if name.startswith("validations"))
    assert "2 of 21 sequences accepted" in summary
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


def test_limit_on_an_unknown_column_is_refused(tmp_path: Path) -> None:
    limits = {"speed": ExpectationParams(type="expect_column_values_to_not_be_null", column="speeed")}
    params = default_params(frames=limits)
    frames, facts = validate.inspect_sequences(*store(tmp_path, walk()), params)
    with pytest.raises(ValueError, match=r"validate\.frames\.speed looks at column 'speeed', but .*step"):
        validate.judge_sequences(frames, facts, params)


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


def test_wall_seen_head_on_agrees_after_a_step_towards_it() -> None:
    camera = PinholeCamera(32, 32, 60.0)
    poses = np.stack([look_pose((0, 1, 0), 0.0), look_pose((0, 1, -0.5), 0.0)])
    depths = np.stack([np.full((32, 32), 3.0), np.full((32, 32), 2.5)]).astype(np.float32)
    error, inliers = reprojection(depths, poses, camera, params=default_params())
    assert error == pytest.approx(0, abs=1e-6)
    assert inliers == 1.0
    depths[1] *= np.float32(1.1)  # 2.75 m: what should be 2.5 m away lies in front of it
    wrong = reprojection(depths, poses, camera, params=default_params())
    assert wrong[0] == pytest.approx(1 - 1 / 1.1, abs=1e-6)
    assert wrong[1] == 0.0
    depths[1] /= np.float32(1.21)  # too near: hides the first, and contradicts it the other way round
    assert reprojection(depths, poses, camera, params=default_params())[1] == 0.0


def test_hidden_points_lie_behind() -> None:
    camera = PinholeCamera(32, 32, 60.0)
    poses = np.stack([look_pose((0, 1, 0), 0.0)] * 2)
    near = np.full((32, 32), 3.0, np.float32)
    near[:, :20] = 1.0  # something came in front of most of the wall
    ratios = depth_ratios(np.stack([np.full_like(near, 3.0), near]), poses, camera, stride=1)
    assert set(ratios.round(6)) == {1.0, 3.0}
    nothing = np.stack([near, near]) * 0
    assert np.isnan(reprojection(nothing, poses, camera, params=default_params())).all()


def test_inverse_depth_of_a_slanted_plane_is_exact_between_pixels() -> None:
    camera = PinholeCamera(20, 16, 90.0)
    normal, offset = np.array([0.3, -0.5, 1.0]), 4.0  # points with normal @ p = offset
    depth = (offset / (camera.directions() @ normal)).astype(np.float32)
    u, v = np.array([3.2, 10.0, 19.4]), np.array([5.7, 8.0, 0.6])
    rays = np.stack([(u - 10) / camera.focal, (v - 8) / camera.focal, np.ones(3)], axis=-1)
    np.testing.assert_allclose(sample_inverse(depth, u, v), rays @ normal / offset, rtol=1e-5)
    outside = sample_inverse(depth, np.array([0.4, np.nan]), np.array([5.0, 5.0]))
    assert np.isnan(outside).all()


def test_rotation_measures() -> None:
    still, turned = look_pose((0, 0, 0), 0.2)[None], look_pose((1, 0, 0), 0.2 + np.radians(40))[None]
    assert rotation_angles(still, turned) == pytest.approx(40)
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


def test_visible_error_is_the_share_of_pixels_in_dispute() -> None:
    instance = np.array([[1, 1], [2, 0]], np.int32)
    assert visible_error(instance, [1, 2], [2, 1]) == 0
    assert visible_error(instance, [1], [2]) == 0.25
    assert visible_error(instance, [1, 2, 5], [1, 1, 1]) == 0.5


@pytest.mark.parametrize(("length", "pairs"), [(1, 4), (2, 4), (9, 3), (9, 100)])
def test_pairs_are_spread_over_the_sequence(length: int, pairs: int) -> None:
    starts = pair_starts(length, pairs)
    assert len(starts) == max(1, min(pairs, length - 1))
    assert starts[0] == 0
    assert starts[-1] == max(0, length - 2)
