"""The parts of a dialogue's context: pooled cells, pruned memory, rows, replies, remembered views."""

from __future__ import annotations

from typing import Any

import dialogue_world as world
import numpy as np
import pytest
import torch
from box_walks import walk
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.dialogue_samples import Dialogue, Turn
from vln_heatmap.geometry.projection import unproject
from vln_heatmap.nodes.model.context.cache import Cache, apart, together
from vln_heatmap.nodes.model.context.drawing import drawn_from
from vln_heatmap.nodes.model.context.pooling import Times, fast_grid, fast_tokens, slow_tokens
from vln_heatmap.nodes.model.context.rows import Row, grid_span
from vln_heatmap.nodes.model.context.speech import Speaker
from vln_heatmap.nodes.model.context.state import Seen, recalled, remember
from vln_heatmap.nodes.model.context.voxels import cell_points, kept_tokens, regrid
from vln_heatmap.nodes.navigation.places import stored_points
from vln_heatmap.params.navigation_model import VoxelParams

END = 9


# --- pooling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_four_cells_become_one_and_the_edge_is_pooled_with_what_there_is(pool: Any) -> None:
    cells = torch.arange(9.0).view(1, 3, 3, 1)
    pooled = fast_tokens(cells, 2, pool)[0, ..., 0]
    expected = {"mean": [[2, 3.5], [6.5, 8]], "max": [[4, 5], [7, 8]]}[pool]
    assert pooled.tolist() == expected
    assert len(pooled) == fast_grid(3, 2)


@pytest.mark.parametrize("pool", ["mean", "max"])
@given(grid=st.integers(2, 9), factor=st.integers(1, 4), slow=st.integers(1, 2), value=st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_one_colour_stays_one_colour(pool: Any, grid: int, factor: int, slow: int, value: float) -> None:
    cells = torch.full((2, grid, grid, 3), value)
    for pooled in (fast_tokens(cells, factor, pool), slow_tokens(cells, slow, pool)):
        torch.testing.assert_close(pooled, torch.full_like(pooled, value))
    assert fast_tokens(cells, factor, pool).shape[1] == fast_grid(grid, factor)


def test_ages_say_nothing_before_training_and_tell_times_apart_after() -> None:
    times = Times(6)
    ages = torch.tensor([1.0, 4.0, 400.0])
    assert not times(ages).any()
    torch.nn.init.normal_(times.project.weight)
    assert len(torch.unique(times(ages).detach(), dim=0)) == 3


# --- pruning ------------------------------------------------------------------------------------------------


def test_of_tokens_that_show_one_place_the_latest_stays() -> None:
    points = np.zeros((3, 1, 2, 3))
    points[:, 0, 1] = [[5, 0, 0], [6, 0, 0], [6.1, 0, 0]]  # the last two share a voxel
    kept = kept_tokens(points, VoxelParams(edge=0.5))
    assert kept[:, 0].tolist() == [[False, True], [False, False], [True, True]]


def test_unknown_places_stay_and_poor_frames_go() -> None:
    points = np.zeros((2, 2, 2, 3))
    points[0, 0] = np.nan
    assert kept_tokens(points, VoxelParams())[0].tolist() == [[True, True], [False, False]]
    assert not kept_tokens(points, VoxelParams(least=0.6))[0].any()


@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_every_voxel_keeps_exactly_one_token(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 4, (3, 3, 3, 3))
    points[rng.random((3, 3, 3)) < share] = np.nan
    known, params = np.isfinite(points).all(-1), VoxelParams(edge=1.0)
    kept = kept_tokens(points, params)
    assert kept[~known].all()
    voxels = np.unique(np.floor(points[known]), axis=0)
    left = np.unique(np.floor(points[known & kept]), axis=0)
    assert (known & kept).sum() == len(voxels) == len(left)


def test_vggt_points_are_pruned_in_their_own_scale() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (3, 4, 4, 3))
    params = VoxelParams(source="vggt", divisions=3)
    kept = kept_tokens(points, params)
    assert (
        np.array_equal(kept, kept_tokens(1000 * (points - points.min((0, 1, 2))) + 0, params))
        or not kept.all()
    )
    assert 0 < kept.mean() < 1


