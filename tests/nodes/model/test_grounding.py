"""The value map against places worked out by hand, in a mirror too; words, and what of them is padding."""

import dialogue_world as world
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vln_heatmap.nodes.model.context.grounding import (
    Grounding,
    floor_spots,
    heading,
    mirrored_headings,
    mirrored_spots,
    text_queries,
    value_maps,
)
from vln_heatmap.params.navigation_model import ValueMapParams
from vln_heatmap.simulation.recording import camera_pose

PARAMS = ValueMapParams(sectors=8, rings=(1.0, 3.0))
BEHIND_LEFT, LEFT_BACK, LEFT, AHEAD_LEFT, AHEAD_RIGHT, RIGHT = range(6)  # of 45 degrees each


def pose(x: float, z: float, yaw: float) -> np.ndarray:
    """Of a level camera; yaw 0 looks along -Z, left is positive."""
    return camera_pose(np.array([x, 0.0, z, yaw, 0.0, 1.25]))


def mapped(spots: list[tuple[float, float]], matches: list[float], at: np.ndarray) -> np.ndarray:
    """Of one view with one cell a spot (x, z): [rings, sectors]."""
    given = torch.tensor(spots).view(1, 1, -1, 2)
    known = torch.ones(1, 1, 1, dtype=torch.bool)
    place = torch.from_numpy(heading(at))[None]
    return value_maps(torch.tensor(matches).view(1, 1, -1), given, place, PARAMS, known).view(3, 8).numpy()


def test_matches_stand_in_the_direction_and_at_the_distance_of_what_they_are_of() -> None:
    found = mapped([(0.3, -2.0), (-0.2, -0.5), (4.0, -0.1)], [0.5, 0.25, 0.75], pose(0, 0, 0))
    expected = np.zeros((3, 8))
    expected[1, AHEAD_RIGHT], expected[0, AHEAD_LEFT], expected[2, RIGHT] = 0.5, 0.25, 0.75
    np.testing.assert_array_equal(found, expected)


def test_the_map_turns_and_moves_with_the_robot() -> None:
    after_left = mapped([(-0.3, -2.0)], [0.5], pose(0, 0, np.pi / 2))  # ahead becomes right
    assert after_left.argmax() == 8 * 1 + RIGHT
    assert after_left.max() == 0.5
    past_it = mapped([(-0.3, -2.0)], [0.5], pose(0, -2.5, 0))
    assert past_it.argmax() == 8 * 0 + BEHIND_LEFT


def test_the_best_match_of_a_cell_counts_and_the_unknown_does_not() -> None:
    found = mapped([(0.3, -2.0), (0.4, -2.0), (np.nan, np.nan)], [0.5, 0.6, 0.9], pose(0, 0, 0))
    assert found[1, AHEAD_RIGHT] == pytest.approx(0.6)
    assert found.sum() == pytest.approx(0.6)


def test_only_views_that_have_been_seen_are_on_the_map() -> None:
    spots = torch.tensor([[0.3, -2.0], [-0.3, -2.0]]).view(2, 1, 1, 2)
    places = torch.from_numpy(np.stack([heading(pose(0, 0, 0))] * 2))
    known = torch.tensor([[[True, False], [True, True]]])
    found = value_maps(torch.tensor([0.5, 0.7]).view(2, 1, 1), spots, places, PARAMS, known).view(2, 3, 8)
    assert found[0, 1].tolist() == [0, 0, 0, 0, 0.5, 0, 0, 0]
    assert found[1, 1, AHEAD_LEFT] == pytest.approx(0.7)


def test_a_mirrored_walk_has_the_mirrored_map() -> None:
    rng = np.random.default_rng(0)
    spots = rng.uniform(-4, 4, (2, 3, 3, 2)).astype(np.float32)
    places = np.stack([heading(pose(*rng.uniform(-1, 1, 2), yaw)) for yaw in rng.uniform(-3, 3, 5)])
    matches, known = torch.rand(2, 3, 3), torch.ones(1, 5, 2, dtype=torch.bool)
    plain = value_maps(matches, torch.from_numpy(spots), torch.from_numpy(places), PARAMS, known)
    turned = value_maps(
        matches.flip(2),
        torch.from_numpy(mirrored_spots(spots)),
        torch.from_numpy(mirrored_headings(places)),
        PARAMS,
        known,
    )
    torch.testing.assert_close(turned.view(5, 3, 8), plain.view(5, 3, 8).flip(2))
    assert plain.sum() > 0


def test_a_spot_is_where_depth_and_pose_put_the_middle_of_a_cell() -> None:
    depth = np.full((9, 9), 2.0)
    depth[:3, :3] = 0
    spots = floor_spots(depth, pose(1.0, 5.0, 0), ValueMapParams(), 3)  # 90 degrees: x = +-4/3 m at the sides
    assert np.isnan(spots[0, 0]).all()
    np.testing.assert_allclose(spots[1, 1], [1.0, 3.0], atol=1e-6)
    np.testing.assert_allclose(spots[1], [[-1 / 3, 3.0], [1.0, 3.0], [7 / 3, 3.0]], atol=1e-6)


def test_padding_is_no_word() -> None:
    model = world.toy_dialogue(context={"value_map": {}})
    alone, beside = (
        text_queries(model, ["go"]),
        text_queries(model, ["go", "go to the table and then to the door"]),
    )
    grounding, looks = model.context.grounding, torch.randn(2, model.params.fusion.width, 2, 2)
    torch.testing.assert_close(
        grounding.scores(grounding.keys(looks), beside)[..., 0],
        grounding.scores(grounding.keys(looks), alone)[..., 0],
    )


def test_the_word_that_fits_best_counts() -> None:
    torch.manual_seed(0)
    grounding = Grounding(4, 6, 5)
    words, looks = torch.randn(1, 7, 6), torch.randn(3, 4, 2, 2)
    queries = grounding.queries(words, torch.ones(1, 7, dtype=torch.bool))
    each = torch.stack([grounding.scores(grounding.keys(looks), queries[:, i : i + 1]) for i in range(7)])
    torch.testing.assert_close(grounding.scores(grounding.keys(looks), queries), each.amax(0))


@pytest.mark.parametrize("rings", [(2.0, 1.0), (1.0, 1.0), (0.0, 1.0)])
def test_rings_rise(rings: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="rising distances"):
        ValueMapParams(rings=rings)
