"""Actions as a dialogue: a view is shown, up to four actions answer it, the next view is shown.

Fast and slow context, as in StreamVLN (arXiv:2507.05240): current views as pooled tokens in a window of turns
that is read once, turn by turn; when it is full, a new one begins with memory tokens of the past. Invariant:
training reads a whole window as the running agent reads it in pieces (same tokens, same places, same sight), a
view's tokens depend on that view alone, and what an agent holds is bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vln_heatmap.datasets.dialogue_samples import IGNORED
from vln_heatmap.nodes.model.context import acting
from vln_heatmap.nodes.model.context.drawing import Summaries, frozen_twin, line_places, summarised
from vln_heatmap.nodes.model.context.grounding import Grounding
from vln_heatmap.nodes.model.context.learning import batch_rows
from vln_heatmap.nodes.model.context.pooling import Places, Times, fast_grid, fast_tokens, slow_tokens
from vln_heatmap.nodes.model.context.rows import Batch, Row, Span, batched, grid_span
from vln_heatmap.nodes.model.context.senses import Senses
from vln_heatmap.nodes.model.context.state import DialogueState
from vln_heatmap.nodes.model.context.voxels import kept_tokens, regrid, vggt_points
from vln_heatmap.nodes.model.language.decoding import Memory
from vln_heatmap.nodes.model.language.expansion import expand, renew
from vln_heatmap.nodes.model.language.lora import add_lora
from vln_heatmap.nodes.model.parts import part_of
from vln_heatmap.nodes.model.tuning import tune
from vln_heatmap.nodes.navigation.wording import DialogueWriter, ViewTokens
from vln_heatmap.params.navigation_data import DialogueParams
from vln_heatmap.params.navigation_model import ActionModelParams, DialoguePart


class Reading(NamedTuple):
    """What a dialogue model makes of the replies of a batch: one row for each of the n tokens to be learned.

    Attributes:
        losses: cross-entropy [n].
        targets: token ids [n]; right: whether they were the most probable ones [n].
        rows: of the batch [n].
        pruned: share of the memory tokens that were left out, scalar.
    """

    losses: Tensor
    targets: Tensor
    right: Tensor
    rows: Tensor
    pruned: Tensor


class Context(nn.Module):
    """What the dialogue learns beside the parts that it has from the heatmap model."""

    def __init__(self, params: ActionModelParams, width: int, grid: int, channels: int) -> None:
        super().__init__()
        self.times = Times(width)
        self.places = Places(fast_grid(grid, params.context.fast), width)
        if params.context.senses:
            self.senses = Senses(params.context, width)
        if params.context.value_map is not None:
            self.grounding = Grounding(channels, width)
        if params.heatmaps:
            self.summaries = Summaries(params.summary, width)

    def nothing(self) -> Tensor:
        """0 that depends on all parameters: also a batch without memory gives each of them a gradient."""
        return sum(
            (0.0 * p.sum() for p in self.parameters()), torch.zeros((), device=self.times.periods.device)
        )


class ActionDialogue(nn.Module):
    """A ``HeatmapModel``'s eyes and language model, taught to act.

    Args:
        model: a ``HeatmapModel``; its parts become this model's, they are not copied.
        params: context, and what trains.
        dialogue: window, turns and wording; training data must share them.
        changed: parts that stages before trained, so that the drawer has others.

    Attributes:
        params: of the heatmap model. action, dialogue: as given.
        changed: parts that have been, or will be, trained.
        writer: words and tokens.
        drawer: frozen ``HeatmapModel`` that draws the heatmaps; None without.

    Raises:
        ValueError: a model that cannot do what is asked for.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        model: Any,
        params: ActionModelParams,
        dialogue: DialogueParams,
        *,
        changed: Collection[DialoguePart] = (),
    ) -> None:
        super().__init__()
        check_parts(model.params, params)
        self.changed = tuple(sorted({*changed, *params.tunable_parts}))
        self.params, self.action, self.dialogue = model.params, params, dialogue
        self.groups, self.extra = model.groups, model.extra
        self.register_buffer("feature_mean", model.feature_mean.clone())
        self.register_buffer("feature_std", model.feature_std.clone())
        self.vggt, self.fusion = model.vggt, model.fusion
        self.enter_language, self.language = model.enter_language, model.language
        self.context = Context(
            params, self.language.width, model.params.language.grid, model.params.fusion.width
        )
        self.drawer = frozen_twin(model, self.changed) if params.heatmaps else None
        if params.fresh_language:
            renew(self.language.model)
        expand(self.language.model, params.extra_layers)
        if params.lora is not None:
            add_lora(self.language, params.lora)
        if params.gradient_checkpointing:
            self.language.model.gradient_checkpointing_enable({"use_reentrant": False})
        for name, parameter in self.named_parameters():  # whatever was frozen in the stages before
            parameter.requires_grad_(part_of(name) in params.tunable_parts)
        tune(self, params.tunable_parts)
        self.writer = DialogueWriter(
            self.language.tokenizer,
            dialogue,
            model.params.language.kind,
            views=view_tokens(model.params, params),
        )

    @property
    def device(self) -> torch.device:
        return self.feature_mean.device

    # --- tokens of views ------------------------------------------------------------------------------------

    def enter(self, looks: Tensor) -> Tensor:
        """What the eyes saw of N views [N, D', g, g], see ``looking.look``, at the language model's width
        [N, g, g, D]."""
        return self.enter_language(looks.movedim(1, -1))

    def fast(self, cells: Tensor) -> Tensor:
        """Tokens [N, f, f, D] of current views with cells [N, g, g, D]."""
        return self.context.places(fast_tokens(cells, self.action.context.fast, self.action.context.pool))

    def feel(self, sensed: Tensor | None, values: Tensor | None = None) -> Tensor | None:
        """Vectors [N, D] of what is sensed at N steps, for ``Row.feel``; None where the model senses nothing.

        Args:
            sensed: see ``context.senses`` [N, n].
            values: value maps of the steps [N, cells], for models that read them.

        Raises:
            ValueError: the model reads what is sensed, but there is nothing.
        """
        if not self.action.context.senses:
            return None
        if sensed is None:
            raise ValueError("this dialogue reads depth or poses: every step needs ``senses``, got None")
        return self.context.senses(sensed.to(self.device), values)

    def slow(self, cells: Tensor) -> Tensor:
        """Tokens [N, m, m, D] of remembered views with cells [N, g, g, D]."""
        return slow_tokens(cells, self.action.context.memory_grid, self.action.context.pool)

    def memory_span(self, slow: Tensor, ages: Tensor, points: NDArray[np.floating] | None) -> Span:
        """Remembered views [T, m, m, D] in order of time.

        Args:
            slow: see ``slow``.
            ages: actions between each and the window's first view [T].
            points: what they show [T, m, m, 3]; needed with ``context.voxels``.

        Raises:
            ValueError: there are no points, but voxels.
        """
        dated = slow + self.context.times(ages)[:, None, None]
        voxels = self.action.context.voxels
        if voxels is None:
            return grid_span(dated)
        if points is None:
            raise ValueError("context.voxels of given points needs the points of every frame, got None")
        return grid_span(dated, kept_tokens(points, voxels))

    def memory_points(
        self, frames: Tensor | None, given: NDArray[np.floating] | None
    ) -> NDArray[np.floating] | None:
        """Places [T, m, m, 3] by which memory is pruned: VGGT's of frames [T, 3, S, S] uint8, or those given
        [T, P, P, 3]; None without voxels."""
        voxels, grid = self.action.context.voxels, self.action.context.memory_grid
        if voxels is None or (frames is not None and not len(frames)):
            return given
        if voxels.source == "vggt":
            if frames is None:
                raise ValueError("VGGT finds places in frames, but there are only looks")
            return vggt_points(self.vggt, frames.float() / 255, grid)
        return None if given is None else regrid(given, grid)

    def summary_spans(self, frames: Tensor, features: Tensor, instruction: str, ages: Tensor) -> list[Span]:
        """What the heatmaps of M views say of their K keyframes.

        Args:
            frames, features: of the keyframes and then the view [M, K + 1, ...].
            instruction: what the heatmaps are about.
            ages: actions between each keyframe and its view [M, K].
        """
        texts = [instruction] * len(frames)
        numbers = summarised(self.drawer, frames.float() / 255, features.float(), texts, self.action.summary)
        tokens = self.context.summaries(numbers) + self.context.times(ages)  # [M, K, D]
        return [Span(own, line_places(len(own)), len(own)) for own in tokens]

    # --- learning -------------------------------------------------------------------------------------------

    def forward(self, batch: Mapping[str, Any]) -> Reading:
        """Read whole dialogues and judge their replies.

        Args:
            batch: as ``datasets.dialogue_samples.collate`` gives it, on this model's device; ``looks``
                [B, N, D', g, g] may stand in for ``frames`` and ``features``. With voxels of given points also
                ``points`` [B, N, P, P, 3], with ``context.ranges`` or ``odometry`` also ``senses`` [B, S, n] at
                every step from the first view after the memory on; with ``context.value_map`` also ``headings``
                [B, S, 4] at these steps and ``spots`` [B, N, g, g, 2], see ``grounding.value_maps``. With that or
                with heatmaps also ``instruction``, B texts.
        """
        rows, pruned = batch_rows(self, batch)
        whole = batched(rows, [0] * len(rows), self.device)
        learned = whole.labels[:, 1:] != IGNORED  # [B, S - 1]
        hidden = self.hidden(whole)[:, :-1][learned]  # [n, D]
        targets = whole.labels[:, 1:][learned]
        logits = self.language.logits(hidden).float()  # [n, vocabulary]
        losses = F.cross_entropy(logits, targets, reduction="none") + self.context.nothing()
        return Reading(losses, targets, logits.argmax(-1) == targets, learned.nonzero()[:, 0], pruned)

    def hidden(self, rows: Batch, memory: Memory | None = None) -> Tensor:
        """Hidden states [B, S, D] of rows that go on after a memory, which is extended."""
        embedded = self.language.embed_text(rows.ids)
        if rows.tokens is not None:
            embedded = embedded.masked_scatter(rows.visual[..., None], rows.tokens.to(embedded.dtype))
        if rows.senses is not None:
            nothing = rows.senses.new_zeros(1, rows.senses.shape[1])
            embedded = embedded + torch.cat([rows.senses, nothing])[rows.felt].to(embedded.dtype)
        return self.language.read(embedded, rows.places, rows.block, rows.attention, memory)

    def row(self) -> Row:
        """A dialogue of which nothing has been said."""
        return Row(self.writer.end_id, self.language.spatial)

    # --- acting ---------------------------------------------------------------------------------------------

    def start(self, instruction: str) -> DialogueState:
        """A dialogue about an instruction, before the first view."""
        return acting.start(self, instruction)

    def observe(
        self,
        state: DialogueState,
        frame: Any,
        feature: Any,
        *,
        depth: NDArray[np.floating] | None = None,
        track: NDArray[np.floating] | None = None,
        points: NDArray[np.floating] | None = None,
        done: Sequence[int] | None = None,
    ) -> DialogueState:
        """Show the present view.

        Args:
            state: is changed, and given back.
            frame: [3, S, S] uint8, S = VGGT's resolution; feature: of the 2-D encoder [C, g, g].
            depth: z-depth of the view in metres [H, W], 0 = unknown; needed with ``context.ranges``.
            track: camera_to_world [T, 4, 4] at each step since the episode's start, the last one now; needed with
                ``context.odometry``.
            points: what is seen where in the view [P, P, 3], world frame in metres, NaN where unknown (see
                ``context.voxels.cell_points``); needed with voxels of given points.
            done: actions that were really done since the last view; None = those of the last reply. The
                dialogue goes on as if they had been said.

        Raises:
            ValueError: nothing was done since the last view, not after each action was sensed, or depth, track or
                points are missing.
        """
        given: dict[str, Any] = {"depths": [depth], "tracks": [track], "points": [points], "done": [done]}
        return self.observe_all([state], [frame], [feature], **given)[0]

    def observe_all(
        self,
        states: Sequence[DialogueState],
        frames: Sequence[Any],
        features: Sequence[Any],
        *,
        depths: Sequence[NDArray[np.floating] | None] | None = None,
        tracks: Sequence[NDArray[np.floating] | None] | None = None,
        points: Sequence[NDArray[np.floating] | None] | None = None,
        done: Sequence[Sequence[int] | None] | None = None,
    ) -> list[DialogueState]:
        """The same for several dialogues, whose views are looked at together."""
        nothing = [None] * len(states)
        given = (depths or nothing, tracks or nothing, points or nothing, done or nothing)
        return acting.observe(self, states, frames, features, *given)

    def sense(
        self,
        state: DialogueState,
        *,
        depth: NDArray[np.floating] | None = None,
        track: NDArray[np.floating] | None = None,
    ) -> DialogueState:
        """Tell what is sensed after an action, so that the reply to the same view can go on.

        Nothing happens where the model senses nothing. Args and errors as of ``observe``.
        """
        return self.sense_all([state], depths=[depth], tracks=[track])[0]

    def sense_all(
        self,
        states: Sequence[DialogueState],
        *,
        depths: Sequence[NDArray[np.floating] | None],
        tracks: Sequence[NDArray[np.floating] | None],
    ) -> list[DialogueState]:
        """The same for several dialogues."""
        return acting.sense(self, states, depths, tracks)

    def act(self, state: DialogueState, *, cached: bool = True) -> list[int]:
        """Answer the present view with one to ``actions_per_turn`` actions, the most probable ones (greedy).

        A model that senses says one at a time and goes on when it is told what is sensed then, while
        ``state.open``; it may say nothing more, and then wants a view.

        Args:
            state: is changed: the reply stands in it.
            cached: read on from what was read before; else read everything again for each token.

        Raises:
            ValueError: there is no view, the reply to it is whole, or what is sensed was not told.
        """
        return acting.act(self, [state], None, cached=cached)[0]

    def act_all(
        self,
        states: Sequence[DialogueState],
        *,
        cached: bool = True,
        barred: Sequence[Collection[int]] | None = None,
    ) -> list[list[int]]:
        """The same for several dialogues at once, wherever each of them is.

        Args:
            states, cached: as of ``act``.
            barred: of each, actions that it must not say next; STOP cannot be barred.
        """
        return acting.act(self, states, barred, cached=cached)


