"""From the tokens of an observation to a chunk of actions: by flow matching, by classes, or directly.

All heads share one trunk: a token for each action of the chunk, which sees the others and the observation. So a
comparison of heads compares what they are asked to say, not their sizes. Invariant: actions are normalised here,
[N, H, A] for N observations, H actions of a chunk, A numbers of an action; the trunk sees no padding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.model.policy.chunking import Guide, guided
from vln_heatmap.nodes.model.policy.flow_matching import (
    Draw,
    embed_time,
    integrate,
    path,
    sample_time,
    velocity,
)
from vln_heatmap.params.policy import ActionHeadParams


class ActionHead(nn.Module, ABC):
    """Base of the heads.

    Args:
        context_width: channels D of the observation's tokens.
        params: sizes; ``dimension`` must be known by now.
        low, high: range of each number of a normalised action [A], for heads that divide it; None = [-1, 1].

    Raises:
        ValueError: no dimension, or a range of another one.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        context_width: int,
        params: ActionHeadParams,
        *,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ) -> None:
        super().__init__()
        if params.dimension is None:
            raise ValueError("head.dimension must be known to make a head, got null")
        self.horizon, self.dimension = params.horizon, params.dimension
        self.params = params
        for name, given, value in (("low", low, -1.0), ("high", high, 1.0)):
            limit = torch.full((params.dimension,), value) if given is None else given.float()
            if limit.shape != (params.dimension,):
                raise ValueError(f"{name} must have {params.dimension} numbers, got {list(limit.shape)}")
            self.register_buffer(name, limit, persistent=False)  # belongs to the statistics
        self.look = nn.Linear(context_width, params.width)
        self.places = nn.Parameter(0.02 * torch.randn(params.horizon, params.width))
        layer = nn.TransformerDecoderLayer(
            params.width,
            params.attention_heads,
            4 * params.width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.trunk = nn.TransformerDecoder(layer, params.depth, norm=nn.LayerNorm(params.width))

    @abstractmethod
    def errors(self, context: Tensor, seen: Tensor, actions: Tensor, *, draw: Draw | None = None) -> Tensor:
        """What training minimises, for each number of a chunk [N, H, A].

        Args:
            context: tokens of the observations [N, S, D].
            seen: true where there is a token [N, S].
            actions: truth [N, H, A].
            draw: what a random head would draw; None = it draws. Others do not look at it.
        """

    @abstractmethod
    def sample(
        self, context: Tensor, seen: Tensor, *, noise: Tensor | None = None, guide: Guide | None = None
    ) -> Tensor:
        """A chunk [N, H, A] for each observation.

        Args:
            context, seen: as in :meth:`errors`.
            noise: where a random head starts [N, H, A]; None = drawn. Others do not look at it.
            guide: old chunks to hold on to.

        Raises:
            ValueError: a guide, for a head that cannot follow one.
        """

    def _refuse(self, guide: Guide | None) -> None:
        if guide is not None:
            raise ValueError(
                f"chunking real_time needs the head flow_matching, this policy's is {self.params.name}: "
                "set chunking to none"
            )

    def _decode(self, tokens: Tensor, context: Tensor, seen: Tensor) -> Tensor:
        """Action tokens [N, H, W] (or [1, H, W]) that have looked at each other and at the observation."""
        memory = self.look(context.to(self.look.weight.dtype))  # [N, S, W]
        tokens = tokens.expand(len(context), -1, -1)
        return self.trunk(tokens, memory, memory_key_padding_mask=~seen)


class FlowMatchingHead(ActionHead):
    """Learns the velocity that carries noise to actions; many answers to one observation stay many."""

    def __init__(self, context_width: int, params: ActionHeadParams, **limits: Tensor | None) -> None:
        super().__init__(context_width, params, **limits)
        width = params.width
        self.enter = nn.Linear(self.dimension, width)
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.leave = nn.Linear(width, self.dimension)

    def velocity(self, context: Tensor, seen: Tensor, point: Tensor, time: Tensor) -> Tensor:
        """Learned dx_t / dt [N, H, A] at points x_t [N, H, A] and times [N]."""
        entered = self.enter(point)  # [N, H, W]
        when = embed_time(time, entered.shape[-1]).to(entered.dtype)  # [N, W]
        tokens = self.mix(torch.cat([entered, when[:, None].expand_as(entered)], -1)) + self.places
        return self.leave(self._decode(tokens, context, seen))

    def errors(self, context: Tensor, seen: Tensor, actions: Tensor, *, draw: Draw | None = None) -> Tensor:
        """Squared error of the velocity at one random time and noise of each chunk."""
        if draw is None:
            draw = Draw(torch.randn_like(actions), sample_time(len(actions), device=actions.device))
        noise, time = draw
        guess = self.velocity(context, seen, path(actions, noise, time), time)
        return (guess.float() - velocity(actions, noise)).square()

    def sample(
        self, context: Tensor, seen: Tensor, *, noise: Tensor | None = None, guide: Guide | None = None
    ) -> Tensor:
        """See ``ActionHead``; ``params.steps`` Euler steps."""
        if noise is None:
            noise = torch.randn(len(context), self.horizon, self.dimension, device=context.device)

        def field(point: Tensor, time: Tensor) -> Tensor:
            return self.velocity(context, seen, point, time).float()

        return integrate(field if guide is None else guided(field, guide), noise, steps=self.params.steps)


class RegressionHead(ActionHead):
    """Says the chunk directly; by squared error that is the mean of all answers."""

    def __init__(self, context_width: int, params: ActionHeadParams, **limits: Tensor | None) -> None:
        super().__init__(context_width, params, **limits)
        self.leave = nn.Linear(params.width, self.dimension)

    def errors(self, context: Tensor, seen: Tensor, actions: Tensor, *, draw: Draw | None = None) -> Tensor:
        """Squared error."""
        return (self.sample(context, seen) - actions).square()

    def sample(
        self, context: Tensor, seen: Tensor, *, noise: Tensor | None = None, guide: Guide | None = None
    ) -> Tensor:
        """See ``ActionHead``."""
        self._refuse(guide)
        return self.leave(self._decode(self.places[None], context, seen)).float()


class DiscretisedHead(ActionHead):
    """A class for each number: which of ``bins`` equal parts of [low, high] it lies in (RT-2's way).

    Numbers outside belong to the outermost parts; what is said is the middle of the likeliest part.
    """

    def __init__(self, context_width: int, params: ActionHeadParams, **limits: Tensor | None) -> None:
        super().__init__(context_width, params, **limits)
        self.leave = nn.Linear(params.width, self.dimension * params.bins)

    def classes(self, actions: Tensor) -> Tensor:
        """Parts [..., A] in [0, bins) that numbers [..., A] lie in."""
        shares = (actions - self.low) / (self.high - self.low)
        return (shares * self.params.bins).floor().long().clamp(0, self.params.bins - 1)

    def middles(self, classes: Tensor) -> Tensor:
        """Middles [..., A] of parts [..., A]."""
        return self.low + (self.high - self.low) * (classes + 0.5) / self.params.bins

    def logits(self, context: Tensor, seen: Tensor) -> Tensor:
        """Of the parts [N, H, A, bins]."""
        decoded = self._decode(self.places[None], context, seen)
        return self.leave(decoded).unflatten(-1, (self.dimension, self.params.bins))

    def errors(self, context: Tensor, seen: Tensor, actions: Tensor, *, draw: Draw | None = None) -> Tensor:
        """Cross entropy, nats."""
        logits = self.logits(context, seen).float()
        return F.cross_entropy(logits.movedim(-1, 1), self.classes(actions), reduction="none")

    def sample(
        self, context: Tensor, seen: Tensor, *, noise: Tensor | None = None, guide: Guide | None = None
    ) -> Tensor:
        """See ``ActionHead``."""
        self._refuse(guide)
        return self.middles(self.logits(context, seen).argmax(-1))


HEADS: dict[str, type[ActionHead]] = {
    "flow_matching": FlowMatchingHead,
    "discretised": DiscretisedHead,
    "regression": RegressionHead,
}


def make_head(context_width: int, params: ActionHeadParams, **limits: Tensor | None) -> ActionHead:
    """The head that ``params.name`` names; see :class:`ActionHead`."""
    return HEADS[params.name](context_width, params, **limits)