def test_points_of_cells_are_those_of_depth_and_pose_and_stored_features_give_them() -> None:
    sequence = walk("house_00000_00", "ffl")
    frame = 2
    height, width = sequence.depth[frame].shape
    points = unproject(sequence.depth[frame], sequence.camera, sequence.poses[frame])
    found = cell_points(sequence.depth[frame], sequence.poses[frame], sequence.camera.hfov, 2)
    expected = points[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(regrid(points, 2), expected)

    class Stored:
        def read(self, name: str, frames: Any = None) -> Any:
            depth = np.rint(sequence.depth * 1000).astype(np.uint16)
            arrays = {"depth": depth, "poses": sequence.poses, "hfov": np.array([sequence.camera.hfov])}
            return arrays[name][list(frames)]

    shown = Dialogue((Turn(frame, (0,)),), "", (), "navigation", "walk")
    stored = stored_points(Stored(), shown, cells=2)
    np.testing.assert_allclose(stored[0], found, atol=2e-3)  # depth is in millimetres


def test_nothing_is_known_where_there_is_no_depth() -> None:
    depth = np.ones((4, 4))
    depth[:2] = 0
    points = cell_points(depth, np.eye(4), 90.0, 2)
    assert np.isnan(points[0]).all()
    assert np.isfinite(points[1]).all()


def test_pruning_saves_what_a_standing_agent_sees_again() -> None:
    """Views of the same places: of a full memory only the last view is left, and training counts the same."""
    model = world.toy_dialogue(context={"voxels": {"edge": 0.01}})
    arrays, state = world.SEQUENCES["one"].arrays, model.start(world.INSTRUCTION)
    turns = world.DIALOGUE.turns
    for turn in range(turns + 1):
        done = None if turn == 0 else (1, 1)
        frame = 2 * turn
        features = arrays["features"][frame].astype(np.float32)
        model.observe(state, arrays["frames"][frame], features, points=arrays["points"][frame], done=done)
    views = world.DIALOGUE.history
    assert state.pruned == (4 * (views - 1), 4 * views)
    given_batch = world.batch(model, world.expert_dialogues()[1:2], "points")
    assert float(model(given_batch).pruned) == pytest.approx(1 - 1 / views)


def test_voxels_without_points_are_an_error() -> None:
    model = world.toy_dialogue(context={"voxels": {}})
    with pytest.raises(ValueError, match="needs the points"):
        model(world.batch(model, world.expert_dialogues()[1:2]))


def test_vggt_may_tell_the_places() -> None:
    heatmap = {"vggt": {"heads": ("points",)}}
    model = world.toy_dialogue(heatmap, context={"voxels": {"source": "vggt", "divisions": 2}})
    reading = model(world.batch(model, world.expert_dialogues()[1:2]))
    assert 0 < float(reading.pruned) < 1


# --- rows ---------------------------------------------------------------------------------------------------


def test_text_goes_on_where_a_span_ends_whatever_was_left_out_of_it() -> None:
    """Two views of 2 x 2 tokens: times 0 and 1, rows and columns 0 and 1, and the text after them at 2."""
    tokens = torch.randn(2, 2, 2, 4)
    keep = np.ones((2, 2, 2), bool)
    keep[0, 1] = keep[1] = False
    rows = []
    for kept in (None, keep):
        row = Row(END, spatial=True)
        row.say([1, 2])
        row.show(grid_span(tokens, kept))
        row.say([3])
        rows.append(row)
    assert rows[0].places[2:-1] == [(2 + t, 2 + r, 2 + c) for t in (0, 1) for r in (0, 1) for c in (0, 1)]
    assert rows[1].places[2:-1] == rows[0].places[2:4]
    assert rows[0].places[-1] == rows[1].places[-1] == (4, 4, 4)
    assert torch.equal(rows[1].tokens[0], tokens[0, 0])


def test_without_space_tokens_are_counted() -> None:
    row = Row(END, spatial=False)
    row.say([1])
    row.show(grid_span(torch.randn(1, 2, 2, 4)))
    row.say([2])
    assert row.places == [(n, n, n) for n in range(6)]


def test_views_up_to_the_end_of_a_reply_are_one_turn() -> None:
    row = Row(END, spatial=True)
    for ids in ([1], [2], [3, END], [4]):
        row.say(ids)
        row.show(grid_span(torch.randn(1, 1, 1, 4)))
    assert [block for block in row.block if block >= 0] == [0, 0, 1, 1]


def test_only_an_open_reply_can_be_taken_back() -> None:
    row = Row(END, spatial=True)
    row.say([1, END])
    row.show(grid_span(torch.randn(1, 1, 1, 4)))
    row.say([2, 3])
    row.cut(4)
    row.say([5])
    assert row.ids == [1, END, 0, 2, 5]
    assert row.next == 5
    with pytest.raises(ValueError, match="open reply"):
        row.cut(2)
    row.say([END])
    with pytest.raises(ValueError, match="open reply"):
        row.cut(5)


# --- replies, caches, remembered views ----------------------------------------------------------------------


def test_replies_are_whole_actions_even_where_their_tokens_begin_alike() -> None:
    words = ((1,), (2, 3), (2, 4), (5,))
    speaker = Speaker(words, END, 3)
    assert speaker.allowed() == [1, 2, 5]  # no empty reply
    assert speaker.choose(torch.eye(10)[2]) == 2
    assert speaker.allowed() == [3, 4]
    assert speaker.choose(torch.eye(10)[9]) == 3  # the end would be likelier, but the action is not whole
    assert speaker.said == [1]
    assert speaker.allowed() == [1, 2, 5, END]
    assert speaker.choose(torch.eye(10)[END]) is None
    assert not speaker.open


def test_what_is_barred_is_not_the_next_action_but_may_be_later():
    logits = torch.zeros(10)
    logits[[1, 2, 3, 4]] = torch.tensor([1.0, 4.0, 3.0, 2.0])  # it wants the action 1 most
    speaker = Speaker(((1,), (2,), (3,), (4,)), END, 4, barred=frozenset({1, 2}))
    assert [speaker.choose(logits) for _ in range(2)] == [4, 2]
    everything = Speaker(((1,), (2,), (3,), (4,)), END, 4, barred=frozenset({0, 1, 2, 3}))
    assert everything.choose(logits) == 1  # STOP is always possible
    assert not everything.open


def test_nothing_is_said_after_stop_or_beyond_the_limit() -> None:
    stopping = Speaker(((1,), (2,), (3,), (4,)), END, 4)
    stopping.choose(torch.eye(10)[1])
    assert (stopping.said, stopping.open) == ([0], False)
    talking = Speaker(((1,), (2,), (3,), (4,)), END, 2)
    for _ in range(2):
        assert talking.open
        talking.choose(torch.eye(10)[2])
    assert (talking.said, talking.open) == ([1, 1], False)


def test_caches_go_together_and_apart_unchanged() -> None:
    def cache(length: int) -> Cache:
        return Cache(tuple((torch.randn(2, length, 4), torch.randn(2, length, 4)) for _ in range(3)))

    caches = [cache(3), Cache(), cache(5)]
    memory = together(caches, torch.device("cpu"))
    assert memory.attention.sum(1).tolist() == [3, 0, 5]
    for before, after in zip(caches, apart(memory), strict=True):
        assert len(before) == len(after)
        for own, other in zip(before.layers, after.layers, strict=False):
            assert torch.equal(own[0], other[0])
            assert torch.equal(own[1], other[1])


@given(count=st.integers(1, 80), limit=st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_remembered_views_are_bounded_and_spread(count: int, limit: int) -> None:
    """The first view is kept, and no gap is wider than twice the narrowest possible one."""
    seen: list[Seen] = []
    for time in range(count):
        seen = remember(seen, Seen(time, time, torch.zeros(1)), limit)
    times = [view.time for view in seen]
    assert len(times) <= limit
    assert times[0] == 0
    assert times[-1] == count - 1
    assert max(np.diff(times), default=0) <= max(1, 2 * count / (limit - 1))


def test_the_last_view_up_to_each_time_is_recalled_once() -> None:
    seen = [Seen(time, time, torch.zeros(1)) for time in (0, 3, 7)]
    assert [view.time for view in recalled(seen, (0, 1, 2, 4, 9))] == [0, 3, 7]
    assert recalled([], (0, 1)) == []


def test_a_view_is_drawn_from_earlier_ones_and_stands_in_for_those_that_are_missing() -> None:
    assert drawn_from(0, 3) == [0, 0, 0, 0]
    assert drawn_from(2, 3) == [2, 0, 1, 2]
    assert drawn_from(6, 3) == [0, 2, 4, 6]
