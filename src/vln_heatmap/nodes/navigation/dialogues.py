"""Episodes as dialogues, wherever they come from: recorded walks, imported folders, rolled-out experts, students.

Invariant: the dialogues of a sequence depend on that sequence, the seed and the parameters alone; one frame
follows from the other by one discrete action, and an episode that is learned from ends by STOP.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.datasets.dialogue_samples import Dialogue, Turn
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.nodes.navigation.history import Window, replies, window_at, windows_of_replies
from vln_heatmap.params.navigation_data import DialogueParams, NavigationSourceParams
from vln_heatmap.simulation.instructions import least_pixels, moved_ids, read_objects, read_rooms
from vln_heatmap.simulation.nouns import Scope
from vln_heatmap.simulation.questions import sequence_questions
from vln_heatmap.simulation.relations import Thing
from vln_heatmap.simulation.routes import distance, expert_actions
from vln_heatmap.simulation.scene import STRUCTURE, Instance
from vln_heatmap.simulation.simulators.base import STOP

#: Kind of the instruction of a walk at each of whose steps an expert said what it would do, and key of that in
#: the metadata: ``expert``, an action a step, and ``said``, the replies (left out: cut anew).
CORRECTED = "corrected"
#: How a thing is named as the goal of a walk.
GOAL_PHRASES = ("go to {}", "walk to {} and stop", "walk towards {}", "find {}", "stop at {}")
_REACHED = 1.5  # metres from the thing at which a walk has come to it
_AHEAD = 0.5  # share of half the field of view in which it then is
#: What a sequence must have so that its routes can be made anew.
_NEEDED = frozenset({"instance", "state", "pose"})
COLUMNS = ("sequence_id", "task", "instruction", "start", "memory_frames", "turns")


@dataclass(frozen=True)
class Episode:
    """A way with words for it.

    Attributes:
        instruction: the words.
        actions: one for each frame from ``start`` on, the last one STOP.
        start: frame of the sequence at which it begins.
        kind: "route" or "object".
    """

    instruction: str
    actions: tuple[int, ...]
    start: int = 0
    kind: str = "route"


def episode_dialogues(
    actions: Sequence[int],
    instruction: str,
    sequence_id: str,
    params: DialogueParams,
    *,
    start: int = 0,
) -> list[Dialogue]:
    """Windows of an expert's episode.

    Args:
        actions: T actions, one for each frame.
        instruction: what the expert did.
        sequence_id: of the sequence of frames.
        start: its frame at which the episode begins.
    """
    windows = [window_at(actions, first, params) for first in range(0, len(actions), params.stride)]
    return [_dialogue(window, instruction, sequence_id, start) for window in windows]


def rollout_dialogues(
    said: Sequence[Sequence[int]],
    instruction: str,
    sequence_id: str,
    params: DialogueParams,
    *,
    expert: Sequence[int] = (),
) -> list[Dialogue]:
    """Windows of an episode that an agent lived, with replies of any length.

    Args:
        said: actions *done* at each view.
        expert: what an expert would have done in place of each action, to be learned; () = an expert did them.
    """
    windows = windows_of_replies(said, params, expert=expert)
    return [_dialogue(window, instruction, sequence_id, 0) for window in windows]


def _dialogue(window: Window, instruction: str, sequence_id: str, start: int) -> Dialogue:
    turns = tuple(Turn(t.frame + start, t.actions, expert=t.expert) for t in window.turns)
    memory = tuple(frame + start for frame in window.memory)
    return Dialogue(turns, instruction, memory, "navigation", sequence_id, start)


def corrected_dialogues(sequence: Any, params: DialogueParams) -> list[Dialogue]:
    """What is to be learned from a corrected walk: windows of what was done, with what the expert wanted, after
    each of its instructions.

    Args:
        sequence: ``Sequence`` or ``StoredSequence`` of ``correct_student`` or of an expert who was led astray.

    Raises:
        KeyError: another sequence.
    """
    facts, spoken = sequence.metadata[CORRECTED], sequence.metadata["instructions"]
    expert: list[int] = facts["expert"]
    done = [int(action) for action in sequence.frames["action"][: len(expert)]]  # a last view may follow
    said: Sequence[Sequence[int]] = facts.get("said") or replies(done, params.actions_per_turn)
    return [
        dialogue
        for item in spoken
        for dialogue in rollout_dialogues(said, item["text"], sequence.id, params, expert=expert)
    ]


def sequence_dialogues(
    sequence: Any, params: DialogueParams, sources: NavigationSourceParams, *, seed: int = 0
) -> list[Dialogue]:
    """All dialogues of a recorded or imported walk, none of one that moves freely.

    Args:
        sequence: ``Sequence`` or ``StoredSequence``.
    """
    if CORRECTED in sequence.metadata:
        return corrected_dialogues(sequence, params)
    rng = sequence_generator(seed, sequence.id, "navigation")
    return [
        dialogue
        for episode in sequence_episodes(sequence, sources, rng)
        for dialogue in episode_dialogues(
            episode.actions, episode.instruction, sequence.id, params, start=episode.start
        )
    ]


def sequence_episodes(
    sequence: Any, sources: NavigationSourceParams, rng: np.random.Generator
) -> list[Episode]:
    """The ways that a recorded walk shows, each text once.

    Routes as they were recorded, the thing in front of which the walk stops, recorded ways to things, and new
    ones.
    """
    frames, spoken = sequence.frames, sequence.metadata["instructions"]
    actions = tuple(expert_actions(frames))
    stopped = bool(actions) and bool(frames["is_terminal"].iloc[-1])
    found: list[Episode] = []
    if stopped and sources.routes:
        found += [Episode(item["text"], actions) for item in spoken if item["kind"] == "route"]
    known = not _NEEDED & set(sequence.metadata.get("absent", ())) and bool(sequence.metadata["objects"])
    if stopped and sources.objects and known:
        found += [Episode(text, actions, kind="object") for text in goal_instructions(sequence, rng)]
    ways = [item for item in spoken if item.get("question") == "how_to_reach" and item.get("actions")]
    if known and sources.new_ways:
        ways += _new_ways(sequence, rng, sources.new_ways)
    found += [episode for item in ways for episode in _way_episodes(item)]
    distinct = {(episode.instruction, episode.start): episode for episode in found}
    return list(distinct.values())


def goal_instructions(sequence: Any, rng: np.random.Generator) -> list[str]:
    """ "go to the red sofa", if the last frame is taken in front of a thing with a name of its own in the house.

    It is the nearest thing within 1.5 m that is seen well and ahead.
    """
    frames, camera = sequence.frames, PinholeCamera(**sequence.metadata["camera"])
    last = frames.iloc[-1]
    seen = dict(zip(map(int, last["visible_ids"]), map(int, last["visible_pixels"]), strict=True))
    columns = dict(zip(map(int, last["visible_ids"]), map(float, last["visible_u"]), strict=True))
    objects, least = read_objects(sequence.metadata), least_pixels(camera.width * camera.height)
    moved = moved_ids(frames)
    state = np.asarray(last["state"], np.float64)
    names, by_id = house_names(objects), {thing.id: thing for thing in objects}
    near = {
        i: distance(by_id[i], state)
        for i, pixels in seen.items()
        if i in names and i not in moved and pixels >= least and abs(2 * columns[i] - 1) <= _AHEAD
    }
    best = min(near, key=lambda i: (near[i], i), default=None)
    if best is None or near[best] > _REACHED:
        return []
    return [str(rng.choice(GOAL_PHRASES)).format(names[best])]


def house_names(objects: Sequence[Instance]) -> dict[int, str]:
    """Phrases ("the red sofa") that fit one thing of the whole house alone, by its id."""
    things = tuple(Thing(thing, 1) for thing in objects if thing.category not in STRUCTURE)
    return Scope(things, 1).names


def _new_ways(sequence: Any, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Ways to things that the walk comes to."""
    camera = PinholeCamera(**sequence.metadata["camera"])
    return sequence_questions(
        read_objects(sequence.metadata),
        read_rooms(sequence.metadata),
        sequence.frames,
        rng,
        kinds=("how_to_reach",),
        count=count,
        image_pixels=camera.width * camera.height,
        camera=camera,
    )


