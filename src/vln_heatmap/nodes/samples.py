"""Which frames, and which instruction, make a training sample: chosen from tables, without looking at images.

Invariant: the samples of a sequence depend on that sequence, the seed and the parameters alone. A phrase means
in the current view what it means in its scope, because every sequence phrase is unambiguous in all frames; what
is asked of one view goes with that view only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import FinetuneSampleParams, PretrainSampleParams
from vln_heatmap.simulation.instructions import (
    frame_instructions,
    read_objects,
    read_rooms,
    sequence_instructions,
)
from vln_heatmap.simulation.questions import QUESTIONS, sequence_questions

#: Columns of the sample index; the docstring of ``nodes.normalize.index_samples`` explains them.
COLUMNS = (
    "sample_id",
    "sequence_id",
    "scene",
    "split",
    "task",
    "current",
    "candidates",
    "instruction",
    "kind",
    "referred",
    "question",
    "level",
    "levels",
    "overlap",
    "distractors",
    "weight",
)
EVERYTHING: Mapping[str, Any] = {"text": "", "kind": "everything", "instances": ()}
_TASKS = {"pretrain": 0, "finetune": 1}
_QUESTION_TYPES = 3  # of new questions about a sequence
#: Questions that one image answers; "" are plain phrases.
_OF_ONE_VIEW = frozenset({"", "behind_in_front", "left_right", "near_far"})
#: What an imported sequence must not lack to be trained on.
_NEEDED = frozenset({"depth", "instance", "pose", "state"})
Instruction = Mapping[str, Any]


@dataclass(frozen=True)
class Recording:
    """What the tables say about one sequence of T frames: ``frames`` and ``metadata`` of ``Sequence``."""

    id: str
    scene: str
    split: str
    frames: pd.DataFrame
    metadata: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def usable(self) -> bool:
        """Whether targets can be made: an import may lack depth, ids or poses."""
        return not _NEEDED & set(self.metadata.get("absent", ()))

    @property
    def levels(self) -> list[str]:
        """Levels of the spatial losses that the sequence was filmed for."""
        return list(self.metadata.get("scenario", {}).get("levels", ()))

    @property
    def quality(self) -> float:
        """Overall score in [0, 1]; 1 if it was never judged."""
        return float(self.metadata.get("quality", {}).get("overall", 1.0))

    @property
    def camera(self) -> PinholeCamera:
        return PinholeCamera(**self.metadata["camera"])

    @property
    def pixels(self) -> int:
        return int(self.metadata["camera"]["width"] * self.metadata["camera"]["height"])

    @cached_property
    def visible(self) -> list[dict[int, int]]:
        """Pixel count by instance id, of every frame."""
        columns = zip(self.frames["visible_ids"], self.frames["visible_pixels"], strict=True)
        return [dict(zip(map(int, ids), map(int, counts), strict=True)) for ids, counts in columns]

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Share of the image that each instance covers, of every frame: [T, instances]."""
        ids = sorted(set().union(*self.visible))
        counts = [[frame.get(i, 0) for i in ids] for frame in self.visible]
        return np.array(counts, np.float64).reshape(len(self), len(ids)) / self.pixels

    def overlap(self, current: int, candidates: Sequence[int]) -> float:
        """How much of a view its candidates show too, by instances, in [0, 1]; 1 without candidates.

        The sum over instances of the smaller of the two shares of the image, over that of the view itself; mean
        over candidates.
        """
        own = self.shares[current]  # [instances]
        if not len(candidates) or not own.sum():
            return 1.0
        common = np.minimum(self.shares[list(candidates)], own).sum(1)  # [candidates]
        return float(common.mean() / own.sum())

    def generator(self, seed: int, task: str) -> np.random.Generator:
        """The random numbers of this sequence and task, whatever other sequences there are."""
        return np.random.default_rng([seed, zlib.crc32(self.id.encode()), _TASKS[task]])

    def row(self, task: str, current: int, candidates: Sequence[int], spoken: Instruction) -> dict[str, Any]:
        """One row of the sample index, but for its number; its weight is the sequence's quality."""
        return {
            "sequence_id": self.id,
            "scene": self.scene,
            "split": self.split,
            "task": task,
            "current": int(current),
            "candidates": [int(frame) for frame in candidates],
            "instruction": spoken["text"],
            "kind": spoken["kind"],
            "referred": sorted({int(instance) for instance in spoken["instances"]}),
            "question": spoken.get("question", ""),
            "level": int(spoken.get("level", 0)),
            "levels": self.levels,
            "overlap": self.overlap(current, candidates),
            "distractors": len(spoken.get("distractors", ())),
            "weight": self.quality,
        }


