"""What only the ray caster can do wrong: it looks for what has moved in a tree of its own."""

import numpy as np
from hand_built import Box, build
from views import AHEAD, assert_same, look


def test_the_tree_of_what_stays_is_kept_while_the_same_things_move(make_named):
    simulator = make_named("raycast")
    scene = build(Box((-9, -9, -6), (9, 9, -5)), Box((-0.5, -0.5, -3), (0.5, 0.5, -2)))
    rest = look(simulator, scene)
    motion = np.eye(4)
    seen, trees = [], []
    for x in (0.1, 0.2, 0.1):
        motion[0, 3] = x
        simulator.move({2: motion})
        seen.append(simulator.render(AHEAD))
        trees.append(simulator._still)
    assert trees[0] is trees[1] is trees[2]
    assert len(trees[0].faces) == 12
    assert_same(seen[0], seen[2])
    assert not np.array_equal(seen[0].instance, seen[1].instance)
    simulator.move({})
    assert_same(rest, simulator.render(AHEAD))
