"""Each fault lowers the score of what it harms below its limit, and no other by more than 0.02."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_walks import blind, store, walk
from moving_cube import CUBE, cube_walk
from scipy.ndimage import gaussian_filter

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.nodes.quality import QualityController, QualityReport
from vln_heatmap.nodes.quality.controller import SCORES, WEIGHTS
from vln_heatmap.params import QualityParams

PARAMS = QualityParams()
CLEAN = cube_walk()
Fault = Callable[[Sequence], Sequence]


def assess(sequence: Any, **changes: Any) -> QualityReport:
    return QualityController(PARAMS.model_copy(update=changes)).assess(sequence)


def images(sequence: Sequence, name: str, edit: Callable[[np.ndarray], None]) -> Sequence:
    """A copy of which one array was edited in place."""
    array = getattr(sequence, name).copy()
    edit(array)
    return dataclasses.replace(sequence, **{name: array})


def cell(sequence: Sequence, column: str, row: int, value: Any) -> Sequence:
    frames = sequence.frames.copy()
    frames.at[row, column] = value
    return dataclasses.replace(sequence, frames=frames)


def with_metadata(sequence: Sequence, **changes: Any) -> Sequence:
    return dataclasses.replace(sequence, metadata={**sequence.metadata, **changes})


def teleport(sequence: Sequence, metres: float = 2.0) -> Sequence:
    pose = sequence.poses[5]
    pose[0, 3] += metres
    return cell(sequence, "camera_to_world", 5, pose.ravel())


def noise_on_depth(frames: slice) -> Fault:
    def edit(depth: np.ndarray) -> None:
        depth[frames] *= np.random.default_rng(0).normal(1, 0.03, depth[frames].shape)

    return lambda sequence: images(sequence, "depth", edit)


def still(sequence: Sequence) -> Sequence:
    """A camera that never leaves its place, as a true recording of that would be."""
    count = len(sequence)
    columns = ("camera_to_world", "state", "visible_ids", "visible_pixels")
    frames = sequence.frames.assign(**{name: [sequence.frames[name][0]] * count for name in columns})
    arrays = {name: np.stack([getattr(sequence, name)[0]] * count) for name in ("rgb", "depth", "instance")}
    return dataclasses.replace(sequence, frames=frames, **arrays)


def shaken(sequence: Sequence) -> Sequence:
    """The images of a camera that trembles by 5 mm to and fro, as the poses say."""
    frames = sequence.frames.copy()
    tremble = np.zeros((len(sequence), 4, 4))
    tremble[::2, 0, 3] = 0.005
    poses = np.stack([sequence.poses[0]] * len(sequence)) + tremble
    frames["camera_to_world"] = [pose.ravel() for pose in poses]
    return dataclasses.replace(still(sequence), frames=frames)


def without_object(sequence: Sequence, key: int) -> Sequence:
    return with_metadata(sequence, objects=[o for o in sequence.metadata["objects"] if o["id"] != key])


def without_box(sequence: Sequence) -> Sequence:
    return with_metadata(sequence, objects=[{**o, "box_min": None} for o in sequence.metadata["objects"]])


def elsewhere(sequence: Sequence) -> Sequence:
    """In two frames the cube's pixels are called a wall that is not there, and the table agrees."""
    instance = sequence.instance.copy()
    instance[2:4][instance[2:4] == CUBE] = 6
    rows = [np.unique(ids[ids > 0], return_counts=True) for ids in instance]
    frames = sequence.frames.assign(
        visible_ids=[ids for ids, _ in rows], visible_pixels=[count for _, count in rows]
    )
    return dataclasses.replace(sequence, instance=instance, frames=frames)


def blurred(sequence: Sequence) -> Sequence:
    def edit(rgb: np.ndarray) -> None:
        rgb[4] = gaussian_filter(rgb[4].astype(float), (1.5, 1.5, 0))

    return images(sequence, "rgb", edit)


def frozen(rgb: np.ndarray) -> None:
    rgb[4] = rgb[3]


def fill(frame: int, value: int) -> Callable[[np.ndarray], None]:
    def edit(array: np.ndarray) -> None:
        array[frame] = value

    return edit


def relabel(instance: np.ndarray) -> None:
    instance[2][instance[2] == CUBE] = 99


def patch(instance: np.ndarray) -> None:
    instance[2, :6, :6] = 6


def unlabel(instance: np.ndarray) -> None:
    instance[2, :20] = 0


