"""PaliGemma (arXiv:2407.07726, arXiv:2412.03555) as the language model, at any size.

The prompt is what it was trained on: the visual tokens of all frames, ``<bos>``, the instruction, a line end;
the answer follows. Invariants: the prefix, visual tokens and instruction alike, sees itself both ways; what
comes after it is causal; text embeddings are multiplied by sqrt(D) (Gemma's ``embed_tokens`` does it), visual
tokens are not; positions count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.language.base import LanguageModel
from vln_heatmap.nodes.model.language.loading import attention_name, load_official
from vln_heatmap.nodes.model.language.positions import counted_positions
from vln_heatmap.nodes.model.language.prompt import CAUSAL, Piece, Prompt, check_counts, encode, spoken_text
from vln_heatmap.nodes.model.tokenizer import IMAGE
from vln_heatmap.params import LanguageParams

if TYPE_CHECKING:
    from transformers import GemmaConfig


class PaliGemmaLanguage(LanguageModel):
    """Text model of PaliGemma (Gemma) or PaliGemma 2 (Gemma 2) over our visual tokens."""

    def _load(self, params: LanguageParams, dtype: torch.dtype) -> tuple[Any, nn.Module | None]:
        if params.source is not None:
            return load_official(params, dtype, no_tower={"num_hidden_layers": 0})
        from transformers import GemmaModel

        config = gemma_config(params, len(self.tokenizer), self.tokenizer.pad_token_id)
        model: Any = GemmaModel(config)
        return model.to(dtype), None

    def build_prompt(self, instructions: Sequence[str], visual_count: int, grid: int) -> Prompt:
        check_counts(visual_count, grid)
        return self._encoded(
            IMAGE * visual_count + str(self.tokenizer.bos_token), instructions, visual_count, grid
        )

    def follow_up(
        self, instructions: Sequence[str], visual_count: int = 0, grid: int = 1, *, seen: int = 0
    ) -> Prompt:
        """Another prefix, in which all see each other and what was before; PaliGemma numbers no frames."""
        check_counts(visual_count, grid, least=0)
        return self._encoded(IMAGE * visual_count, instructions, visual_count, grid)

    def positions(self, prompt: Prompt) -> Tensor:
        return counted_positions(prompt.attention)

    def _run(
        self, embedded: Tensor, positions: Tensor, block: Tensor, attention: Tensor, memory: Any
    ) -> Tensor:
        return super()._run(embedded, positions + 1, block, attention, memory)

    def _encoded(self, before: str, instructions: Sequence[str], visual_count: int, grid: int) -> Prompt:
        pieces = [Piece(before, spoken_text(text, self.tokenizer), "\n") for text in instructions]
        ids, attention, visual, spoken = encode(self.tokenizer, pieces, IMAGE, grid)
        return Prompt(ids, attention, visual, spoken, attention.long() + CAUSAL, visual_count, grid)


def gemma_config(params: LanguageParams, vocabulary: int, pad: int) -> GemmaConfig:
    """Configuration of a Gemma text model."""
    from transformers import GemmaConfig

    config = GemmaConfig(
        vocab_size=vocabulary,
        hidden_size=params.dim,
        intermediate_size=params.hidden,
        num_hidden_layers=params.depth,
        num_attention_heads=params.attention_heads,
        num_key_value_heads=params.kv_heads,
        head_dim=params.dim // params.attention_heads,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=pad,
    )
    config._attn_implementation = attention_name(params.attention)
    return config