def _way_episodes(item: Mapping[str, Any]) -> Iterator[Episode]:
    """A way in words; the question itself names the thing, which is told apart on this walk."""
    actions = tuple(int(action) for action in item["actions"])
    yield Episode(item["answer"], actions, int(item["frame"]))
    thing = str(item["text"]).removeprefix("how do I get to ").removesuffix("?")
    yield Episode(f"go to {thing}", actions, int(item["frame"]), "object")


def imported_dialogues(source: Any, params: DialogueParams) -> Iterator[Dialogue]:
    """Dialogues of the walks of an imported folder, such as ``StreamVLNFolder``, an instruction at a time.

    Raises:
        RefusedError: a walk that is not what its format promises.
    """
    for sequence_id in source.ids:
        yield from walk_dialogues(source.read(sequence_id), params)


def walk_dialogues(sequence: Any, params: DialogueParams) -> list[Dialogue]:
    """Dialogues of a walk that stops, one set for each of its routes."""
    sources = NavigationSourceParams(objects=False, new_ways=0)
    return sequence_dialogues(sequence, params, sources)


def sequence_generator(seed: int, sequence_id: str, purpose: str) -> np.random.Generator:
    """The random numbers of one sequence for one purpose, whatever other sequences there are."""
    return np.random.default_rng([seed, zlib.crc32(sequence_id.encode()), zlib.crc32(purpose.encode())])


def ends_by_stop(dialogue: Dialogue) -> bool:
    """Whether a navigation's last action is STOP."""
    return dialogue.actions[-1:] == (STOP,)


def dialogue_table(dialogues: Iterable[Dialogue]) -> pd.DataFrame:
    """Dialogues as a table that Parquet can hold, one row each; the turns are JSON."""
    rows = [
        {
            "sequence_id": dialogue.sequence_id,
            "task": dialogue.task,
            "instruction": dialogue.instruction,
            "start": dialogue.start,
            "memory_frames": list(dialogue.memory_frames),
            "turns": json.dumps([asdict(turn) for turn in dialogue.turns], separators=(",", ":")),
        }
        for dialogue in dialogues
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_dialogues(table: pd.DataFrame) -> list[Dialogue]:
    """Dialogues of a ``dialogue_table``.

    Raises:
        ValueError: a column is missing, or a row is no dialogue.
    """
    if missing := [name for name in COLUMNS if name not in table]:
        raise ValueError(f"a table of dialogues needs the column {missing[0]!r}")
    return [
        Dialogue(
            turns=tuple(
                Turn(**{**turn, **{name: tuple(turn[name]) for name in ("actions", "expert")}})
                for turn in json.loads(row.turns)
            ),
            instruction=row.instruction,
            memory_frames=tuple(int(frame) for frame in row.memory_frames),
            task=row.task,
            sequence_id=row.sequence_id,
            start=int(row.start),
        )
        for row in table.itertuples(index=False)
    ]
