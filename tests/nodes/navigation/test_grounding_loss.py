"""What words name is learned from the names of things, and pointed at in views."""

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import dialogue_world as world
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vln_heatmap.datasets.frame_features import Arrays, FeatureStream
from vln_heatmap.nodes.navigation.frames import ArrayFrames
from vln_heatmap.nodes.navigation.grounding_loss import GroundingLoss, _cells
from vln_heatmap.nodes.navigation.things import named_things, stored_things, vocabulary, with_things
from vln_heatmap.params.navigation_model import GroundingParams
from vln_heatmap.params.navigation_training import NavigationTrainingParams

NAMES = ("", "dining table", "door", "table", "wall")
OBJECTS = [{"id": 3, "category": "wall"}, {"id": 7, "category": "chair"}, {"id": 9, "category": "wall"}]


def test_names_in_a_text_are_the_longest_ones() -> None:
    loss = GroundingLoss(NAMES, GroundingParams())
    found = loss.mentioned(
        ["pass the dining table and stop at the door", "go to the tables", "go to the table"]
    )
    assert found.int().tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
    assert not GroundingLoss(("",), GroundingParams()).mentioned(["anything"]).any()


def test_cells_are_the_parts_of_their_views() -> None:
    things = torch.arange(2 * 4 * 4).view(2, 4, 4)
    cells = _cells(things, 2)
    assert cells[1].tolist() == [2, 3, 6, 7]
    assert cells[6].tolist() == [24, 25, 28, 29]


def seen(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Looks [12, 16, 2, 2] whose first channels are high for the thing in a cell, and the things [12, 8, 8]."""
    things = rng.integers(1, len(NAMES), (12, 2, 2))
    looks = rng.normal(size=(12, 16, 2, 2)) * 0.1
    for view, row, column in np.ndindex(things.shape):
        looks[view, things[view, row, column], row, column] += 1
    return torch.from_numpy(looks).float(), torch.from_numpy(things.repeat(4, 1).repeat(4, 2))


def batch(rng: np.random.Generator) -> dict[str, Any]:
    looks, things = seen(rng)
    return {
        "task": ["navigation", "vqa", "navigation"],
        "instruction": ["go to the door", "", "pass the dining table"],
        "frame_mask": torch.ones(3, 4, dtype=torch.bool),
        "looks": looks.view(3, 4, 16, 2, 2),
        "things": things.view(3, 4, 8, 8),
    }


def test_words_come_to_point_at_what_they_name() -> None:
    rng = np.random.default_rng(0)
    model = world.toy_dialogue({"fusion": {"width": 16}, "language": {"grid": 2}}, context={"value_map": {}})
    loss = GroundingLoss(NAMES, GroundingParams(cells=64))
    optimizer = torch.optim.Adam(model.context.grounding.parameters(), 0.01)
    before = loss(model, batch(rng))
    for _ in range(60):
        optimizer.zero_grad()
        loss(model, batch(rng)).backward()
        optimizer.step()
    held_out = [hit for _ in range(5) for hit in loss.pointing(model, batch(rng))]
    assert loss(model, batch(rng)) < before / 3
    assert len(held_out) > 10
    assert np.mean(held_out) == 1
    doubled = GroundingLoss(NAMES, GroundingParams(cells=64, weight=2.0))
    given = batch(rng)
    torch.testing.assert_close(doubled(model, given), 2 * loss(model, given))


def test_questions_alone_name_nothing() -> None:
    model = world.toy_dialogue({"fusion": {"width": 16}, "language": {"grid": 2}}, context={"value_map": {}})
    loss, given = GroundingLoss(NAMES, GroundingParams()), batch(np.random.default_rng(0))
    given["task"] = ["vqa"] * 3
    assert loss(model, given) == 0
    assert loss.pointing(model, given) == []


def test_things_are_stored_by_the_names_of_their_instances() -> None:
    instance = np.zeros((2, 16, 16), np.int32)
    instance[0, :8], instance[0, 8:, :8], instance[1] = 3, 7, 9

    def compute(wanted: Iterable[str]) -> Iterator[tuple[str, Arrays]]:
        yield from ((key, {"instance": instance}) for key in wanted)

    walks = {"a": SimpleNamespace(metadata={"objects": OBJECTS})}
    stream = with_things(FeatureStream("before", ("a",), compute), walks, 1)
    ((_, arrays),) = stream.compute(["a"])
    assert stream.fingerprint != "before"
    features = {"a": ArrayFrames(arrays), "b": ArrayFrames({"depth": instance})}
    names = vocabulary(features, ["a", "b", "a"])
    assert names == ("", "chair", "wall")
    walk = world.episode_dialogues((1, 0), "go", "a", world.DIALOGUE)[0]
    numbers = {"": 0, "chair": 4, "wall": 2}
    found = stored_things(features["a"], walk, names=numbers, side=4)
    assert found.shape == (1, 4, 4)
    assert found[0].tolist() == [[2] * 4] * 2 + [[4, 4, 0, 0]] * 2
    assert not stored_things(features["b"], walk, names=numbers, side=4).any()
    assert stored_things(features["a"], world.question(), names=numbers, side=4).shape == (0, 4, 4)


def test_nothing_has_a_name_where_there_are_no_objects() -> None:
    arrays = named_things(np.ones((1, 4, 4), np.int32), [], 4)
    assert not arrays["things"].any()
    assert vocabulary({"a": ArrayFrames(arrays)}, ["a"]) == ("",)


def test_grounding_without_a_map_is_refused() -> None:
    with pytest.raises(ValidationError, match="value_map"):
        NavigationTrainingParams.model_validate({"navigation": {"grounding": {}}})
