"""Depth as the dialogue reads it, against values worked out by hand."""

import numpy as np
import torch

from vln_heatmap.nodes.model.context.ranges import Ranges, nearness


def test_nearness_is_a_mean_over_cells_and_nothing_for_unknown_depth() -> None:
    depth = np.array([[1.0, 1.0, 3.0, 0.0], [1.0, 1.0, 0.0, 3.0]], np.float32)
    assert nearness(depth, 1).tolist() == [[(4 * 0.5 + 2 * 0.25) / 8]]
    assert nearness(depth, 2).tolist() == [[0.5, 0.125], [0.5, 0.125]]
    several = nearness(np.stack([depth, 0 * depth])[None], 2)  # [1, 2, 2, 2]
    assert several.shape == (1, 2, 2, 2)
    assert several[0, 1].tolist() == [[0, 0], [0, 0]]


def test_a_token_tells_of_its_own_view_alone() -> None:
    torch.manual_seed(0)
    ranges, near = Ranges(2, 8), torch.rand(3, 2, 2)
    tokens = ranges(near)
    assert tokens.shape == (3, 1, 8)
    torch.testing.assert_close(tokens[1:2], ranges(near[1:2]))
