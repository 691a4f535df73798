"""Qwen2.5-VL (arXiv:2502.13923) as the language model, at any size.

The prompt is one chat turn: a system sentence, then the user's instruction, then one span of visual tokens
for each frame, numbered in the order given ("Picture 1: …"). The instruction stands *before* the frames,
because text is causal: only so can visual tokens know what to look for. Invariant: visual tokens see each
other both ways, text stays causal, and positions are those of transformers' ``get_rope_index``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.language.base import LanguageModel
from vln_heatmap.nodes.model.language.loading import attention_name, load_official
from vln_heatmap.nodes.model.language.positions import mrope_positions
from vln_heatmap.nodes.model.language.prompt import CAUSAL, Piece, Prompt, check_counts, encode, spoken_text
from vln_heatmap.nodes.model.tokenizer import (
    IMAGE_PAD,
    SYSTEM_PROMPT,
    TURN_END,
    TURN_START,
    VISION_END,
    VISION_START,
)
from vln_heatmap.params import LanguageParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLTextConfig

_SLOT = "\ue000"  # private-use character that holds the instruction's place


class QwenLanguage(LanguageModel):
    """Text model of Qwen2.5-VL over our visual tokens."""

    spatial = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._chats: dict[int, str] = {}  # by number of frames

    def _load(self, params: LanguageParams, dtype: torch.dtype) -> tuple[Any, nn.Module | None]:
        if params.source is not None:
            return load_official(params, dtype, no_tower={"depth": 0})
        from transformers import Qwen2_5_VLTextModel

        config = text_config(params, len(self.tokenizer), self.tokenizer.pad_token_id)
        model: Any = Qwen2_5_VLTextModel(config)
        return model.to(dtype), None

    def build_prompt(self, instructions: Sequence[str], visual_count: int, grid: int) -> Prompt:
        check_counts(visual_count, grid)
        if visual_count not in self._chats:  # a template costs as much as a small layer
            self._chats[visual_count] = _chat(self.tokenizer, visual_count)
        before, after = self._chats[visual_count].split(_SLOT)
        return self._encoded(before, instructions, after, visual_count, grid)

    def follow_up(
        self, instructions: Sequence[str], visual_count: int = 0, grid: int = 1, *, seen: int = 0
    ) -> Prompt:
        """The line end after the answer's ``<|im_end|>``, the user's turn, and the start of the next answer."""
        check_counts(visual_count, grid, least=0)
        pictures = "".join(
            f"Picture {number}: {VISION_START}{IMAGE_PAD}{VISION_END}"
            for number in range(seen + 1, seen + visual_count + 1)
        )
        line = "\n" if visual_count else ""
        after = f"{line}{pictures}{TURN_END}\n{TURN_START}assistant\n"
        return self._encoded(f"\n{TURN_START}user\n", instructions, after, visual_count, grid)

    def positions(self, prompt: Prompt) -> Tensor:
        return mrope_positions(prompt.visual, prompt.attention, prompt.grid)

    def _encoded(
        self, before: str, instructions: Sequence[str], after: str, visual_count: int, grid: int
    ) -> Prompt:
        pieces = [Piece(before, spoken_text(text, self.tokenizer), after) for text in instructions]
        ids, attention, visual, spoken = encode(self.tokenizer, pieces, IMAGE_PAD, grid)
        block = visual.long() + CAUSAL  # 0 = visual, both ways
        return Prompt(ids, attention, visual, spoken, block, visual_count, grid)


def _chat(tokenizer: PreTrainedTokenizerFast, visual_count: int) -> str:
    """The chat around the instruction, as text, with ``_SLOT`` in its place."""
    content: Any = [{"type": "text", "text": f"{_SLOT}\n"}, *({"type": "image"} for _ in range(visual_count))]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": content},
    ]
    return str(
        tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, add_vision_id=True
        )
    )


def text_config(params: LanguageParams, vocabulary: int, pad: int) -> Qwen2_5_VLTextConfig:
    """Configuration of a text model, rotary channels as in Qwen's: 1/4 time, 3/8 row, 3/8 column."""
    from transformers import Qwen2_5_VLTextConfig

    pairs = params.dim // params.attention_heads // 2
    time = pairs // 4
    row = (pairs - time) // 2
    config = Qwen2_5_VLTextConfig(
        vocab_size=vocabulary,
        hidden_size=params.dim,
        intermediate_size=params.hidden,
        num_hidden_layers=params.depth,
        num_attention_heads=params.attention_heads,
        num_key_value_heads=params.kv_heads,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [time, row, pairs - time - row],
        },
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=pad,
    )
    config._attn_implementation = attention_name(params.attention)
    return config
