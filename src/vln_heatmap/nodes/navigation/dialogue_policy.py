"""An action dialogue as a policy: a view is shown only when all that was answered to the last one has been done;
what is sensed beside pictures is told after every action.

Invariant: the dialogue counts what was done, not what was said: a reply of any length moves its history by
exactly its actions, and an action that was never done (because the episode ended) is never in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.features import encoded_frames
from vln_heatmap.nodes.navigation.policy import Observation
from vln_heatmap.nodes.navigation.tryout import Tryout
from vln_heatmap.simulation.simulators.base import STOP

#: What is seen where [P, P, 3] in an observation; for dialogues whose memory is pruned by given points.
Points = Callable[[Observation], NDArray[np.floating]]


@dataclass
class _Episode:
    """A dialogue, what it has answered so far, and what of that is said but still to be done."""

    state: Any
    track: list[Any] = field(default_factory=list)  # poses, one before each action
    replies: list[list[int]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    tryout: Tryout = field(default_factory=Tryout)
    last: int | None = None  # what was done last


class DialoguePolicy:
    """Walks episodes with one model, several at once.

    Args:
        dialogue: an ``ActionDialogue`` in evaluation mode: its ``start``, ``observe_all``, ``sense_all`` and
            ``act_all``.
        encoder: the 2-D encoder that it was trained on.
        resolution: of VGGT, in pixels.
        fingerprint: of its weights and settings.
        points: see ``Points``.
        cached: whether what was read before is kept; the actions are the same.
        execute: so many actions of a reply are done before the next view is shown; None = all.
        tryout: whether what makes no sense in front of an obstacle is never said; needs poses.
    """

    needs_expert = False

    def __init__(
        self,
        dialogue: Any,
        encoder: Any,
        *,
        resolution: int,
        fingerprint: str,
        points: Points | None = None,
        cached: bool = True,
        execute: int | None = None,
        tryout: bool = True,
    ) -> None:
        self.execute, self.tryout = execute, tryout
        self.dialogue, self.encoder, self.resolution = dialogue, encoder, resolution
        self.fingerprint = f"{fingerprint} execute {execute} tryout {tryout}"
        self.points, self.cached = points, cached
        self._episodes: list[_Episode] = []

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        self._episodes = [_Episode(self.dialogue.start(text)) for text in instructions]

    def act(self, observations: Sequence[Observation], done: Sequence[bool]) -> list[int]:
        for episode, seen in zip(self._episodes, observations, strict=True):
            if episode.last is not None:
                episode.tryout.notice(episode.last, episode.track[-1], seen.camera_to_world)
            episode.track.append(seen.camera_to_world)
        asked = [
            (episode, seen)
            for episode, seen, over in zip(self._episodes, observations, done, strict=True)
            if not over and not episode.left
        ]
        self._go_on([(episode, seen) for episode, seen in asked if self._open(episode)])
        self._look([(episode, seen) for episode, seen in asked if not episode.left])
        for episode, over in zip(self._episodes, done, strict=True):
            episode.last = None if over else episode.left.pop(0)
        return [STOP if episode.last is None else episode.last for episode in self._episodes]

    def notes(self) -> list[dict[str, Any]]:
        """``said``: the actions that were done at each view of an episode."""
        counts = [sum(map(len, episode.replies)) - len(episode.left) for episode in self._episodes]
        return [
            {"said": first_actions(episode.replies, count)}
            for episode, count in zip(self._episodes, counts, strict=True)
        ]

    def _open(self, episode: _Episode) -> bool:
        """Whether the reply to the last view goes on."""
        return episode.state.open and (self.execute is None or len(episode.replies[-1]) < self.execute)

    def _go_on(self, asked: list[tuple[_Episode, Observation]]) -> None:
        """Tell these episodes what is sensed after their last action, and let the dialogues go on."""
        if not asked:
            return
        states, given = [episode.state for episode, _ in asked], _sensed(asked)
        self.dialogue.sense_all(states, **given)
        said = self.dialogue.act_all(states, cached=self.cached, barred=self._barred(asked))
        for (episode, _), more in zip(asked, said, strict=True):
            self._said(episode, more, episode.replies[-1])

    def _look(self, asked: list[tuple[_Episode, Observation]]) -> None:
        """Show these episodes their views, and let the dialogues answer."""
        if not asked:
            return
        arrays = encoded_frames(np.stack([view.rgb for _, view in asked]), self.encoder, self.resolution)
        given = _sensed(asked) | {
            "points": None if self.points is None else [self.points(view) for _, view in asked],
            "done": [episode.replies[-1] if episode.replies else None for episode, _ in asked],
        }
        states = [episode.state for episode, _ in asked]
        states = self.dialogue.observe_all(states, arrays["frames"], arrays["features"], **given)
        replies = self.dialogue.act_all(states, cached=self.cached, barred=self._barred(asked))
        for (episode, _), state, reply in zip(asked, states, replies, strict=True):
            episode.state = state
            episode.replies.append([])
            self._said(episode, reply, episode.replies[-1])
            if not episode.left:
                raise ValueError("a dialogue must answer a view with at least one action, got none")

    def _barred(self, asked: Sequence[tuple[_Episode, Observation]]) -> list[frozenset[int]]:
        """What these episodes should not do next."""
        return [episode.tryout.barred if self.tryout else frozenset() for episode, _ in asked]

    def _said(self, episode: _Episode, actions: Sequence[int], reply: list[int]) -> None:
        """Add what was said to a reply."""
        room = None if self.execute is None else self.execute - len(reply)
        episode.left = until_stop(actions)[:room]
        reply += episode.left


def dialogue_policies(
    checkpoint: Any,
    *,
    device: str = "cpu",
    hfov: float = 90.0,
    cached: bool = True,
    execute: int | None = None,
    tryout: bool = True,
) -> Callable[[], DialoguePolicy]:
    """What makes policies of a trained action dialogue, all of which share its weights.

    Args:
        checkpoint: ``Checkpoint`` of an ``ActionDialogue``.
        device: torch device.
        hfov: of the camera in degrees; for memory that is pruned by depth and pose.
        cached, execute, tryout: see ``DialoguePolicy``.

    Raises:
        CheckpointMismatchError: it is of something else, or of another version.
    """
    from vln_heatmap.nodes.model.dialogue_checkpoint import dialogue_from_checkpoint
    from vln_heatmap.nodes.model.encoder2d import make_encoder

    dialogue = dialogue_from_checkpoint(checkpoint).to(device)
    voxels, grid = dialogue.action.context.voxels, dialogue.action.context.memory_grid
    given = voxels is not None and voxels.source == "given"
    return partial(
        DialoguePolicy,
        dialogue,
        make_encoder(dialogue.params.encoder).to(device),
        resolution=dialogue.params.vggt.resolution,
        fingerprint=weights_fingerprint(checkpoint),
        points=partial(seen_points, hfov=hfov, grid=grid) if given else None,
        cached=cached,
        execute=execute,
        tryout=tryout,
    )


def trained_policies(
    checkpoint: Any, before: Any = None, *, execute: int | None = None, tryout: bool = True
) -> dict[str, DialoguePolicy]:
    """The policy of a checkpoint as "model", and that of the stage before as "before_cotraining".

    Args:
        checkpoint, before: ``Checkpoint`` of an ``ActionDialogue``; ``before`` may be missing.
        execute, tryout: see ``DialoguePolicy``.
    """
    named = {"model": checkpoint, "before_cotraining": before}
    return {
        name: dialogue_policies(each, execute=execute, tryout=tryout)()
        for name, each in named.items()
        if each is not None
    }


def weights_fingerprint(checkpoint: Any) -> str:
    """Changes with the weights, the context and the wording of a ``Checkpoint`` of an action dialogue."""
    settings = json.dumps([checkpoint.meta.get(key) for key in ("action", "dialogue")], sort_keys=True)
    with (checkpoint.path / "model.safetensors").open("rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), 1)  # the header: its entries come in any order
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()} {settings}"


def seen_points(observation: Observation, *, hfov: float, grid: int) -> NDArray[np.floating]:
    """World points [grid, grid, 3] of a view with depth and pose.

    Raises:
        ValueError: it has none: set ``navigation.depth``.
    """
    from vln_heatmap.nodes.model.context.voxels import cell_points

    if observation.depth is None or observation.camera_to_world is None:
        raise ValueError("this dialogue prunes its memory by depth and pose: set navigation.depth: true")
    return cell_points(observation.depth, observation.camera_to_world, hfov, grid)


def _sensed(asked: Sequence[tuple[_Episode, Observation]]) -> dict[str, Any]:
    """What episodes sense beside the picture now."""
    return {
        "depths": [view.depth for _, view in asked],
        "tracks": [_track(episode.track) for episode, _ in asked],
    }


def _track(poses: Sequence[Any]) -> NDArray[np.floating] | None:
    """Poses [T, 4, 4]; None where one is unknown."""
    return None if any(pose is None for pose in poses) else np.stack(poses)


def until_stop(reply: Sequence[int]) -> list[int]:
    """A reply up to its first STOP: nothing can be done after that."""
    actions = list(map(int, reply))
    return actions[: actions.index(STOP) + 1] if STOP in actions else actions


def first_actions(replies: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The first ``count`` actions of replies, still divided into replies."""
    kept: list[list[int]] = []
    for reply in replies:
        if count <= 0:
            break
        kept.append(list(reply[:count]))
        count -= len(reply)
    return kept
