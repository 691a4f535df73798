"""Made-up episodes for the action dialogue: random views, random actions, a toy model that can speak of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import synthetic
import torch
from numpy.typing import NDArray

from vln_heatmap.datasets.dialogue_samples import Dialogue, Turn, VLNActionDataset
from vln_heatmap.nodes.model.action_dialogue import ActionDialogue
from vln_heatmap.nodes.navigation.dialogues import episode_dialogues
from vln_heatmap.nodes.navigation.places import stored_headings, stored_senses, stored_spots
from vln_heatmap.nodes.navigation.things import fine_grid
from vln_heatmap.params import ModelParams
from vln_heatmap.params.navigation_data import DialogueParams
from vln_heatmap.params.navigation_model import ActionModelParams

DIALOGUE = DialogueParams(window=6, history=3, actions_per_turn=2, stride=6)
INSTRUCTION = synthetic.PHRASES[0]
SIDE = synthetic.PARAMS.vggt.resolution
FINE = fine_grid(synthetic.PARAMS.language.grid)


def _pose(rng: np.random.Generator) -> NDArray[np.float64]:
    """A level camera somewhere, that looks anywhere."""
    yaw = rng.uniform(-np.pi, np.pi)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1] = (np.cos(yaw), 0, -np.sin(yaw)), (0, -1, 0)
    pose[:3, 2], pose[:3, 3] = (-np.sin(yaw), 0, -np.cos(yaw)), rng.uniform(-1, 1, 3)
    return pose


class MadeUp:
    """A sequence's arrays: random ones, the same for the same name."""

    def __init__(self, name: str, length: int = 40) -> None:
        rng = np.random.default_rng(len(name) + sum(map(ord, name)))
        grid = (length, synthetic.CHANNELS, synthetic.GRID, synthetic.GRID)
        self.arrays: dict[str, NDArray[Any]] = {
            "frames": rng.integers(0, 256, (length, 3, SIDE, SIDE), np.uint8),
            "features": rng.standard_normal(grid).astype(np.float16),
            "depth": rng.integers(200, 5000, (length, 3, 3)).astype(np.uint16),
            "hfov": np.array([90.0]),
            "poses": np.stack([_pose(rng) for _ in range(length)]),
            "things": rng.integers(0, 3, (length, FINE, FINE)).astype(np.uint16),
            "thing_names": np.frombuffer(b"door\nwall", np.uint8),
            "points": np.tile(rng.uniform(-3, 3, (1, 4, 4, 3)).astype(np.float32), (length, 1, 1, 1)),
        }

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.arrays)

    def read(self, name: str, frames: Iterable[int] | None = None) -> NDArray[Any]:
        return self.arrays[name] if frames is None else self.arrays[name][list(frames)]


class SignPosts(MadeUp):
    """Views that show what is to be done there, and at the next frame: four channels are high for each."""

    def __init__(self, name: str, length: int = 17) -> None:
        super().__init__(name, length)
        rng = np.random.default_rng([length, *name.encode()])
        self.actions = (*rng.integers(1, 4, length - 1).tolist(), 0)
        features = 0.1 * self.arrays["features"]
        for frame in range(length):
            for ahead, action in enumerate(self.actions[frame : frame + 2]):
                features[frame, 4 * ahead + action] += 3
        self.arrays["features"] = features.astype(np.float16)


SEQUENCES = {name: MadeUp(name) for name in ("one", "two", "three")}


def toy_dialogue(
    heatmap: dict[str, Any] | None = None,
    dialogue: DialogueParams = DIALOGUE,
    *,
    sharp: float = 8.0,
    **changes: Any,
) -> ActionDialogue:
    """A toy that says this and that: its weights are larger than at the start of a training."""
    content = synthetic.PARAMS.model_dump()
    given = {name: {**content[name], **values} for name, values in (heatmap or {}).items()}
    model = synthetic.toy_model(ModelParams.model_validate(content | given))
    made = ActionDialogue(model, ActionModelParams.model_validate(changes), dialogue).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.startswith("language.model.layers") and weight.dim() > 1:
                weight.mul_(sharp)
            if name.startswith(("context.times", "enter_language")):
                weight.normal_(std=0.5)
        spoken = [token for word in made.writer.actions.ids for token in word]
        made.language.model.embed_tokens.weight[spoken] = torch.randn(len(spoken), made.language.width) / 4
    return made


def expert_dialogues(count: int = 17, sequence: str = "one") -> list[Dialogue]:
    """Windows of an episode of random actions and a stop."""
    rng = np.random.default_rng(count)
    actions = (*rng.integers(1, 4, count - 1).tolist(), 0)
    return episode_dialogues(actions, INSTRUCTION, sequence, DIALOGUE)


def question(sequence: str = "two", frames: Sequence[int] = (1, 3)) -> Dialogue:
    """A question about some views, answered in words."""
    turns = [Turn(frame) for frame in frames[:-1]]
    last = Turn(frames[-1], question="what is there?", answer="the door")
    return Dialogue((*turns, last), "", (), "vqa", sequence)


def dataset(model: ActionDialogue, dialogues: Sequence[Dialogue], *more: str) -> VLNActionDataset:
    context = model.action.context
    derived: dict[str, Any] = {"senses": partial(stored_senses, context=context)} if context.senses else {}
    if context.value_map is not None:
        grid = model.params.language.grid
        derived["spots"] = partial(stored_spots, params=context.value_map, grid=grid)
        derived["headings"] = stored_headings
    arrays = ("frames", "features", *more)
    return VLNActionDataset(dialogues, SEQUENCES, model.writer, arrays=arrays, derived=derived)


def batch(model: ActionDialogue, dialogues: Sequence[Dialogue], *more: str) -> dict[str, Any]:
    data = dataset(model, dialogues, *more)
    return data.collate([data[i] for i in range(len(data))])
