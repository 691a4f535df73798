"""Training batches as rows of tokens, with every view's tokens in its place.

Invariant: a row is what the running agent has before it at the end of the same window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vln_heatmap.nodes.model.context.drawing import drawn_from
from vln_heatmap.nodes.model.context.grounding import match, value_maps
from vln_heatmap.nodes.model.context.looking import look
from vln_heatmap.nodes.model.context.rows import Row, Span, grid_span
from vln_heatmap.nodes.model.context.speech import say_actions

if TYPE_CHECKING:
    from vln_heatmap.nodes.model.action_dialogue import ActionDialogue


class _Sample(NamedTuple):
    """One dialogue of a batch; the first ``remembered`` of its N views are memory.

    Attributes:
        ids, labels: of the text, without padding.
        cells: [N, g, g, D]; frames, features: [N, ...], None where looks came instead; times: [N] actions.
        points: [N, P, P, 3] or None.
        sensed: at each step from the first view after the memory on, see ``context.senses`` [S, n], or None.
        matches: of the instruction with the views' cells [N, g, g]; spots: where those lie [N, g, g, 2];
            headings: at each step [S, 4]; None where the model reads no value map.
        task, instruction: texts; None = not given.
    """

    ids: list[int]
    labels: list[int]
    cells: Tensor
    frames: Tensor | None
    features: Tensor | None
    times: Tensor
    remembered: int
    points: Any
    sensed: Tensor | None
    matches: Tensor | None
    spots: Tensor | None
    headings: Tensor | None
    task: str
    instruction: str | None


def batch_rows(model: ActionDialogue, batch: Mapping[str, Any]) -> tuple[list[Row], Tensor]:
    """The dialogues of a batch, and which share of the memory tokens was left out."""
    rows, kept, whole = [], 0, 0
    for sample in _samples(model, batch):
        row, memory = _row(model, sample)
        rows.append(row)
        kept += 0 if memory is None else len(memory.tokens)
        whole += sample.remembered * model.action.context.memory_grid**2
    return rows, torch.tensor(1 - kept / whole if whole else 0.0, device=model.device)


def _samples(model: ActionDialogue, batch: Mapping[str, Any]) -> list[_Sample]:
    """The samples of a batch, their views seen together.

    Raises:
        ValueError: heatmaps are to be drawn, but there are no instructions.
    """
    there, text = batch["frame_mask"], batch["attention_mask"]
    if model.drawer is not None and "instruction" not in batch:
        raise ValueError("heatmaps need the instruction of every dialogue of a batch, which has none")
    counts = there.sum(1).tolist()
    names = ("looks",) if "looks" in batch else ("frames", "features")
    if not sum(counts):  # of text alone
        names = ("frames", "features")
        batch = {**batch, "frames": there[:, :0], "features": there[:, :0]}
    seen = [batch[name][there[:, : batch[name].shape[1]]] for name in names]
    looks = seen[0] if len(seen) == 1 else look(model, *seen)
    cells, viewed = [*model.enter(looks).split(counts)], looks.split(counts)
    texts = batch.get("instruction", [""] * len(text))
    return [
        _Sample(
            batch["input_ids"][b][text[b]].tolist(),
            batch["labels"][b][text[b]].tolist(),
            cells[b],
            batch["frames"][b][: counts[b]] if "frames" in batch else None,
            batch["features"][b][: counts[b]] if "features" in batch else None,
            batch["time_ids"][b][: counts[b]].float(),
            int(batch["memory_count"][b]),
            batch["points"][b][: counts[b]].numpy(force=True) if "points" in batch else None,
            batch["senses"][b] if "senses" in batch else None,
            match(model, viewed[b], texts[b]),
            batch["spots"][b][: counts[b]] if "spots" in batch else None,
            batch["headings"][b] if "headings" in batch else None,
            batch["task"][b],
            batch["instruction"][b] if "instruction" in batch else None,
        )
        for b in range(len(text))
    ]


def _row(model: ActionDialogue, sample: _Sample) -> tuple[Row, Span | None]:
    """A dialogue's row, and the memory in it."""
    row, memory = model.row(), None
    fast = (
        model.fast(sample.cells[sample.remembered :])
        if len(sample.cells) > sample.remembered
        else sample.cells[:0]
    )
    shows, felt = _senses(model, sample)
    told = _summaries(model, sample)
    shown, begun = 0, 0
    for place, token in enumerate(sample.ids):
        if token not in (model.writer.image_id, model.writer.memory_id):
            continue
        row.say(sample.ids[begun:place], sample.labels[begun:place])
        begun = place + 1
        if token == model.writer.memory_id:
            memory = _memory(model, sample)
            row.show(memory)
        else:
            row.show(grid_span(fast[shown : shown + 1]))
            if told:
                row.show(told[shown])
            if felt is not None and shows is not None:
                step = int(sample.times[sample.remembered + shown] - sample.times[sample.remembered])
                begun = _felt_reply(model, row, sample, begun, shows[step], felt[step + 1 :])
            shown += 1
    row.say(sample.ids[begun:], sample.labels[begun:])
    return row, memory


