"""The whole chain: frames and an instruction in, one heatmap per keyframe out.

frames -> VGGT on all of them -> fusion with the 2-D encoder's features -> visual tokens in the language model's
prompt -> heads. Invariant: the roles of the frames (current view, keyframes) are given as indices and enter only
in the heads, so one pass over T frames can be read for any current view among them.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.model.fusion import FUSIONS, align_grid
from vln_heatmap.nodes.model.heads import Detail, Evidence, HeatmapHead, HeatmapOutput, ReferringHead
from vln_heatmap.nodes.model.language import LanguageStates, make_language
from vln_heatmap.nodes.model.matchers import MATCHERS
from vln_heatmap.nodes.model.matching import best_cosines, take
from vln_heatmap.nodes.model.placement import Visitor
from vln_heatmap.nodes.model.upsampling import doublings
from vln_heatmap.nodes.model.vggt import make_geometry
from vln_heatmap.params import ModelParams


class HeatmapModel(nn.Module):
    """VGGT, fusion, language model and heads; the frozen 2-D encoder runs outside, once per frame.

    Args:
        params: sizes of all parts.
        groups: channels of the encoder's feature groups; extra: of the colour statistics after them, 0 if none.
            Each gives one frozen similarity.
        tokenizer: tokenizer of the language model.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, params: ModelParams, groups: tuple[int, ...], extra: int, tokenizer: Any) -> None:
        super().__init__()
        self.params, self.groups, self.extra = params, groups, extra
        head, width = params.head, params.fusion.width
        self.similar = (*groups, extra) if extra else groups  # what cosines are taken of
        channels = sum(self.similar)
        self.register_buffer("feature_mean", torch.zeros(channels))
        self.register_buffer("feature_std", torch.ones(channels))
        self.vggt = make_geometry(params.vggt)
        self.fusion = FUSIONS[params.fusion.kind](self.vggt.channels, channels, params.fusion)
        frozen = getattr(torch, params.language.dtype)
        self.language = make_language(params.language, tokenizer, dtype=frozen)
        self.enter_language = nn.Linear(width, self.language.width)
        self.leave_language = nn.Sequential(
            nn.LayerNorm(self.language.width), nn.Linear(self.language.width, width)
        )
        start = 2 * params.encoder.grid  # cells that the heads have before they are refined
        steps = doublings(start, head.heatmap_size)
        self.detail = Detail(head.detail, head.heatmap_size, start=start, steps=steps)
        self.matcher = MATCHERS[head.kind](width, self.vggt.channels, len(self.similar), head)
        self.referring = ReferringHead(width, self.language.width, head.detail, head, steps=steps)
        self.head = HeatmapHead(head, head.detail, steps=steps)
        self.places: dict[str, torch.device] = {}  # device of each part, see placement
        self.visitor: Visitor | None = None  # of a language model that is off its device between uses

    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix the channel-wise statistics [C] of the encoder's features (from training frames)."""
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(std.clamp_min(1e-3))

    def forward(
        self,
        frames: Tensor,
        features: Tensor,
        instructions: list[str],
        current: Tensor,
        keyframes: Tensor,
        poses: Tensor | None = None,
        *,
        evidence: bool = False,
    ) -> HeatmapOutput:
        """Heatmaps of N current views with K keyframes each.

        Args:
            frames: [B, T, 3, S, S] in [0, 1], at VGGT's resolution.
            features: [B, T, C, g, g] features of the 2-D encoder.
            instructions: B texts; an empty one refers to everything.
            current: [B, N] index of each current view among the T frames.
            keyframes: [B, N, K] indices of its keyframes. With T = 1 the only frame is its own and only
                keyframe, and what remains is where the instruction points.
            poses: camera_to_world of the frames [B, T, 4, 4], any world; needed with ``head.odometry``, else
                not looked at.
            evidence: give what the heatmaps were made from as well, for losses that look inside.
        """
        features, current, keyframes = (self._at("heads", x) for x in (features, current, keyframes))
        plain, features = features, self._standardise(features)
        maps, tokens, states, text, camera = self._describe(frames, features, instructions)
        frames = self._at("heads", frames)
        views = take(frames, current).flatten(0, 1)  # [B * N, 3, S, S]
        detail, guides = self.detail(views).unflatten(0, current.shape), self.detail.guides(views)
        referred = self._refer(tokens, states, text, detail, guides, current)
        seen = None
        if evidence:
            attention = self.referring.attention(*self._of_views(tokens, states, text, current))
            seen = Evidence(maps, features, tokens, attention.unflatten(0, current.shape))
        if frames.shape[1] == 1:
            return replace(self.head.alone(referred[:, 0]), evidence=seen)
        described = self.matcher(
            tokens.flatten(-2).movedim(2, -1),
            camera,
            self._frozen(features),
            current,
            keyframes,
            None if poses is None else self._at("heads", poses),
        )
        everything = _empty(instructions, frames.device)
        residual = self._residual(plain, current, keyframes)
        output = self.head(described, detail, referred, everything, guides, residual)
        return replace(output, evidence=seen)

    def _describe(
        self, frames: Tensor, features: Tensor, instructions: list[str]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Geometry [B, T, 2C, h, w], tokens [B, T, D, g, g], language states [B, T, L, g, g], text summary
        [B, L], cameras [B, T, 2C]."""
        geometry = self.vggt(self._at("vggt", frames))
        patches = self._at("heads", geometry.patch_tokens)  # [B, T, h*w, 2C]
        maps = patches.movedim(-1, 2).unflatten(-1, geometry.grid)  # [B, T, 2C, h, w]
        tokens = self.fusion(maps, features)  # [B, T, D, g, g]
        coarse = align_grid(tokens, (self.params.language.grid,) * 2).movedim(2, -1)  # [B, T, l, l, D]
        states, text = self._read(self.enter_language(coarse), instructions)
        back = self.leave_language(states).movedim(-1, 2)  # [B, T, D, l, l]
        size = (tokens.shape[-2], tokens.shape[-1])
        return (
            maps,
            tokens + align_grid(back, size),
            align_grid(states.movedim(-1, 2), size),
            text,
            self._at("heads", geometry.camera_tokens),
        )

    def _read(self, tokens: Tensor, instructions: list[str]) -> LanguageStates:
        """The language model on its device, its states on the heads' and in their precision."""
        with self.visitor.visiting() if self.visitor else nullcontext():
            states = self.language(self._at("language", tokens), instructions)
        precise = (s.float() if s.dtype == torch.bfloat16 else s for s in states)
        return LanguageStates(*(self._at("heads", s) for s in precise))

    def _at(self, part: str, tensor: Tensor) -> Tensor:
        """The tensor where a part lives; as it is if the parts have no devices of their own."""
        return tensor.to(self.places[part], non_blocking=True) if self.places else tensor

    def _refer(
        self,
        tokens: Tensor,
        states: Tensor,
        text: Tensor,
        detail: Tensor,
        guides: list[Tensor],
        current: Tensor,
    ) -> Tensor:
        """Referred logits [B, N, h, w] of the current views."""
        views = self._of_views(tokens, states, text, current)
        return self.referring(*views, detail.flatten(0, 1), guides).unflatten(0, current.shape)

    @staticmethod
    def _of_views(tokens: Tensor, states: Tensor, text: Tensor, current: Tensor) -> tuple[Tensor, ...]:
        """Tokens [M, D, g, g], states [M, L, g, g] and text [M, L] of the M = B * N current views."""
        n = current.shape[1]
        return (
            take(tokens, current).flatten(0, 1),
            take(states, current).flatten(0, 1),
            text.repeat_interleave(n, dim=0),
        )

    def _standardise(self, features: Tensor) -> Tensor:
        mean, std = self.feature_mean[:, None, None], self.feature_std[:, None, None]
        return ((features - mean) / std).clamp(-6, 6)

    def _residual(self, features: Tensor, current: Tensor, keyframes: Tensor) -> Tensor | None:
        """What plain cosines of the encoder's groups add to the logits [B, N, K, g, g], if they are to.

        Nothing of it is learned: it says in every place what it says in training. Its mean over the keyframes
        and cells of a view is 0, so that it moves heat and adds none.
        """
        head = self.params.head
        if not head.residual or not self.groups:
            return None
        groups = features[:, :, : sum(self.groups)].split(self.groups, dim=2)
        units = [F.normalize(group.float().flatten(-2).movedim(2, -1), dim=-1) for group in groups]
        best = best_cosines(units, current, keyframes)
        return head.residual * (best - best.mean((2, 3, 4), keepdim=True))

    def _frozen(self, features: Tensor) -> list[Tensor]:
        """The feature groups and the colours, each of unit length in each cell: [B, T, P, c]."""
        groups = features.split(self.similar, dim=2)
        return [F.normalize(group.flatten(-2).movedim(2, -1), dim=-1) for group in groups]


def _empty(instructions: list[str], device: torch.device) -> Tensor:
    """True where an instruction is empty and so refers to everything: [B] bool."""
    return torch.tensor([not text.strip() for text in instructions], device=device)