def view_tokens(model: Any, params: ActionModelParams) -> ViewTokens:
    """What an action dialogue on a heatmap model of these parameters makes of views."""
    context = params.context
    return ViewTokens(
        current=fast_grid(model.language.grid, context.fast) ** 2,
        told=params.summary.keyframes if params.heatmaps else 0,
        remembered=context.memory_grid**2,
    )


def check_parts(model: Any, params: ActionModelParams) -> None:
    """Refuse what a heatmap model of these parameters cannot do.

    Raises:
        ValueError: names what is missing.
    """
    context, parts = params.context, params.tunable_parts
    if model.language.kind == "none":
        raise ValueError("an action dialogue needs a language model, but language.kind is none")
    if context.memory_grid > model.language.grid:
        raise ValueError(
            f"context.memory_grid must be at most language.grid ({model.language.grid}), "
            f"got {context.memory_grid}"
        )
    if context.voxels and context.voxels.source == "vggt" and "points" not in model.vggt.heads:
        raise ValueError(
            f"context.voxels.source vggt needs the head points, the model has {list(model.vggt.heads)}"
        )
    if params.heatmaps and model.head.odometry:
        raise ValueError("heatmaps needs a model without head.odometry: a dialogue has no poses")
    if model.language.dtype == "bfloat16" and "language" in parts:
        raise ValueError(
            "language.dtype bfloat16 is for frozen weights: use lora, or take language out of parts"
        )
    if params.extra_layers and (model.language.source or model.tuning.lora or params.lora):
        raise ValueError(
            "extra_layers is for language models that are trained whole: set it to 0 with language.source or lora"
        )
    if params.fresh_language and (model.language.source or "language" not in parts):
        raise ValueError(
            "fresh_language is for language models that are trained whole: set it to false with language.source, "
            "or where language does not train"
        )
    if params.lora is not None and model.tuning.lora is not None:
        raise ValueError("the model has adapters already (tuning.lora): leave lora null to train those")
    if "lora" in parts and params.lora is None and model.tuning.lora is None:
        raise ValueError("tunable_parts has lora, but there are no adapters: set lora")
    if "vggt" in parts and model.vggt.frozen:
        raise ValueError("tunable_parts has vggt, but vggt.frozen is true")
