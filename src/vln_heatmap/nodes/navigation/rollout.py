"""Closed loop: a policy walks episodes in simulators until each has ended, and what was finished is never redone.

Invariant: an episode's record depends on the episode, the policy and the parameters that decide content, and it
is stored under a name made of exactly these, whole or not at all. So an interrupted evaluation goes on where it
was, a finished one is read, and a changed one is walked anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from vln_heatmap import __version__
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode
from vln_heatmap.nodes.navigation.policy import Policy
from vln_heatmap.nodes.navigation.worlds import EpisodeRecord, World, Worlds, open_worlds
from vln_heatmap.params import HouseParams
from vln_heatmap.params.navigation import NavigationParams

_LOSSES = 3  # processes of simulators that may die, such as of an error in a graphics driver
logger = logging.getLogger(__name__)
#: Parameters that decide what an episode's record holds.
_CONTENT = {"seed", "success_distance", "max_steps", "depth", "simulator", "camera", "agent"}


class RecordStore(Protocol):
    """Where finished episodes are kept, such as ``TrialStore``."""

    def record(self, key: str) -> dict[str, Any] | None:
        """What is stored under a key; None if nothing."""

    def note(self, key: str, record: dict[str, Any]) -> None:
        """Store it, whole or not at all."""


@dataclass(frozen=True)
class Entrant:
    """Who walks, and what: several entrants may walk the same episodes with other instructions.

    Attributes:
        policy: who.
        episodes: those of one scene stand together.
    """

    policy: Policy
    episodes: Sequence[NavigationEpisode]


def roll_out(
    entrants: Mapping[str, Entrant],
    store: RecordStore,
    params: NavigationParams,
    *,
    house: HouseParams | None = None,
    world: type[World] = World,
) -> dict[str, list[EpisodeRecord]]:
    """Let policies walk their episodes, ``params.slots`` at once, everyone in a house before the next is opened.

    Args:
        entrants: by name.
        store: of finished episodes; those in it are not walked again.
        params: agent, camera, limits.
        house: of generated scenes, ``params.episodes.house`` by default.
        world: what actions are and do; policies of different worlds must have different fingerprints.

    Returns:
        By name, a record per episode in the order of the episodes.
    """
    found = {name: _stored(entrant, store, params) for name, entrant in entrants.items()}
    lost = 0  # simulators
    total, done = sum(len(e.episodes) for e in entrants.values()), sum(map(len, found.values()))
    with (
        closing(open_worlds(params, house or params.episodes.house, world)) as worlds,
        tqdm(total=total, initial=done, desc="navigate", unit="episode", disable=None) as progress,
    ):
        for name, group in _groups(entrants, found, params.slots):
            progress.set_postfix_str(name)
            policy, by_id = entrants[name].policy, {episode.id: episode for episode in group}
            records, lost = _walked(worlds, group, policy, params.seed, lost)
            for record in records:
                store.note(record_key(by_id[record.id], policy, params), record.as_json())
                found[name][record.id] = record
                progress.update()
    return {name: [found[name][each.id] for each in e.episodes] for name, e in entrants.items()}


def _stored(entrant: Entrant, store: RecordStore, params: NavigationParams) -> dict[str, EpisodeRecord]:
    kept = {each.id: store.record(record_key(each, entrant.policy, params)) for each in entrant.episodes}
    return {key: EpisodeRecord.from_json(document) for key, document in kept.items() if document}


def _groups(
    entrants: Mapping[str, Entrant], found: Mapping[str, Mapping[str, EpisodeRecord]], slots: int
) -> Iterator[tuple[str, list[NavigationEpisode]]]:
    """What is walked together: name of the entrant, and those of ``slots`` episodes that it has not finished."""
    longest = max(len(entrant.episodes) for entrant in entrants.values())
    for first in range(0, longest, slots):
        for name, entrant in entrants.items():
            group = [e for e in entrant.episodes[first : first + slots] if e.id not in found[name]]
            if group:
                yield name, group


def record_key(episode: NavigationEpisode, policy: Policy, params: NavigationParams) -> str:
    """Name of an episode's record: ``<policy>/<episode>`` as hashes of all that it depends on."""
    chosen = params.model_dump(mode="json", include=_CONTENT)
    who = _hash([__version__, policy.fingerprint, chosen])
    return f"{who}/{_hash([episode.id, episode.fingerprint()])}"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _walked(
    worlds: Worlds, group: Sequence[NavigationEpisode], policy: Policy, seed: int, lost: int
) -> tuple[list[EpisodeRecord], int]:
    """Records of a group, which is walked again where a simulator's process has died; and how many have by now.

    Raises:
        BrokenProcessPool: more than ``_LOSSES`` have.
    """
    while True:
        try:
            return walk_together(worlds, group, policy, seed=seed), lost
        except BrokenProcessPool:
            lost += 1
            if lost > _LOSSES:
                raise
            logger.warning(
                "a simulator's process has died (%d of at most %d): walking %d episodes again",
                *(lost, _LOSSES, len(group)),
            )
            worlds.renew()


def walk_together(
    worlds: Worlds, episodes: Sequence[NavigationEpisode], policy: Policy, *, seed: int
) -> list[EpisodeRecord]:
    """Walk some episodes side by side to their ends.

    Raises:
        ValueError: the policy gives another number of actions than there are episodes, or an action that is none.
    """
    seen = worlds.begin(episodes, expert=policy.needs_expert)
    seeds = [
        int(np.random.SeedSequence([seed, zlib.crc32(e.id.encode())]).generate_state(1)[0]) for e in episodes
    ]
    policy.reset([episode.instruction for episode in episodes], seeds=seeds)
    done = [False] * len(episodes)
    while not all(done):
        actions = policy.act(seen, done)
        if len(actions) != len(episodes):
            raise ValueError(f"the policy gave {len(actions)} actions for {len(episodes)} episodes")
        steps = worlds.step([None if over else a for a, over in zip(actions, done, strict=True)])
        seen, done = [step.observation for step in steps], [step.done for step in steps]
    records = worlds.records()
    return [replace(record, notes=note) for record, note in zip(records, policy.notes(), strict=True)]