FAULTS: dict[str, tuple[str, str, Fault]] = {
    "a teleport": ("geometric", "pose_jumps", teleport),
    "a small teleport": ("geometric", "pose_jumps", lambda s: teleport(s, 0.5)),
    "a pose of NaN": ("geometric", "pose_jumps", lambda s: cell(s, "camera_to_world", 4, [np.nan] * 16)),
    "noise on all depth": ("geometric", "depth_quality", noise_on_depth(slice(None))),
    "noise on the depth of one frame": ("geometric", "depth_quality", noise_on_depth(slice(4, 5))),
    "depth too large by 4 %": (
        "geometric",
        "depth_quality",
        lambda s: dataclasses.replace(s, depth=s.depth * np.float32(1.04)),
    ),
    "depth too small by 4 %": (
        "geometric",
        "depth_quality",
        lambda s: dataclasses.replace(s, depth=s.depth * np.float32(0.96)),
    ),
    "a frame without depth": ("geometric", "depth_quality", lambda s: images(s, "depth", fill(4, 0))),
    "depth a frame late": (
        "geometric",
        "reconstruction",
        lambda s: dataclasses.replace(s, depth=np.roll(s.depth, 1, axis=0)),
    ),
    "a black frame": ("visual", "exposure", lambda s: images(s, "rgb", fill(4, 0))),
    "a white frame": ("visual", "exposure", lambda s: images(s, "rgb", fill(4, 255))),
    "a grey frame": ("visual", "entropy", lambda s: images(s, "rgb", fill(4, 128))),
    "a blurred frame": ("visual", "sharpness", blurred),
    "a camera that stays": ("coverage", "space", still),
    "a frozen frame": ("smoothness", "image_flow", lambda s: images(s, "rgb", frozen)),
    "a late frame": ("smoothness", "clock", lambda s: cell(s, "timestamp", 4, 0.49)),
    "time that stands still": ("smoothness", "clock", lambda s: cell(s, "timestamp", 4, 0.3)),
    "a wrong id": ("annotation", "known", lambda s: images(s, "instance", relabel)),
    "an id that the table does not count": ("annotation", "counted", lambda s: images(s, "instance", patch)),
    "unlabelled pixels": ("annotation", "labelled", lambda s: images(s, "instance", unlabel)),
    "an id of something elsewhere": ("annotation", "placed", elsewhere),
    "a missing object": ("annotation", "known", lambda s: without_object(s, CUBE)),
    "objects without boxes": ("annotation", "described", without_box),
    "an instruction about nothing": (
        "annotation",
        "referred",
        lambda s: with_metadata(s, instructions=[{"text": "go to the lamp", "instances": [44]}]),
    ),
}


def test_a_clean_sequence_is_kept() -> None:
    report = assess(CLEAN)
    assert report.passed
    assert report.recommendation == "keep"
    assert {name: getattr(report, name) for name in SCORES} == dict.fromkeys(SCORES, 1.0)
    assert report.overall == 1.0


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_lowers_its_own_score_and_no_other(name: str) -> None:
    score, part, fault = FAULTS[name]
    clean, report = assess(CLEAN), assess(fault(CLEAN))
    assert getattr(report, score) < PARAMS.score_limit
    parts = report.details["parts"][score]
    assert parts[part] < 0.7
    for other in set(SCORES) - {score}:
        assert abs(getattr(report, other) - getattr(clean, other)) <= 0.02, other
    assert not report.passed
    weakest = min(parts, key=parts.__getitem__)
    assert report.recommendation.startswith("re-collect: ")
    assert f"({weakest} {parts[weakest]:.2f})" in report.recommendation


def test_a_trembling_camera_is_not_steady() -> None:
    report = assess(shaken(CLEAN))
    assert report.smoothness < PARAMS.score_limit
    assert report.details["measured"]["smoothness"]["jitter"] == 1.0


def test_two_faults_are_both_named() -> None:
    report = assess(images(teleport(CLEAN), "rgb", frozen))
    assert report.geometric < PARAMS.score_limit > report.smoothness
    assert "pose_jumps" in report.recommendation
    assert "image_flow" in report.recommendation
    assert min(report.visual, report.coverage, report.annotation) == 1.0


def test_a_thing_in_motion_is_as_consistent_as_walls() -> None:
    moving = assess(cube_walk(step=0.12))
    assert moving.passed
    assert moving.geometric == moving.annotation == 1.0


def test_a_motion_that_nobody_tells_of_is_a_thing_in_the_wrong_place() -> None:
    silent = assess(cube_walk(step=0.12, told=False))
    assert silent.annotation < PARAMS.score_limit
    assert silent.details["measured"]["annotation"]["misplaced_id"] == CUBE


