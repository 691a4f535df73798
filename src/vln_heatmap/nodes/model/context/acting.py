"""Acting turn by turn: views are shown to dialogues, and they answer, several at once.

Invariant: what a dialogue says does not depend on the others beside it, nor on whether its window was read in one
go or in pieces; the cache never holds more than the window.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vln_heatmap.nodes.model.context.cache import Cache, apart, together
from vln_heatmap.nodes.model.context.drawing import drawn_from
from vln_heatmap.nodes.model.context.grounding import floor_spots, heading, match, value_maps
from vln_heatmap.nodes.model.context.looking import look
from vln_heatmap.nodes.model.context.rows import batched, grid_span
from vln_heatmap.nodes.model.context.senses import sensed
from vln_heatmap.nodes.model.context.speech import Speaker, say_actions
from vln_heatmap.nodes.model.context.state import DialogueState, Seen, recalled, remember
from vln_heatmap.nodes.model.context.surroundings import Surroundings
from vln_heatmap.nodes.navigation.history import History, View

if TYPE_CHECKING:
    from vln_heatmap.nodes.model.action_dialogue import ActionDialogue


def start(model: ActionDialogue, instruction: str) -> DialogueState:
    """See ``ActionDialogue.start``."""
    state = DialogueState(instruction, History(model.dialogue), model.row())
    if model.action.context.surroundings is not None:
        state.surroundings = Surroundings(model.action.context.surroundings)
    return state


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
    looks = look(model, images, known)  # [n, D', g, g]
    cells = model.enter(looks)  # [n, g, g, D]
    for number, state in enumerate(states):
        depth, track = depths[number], tracks[number]
        felt = _feel(model, state, depth, track)
        if state.window:
            _close(model, state, done[number], felt)
        view = state.history.observe()
        kept = _seen(
            model, (state.views, view.frame), cells[number], images[number], known[number], points[number]
        )
        kept = _matched(model, state, kept, looks[number], depth, track)
        if view.opens:
            _open(model, state, view)
        state.window = [*state.window, kept]
        if kept.matches is not None:  # what this view shows is sensed with it
            felt = _feel(model, state, depth, track)
        _show(model, state, view, cells[number], felt)
    return list(states)


def _feel(model: ActionDialogue, state: DialogueState, depth: Any, track: Any) -> Tensor | None:
    """What is sensed now [1, D]; None where the model senses nothing."""
    felt, views = sensed(depth, track, model.action.context, state.surroundings)[None], _matching(state)
    params = model.action.context.value_map
    if params is None:
        return model.feel(felt)
    if not views:
        return model.feel(felt, torch.zeros(1, params.cells, device=model.device))
    known = torch.ones(1, 1, len(views), dtype=torch.bool, device=model.device)
    spots = torch.from_numpy(np.stack([spots for _, spots in views])).to(model.device)
    place = torch.from_numpy(heading(track[-1]))[None].to(model.device)
    matches = torch.stack([matches for matches, _ in views])
    return model.feel(felt, value_maps(matches, spots, place, params, known)[0])


def _matching(state: DialogueState) -> list[tuple[Tensor, Any]]:
    """Matches and spots of the views in the context."""
    views = [*state.memory, *state.window]
    return [(view.matches, view.spots) for view in views if view.matches is not None]


def _matched(
    model: ActionDialogue, state: DialogueState, seen: Seen, looks: Tensor, depth: Any, track: Any
) -> Seen:
    """A view with what of it the instruction names, for models that read it."""
    matches, params = match(model, looks[None], state.instruction), model.action.context.value_map
    if matches is None or params is None:
        return seen
    spots = floor_spots(depth, track[-1], params, matches.shape[-1])
    return replace(seen, matches=matches[0], spots=spots)


def _close(
    model: ActionDialogue, state: DialogueState, done: Sequence[int] | None, felt: Tensor | None
) -> None:
    """Let the last reply be what was done; ``felt`` [1, D]: what is sensed now."""
    said = state.reply
    if done is None:
        done = said
    if not done:
        raise ValueError("between two views something must be done: act first, or say what was done")
    senses = [] if felt is None else [*state.felt, felt[0]][: len(done)]
    if felt is not None and len(senses) < len(done):
        raise ValueError(
            "after each action this dialogue must be told what is sensed: "
            f"{len(done)} were done, {len(senses)} told"
        )
    if said is None:
        state.reply_at = len(state.row)
    if said is None or tuple(done) != said:
        state.row.cut(state.reply_at)
        say_actions(state.row, [model.writer.actions.ids[action] for action in done], senses)
        state.cache, state.read = state.cache.first(state.reply_at), min(state.read, state.reply_at)
    elif felt is not None:
        _say_held(state, senses[-1])
    state.row.say([model.writer.end_id])
    state.history.acted(len(done))
    state.speaker, state.held, state.felt = None, None, []


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
    model: ActionDialogue,
    state: DialogueState,
    view: View,
    cells: Tensor,
    felt: Tensor | None,
) -> None:
    """The window's last view as tokens, up to where the reply begins; ``felt`` [1, D]: what is sensed now."""
    ids, kept = model.writer.view(first=view.opens), state.window[-1]
    place = ids.index(model.writer.image_id)
    state.row.say(ids[:place])
    state.row.show(grid_span(model.fast(cells[None])))
    if model.drawer is not None:
        views = [*state.memory, *state.window]
        drawn = [views[i] for i in drawn_from(len(views) - 1, model.action.summary.keyframes)]
        ages = torch.tensor([float(kept.time - seen.time) for seen in drawn[:-1]], device=model.device)
        frames = torch.stack([seen.frame for seen in drawn if seen.frame is not None])
        features = torch.stack([seen.feature for seen in drawn if seen.feature is not None])
        for span in model.summary_spans(frames[None], features[None], state.instruction, ages[None]):
            state.row.show(span)
    state.row.say(ids[place + 1 : -1])
    if felt is not None:
        state.row.feel(felt[0])
    state.row.say(ids[-1:])
    state.seen = remember(state.seen, kept, model.action.context.history)
    state.views += 1


