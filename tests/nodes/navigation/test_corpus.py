"""All dialogues of a collection: by split, mixed, written and batched, as training reads them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from box_walks import walk
from synthetic import PARAMS as MODEL
from synthetic import sequence_arrays

from vln_heatmap.datasets.dialogue_samples import IGNORED
from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.nodes.model.tokenizer import load_tokenizer, train_tokenizer
from vln_heatmap.nodes.navigation.corpus import dialogue_dataset, make_dialogues
from vln_heatmap.nodes.navigation.frames import ArrayFrames
from vln_heatmap.nodes.navigation.mixing import make_order
from vln_heatmap.nodes.navigation.wording import DialogueWriter
from vln_heatmap.params.navigation_data import MixingParams, NavigationDataParams

ROUTE = {"text": "walk to the north wall, and stop", "kind": "route", "instances": [6], "frame": None}
PARAMS = NavigationDataParams.model_validate(
    {
        "dialogue": {"window": 8, "stride": 8, "history": 3},
        "cotraining": {"videos": 1, "spatial": 1, "descriptions": 1},
    }
)
ROOM = {"name": "hall", "rectangle": [-3.0, -2.5, 3.0, 2.5], "floor": 0.0}


def spoken(name: str, actions: str) -> Sequence:
    made = walk(name, actions)
    frames = made.frames.copy()
    frames.loc[len(frames) - 1, "is_terminal"] = True
    plain = {"colour": "", "room": 0, "movable": False}
    objects = [{**thing, **plain} for thing in made.metadata["objects"]]
    metadata = {**made.metadata, "instructions": [ROUTE], "objects": objects, "rooms": [ROOM]}
    return dataclasses.replace(made, frames=frames, metadata=metadata)


@pytest.fixture(scope="module")
def collection() -> tuple[dict[str, Sequence], pd.DataFrame]:
    walks = [("house_00000_00", "fflfrffllfrf"), ("house_00000_01", "fff"), ("house_00001_00", "rrrlf")]
    sequences = {name: spoken(name, actions) for name, actions in walks}
    rows = [
        {"id": name, "scene": name[:11], "split": "train" if "00000" in name else "val"} for name in sequences
    ]
    return sequences, pd.DataFrame(rows)


def test_dialogues_are_of_the_split_of_their_scene(collection: Any) -> None:
    sequences, splits = collection
    table = make_dialogues(sequences, splits, PARAMS)
    split = dict(zip(splits["id"], splits["split"], strict=True))
    assert (table["split"] == table["sequence_id"].map(split)).all()
    assert set(table["task"]) == {"navigation", "vqa", "scanqa", "description"}
    alone = make_dialogues(sequences, splits.iloc[[2]], PARAMS)
    pd.testing.assert_frame_equal(table[table["split"] == "val"].reset_index(drop=True), alone)


def test_a_split_is_read_mixed_and_batched(collection: Any) -> None:
    sequences, splits = collection
    features = {name: ArrayFrames(sequence_arrays(sequence)) for name, sequence in sequences.items()}
    writer = DialogueWriter(
        load_tokenizer(train_tokenizer([ROUTE["text"]], 300)), PARAMS.dialogue, MODEL.language.kind
    )
    data = dialogue_dataset(make_dialogues(sequences, splits, PARAMS), features, writer, split="train")
    order = make_order(data, MixingParams(batches="mixed"), batch_size=6)
    batch = data.collate([data.get(order[p], np.random.default_rng(p)) for p in range(6)])
    images = (batch["input_ids"] == writer.image_id).sum(1)
    assert (images + batch["memory_count"] == batch["frame_mask"].sum(1)).all()
    assert ((batch["labels"] != IGNORED).sum(1) > 1).all()
    assert (batch["labels"][~batch["attention_mask"]] == IGNORED).all()
    with pytest.raises(ValueError, match="no dialogue in the split 'test'"):
        dialogue_dataset(make_dialogues(sequences, splits, PARAMS), features, writer, split="test")


def test_a_collection_without_dialogues_says_what_would_help(collection: Any) -> None:
    sequences, splits = collection
    silent = {
        name: dataclasses.replace(s, metadata={**s.metadata, "instructions": [], "objects": []})
        for name, s in sequences.items()
    }
    with pytest.raises(ValueError, match="collect walks to goals"):
        make_dialogues(silent, splits, PARAMS)
