"""Every scenario, filmed in a small house: the recording is what the name says, and others are not."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from studio import AGENT, LENGTH, SIZE, filmed, floor_walk, recorded, recording, split_level, stage_in, studio

from vln_heatmap.datasets.sequence import Sequence, read_motions
from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.questions import QUESTIONS
from vln_heatmap.simulation.scenarios import PARTS, SCENARIOS, Scenario, ScenarioNotPossibleError
from vln_heatmap.simulation.simulators.base import MOVE
from vln_heatmap.simulation.strategies import STRATEGIES
from vln_heatmap.simulation.trajectories import TRAJECTORIES, WalkRequest
from vln_heatmap.simulation.trajectories.free_motion import FRAME_METRES, FRAME_TURN

BY_PART = {
    "geometric_foundation": 11,
    "cross_frame_correspondence": 8,
    "spatial_reasoning": 12,
    "challenge": 5,
}


def about(other: str, *focus: int) -> Sequence:
    """The recording of another scenario as if it were about these instances."""
    sequence = recording(other)
    metadata = sequence.metadata | {"scenario": {"focus": list(focus)}}
    return dataclasses.replace(sequence, metadata=metadata)


def about_what_it_sees(other: str, count: int = 1) -> Sequence:
    """The recording of another scenario as if it were about the things that its first frame shows largest."""
    row = recording(other).frames.iloc[0]
    order = np.argsort(-np.asarray(row["visible_pixels"]), kind="stable")
    return about(other, *(int(i) for i in np.asarray(row["visible_ids"])[order][:count]))


def about_unseen(count: int) -> Sequence:
    """A straight walk as if it were about things that it never shows."""
    sequence = recording("forward")
    seen = set(np.unique(sequence.instance).tolist())
    hidden = [entry["id"] for entry in sequence.metadata["objects"] if entry["id"] not in seen]
    return about("forward", *hidden[:count])


def sharp_picture() -> Sequence:
    return recorded(dataclasses.replace(filmed("motion_blur"), shutter=0.0), *studio("motion_blur"))


#: For each scenario, a recording that is something else.
OTHERS: dict[str, Callable[[], Sequence]] = {
    "smooth": lambda: recording("sharp_turns"),
    "sharp_turns": lambda: recording("forward"),
    "vertical_motion": lambda: recording("forward"),
    "complex_3d": lambda: recording("forward"),
    "forward": lambda: recording("lateral"),
    "backward": lambda: recording("forward"),
    "lateral": lambda: recording("forward"),
    "rotation_in_place": lambda: recording("forward"),
    "same_place_other_angles": lambda: about_what_it_sees("rotation_in_place"),
    "same_object_other_distances": lambda: about_what_it_sees("rotation_in_place"),
    "occlusion": lambda: about_what_it_sees("rotation_in_place"),
    "single_object_tracking": lambda: about_what_it_sees("sharp_turns"),
    "multi_object_tracking": lambda: about_what_it_sees("sharp_turns", 2),
    "appearing_disappearing": lambda: recording("single_object_tracking"),
    "wall_corners": floor_walk,
    "doors_and_windows": floor_walk,
    "furniture": floor_walk,
    "distinctive_texture": lambda: recording("repetitive_texture"),
    "repetitive_texture": lambda: recording("distinctive_texture"),
    "behind_in_front": lambda: about_unseen(2),
    "left_right": lambda: about_unseen(2),
    "above_below": lambda: about("near_far", *recording("near_far").metadata["scenario"]["focus"]),
    "inside_outside": lambda: about_what_it_sees("rotation_in_place"),
    "near_far": lambda: about_unseen(2),
    "between": lambda: about_unseen(3),
    "what_would_i_see_if": lambda: recording("rotation_in_place"),
    "where_is_from_here": lambda: recording("single_object_tracking"),
    "how_to_reach": lambda: recording("agent_trajectory"),
    "agent_trajectory": lambda: recording("forward"),
    "object_motion": lambda: recording("single_object_tracking"),
    "scene_change": lambda: recording("object_motion"),
    "heavy_occlusion": lambda: recording("rotation_in_place"),
    "lighting_variation": lambda: recording("single_object_tracking"),
    "clutter": floor_walk,
    "scale_variation": lambda: about_what_it_sees("rotation_in_place"),
    "motion_blur": sharp_picture,
}


def test_there_is_a_scenario_for_every_subtype_of_the_plan() -> None:
    assert {part: [s.part for s in SCENARIOS.values()].count(part) for part in PARTS} == BY_PART
    assert all(name == scenario.name for name, scenario in SCENARIOS.items())
    assert set(OTHERS) == set(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_scenarios_name_what_there_is(scenario: Scenario) -> None:
    assert scenario.strategy in TRAJECTORIES.keys() | STRATEGIES.keys()
    assert set(scenario.questions) <= QUESTIONS.keys()
    assert HouseParams(**scenario.house).model_fields_set == set(scenario.house)
    assert scenario.limit[0] <= scenario.limit[1]
    assert not scenario.holds(math.nan)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_film_is_what_its_name_says(name: str) -> None:
    value = SCENARIOS[name].measure(recording(name))
    low, high = SCENARIOS[name].limit
    assert low <= value <= high
    assert SCENARIOS[name].holds(value)


@pytest.mark.parametrize("name", SCENARIOS)
def test_another_film_is_not(name: str) -> None:
    value = SCENARIOS[name].measure(OTHERS[name]())
    low, high = SCENARIOS[name].limit
    assert not low <= value <= high
    assert not SCENARIOS[name].holds(value)


@pytest.mark.parametrize("name", SCENARIOS)
def test_cameras_stand_on_the_floor_and_move_within_the_limits(name: str) -> None:
    sequence, (sim, _) = recording(name), studio(name)
    states = np.stack(sequence.frames["state"].to_list()).astype(float)  # [T, 6]
    assert all(sim.is_navigable(state[:3]) for state in states)
    eyes = sequence.poses[:, :3, 3]
    assert np.linalg.norm(np.diff(eyes, axis=0), axis=1).max() <= FRAME_METRES + 1e-6
    turned = np.einsum("tij,tij->t", sequence.poses[1:, :3, :3], sequence.poses[:-1, :3, :3])
    assert np.arccos(np.clip((turned - 1) / 2, -1, 1)).max() <= FRAME_TURN + 1e-6
    free = (sequence.frames["action"] == MOVE).any()
    assert len(sequence) == LENGTH if free else 2 <= len(sequence) <= LENGTH


@pytest.mark.parametrize("name", ["sharp_turns", "near_far", "object_motion", "lighting_variation"])
def test_the_same_seed_gives_the_same_take(name: str) -> None:
    first, second = filmed(name, seed=3), filmed(name, seed=3)
    assert first.walk == second.walk
    assert first.focus == second.focus
    for one, other in ((first.motions, second.motions), (first.lights, second.lights)):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)
    assert first.walk != filmed(name, seed=4).walk


@pytest.mark.parametrize("name", ["object_motion", "scene_change"])
def test_what_moves_meets_nothing_and_stays_level(name: str) -> None:
    sequence, (_, scene) = recording(name), studio(name)
    (thing, motion), *rest = read_motions(sequence.frames).items()
    assert not rest
    item = scene.instances[thing - 1]
    assert item.movable
    assert np.allclose(motion[:, :3, :3], np.eye(3))
    assert np.allclose(motion[:, 1, 3], 0)
    solid = [
        other
        for other in scene.instances
        if other.id != thing and other.category not in ("floor", "ceiling", "wall", "skirting")
    ]
    for shift in motion[:, :3, 3]:
        low, high = item.box_min + shift + 0.005, item.box_max + shift - 0.005
        met = [o.category for o in solid if (low < o.box_max).all() and (high > o.box_min).all()]
        assert not [o for o in met if o != "rug"]


def test_object_motion_is_smooth() -> None:
    (motion,) = read_motions(recording("object_motion").frames).values()
    steps = np.linalg.norm(np.diff(motion[:, :3, 3], axis=0), axis=1)
    assert steps[0] == steps[-1] == 0
    assert np.abs(np.diff(steps)).max() <= 0.25 * steps.max() + 1e-9


def test_blur_takes_detail_from_the_pictures() -> None:
    blurred, sharp = recording("motion_blur"), sharp_picture()
    assert np.array_equal(blurred.depth, sharp.depth)
    detail = [np.abs(np.diff(s.rgb.astype(float), axis=2)).mean() for s in (blurred, sharp)]
    assert detail[0] < 0.8 * detail[1]


def test_vertical_motion_lifts_the_camera_where_there_are_no_stairs() -> None:
    sim, scene = stage_in((), SIZE)
    scenario = SCENARIOS["vertical_motion"]
    take = scenario.film(sim, scene, np.random.default_rng(0), WalkRequest(LENGTH, AGENT, scene=scene))
    assert np.ptp([step.state.position[1] for step in take.walk.steps]) == 0
    assert math.isclose(np.ptp([step.lift for step in take.walk.steps]), 0.8, rel_tol=0.02)
    assert scenario.holds(scenario.measure(recorded(take, sim, scene)))


@pytest.mark.parametrize("seed", range(3))
def test_vertical_motion_takes_the_stairs_where_there_are_any(seed: int) -> None:
    sim, scene = split_level()
    scenario = SCENARIOS["vertical_motion"]
    take = scenario.film(sim, scene, np.random.default_rng(seed), WalkRequest(LENGTH, AGENT, scene=scene))
    assert np.ptp([step.state.position[1] for step in take.walk.steps]) >= 0.5
    assert all(step.lift == 0 for step in take.walk.steps)
    assert scenario.holds(scenario.measure(recorded(take, sim, scene)))


@pytest.mark.parametrize("name", ["single_object_tracking", "object_motion", "doors_and_windows", "clutter"])
def test_a_house_without_things_cannot_give_what_needs_them(name: str) -> None:
    sim, scene = stage_in((), SIZE)
    bare = dataclasses.replace(
        scene, instances=tuple(dataclasses.replace(i, category="floor") for i in scene.instances)
    )
    with pytest.raises(ScenarioNotPossibleError, match=scene.name):
        SCENARIOS[name].film(sim, bare, np.random.default_rng(0), WalkRequest(16, AGENT, scene=bare))