@torch.no_grad()
def sense(
    model: ActionDialogue, states: Sequence[DialogueState], depths: Sequence[Any], tracks: Sequence[Any]
) -> list[DialogueState]:
    """See ``ActionDialogue.sense_all``."""
    for state, depth, track in zip(states, depths, tracks, strict=True):
        vector = _feel(model, state, depth, track)
        if vector is None:
            continue
        state.felt.append(vector[0])
        _say_held(state, vector[0])
    return list(states)


def _say_held(state: DialogueState, felt: Tensor) -> None:
    """Say the last token of the last action, after which this is felt [D]."""
    if state.held is not None:
        say_actions(state.row, [[state.held]], [felt])
        state.held = None


@torch.no_grad()
def act(
    model: ActionDialogue,
    states: Sequence[DialogueState],
    barred: Sequence[Collection[int]] | None,
    *,
    cached: bool,
) -> list[list[int]]:
    """See ``ActionDialogue.act_all``."""
    if any(not state.open for state in states):
        raise ValueError("a reply needs a view: observe before each act")
    if any(state.held is not None for state in states):
        raise ValueError("after an action this dialogue must be told what is sensed: sense before each act")
    if not states:
        return []
    speakers = [_speaker(model, state) for state in states]
    for speaker, actions in zip(speakers, barred or [()] * len(states), strict=True):
        speaker.barred = frozenset(actions)
    known = [len(speaker.said) for speaker in speakers]
    rows = [state.row for state in states]
    memory = together([state.cache for state in states], model.device) if cached else None
    starts = [state.read if cached else 0 for state in states]
    going = [True] * len(states)
    while any(going):
        if cached:  # what a closed row said last is read with the next view
            starts = [start if on else len(row) for start, on, row in zip(starts, going, rows, strict=True)]
        hidden = model.hidden(batched(rows, starts, model.device), memory)[:, -1]  # [n, D]
        logits = model.language.logits(hidden).float().cpu()  # [n, vocabulary]
        for number in [n for n, on in enumerate(going) if on]:
            if cached:
                starts[number] = states[number].read = len(rows[number])
            going[number] = _say_next(model, states[number], speakers[number], logits[number])
    if memory is not None:
        for state, cache in zip(states, apart(memory), strict=True):
            state.cache = cache
    return [speaker.said[count:] for speaker, count in zip(speakers, known, strict=True)]


def _speaker(model: ActionDialogue, state: DialogueState) -> Speaker:
    """Who answers the present view."""
    if state.speaker is None:
        state.reply_at = len(state.row)
        limit = model.dialogue.actions_per_turn
        state.speaker = Speaker(model.writer.actions.ids, model.writer.end_id, limit)
    return state.speaker


def _say_next(model: ActionDialogue, state: DialogueState, speaker: Speaker, logits: Tensor) -> bool:
    """Say the next token; gives whether more can be said now."""
    token = speaker.choose(logits)
    if token is None:
        return False
    if model.action.context.senses and not speaker.begun:  # an action, which is to be done first
        state.held = token
        return False
    state.row.say([token])
    return speaker.open
