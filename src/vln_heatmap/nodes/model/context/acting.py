"""Acting turn by turn: views are shown to dialogues, and they answer, several at once.

Invariant: what a dialogue says does not depend on the others beside it, nor on whether its window was read in one
go or in pieces; the cache never holds more than the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vln_heatmap.nodes.model.context.cache import Cache, apart, together
from vln_heatmap.nodes.model.context.drawing import drawn_from
from vln_heatmap.nodes.model.context.rows import batched, grid_span
from vln_heatmap.nodes.model.context.senses import sensed
from vln_heatmap.nodes.model.context.speech import Speaker
from vln_heatmap.nodes.model.context.state import DialogueState, Seen, recalled, remember
from vln_heatmap.nodes.navigation.history import History, View

if TYPE_CHECKING:
    from vln_heatmap.nodes.model.action_dialogue import ActionDialogue


def start(model: ActionDialogue, instruction: str) -> DialogueState:
    """See ``ActionDialogue.start``."""
    return DialogueState(instruction, History(model.dialogue), model.row())


@torch.no_grad()
def observe(
    model: ActionDialogue,
    states: Sequence[DialogueState],
    frames: Sequence[Any],
    features: Sequence[Any],
    depths: Sequence[Any],
    tracks: Sequence[Any],
    points: Sequence[Any],
    done: Sequence[Sequence[int] | None],
) -> list[DialogueState]:
    """See ``ActionDialogue.observe_all``."""
    images = torch.stack([torch.as_tensor(frame) for frame in frames]).to(model.device)  # [n, 3, S, S]
    known = torch.stack([torch.as_tensor(feature) for feature in features]).to(model.device)
    cells = model.see(images, known)  # [n, g, g, D]
    for number, state in enumerate(states):
        if state.window:
            _close(model, state, done[number])
        view = state.history.observe()
        kept = _seen(
            model, (state.views, view.frame), cells[number], images[number], known[number], points[number]
        )
        if view.opens:
            _open(model, state, view)
        felt = sensed(depths[number], tracks[number], model.action.context)
        _show(model, state, view, kept, cells[number], felt)
    return list(states)


def _close(model: ActionDialogue, state: DialogueState, done: Sequence[int] | None) -> None:
    """Let the last reply be what was done."""
    said = state.reply
    if done is None:
        done = said
    if not done:
        raise ValueError("between two views something must be done: act first, or say what was done")
    if said is None:
        state.reply_at = len(state.row)
    if said is None or tuple(done) != said:
        state.row.cut(state.reply_at)
        state.row.say(model.writer.actions.encode(done))
        state.cache, state.read = state.cache.first(state.reply_at), min(state.read, state.reply_at)
    state.row.say([model.writer.end_id])
    state.history.acted(len(done))
    state.reply = None


def _seen(
    model: ActionDialogue, when: tuple[int, int], cells: Tensor, frame: Tensor, feature: Tensor, points: Any
) -> Seen:
    """What is kept of a view; ``when``: its number and time."""
    voxels = model.action.context.voxels
    again = model.drawer is not None or (voxels is not None and voxels.source == "vggt")
    given = points[None] if voxels is not None and voxels.source == "given" and points is not None else None
    places = None if given is None else model.memory_points(frame[None], given)
    return Seen(
        *when,
        model.slow(cells[None])[0],
        frame if again else None,
        feature if model.drawer is not None else None,
        None if places is None else places[0],
    )


def _open(model: ActionDialogue, state: DialogueState, view: View) -> None:
    """Begin a window, with memory built anew of the views before."""
    state.row, state.cache, state.read, state.window = model.row(), Cache(), 0, []
    state.memory, state.pruned = recalled(state.seen, view.memory), (0, 0)
    writer = model.writer
    ids = writer.opening(state.instruction, memory=bool(state.memory))
    if not state.memory:
        state.row.say(ids)
        return
    place, past = ids.index(writer.memory_id), state.memory
    slow = torch.stack([seen.slow for seen in past])  # [T, m, m, D]
    ages = torch.tensor([float(view.frame - seen.time) for seen in past], device=model.device)
    span = model.memory_span(slow, ages, _points(model, past))
    state.pruned = (slow[..., 0].numel() - len(span.tokens), slow[..., 0].numel())
    state.row.say(ids[:place])
    state.row.show(span)
    state.row.say(ids[place + 1 :])


def _points(model: ActionDialogue, past: Sequence[Seen]) -> Any:
    """Places that remembered views show [T, m, m, 3]; None if they are not all known."""
    frames = [seen.frame for seen in past if seen.frame is not None]
    if model.action.context.voxels is not None and model.action.context.voxels.source == "vggt":
        return model.memory_points(torch.stack(frames), None)
    points = [seen.points for seen in past if seen.points is not None]
    return torch.stack([torch.as_tensor(p) for p in points]).numpy() if len(points) == len(past) else None


def _show(
    model: ActionDialogue, state: DialogueState, view: View, kept: Seen, cells: Tensor, felt: Tensor
) -> None:
    """The next view as tokens, up to where the reply begins."""
    ids = model.writer.view(first=view.opens)
    place = ids.index(model.writer.image_id)
    state.row.say(ids[:place])
    state.row.show(grid_span(model.fast(cells[None])))
    state.window = [*state.window, kept]
    if model.drawer is not None:
        views = [*state.memory, *state.window]
        drawn = [views[i] for i in drawn_from(len(views) - 1, model.action.summary.keyframes)]
        ages = torch.tensor([float(kept.time - seen.time) for seen in drawn[:-1]], device=model.device)
        frames = torch.stack([seen.frame for seen in drawn if seen.frame is not None])
        features = torch.stack([seen.feature for seen in drawn if seen.feature is not None])
        for span in model.summary_spans(frames[None], features[None], state.instruction, ages[None]):
            state.row.show(span)
    state.row.say(ids[place + 1 : -1])
    sense = model.feel(felt[None])
    if sense is not None:
        state.row.feel(sense[0])
    state.row.say(ids[-1:])
    state.seen = remember(state.seen, kept, model.action.context.history)
    state.views += 1


@torch.no_grad()
def act(model: ActionDialogue, states: Sequence[DialogueState], *, cached: bool) -> list[list[int]]:
    """See ``ActionDialogue.act_all``."""
    if any(not state.window or state.reply is not None for state in states):
        raise ValueError("a reply needs a view: observe before each act")
    if not states:
        return []
    writer, limit = model.writer, model.dialogue.actions_per_turn
    speakers = [Speaker(writer.actions.ids, writer.end_id, limit) for _ in states]
    rows = [state.row for state in states]
    for state in states:
        state.reply_at = len(state.row)
    memory = together([state.cache for state in states], model.device) if cached else None
    starts = [state.read if cached else 0 for state in states]
    while any(speaker.open for speaker in speakers):
        if cached:  # what a closed row said last is read with the next view
            starts = [
                start if speaker.open else len(row)
                for start, speaker, row in zip(starts, speakers, rows, strict=True)
            ]
        hidden = model.hidden(batched(rows, starts, model.device), memory)[:, -1]  # [n, D]
        logits = model.language.logits(hidden).float().cpu()  # [n, vocabulary]
        for number, speaker in enumerate(speakers):
            if not speaker.open:
                continue
            if cached:
                starts[number] = states[number].read = len(rows[number])
            token = speaker.choose(logits[number])
            if token is not None:
                rows[number].say([token])
    if memory is not None:
        for state, cache in zip(states, apart(memory), strict=True):
            state.cache = cache
    for state, speaker in zip(states, speakers, strict=True):
        state.reply = tuple(speaker.said)
    return [list(speaker.said) for speaker in speakers]
