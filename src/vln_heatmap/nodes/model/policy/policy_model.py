"""The policy: images, prompt and state of one moment in, the chunk of actions from it on out.

cameras -> SigLIP -> (resampler) -> tokens in PaliGemma's prefix with the prompt -> a state token that reads it
all -> action head that looks at every hidden state. Invariant: whoever calls it speaks in the units of the data;
numbers are normalised on the way in and back on the way out, by the statistics of the training data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vln_heatmap.nodes.model.language import LANGUAGES
from vln_heatmap.nodes.model.policy.chunking import Guide
from vln_heatmap.nodes.model.policy.flow_matching import Draw
from vln_heatmap.nodes.model.policy.heads import make_head
from vln_heatmap.nodes.model.policy.normalisation import Normaliser, normalisers
from vln_heatmap.nodes.model.policy.vision import Resampler, SiglipVision
from vln_heatmap.params.policy import PolicyModelParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Observation(NamedTuple):
    """N moments with C cameras, in the units of the data.

    Attributes:
        images: uint8 [N, C, 3, S, S].
        prompts: N texts.
        state: [N, D].
        previous: action taken before [N, A]; known: whether there was one, bool [N].
    """

    images: Tensor
    prompts: Sequence[str]
    state: Tensor
    previous: Tensor
    known: Tensor


class Read(NamedTuple):
    """What the policy makes of N observations: tokens [N, S, W], and where there is one, bool [N, S]."""

    tokens: Tensor
    seen: Tensor


class Scale(nn.Module):
    """A ``Normaliser`` in torch; belongs to the statistics, not to the weights."""

    def __init__(self, normaliser: Normaliser) -> None:
        super().__init__()
        self.offset: Tensor
        self.scale: Tensor
        self.inverse: Tensor
        for name in ("offset", "scale", "inverse"):
            self.register_buffer(name, _tensor(getattr(normaliser, name)), persistent=False)

    def normalised(self, values: Tensor) -> Tensor:
        """Values [..., D] about in [-1, 1]."""
        return (values - self.offset) * self.inverse

    def denormalised(self, values: Tensor) -> Tensor:
        """Inverse of ``normalised``."""
        return values * self.scale + self.offset


class PolicyModel(nn.Module):
    """See the module.

    Args:
        params: of all parts; ``head.dimension`` is checked against the data, or taken from them.
        tokenizer: of the language model.
        statistics: of the training data, with the names of their cameras.

    Attributes:
        params: with the dimension known.

    Raises:
        ValueError: parts that do not fit together, or data whose actions have another dimension.
    """

    def __init__(
        self, params: PolicyModelParams, tokenizer: PreTrainedTokenizerFast, statistics: Mapping[str, Any]
    ) -> None:
        super().__init__()
        state, action = normalisers(statistics)
        self.params = params = with_dimension(params, len(action.scale))
        dtype = getattr(torch, params.language.dtype)
        self.language = LANGUAGES[params.language.kind](params.language, tokenizer, dtype=dtype)
        width = self.language.width
        self.vision = SiglipVision(params.vision, width)
        self.resampler = Resampler(params.resampler, width) if params.resampler else None
        self.cameras = nn.Parameter(torch.zeros(len(statistics["cameras"]), 1, 1, width))
        self.state_scale, self.action_scale = Scale(state), Scale(action)
        told = len(state.scale) + params.previous_action * (len(action.scale) + 1)
        self.enter_state = nn.Sequential(nn.Linear(told, width), nn.SiLU(), nn.Linear(width, width))
        self.head = make_head(width, params.head, low=_tensor(action.low), high=_tensor(action.high))
        for part in params.freeze:
            getattr(self, part).requires_grad_(False)

    def read(self, observation: Observation) -> Read:
        """Everything that a head may look at.

        Raises:
            ValueError: another number of cameras than the model was made for.
        """
        visual = self.visual_tokens(observation.images)  # [N, C, g, g, W]
        count, grid = visual.shape[1], visual.shape[2]
        prompt = self.language.build_prompt(observation.prompts, count, grid).to(visual.device)
        hidden, memory = self.language.prefill(visual, prompt)  # [N, L, W]
        state = self.state_token(observation).to(hidden.dtype)
        hidden = torch.cat([hidden, self.language.extend_embedded(memory, state)], 1)  # [N, L + 1, W]
        return Read(hidden, memory.attention)

    def errors(self, observation: Observation, actions: Tensor, *, draw: Draw | None = None) -> Tensor:
        """What training minimises, for each number of true chunks [N, H, A] in the units of the data.

        Dimensions that never change are left out: 0. ``draw``: see ``ActionHead.errors``.
        """
        known = self.action_scale.scale > 0  # [A]
        errors = self.head.errors(*self.read(observation), self.action_scale.normalised(actions), draw=draw)
        return errors * known if known.any() else errors

    def forward(
        self, observation: Observation, noise: Tensor | None = None, guide: Guide | None = None
    ) -> Tensor:
        """Chunks [N, H, A] in the units of the data.

        Args:
            observation: of N moments.
            noise: where a random head starts [N, H, A].
            guide: old chunks to hold on to, in the units of the data.

        Raises:
            ValueError: a guide, for a head that cannot follow one.
        """
        if guide is not None:
            guide = guide._replace(actions=self.action_scale.normalised(guide.actions))
        chunks = self.head.sample(*self.read(observation), noise=noise, guide=guide)
        return self.action_scale.denormalised(chunks)

    def visual_tokens(self, images: Tensor) -> Tensor:
        """Tokens [N, C, g, g, W] of images [N, C, 3, S, S]; raises as :meth:`read`."""
        if images.shape[1] != len(self.cameras):
            raise ValueError(f"the policy has {len(self.cameras)} cameras, got images of {images.shape[1]}")
        tokens = self.vision(images.flatten(0, 1))  # [N * C, g, g, W]
        if self.resampler is not None:
            tokens = self.resampler(tokens)
        return tokens.unflatten(0, images.shape[:2]) + self.cameras

    def state_token(self, observation: Observation) -> Tensor:
        """Of state and, if it is told, previous action [N, 1, W]."""
        told = [self.state_scale.normalised(observation.state)]
        if self.params.previous_action:
            known = observation.known[:, None].float()  # [N, 1]
            told += [self.action_scale.normalised(observation.previous) * known, known]
        return self.enter_state(torch.cat(told, -1))[:, None]


def with_dimension(params: PolicyModelParams, dimension: int) -> PolicyModelParams:
    """The parameters with the dimension of the data's actions.

    Raises:
        ValueError: they want another one.
    """
    wanted = params.head.dimension
    if wanted not in {None, dimension}:
        raise ValueError(f"head.dimension must be that of the data's actions, {dimension}, got {wanted}")
    head = type(params.head).model_validate(params.head.model_dump() | {"dimension": dimension})
    return params.model_copy(update={"head": head})


def _tensor(values: NDArray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32).copy())
