"""DAgger: the student walks, the expert watches and takes over, and what it corrected becomes data.

Invariant: states are the student's as long as it walks, labels are the expert's at all of them. An episode comes
back only if the expert would have done something else in it.

Source: Ross et al. 2011 (arXiv:1011.0686), with a takeover in place of mixing, as StreamVLN collects its data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.datasets.sequence_shards import CollectionStream, JoinedStores
from vln_heatmap.nodes.navigation.dialogue_policy import dialogue_policies, first_actions
from vln_heatmap.nodes.navigation.dialogues import CORRECTED, corrected_dialogues, dialogue_table
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, make_episodes
from vln_heatmap.nodes.navigation.filming import Film, filmed
from vln_heatmap.nodes.navigation.policy import Observation, Policy
from vln_heatmap.nodes.navigation.rollout import Entrant, RecordStore, roll_out
from vln_heatmap.nodes.navigation.worlds import EpisodeRecord
from vln_heatmap.params.navigation import DaggerParams, NavigationParams
from vln_heatmap.params.navigation_training import NavigationTrainingParams
from vln_heatmap.simulation.instructions import instruction
from vln_heatmap.simulation.simulators.base import STOP

logger = logging.getLogger(__name__)


@dataclass
class _Watched:
    """One episode under supervision."""

    taken: int | None = None  # step at which the expert took over
    reason: str = ""
    wrong: list[bool] = field(default_factory=list)  # of each of the student's wishes
    own: list[int] = field(default_factory=list)  # actions of the student that were done
    expert: list[int] = field(default_factory=list)  # what the expert would have done at each step
    replies: list[list[int]] = field(default_factory=list)  # of the expert


class SupervisedPolicy:
    """A student that is watched: the expert takes over to the end of the episode when it goes wrong.

    It takes over where the student says STOP and is wrong, and where the expert would have done something else in
    too many of the last steps.

    Args:
        student: who walks.
        params: when it is too much.
        turn: actions of one reply of the expert.
    """

    needs_expert = True

    def __init__(self, student: Policy, params: DaggerParams, *, turn: int = 4) -> None:
        self.student, self.params, self.turn = student, params, turn
        chosen = params.model_dump(mode="json", include={"errors", "window"})
        self.fingerprint = f"supervised {chosen} {turn} {student.fingerprint}"

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        self.student.reset(instructions, seeds=seeds)
        self._watched = [_Watched() for _ in instructions]

    def act(self, observations: Sequence[Observation], done: Sequence[bool]) -> list[int]:
        away = [over or watched.taken is not None for over, watched in zip(done, self._watched, strict=True)]
        wishes = self.student.act(observations, away) if not all(away) else [STOP] * len(done)
        return [
            STOP if over else self._decide(watched, wish, seen)
            for watched, wish, seen, over in zip(self._watched, wishes, observations, done, strict=True)
        ]

    def notes(self) -> list[dict[str, Any]]:
        """What was done at each view (``said``), what the expert would have done at each step (``expert``), where
        it took over (``taken``: step or None), why (``reason``), and the student's share of wrong steps
        (``errors``)."""
        students = self.student.notes()
        return [self._note(watched, note) for watched, note in zip(self._watched, students, strict=True)]

    def _decide(self, watched: _Watched, wish: int, seen: Observation) -> int:
        if seen.expert is None:
            raise ValueError("a supervised policy needs the expert's action in every observation")
        watched.expert.append(seen.expert)
        if watched.taken is None:
            watched.reason = self._objection(watched, wish, seen.expert)
            if watched.reason:
                watched.taken = len(watched.own)
        if watched.taken is None:
            watched.own.append(wish)
            return wish
        if not watched.replies or len(watched.replies[-1]) == self.turn:
            watched.replies.append([])
        watched.replies[-1].append(seen.expert)
        return seen.expert

    def _objection(self, watched: _Watched, wish: int, expert: int) -> str:
        """Why the expert takes over before this action of the student; "" if it does not."""
        watched.wrong.append(wish != expert)
        if wish == STOP != expert:
            return "wrong stop"
        last = watched.wrong[-self.params.window :]
        enough = len(last) == self.params.window and float(np.mean(last)) >= self.params.errors
        return "too many errors" if enough else ""

    def _note(self, watched: _Watched, note: Mapping[str, Any]) -> dict[str, Any]:
        views = note.get("said", [[action] for action in watched.own])  # a view for each action by default
        said = first_actions(views, len(watched.own))
        return {
            "said": [*said, *watched.replies],
            "expert": list(watched.expert),
            "taken": watched.taken,
            "reason": watched.reason,
            "errors": float(np.mean(watched.wrong)) if watched.wrong else 0.0,
        }


def first_corrections(
    student: Any, store: RecordStore, params: NavigationParams, unfinished: Mapping[str, frozenset[str]]
) -> CollectionStream:
    """The round between the two stages of training; nothing where ``dagger.enabled`` is false.

    Args:
        student: ``Checkpoint`` of an action dialogue.
        store, params, unfinished: see ``correct_student``.
    """
    if not params.dagger.enabled:
        return filmed([], params, params.dagger.episodes.house)
    return correct_student(_walker(student, params), store, params, unfinished=unfinished)


def further_corrections(
    student: Any,
    store: RecordStore,
    params: NavigationParams,
    unfinished: Mapping[str, frozenset[str]],
    rounds: JoinedStores,
) -> CollectionStream:
    """One more round, in houses of its own.

    Args:
        student: ``Checkpoint`` of an action dialogue.
        store, params, unfinished: see ``correct_student``.
        rounds: the corrections of all rounds before.
    """
    walker, number = _walker(student, params), len(rounds.stores)
    return correct_student(walker, store, params, round_number=number, unfinished=unfinished)


def _walker(student: Any, params: NavigationParams) -> Policy:
    """A student that walks as it is measured."""
    return dialogue_policies(student, execute=params.execute, tryout=params.tryout)()


def join_rounds(fresh: Any, rounds: JoinedStores) -> JoinedStores:
    """All rounds, the fresh one among them: it is an input so that it is there first."""
    return rounds


def dialogues_of_corrections(walks: Any, training: NavigationTrainingParams) -> pd.DataFrame:
    """What is to be learned from corrected walks, as ``make_dialogues`` gives it; all of it trains.

    Args:
        walks: mapping from id to sequences of ``correct_student``.
        training: window and wording.
    """
    found = {key: corrected_dialogues(walks[key], training.data.dialogue) for key in walks}
    scenes = [walks[key].metadata["scene"] for key, dialogues in found.items() for _ in dialogues]
    table = dialogue_table([dialogue for dialogues in found.values() for dialogue in dialogues])
    logger.info("%d dialogues of %d corrected walks", len(table), len(walks))
    return table.assign(scene=scenes, split="train")


def correct_student(
    student: Policy,
    store: RecordStore,
    params: NavigationParams,
    *,
    round_number: int = 0,
    unfinished: Mapping[str, frozenset[str]] | None = None,
) -> CollectionStream:
    """One round: the student walks training episodes that it has not seen, and what was corrected is filmed.

    Args:
        student: who is watched.
        store: of finished episodes.
        params: ``dagger`` says how many episodes, and when the expert takes over.
        round_number: every round has houses of its own.
        unfinished: finished ids of interrupted filmings, by fingerprint.

    Returns:
        Work for a ``SequenceStoreDataset``; see ``corrected_dialogues`` for what is to be learned from it.
    """
    dagger = params.dagger
    wanted = dagger.episodes.model_copy(update={"seed": dagger.episodes.seed + round_number})
    episodes = make_episodes(wanted, params)
    entrants = {"student": Entrant(SupervisedPolicy(student, dagger), episodes)}
    walked = roll_out(entrants, store, params, house=wanted.house)["student"]
    films = [
        _film(episode, record, round_number)
        for episode, record in zip(episodes, walked, strict=True)
        if worth_learning(record, dagger)
    ]
    return filmed(films, params, wanted.house, unfinished)


def worth_learning(record: EpisodeRecord, params: DaggerParams) -> bool:
    """Whether an episode ended by STOP, and the expert walked or wanted another action in enough of its steps."""
    taken, count = record.notes["taken"], len(record.actions)
    steps = zip(record.actions, record.notes["expert"], strict=True)
    wrong = sum(done != wanted for done, wanted in steps) + (0 if taken is None else count - taken)
    return record.stopped and wrong >= params.least


def _film(episode: NavigationEpisode, record: EpisodeRecord, round_number: int) -> Film:
    said = [instruction(text, CORRECTED, (), level=3) for text in episode.texts]
    facts = {"round": round_number, "episode": episode.id, **record.notes}
    details = {"trajectory": CORRECTED, "instructions": said, CORRECTED: facts}
    name, actions = f"dagger{round_number}_{episode.id}", tuple(record.actions)
    return Film(name, episode.scene, episode.start, actions, record.stopped, details)
