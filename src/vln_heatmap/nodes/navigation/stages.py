"""Nodes that train the action dialogue: what each stage takes of dialogues and features, and who walks then.

Invariant: what validates is the same in both stages, and never a walk that was corrected.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator
from typing import Any

import pandas as pd

from vln_heatmap.nodes.navigation.dialogue_policy import DialoguePolicy, trained_policies
from vln_heatmap.nodes.navigation.training import train_cotraining, train_navigation
from vln_heatmap.nodes.navigation.videos import predicted_heat
from vln_heatmap.nodes.training.state import digest
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.params.navigation_training import NavigationTrainingParams

#: Checkpoint {state_dict, meta}, history of the run, and the same as a page of HTML.
Trained = Iterator[tuple[dict[str, Any], pd.DataFrame, str]]


class JoinedFeatures(ChainMap[str, Any]):
    """Features of several sources by sequence id; the ``fingerprint`` names all of them."""

    @property
    def fingerprint(self) -> str:
        return digest(*(source.fingerprint for source in self.maps))  # type: ignore[attr-defined]

    @property
    def names(self) -> frozenset[str]:
        """Arrays that all sources have; a source without sequences has them all."""
        known = [source.names for source in self.maps if len(source)]  # type: ignore[attr-defined]
        return frozenset.intersection(*known) if known else frozenset()


def navigation_stage(
    dialogues: pd.DataFrame,
    features: Any,
    finetuned: Any,
    training: NavigationTrainingParams,
    state: Any,
    tracker: Any,
) -> Trained:
    """The first stage: imitate the expert.

    Args:
        dialogues: of ``make_dialogues``, with what trains and what validates.
        features: ``FrameFeatures`` of their walks.
        finetuned: ``Checkpoint`` of the heatmap model to start from.
        training: model and stage.
        state, tracker: as of ``train_navigation``.
    """
    yield from train_navigation(
        *_splits(dialogues),
        features,
        finetuned,
        training.data.dialogue,
        training.model,
        training.navigation,
        state,
        tracker,
    )


def cotraining_stage(
    dialogues: pd.DataFrame,
    features: Any,
    corrections: pd.DataFrame,
    correction_features: Any,
    navigation: Any,
    training: NavigationTrainingParams,
    state: Any,
    tracker: Any,
) -> Trained:
    """The second stage: demonstrations, corrections, questions and descriptions, mixed.

    Args:
        dialogues, features: as of ``navigation_stage``.
        corrections, correction_features: of walks that the expert corrected; may be empty.
        navigation: ``Checkpoint`` of the dialogue to go on with.
        training, state, tracker: as of ``navigation_stage``.
    """
    shown, held_out = _splits(dialogues)
    yield from train_cotraining(
        pd.concat([shown, corrections], ignore_index=True) if len(corrections) else shown,
        held_out,
        JoinedFeatures(features, correction_features),
        navigation,
        training.data.mixing,
        training.cotraining,
        state,
        tracker,
    )


def open_students(cotrained: Any, navigation: Any, params: NavigationParams) -> dict[str, DialoguePolicy]:
    """The policies that walk: "model" of the second stage, "before_cotraining" of the first."""
    return trained_policies(cotrained, navigation, execute=params.execute, tryout=params.tryout)


def open_drawer(finetuned: Any) -> Any:
    """What draws heatmaps into films: the heatmap model that navigation started from.

    Args:
        finetuned: its ``Checkpoint``.
    """
    from vln_heatmap.nodes.model.predictor import HeatmapPredictor

    return predicted_heat(HeatmapPredictor.from_checkpoint(finetuned.path))


def _splits(dialogues: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What trains and what validates."""
    chosen = [dialogues[dialogues["split"] == split].reset_index(drop=True) for split in ("train", "val")]
    return chosen[0], chosen[1]
