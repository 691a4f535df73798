"""Tasks beside navigation that are made of our own recordings, with answers from geometry."""

from __future__ import annotations

from typing import Any

from vln_heatmap.datasets.dialogue_samples import Dialogue
from vln_heatmap.nodes.navigation.cotraining.descriptions import description
from vln_heatmap.nodes.navigation.cotraining.footage import as_dialogue, ask, footage, some_frames
from vln_heatmap.nodes.navigation.cotraining.places import SPATIAL_QUESTIONS
from vln_heatmap.nodes.navigation.cotraining.videos import VIDEO_QUESTIONS
from vln_heatmap.nodes.navigation.dialogues import sequence_generator
from vln_heatmap.params.navigation_data import CotrainingParams

__all__ = ["SPATIAL_QUESTIONS", "VIDEO_QUESTIONS", "cotraining_dialogues"]

#: What a sequence must have so that something can be asked about it.
_NEEDED = frozenset({"instance", "state", "depth"})


def cotraining_dialogues(sequence: Any, params: CotrainingParams, *, seed: int = 0) -> list[Dialogue]:
    """Questions and descriptions of a recorded walk; none of one without objects.

    They depend on the sequence, the seed and the parameters alone, and each kind on its own count alone.

    Args:
        sequence: ``Sequence`` or ``StoredSequence``.
    """
    if _NEEDED & set(sequence.metadata.get("absent", ())) or not sequence.metadata["objects"]:
        return []
    length, found = len(sequence.frames), []
    for task, makers, count in (
        ("vqa", VIDEO_QUESTIONS, params.videos),
        ("scanqa", SPATIAL_QUESTIONS, params.spatial),
    ):
        rng = sequence_generator(seed, sequence.id, task)
        film = footage(sequence, some_frames(length, params.frames, rng, least=2 if task == "vqa" else 1))
        for asked in ask(makers, film, rng, count):
            remembered = len(film.shown) > 1 and rng.random() < params.as_memory
            found.append(as_dialogue(film, asked, task, memory=remembered))  # type: ignore[arg-type]
    rng = sequence_generator(seed, sequence.id, "description")
    for _ in range(params.descriptions):
        film = footage(sequence, some_frames(length, params.described, rng))
        found.append(description(film, rng))
    return found