def _felt_reply(
    model: ActionDialogue, row: Row, sample: _Sample, begun: int, shown: Tensor, felt: Tensor
) -> int:
    """Say what follows a view to the end of its reply's actions; gives the place of the token behind them.

    Args:
        begun: place behind the view.
        shown: vector at the view [D].
        felt: vectors after each action [n or more, D].
    """
    ids, labels = sample.ids, sample.labels
    reply = begun + model.writer.between
    row.say(ids[begun : reply - 1], labels[begun : reply - 1])
    row.feel(shown)
    row.say(ids[reply - 1 : reply], labels[reply - 1 : reply])
    words = model.writer.actions.split(ids[reply : ids.index(model.writer.end_id, reply)])
    ends = reply + np.cumsum([len(word) for word in words])
    say_actions(row, words, felt, [labels[end - len(w) : end] for w, end in zip(words, ends, strict=True)])
    return int(ends[-1])


def _memory(model: ActionDialogue, sample: _Sample) -> Span:
    past = slice(sample.remembered)
    begin = sample.times[sample.remembered] if len(sample.times) > sample.remembered else sample.times[-1] + 1
    given = None if sample.points is None else sample.points[past]
    points = model.memory_points(None if sample.frames is None else sample.frames[past], given)
    return model.memory_span(model.slow(sample.cells[past]), begin - sample.times[past], points)


def _senses(model: ActionDialogue, sample: _Sample) -> tuple[Tensor | None, Tensor | None]:
    """Vectors of what is sensed at each step after the memory [S, D], where a view is shown there and where none
    is yet; None where the model senses nothing, or nothing is to be done.

    Raises:
        ValueError: the model reads value maps, but the batch does not say where things lie.
    """
    if sample.task != "navigation" or len(sample.times) == sample.remembered:
        return None, None
    if sample.matches is None:
        both = model.feel(sample.sensed)
        return both, both
    if sample.sensed is None or sample.spots is None or sample.headings is None:
        raise ValueError(
            "this dialogue reads value maps: a batch needs ``senses``, ``spots`` and ``headings``"
        )
    steps = torch.arange(len(sample.sensed), device=sample.times.device) + sample.times[sample.remembered]
    known = torch.stack([sample.times <= steps[:, None], sample.times < steps[:, None]])  # [2, S, N]
    params = model.action.context.value_map
    assert params is not None
    values = value_maps(
        sample.matches, sample.spots, sample.headings[: len(steps)], params, known
    )  # [2, S, n]
    felt = model.feel(sample.sensed.expand(2, -1, -1), values)
    return (None, None) if felt is None else (felt[0], felt[1])


def _summaries(model: ActionDialogue, sample: _Sample) -> list[Span]:
    """What the heatmaps of the views after the memory say; nothing where none are drawn."""
    views = range(sample.remembered, len(sample.times))
    if model.drawer is None or sample.task != "navigation" or not views:
        return []
    if sample.frames is None or sample.features is None:
        raise ValueError("heatmaps are drawn from frames and features, but there are only looks")
    drawn = torch.tensor([drawn_from(view, model.action.summary.keyframes) for view in views])  # [M, K + 1]
    times = sample.times[drawn.to(sample.times.device)]
    frames, features = (x[drawn.to(x.device)] for x in (sample.frames, sample.features))
    return model.summary_spans(frames, features, str(sample.instruction), times[:, -1:] - times[:, :-1])
