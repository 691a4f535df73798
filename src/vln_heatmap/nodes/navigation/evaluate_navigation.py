"""What closed-loop episodes say: measures by policy and by type of instruction, with intervals over houses, and
paired tests.

Invariant: every policy is measured on the same episodes, and every interval resamples whole houses. An infinite
error is counted, not averaged.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from vln_heatmap.nodes.metrics.bootstrap import (
    Difference,
    Ratio,
    Statistic,
    interval,
    scene_weights,
    summary,
    value,
)
from vln_heatmap.nodes.metrics.navigation import MEASURES
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, read_episode_table
from vln_heatmap.nodes.navigation.policy import baselines
from vln_heatmap.nodes.navigation.rollout import Entrant, RecordStore, roll_out
from vln_heatmap.nodes.navigation.worlds import EpisodeRecord
from vln_heatmap.params.navigation import NavigationParams

Records = Mapping[str, Sequence[EpisodeRecord]]
MODEL, SHUFFLED = "model", "model_shuffled"
#: Everything that is no route names the thing where one should end up.
ROUTE, OBJECT = "route", "object"


def walk_baselines(
    episodes: pd.DataFrame, store: RecordStore, params: NavigationParams
) -> dict[str, list[EpisodeRecord]]:
    """Records of the baselines by name.

    Args:
        episodes: from ``plan_episodes``.
        store: of finished episodes.
        params: which baselines, and how they walk.
    """
    read = read_episode_table(episodes)
    policies = baselines(params.baselines, [episode.actions for episode in read])
    return roll_out({name: Entrant(policy, read) for name, policy in policies.items()}, store, params)


def walk_model(
    episodes: pd.DataFrame, policies: Mapping[str, Any], store: RecordStore, params: NavigationParams
) -> dict[str, list[EpisodeRecord]]:
    """Records of trained policies by name, and of the one called "model" with shuffled instructions.

    Args:
        episodes: from ``plan_episodes``.
        policies: ``Policy`` by name ("model", "before_cotraining", …).
        store: of finished episodes.
        params: how they walk, and whether instructions are shuffled.
    """
    read = read_episode_table(episodes)
    entrants = {name: Entrant(policy, read) for name, policy in policies.items()}
    if params.shuffled and MODEL in policies:
        entrants[SHUFFLED] = Entrant(policies[MODEL], shuffled(read, params.seed))
    return roll_out(entrants, store, params)


def shuffled(episodes: Sequence[NavigationEpisode], seed: int) -> list[NavigationEpisode]:
    """The same episodes with each other's instructions: routes among routes, objects among objects.

    Nobody keeps its text, as far as there are enough different ones: instructions are handed on round a circle in
    a random order, by the step that leaves the fewest in place.
    """
    rng = np.random.default_rng(seed)
    texts = {episode.id: episode.instruction for episode in episodes}
    for family in (True, False):
        order = [e for e in episodes if (e.kind == ROUTE) == family]
        order = [order[k] for k in rng.permutation(len(order))]
        said = [episode.instruction for episode in order]
        turns = [said[k:] + said[:k] for k in range(1, len(said))] or [said]
        moved = min(turns, key=lambda turn: sum(a == b for a, b in zip(said, turn, strict=True)))
        texts |= {episode.id: text for episode, text in zip(order, moved, strict=True)}
    return [replace(episode, instruction=texts[episode.id]) for episode in episodes]


def measure_navigation(
    params: NavigationParams, baseline_records: Records, model_records: Records | None = None
) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame]:
    """All numbers of the closed loop.

    Args:
        params: bootstrap.
        baseline_records, model_records: by policy, over the same episodes.

    Returns:
        The section twice (for a versioned and the latest file), ``{"navigation": {"policies": {policy: {measure:
        value, measure_ci: [low, high], "unreachable": share, "kinds": {kind: {…}}}}, "comparisons": {…},
        "episodes": n, …}}``; and a table with a row per episode and policy.

    Raises:
        ValueError: policies that walked different episodes, or none.
    """
    records = {**baseline_records, **(model_records or {})}
    ids = {name: [record.id for record in walked] for name, walked in records.items()}
    if not ids or not next(iter(ids.values())) or any(i != next(iter(ids.values())) for i in ids.values()):
        raise ValueError(
            f"all policies must walk the same episodes, got { ({n: len(i) for n, i in ids.items()}) }"
        )
    first = next(iter(records.values()))
    scenes = sorted({record.scene for record in first})
    weights = scene_weights(len(scenes), params.resamples, params.seed)
    section = {
        "policies": {name: _policy(walked, scenes, weights) for name, walked in records.items()},
        "comparisons": comparisons(records, scenes, weights),
        "episodes": len(first),
        "houses": len(scenes),
        "success_distance": params.success_distance,
        "max_steps": params.max_steps,
        "seed": params.seed,
    }
    return {"navigation": section}, {"navigation": section}, record_table(records)


def _policy(
    records: Sequence[EpisodeRecord], scenes: list[str], weights: NDArray[np.float64]
) -> dict[str, Any]:
    kinds = {kind: [r for r in records if kind in families(r.kind)] for kind in _kinds(records)}
    return {
        **_numbers(records, scenes, weights),
        "kinds": {kind: _numbers(chosen, scenes, weights) for kind, chosen in kinds.items()},
    }


def families(kind: str) -> tuple[str, ...]:
    """The groups in which an episode of a kind is reported: "relation" is a kind of object instruction."""
    return (ROUTE,) if kind == ROUTE else (OBJECT, kind)


def _kinds(records: Sequence[EpisodeRecord]) -> list[str]:
    return sorted({name for record in records for name in families(record.kind)})


def _numbers(
    records: Sequence[EpisodeRecord], scenes: list[str], weights: NDArray[np.float64]
) -> dict[str, Any]:
    statistics = {name: mean_measure(records, scenes, name) for name in MEASURES}
    return {"episodes": len(records), "unreachable": _unreachable(records), **summary(statistics, weights)}


def _unreachable(records: Sequence[EpisodeRecord]) -> int:
    """Episodes that ended where no way leads to the goal; they are left out of the mean error."""
    return sum(not np.isfinite(record.measures.ne) for record in records)


def mean_measure(records: Sequence[EpisodeRecord], scenes: Sequence[str], name: str) -> Ratio:
    """Mean of a measure over episodes, as a statistic of how often each scene counts."""
    place = {scene: index for index, scene in enumerate(scenes)}
    top, bottom = np.zeros(len(scenes)), np.zeros(len(scenes))
    for record in records:
        number = getattr(record.measures, name)
        if np.isfinite(number):
            top[place[record.scene]] += number
            bottom[place[record.scene]] += 1
    return Ratio(top, bottom)


def comparisons(
    records: Records, scenes: Sequence[str], weights: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """The model against every other policy in success, each a paired comparison over the same episodes: over all,
    and under ``kinds`` over those of a type of instruction."""
    if MODEL not in records:
        return {}
    ours, kinds = records[MODEL], _kinds(records[MODEL])

    def against(theirs: Sequence[EpisodeRecord], kind: str | None) -> dict[str, Any]:
        both = [pair for pair in zip(ours, theirs, strict=True) if kind in (None, *families(pair[0].kind))]
        return paired([a for a, _ in both], [b for _, b in both], scenes, weights)

    return {
        name: {**against(theirs, None), "kinds": {kind: against(theirs, kind) for kind in kinds}}
        for name, theirs in records.items()
        if name != MODEL
    }


def paired(
    ours: Sequence[EpisodeRecord],
    theirs: Sequence[EpisodeRecord],
    scenes: Sequence[str],
    weights: NDArray[np.float64],
) -> dict[str, Any]:
    """Difference in success of two policies on the same episodes.

    Returns:
        ``difference`` of the success rates with its interval over houses; ``gained`` and ``lost``, episodes in
        which one alone succeeded; ``p``, of a two-sided exact McNemar test of these two counts; ``ratio`` of the
        success rates (None if theirs is 0).
    """
    change: Statistic = Difference(mean_measure(ours, scenes, "sr"), mean_measure(theirs, scenes, "sr"))
    gained = sum(a.measures.sr > b.measures.sr for a, b in zip(ours, theirs, strict=True))
    lost = sum(a.measures.sr < b.measures.sr for a, b in zip(ours, theirs, strict=True))
    rates = [float(np.mean([record.measures.sr for record in walked])) for walked in (ours, theirs)]
    return {
        "difference": value(change, len(scenes)),
        "difference_ci": interval(change, weights),
        "gained": gained,
        "lost": lost,
        "p": float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0,
        "ratio": rates[0] / rates[1] if rates[1] > 0 else None,
    }


def record_table(records: Records) -> pd.DataFrame:
    """One row per policy and episode: what became of it."""
    return pd.DataFrame(
        [
            {
                "policy": name,
                "id": record.id,
                "scene": record.scene,
                "kind": record.kind,
                "instruction": record.instruction,
                "stopped": record.stopped,
                **record.measures.as_dict(),
            }
            for name, walked in records.items()
            for record in walked
        ]
    )


def decision_seconds(
    policy: Any, observations: Sequence[Any], *, at: Sequence[int] = (20, 200)
) -> dict[str, float]:
    """Seconds that an action takes early and late in one long episode, the median of the 9 around each step.

    Args:
        policy: ``Policy``.
        observations: what it is shown in turn, again from the start when they end; a STOP ends nothing here.
        at: steps.
    """
    policy.reset(["walk straight ahead and stop at the door"], seeds=[0])
    seconds = []
    for step in range(max(at) + 5):
        start = time.perf_counter()
        policy.act([observations[step % len(observations)]], [False])
        seconds.append(time.perf_counter() - start)
    around = {step: seconds[max(0, step - 4) : step + 5] for step in at}
    return {f"step_{step}": float(np.median(values)) for step, values in around.items()}