@pytest.mark.parametrize("level", [0.3, 0.02])
def test_dim_light_passes_where_it_is_claimed(level: float) -> None:
    """Linear light of a twentieth is a quarter of the grey levels."""
    dim = dataclasses.replace(CLEAN, rgb=np.rint(CLEAN.rgb * level ** (1 / 2.2)).astype(np.uint8))
    weights = [level] * len(dim)
    assert assess(with_metadata(dim, lights={"daylight": weights, "lamps": weights})).visual == 1.0
    assert assess(with_metadata(dim, exposure=weights)).visual == 1.0


def test_darkness_that_nobody_claims_fails() -> None:
    dark = dataclasses.replace(CLEAN, rgb=(CLEAN.rgb / 16).astype(np.uint8))
    assert assess(dark).details["parts"]["visual"]["exposure"] < 0.7


def test_motion_blur_passes_where_it_is_claimed() -> None:
    def smeared(rgb: np.ndarray) -> None:  # by about 8 pixels, as turns of 15 degrees do with an open shutter
        rgb[:] = gaussian_filter(rgb.astype(float), (0, 0, 2.5, 0))

    blurry = images(CLEAN, "rgb", smeared)
    assert assess(blurry).visual < PARAMS.score_limit
    assert assess(with_metadata(blurry, shutter=1.0)).visual == 1.0


def test_a_sequence_that_shows_nothing_of_what_it_is_about_fails() -> None:
    """The other parts of coverage make up seven tenths, but not for that."""
    report = assess(with_metadata(CLEAN, scenario={"name": "furniture", "focus": [55, 56]}))
    assert report.details["parts"]["coverage"]["key_regions"] == 0.0
    assert report.coverage == pytest.approx(0.7)
    assert not report.passed
    assert "bring it into view" in report.recommendation
    half = assess(with_metadata(CLEAN, scenario={"name": "furniture", "focus": [CUBE, 56]}))
    assert half.coverage == pytest.approx(0.85)
    assert half.passed


def test_a_camera_that_stays_passes_where_the_scenario_asks_for_it() -> None:
    watching = with_metadata(still(CLEAN), scenario={"name": "object_motion", "focus": [CUBE]})
    assert assess(watching).coverage == 1.0
    turning = with_metadata(walk("a_00", "l" * 24), trajectory="rotation_in_place")
    assert assess(turning).coverage == 1.0


def test_what_is_not_there_is_not_judged() -> None:
    """One frame has no neighbour to be compared with; nothing is known of depth where there is none."""
    single = assess(walk("a_00", ""))
    assert single.geometric == single.smoothness == 1.0
    nothing = assess(blind(CLEAN))
    assert nothing.details["parts"]["geometric"] == {
        "pose_jumps": 1.0,
        "depth_quality": 0.0,
        "reconstruction": 1.0,
    }
    assert nothing.coverage == nothing.annotation == 1.0


def test_scores_are_weighted_as_planned() -> None:
    report = assess(teleport(noise_on_depth(slice(4, 5))(CLEAN)))
    parts = report.details["parts"]["geometric"]
    expected = sum(WEIGHTS["geometric"][name] * value for name, value in parts.items())
    assert report.geometric == pytest.approx(expected)
    scores = [getattr(report, name) for name in SCORES]
    assert report.overall == pytest.approx(np.dot(scores, (0.25, 0.20, 0.20, 0.15, 0.20)))
    assert assess(CLEAN, overall_limit=1.0).passed
    assert not assess(without_box(CLEAN), score_limit=0.0, overall_limit=0.9).passed


def test_ids_of_the_scene_must_be_in_the_metadata() -> None:
    controller = QualityController(PARAMS)
    assert controller.assess(CLEAN, scene_ids=range(1, 8)).annotation == 1.0
    assert controller.assess(CLEAN, scene_ids=range(1, 9)).annotation == 0.0


def test_a_stored_sequence_scores_as_the_one_in_memory(tmp_path: Path) -> None:
    moving = cube_walk(step=0.12)
    stored = store(tmp_path, moving)[0][moving.id]
    memory, disk = assess(moving).summary(), assess(stored).summary()
    for name in (*SCORES, "overall"):
        assert disk[name] == pytest.approx(memory[name], abs=0.02)  # colours are compressed
    assert json.loads(json.dumps(disk, allow_nan=False)) == disk


def test_long_sequences_are_looked_at_in_pairs() -> None:
    long = walk("a_00", "lr" * 40)
    report = assess(long, pairs=5)
    assert report.geometric == 1.0
    assert (
        assess(images(long, "rgb", fill(0, 0)), pairs=5).visual < 0.7
    )  # the first frame is always among them
