"""Two stages of training the action dialogue: navigation alone, then with questions and descriptions mixed in.

Both run on the loop of all stages. Invariant: the fingerprint of a run names everything that its weights depend
on, so that an interrupted run resumes only as what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.datasets.dialogue_samples import Dialogue, VLNActionDataset
from vln_heatmap.nodes.navigation.dialogues import dialogue_table, read_dialogues
from vln_heatmap.nodes.navigation.mixing import CombineDataset, make_order
from vln_heatmap.nodes.navigation.places import (
    forget_walks,
    stored_headings,
    stored_points,
    stored_senses,
    stored_spots,
)
from vln_heatmap.nodes.navigation.things import fine_grid, stored_things, vocabulary
from vln_heatmap.nodes.training.stage import StageResult, delivered
from vln_heatmap.nodes.training.state import digest
from vln_heatmap.params.navigation_data import DialogueParams, MixingParams
from vln_heatmap.params.navigation_model import ActionModelParams, DialogueStageParams
from vln_heatmap.reporting.training_report import training_report


@dataclass(frozen=True)
class DialogueData:
    """What a stage trains on.

    Attributes:
        training: data set of training samples; held_out: of those that validate.
        weights: [len(training)] relative frequencies of the samples.
        mixing: whether batches are mixed or of one task each.
        fingerprint: names the data.
        names: of things, see ``things.vocabulary``; only where they are learned.
    """

    training: Any
    held_out: Any
    weights: Any
    mixing: MixingParams
    fingerprint: str
    names: tuple[str, ...] = ()


def train_navigation(
    dialogues: Any,
    held_out: Any,
    features: Any,
    finetuned: Any,
    dialogue: DialogueParams,
    model: ActionModelParams,
    params: DialogueStageParams,
    state: Any,
    tracker: Any,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, str]]:
    """The first stage: navigation only.

    Args:
        dialogues, held_out: to train on and to validate with, as a ``dialogue_table`` or a list; of other tasks
            than navigation nothing is used.
        features: ``FrameFeatures`` of their sequences.
        finetuned: ``Checkpoint`` of the heatmap model to start from.
        dialogue: window and wording, with which the dialogues were made.
        model: context, and what trains.
        params: of this stage.
        state: ``TrainingState`` handle, from which an interrupted run goes on.
        tracker: ``Tracker`` for live metrics.

    Yields:
        Checkpoint {state_dict, meta}, the history of the run, one row a step, and the same as a page of HTML.

    Raises:
        ValueError: no dialogues of navigation, or a model that cannot do what is asked for.
    """
    from vln_heatmap.nodes.model.dialogue_checkpoint import dialogue_from_finetuned

    network = dialogue_from_finetuned(finetuned, model.of_stage(params), dialogue)
    only = MixingParams(weights={"navigation": 1.0})
    given = as_list(dialogues), as_list(held_out)
    data = dialogue_data(network, features, *given, only, params)
    result = train_dialogues("navigation", network, data, finetuned, params, state=state, tracker=tracker)
    yield from delivered(result, state)


def train_cotraining(
    dialogues: Any,
    held_out: Any,
    features: Any,
    navigation: Any,
    mixing: MixingParams,
    params: DialogueStageParams,
    state: Any,
    tracker: Any,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, str]]:
    """The second stage: all tasks, mixed by their weights.

    Args:
        dialogues, held_out: of all tasks.
        navigation: ``Checkpoint`` that the first stage made.
        mixing: how often each task comes, and whether batches hold one task each.
        features, params, state, tracker: as of ``train_navigation``.

    Yields:
        As ``train_navigation``.
    """
    from vln_heatmap.nodes.model.dialogue_checkpoint import dialogue_from_checkpoint

    network = dialogue_from_checkpoint(navigation, tunable_parts=params.tunable_parts)
    given = as_list(dialogues), as_list(held_out)
    data = dialogue_data(network, features, *given, mixing, params)
    result = train_dialogues("cotraining", network, data, navigation, params, state=state, tracker=tracker)
    yield from delivered(result, state)


def as_list(dialogues: Any) -> list[Dialogue]:
    """Dialogues of a table, or as they are."""
    return read_dialogues(dialogues) if isinstance(dialogues, pd.DataFrame) else list(dialogues)


def dialogue_data(
    network: Any,
    features: Any,
    dialogues: Sequence[Dialogue],
    held_out: Sequence[Dialogue],
    mixing: MixingParams,
    params: DialogueStageParams,
) -> DialogueData:
    """Data sets for a model, of the tasks that have a weight.

    Args:
        network: an ``ActionDialogue``; its writer makes the tokens.
        features: by sequence id.
        dialogues, held_out: to train on, and to validate with.
        mixing: weights of the tasks, kind of batches.
        params: of the stage: how many of the walks to train on are mirrored, and whether they come with other
            walks' words too.

    Raises:
        ValueError: nothing of these tasks to train on or to validate with.
    """
    wanted: dict[str, float] = {str(task): w for task, w in mixing.weights.items() if w > 0}
    sets: dict[str, CombineDataset] = {}
    names: tuple[str, ...] = ()
    if params.grounding is not None:
        names = vocabulary(features, (item.sequence_id for item in dialogues if item.task == "navigation"))
    for name, given in (("training", dialogues), ("held_out", held_out)):
        chosen = [item for item in given if item.task in wanted]
        if not chosen:
            raise ValueError(f"there are no {name} dialogues of {', '.join(wanted)} among {len(given)}")
        sets[name] = _by_task(network, features, chosen, params, names)
    table = pd.util.hash_pandas_object(
        dialogue_table([*dialogues, *held_out]).astype({"memory_frames": str}), index=False
    )
    mark = digest(
        [int(x) for x in table], getattr(features, "fingerprint", ""), mixing.model_dump(mode="json")
    )
    weights = sets["training"].sample_weights(wanted) * _by_actions(sets["training"])
    return DialogueData(sets["training"], sets["held_out"], weights, mixing, mark, names)


def _by_task(
    network: Any,
    features: Any,
    dialogues: Sequence[Dialogue],
    params: DialogueStageParams,
    names: Sequence[str],
) -> CombineDataset:
    """One data set a task."""
    from vln_heatmap.nodes.model.context.grounding import mirrored_headings, mirrored_spots
    from vln_heatmap.nodes.model.context.senses import mirrored

    context, arrays = network.action.context, ["frames", "features"]
    if network.action.fixed_looks and "looks" in getattr(features, "names", ()):
        arrays = ["looks"]
    derived: dict[str, Any] = {}
    if context.voxels is not None and context.voxels.source == "given":
        derived["points"] = partial(stored_points, cells=context.memory_grid)
    if context.senses:
        forget_walks()
        derived["senses"] = partial(stored_senses, context=context)
    if context.value_map is not None:
        grid = network.params.language.grid
        derived["spots"] = partial(stored_spots, params=context.value_map, grid=grid)
        derived["headings"] = stored_headings
    if names:
        numbers = {name: number for number, name in enumerate(names)}
        derived["things"] = partial(
            stored_things, names=numbers, side=fine_grid(network.params.language.grid)
        )
    tasks: dict[str, list[Dialogue]] = {}
    for item in dialogues:
        tasks.setdefault(item.task, []).append(item)
    return CombineDataset(
        {
            task: VLNActionDataset(
                own,
                features,
                network.writer,
                arrays=arrays,
                derived=derived,
                mirror=params.mirror,
                candidates=params.contrast.candidates if params.contrast else 0,
                mirrored={
                    "points": _turned_points,
                    "senses": partial(mirrored, params=context),
                    "spots": mirrored_spots,
                    "headings": mirrored_headings,
                },
            )
            for task, own in sorted(tasks.items())
        }
    )


def _by_actions(data: CombineDataset) -> Any:
    """Relative frequency of every sample within its task: walks by their actions.

    A dialogue's loss is a mean over its actions, so every action counts the same.
    """
    parts = []
    for own in data.datasets:
        counts = np.array([max(1, len(dialogue.actions)) for dialogue in own.dialogues], float)
        parts.append(counts / counts.mean() if len(counts) else counts)
    return np.concatenate(parts)


def _turned_points(points: Any) -> Any:
    """Points [N, P, P, 3] of the cells of mirrored views."""
    return points[:, :, ::-1]


def train_dialogues(
    name: str,
    network: Any,
    data: DialogueData,
    start: Any,
    params: DialogueStageParams,
    *,
    state: Any,
    tracker: Any,
) -> StageResult:
    """Train an action dialogue.

    Args:
        name: of the stage, as the checkpoint tells it.
        network: ``ActionDialogue``, trained in place.
        data: samples.
        start: ``Checkpoint`` that the weights are from; its tokenizer and statistics travel on.
        params, state, tracker: as of ``train_navigation``.
    """
    from vln_heatmap.nodes.model.dialogue_checkpoint import dialogue_meta, left_out
    from vln_heatmap.nodes.navigation.dialogue_loss import DialogueLoss
    from vln_heatmap.nodes.navigation.grounding_loss import GroundingLoss
    from vln_heatmap.nodes.training.costs import training_costs
    from vln_heatmap.nodes.training.director import SinglePhase
    from vln_heatmap.nodes.training.loop import train

    grounding = GroundingLoss(data.names, params.grounding) if params.grounding is not None else None
    loss = DialogueLoss(
        network.writer.actions.ids,
        stop_weight=params.stop_weight,
        contrast=params.contrast,
        grounding=grounding,
    )
    mark = digest(name, data.fingerprint, _identity(network, params), start.path.parent.name)
    meta = dialogue_meta(network, start.meta["tokenizer"], statistics=start.meta.get("statistics", {}))
    result = train(
        network,
        loss,
        data.training,
        params.train,
        director=SinglePhase(params.train),
        state=state,
        tracker=tracker,
        validate=lambda net: dialogue_metrics(net, data.held_out, loss, params),
        weights=data.weights,
        order=_order(data, params),
        fingerprint=mark,
        name=name,
        leave_out=left_out(network, meta["external"]),
    )
    meta |= {
        "stage": name,
        "metrics": {"step": result.best.step, **result.best.metrics} if result.best else {},
        "training": training_costs(result.history, len(data.training)),
        "events": [asdict(event) for event in result.events],
    }
    report = training_report(result.history, result.events, title=f"Training: {name}")
    return StageResult(
        {"state_dict": result.state_dict, "meta": meta}, result.history, report, result.stopped
    )


def _order(data: DialogueData, params: DialogueStageParams) -> Any:
    """Of batches of one task each; None where they are mixed, as the weights alone say."""
    if data.mixing.batches == "mixed":
        return None
    seed = params.train.seed + data.mixing.seed
    return make_order(data.training, data.mixing, batch_size=params.train.batch_size, seed=seed)


def _identity(network: Any, params: DialogueStageParams) -> Mapping[str, Any]:
    """All parameters that the weights depend on."""
    return {
        "model": network.params.model_dump(mode="json", exclude={"placement"}),
        "action": network.action.model_dump(mode="json"),
        "dialogue": network.dialogue.model_dump(mode="json"),
        "stop_weight": params.stop_weight,
        "mirror": params.mirror,
        "grounding": params.grounding and params.grounding.model_dump(mode="json"),
        "contrast": params.contrast and params.contrast.model_dump(mode="json"),
        "train": params.train.identity(),
    }


def dialogue_metrics(network: Any, held_out: Any, loss: Any, params: DialogueStageParams) -> dict[str, float]:
    """Metrics of ``DialogueValidation`` over a fixed, evenly spread part of the dialogues that validate."""
    import torch
    from accelerate.utils import send_to_device

    from vln_heatmap.nodes.navigation.dialogue_loss import DialogueValidation

    found, size = DialogueValidation(loss), params.train.batch_size
    count = min(len(held_out), params.validation_samples)
    chosen = np.unique(np.linspace(0, len(held_out) - 1, count).astype(int))
    for first in range(0, len(chosen), size):
        samples = [held_out[int(i)] for i in chosen[first : first + size]]
        batch = send_to_device(held_out.collate(samples), network.device)
        with torch.inference_mode():
            found.add(network, batch)
    return found.metrics()