def finetune_rows(recording: Recording, params: FinetuneSampleParams, seed: int) -> Iterator[dict[str, Any]]:
    """Samples with a current view, candidates for keyframes and an instruction.

    Current views are different frames, the last one among them, with at least ``min_candidates`` frames before
    them (in a shorter sequence the last frame alone, with all before it; none in a sequence of one frame).
    """
    rng = recording.generator(seed, "finetune")
    any_frame = recording.split == "train" and params.any_frame
    count = getattr(params, recording.split)
    views = current_views(len(recording), params, rng, count=count, any_frame=any_frame)
    pools = _spoken(recording, params, rng, views)
    for current in views:
        candidates = [f for f in range(len(recording) if any_frame else current) if f != current]
        in_view = {i: count / recording.pixels for i, count in recording.visible[current].items()}
        spoken = _choose(pools, int(current), in_view, params, rng)
        yield recording.row("finetune", current, candidates, spoken)


def current_views(
    length: int, params: FinetuneSampleParams, rng: np.random.Generator, *, count: int, any_frame: bool
) -> NDArray[np.int64]:
    """At most ``count`` different frames of a sequence to be current views, the last frame first."""
    if length < 2:
        return np.zeros(0, np.int64)
    earliest = 0 if any_frame else min(params.min_candidates, length - 1)
    others = earliest + rng.permutation(length - 1 - earliest)
    if params.include_last or not len(others):
        others = np.concatenate([[length - 1], others])
    return others[:count].astype(np.int64)


def _spoken(
    recording: Recording, params: FinetuneSampleParams, rng: np.random.Generator, views: NDArray[np.int64]
) -> dict[str, list[Instruction]]:
    """Recorded and new instructions that name something, by kind: phrases and routes that hold for the whole
    sequence, and reasoning, some of it about one view."""
    recorded: list[Instruction] = [item for item in recording.metadata["instructions"] if item["instances"]]
    whole = [item for item in recorded if item["frame"] is None]
    pools = {
        "phrase": [item for item in whole if item["kind"] not in ("route", "reasoning")],
        "route": [item for item in whole if item["kind"] == "route"],
        "reasoning": [item for item in recorded if item["kind"] == "reasoning"],
    }
    about = (read_objects(recording.metadata), read_rooms(recording.metadata), recording.frames, rng)
    if params.new_phrases:
        pools["phrase"] += sequence_instructions(
            *about, count=params.new_phrases, image_pixels=recording.pixels
        )
    if params.new_questions:
        pools["reasoning"] += sequence_questions(
            *about,
            kinds=tuple(rng.permutation(list(QUESTIONS))[:_QUESTION_TYPES].tolist()),
            count=params.new_questions,
            image_pixels=recording.pixels,
            camera=recording.camera,
            views=views.tolist(),
        )
    return pools


def _choose(
    pools: Mapping[str, Sequence[Instruction]],
    current: int,
    in_view: Mapping[int, float],
    params: FinetuneSampleParams,
    rng: np.random.Generator,
) -> Instruction:
    """An instruction of a kind drawn by the shares; "everything" where there is none of that kind.

    A phrase is about something well in view, or, in a share of ``1 - params.visible``, about nothing in view;
    reasoning about either, for many questions are about what is not. ``in_view`` is the share of the image that
    instances cover.
    """
    shares = np.array([params.everything, params.phrases, params.route, params.reasoning])
    kind = str(rng.choice(["everything", "phrase", "route", "reasoning"], p=shares / shares.sum()))
    absent = rng.random() >= params.visible
    pool = [item for item in pools.get(kind, ()) if item["frame"] in (None, current)]
    if kind in ("phrase", "reasoning"):
        covered = [max(in_view.get(int(i), 0.0) for i in item["instances"]) for item in pool]
        well, out = [share >= params.min_share for share in covered], [share == 0 for share in covered]
        fits = out if absent else well
        if kind == "reasoning":
            fits = [a or b for a, b in zip(well, out, strict=True)]
        pool = [item for item, fit in zip(pool, fits, strict=True) if fit]
    return pool[int(rng.integers(len(pool)))] if pool else EVERYTHING


def pretrain_rows(recording: Recording, params: PretrainSampleParams, seed: int) -> Iterator[dict[str, Any]]:
    """Samples of one view and a phrase that is unambiguous in it, about something seen well.

    Frames are spread over the sequence at random. Recorded phrases of a frame are taken along with new ones.
    """
    rng = recording.generator(seed, "pretrain")
    objects = read_objects(recording.metadata)
    recorded = [
        item
        for item in recording.metadata["instructions"]
        if item["instances"] and item.get("question", "") in _OF_ONE_VIEW
    ]
    count = min(getattr(params, recording.split), len(recording))
    for frame in np.sort(rng.permutation(len(recording))[:count]):
        pool: list[Instruction] = [item for item in recorded if item["frame"] == frame]
        pool += frame_instructions(
            objects, recording.frames.iloc[frame], rng, count=params.phrases, image_pixels=recording.pixels
        )
        chosen = np.sort(rng.permutation(len(pool))[: params.phrases])
        yield from (recording.row("pretrain", frame, (), pool[index]) for index in chosen)
