"""The language model that reads the instruction and, after it, what every frame shows.

The prompt is one chat turn: a system sentence, then the user's instruction, then one span of visual tokens
for each frame, numbered in the order given ("Picture 1: …"). The instruction stands *before* the frames,
because text is causal: only so can visual tokens know what to look for. Invariants: a visual token sees all
earlier text and all visual tokens, earlier or later; a text token sees what stands before it; padding is seen
by nobody.

Model: Qwen2.5-VL (arXiv:2502.13923) as transformers has it, at any size; its own vision tower is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.tokenizer import IMAGE_PAD, SYSTEM_PROMPT, plain
from vln_heatmap.params import LanguageParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLTextConfig, Qwen2_5_VLTextModel

EVERYTHING = "everything"  # what an empty instruction means
_SLOT = "\ue000"  # private-use character that holds the instruction's place


@dataclass(frozen=True)
class Prompt:
    """Prompts of a batch, padded on the left to one length.

    Attributes:
        ids: token ids [B, L]; a visual position holds the id of ``<|image_pad|>``.
        attention: true where there is a token, false in the padding [B, L].
        visual: true at visual positions [B, L]; frame by frame, row by row.
        instruction: true at the tokens of the instruction [B, L], at least one in each row.
    """

    ids: Tensor
    attention: Tensor
    visual: Tensor
    instruction: Tensor

    def to(self, device: torch.device) -> Prompt:
        """The same prompt on another device."""
        return Prompt(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class LanguageStates(NamedTuple):
    """What the language model makes of frames and instruction.

    Attributes:
        visual: hidden states at the visual positions [B, V, g, g, D].
        instruction: of the instruction's last token, which has read all of it and no frame [B, D].
    """

    visual: Tensor
    instruction: Tensor


def build_prompt(
    tokenizer: PreTrainedTokenizerFast, instructions: Sequence[str], visual_count: int, grid: int
) -> Prompt:
    """Chat prompts with ``visual_count`` spans of ``grid * grid`` visual tokens each.

    Args:
        tokenizer: with Qwen's special tokens and a chat template.
        instructions: one a sample; an empty one stands for "everything". Special tokens in it lose power.
        visual_count: number of frames, at least 1.
        grid: tokens along a side of a frame, at least 1.
    """
    if visual_count < 1 or grid < 1:
        raise ValueError(f"visual_count and grid must be at least 1, got {visual_count} and {grid}")
    before, after = _frame(tokenizer, visual_count).split(_SLOT)
    texts = [plain(text, tokenizer) or EVERYTHING for text in instructions]
    encoded = tokenizer(
        [before + text + after for text in texts], add_special_tokens=False, return_offsets_mapping=True
    )
    image: Any = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    rows, spoken = [], []
    for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        start, end = torch.tensor(offsets).unbind(-1)  # characters of each token
        inside = (start < len(before) + len(text)) & (end > len(before))
        row = torch.tensor(ids)
        repeats = (row == image) * (grid * grid - 1) + 1
        rows.append(row.repeat_interleave(repeats))
        spoken.append(inside.repeat_interleave(repeats))
    ids = _pad_left(rows, tokenizer.pad_token_id)
    attention = _pad_left([torch.ones_like(row, dtype=torch.bool) for row in rows], False)
    return Prompt(ids, attention, (ids == image) & attention, _pad_left(spoken, False))


def _frame(tokenizer: PreTrainedTokenizerFast, visual_count: int) -> str:
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


def _pad_left(rows: Sequence[Tensor], value: int) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side="left")


def mrope_positions(visual: Tensor, attention: Tensor, grid: int) -> Tensor:
    """Positions (time, row, column) of every token, as Qwen2.5-VL counts them.

    Text goes on by one a token in all three; the tokens of an image share their time and count rows and
    columns from there; after an image, text goes on ``grid`` later.

    Args:
        visual, attention: as in :class:`Prompt`, [B, L].
        grid: tokens along a side of an image.

    Returns:
        int64 [3, B, L], 0 in the padding.
    """
    images = visual.long().cumsum(-1) - visual.long()  # visual tokens before [B, L]
    text = (attention & ~visual).long()
    start = text.cumsum(-1) - text + images // grid**2 * grid  # [B, L]
    inside = images % grid**2 * visual  # place within the image, 0 for text
    return torch.stack([start, start + inside // grid, start + inside % grid]) * attention


def visibility(visual: Tensor, attention: Tensor) -> Tensor:
    """Who sees whom, [B, 1, L (sees), L (is seen)] bool, from a prompt's [B, L] masks.

    Causal, but both ways among visual tokens; padding is seen by itself alone (a row must see something).
    """
    order = torch.arange(visual.shape[1], device=visual.device)
    causal = order[:, None] >= order  # [L, L]
    both = visual[:, :, None] & visual[:, None]  # [B, L, L]
    seen = (causal | both) & attention[:, None]
    return (seen | (order[:, None] == order))[:, None]


class LanguageModel(nn.Module):
    """Text model of Qwen2.5-VL over our visual tokens.

    Args:
        params: sizes, or where the weights come from.
        tokenizer: see :func:`vln_heatmap.nodes.model.tokenizer.make_tokenizer`.

    Raises:
        ValueError: the tokenizer has more tokens than the model's vocabulary.
    """

    def __init__(self, params: LanguageParams, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.model: Any = _text_model(params, tokenizer)
        self.width: int = self.model.config.hidden_size
        if len(tokenizer) > self.model.config.vocab_size:
            raise ValueError(
                f"the tokenizer must have at most the {self.model.config.vocab_size} tokens of the language "
                f"model, got {len(tokenizer)}"
            )

    def forward(self, visual_tokens: Tensor, instructions: Sequence[str]) -> LanguageStates:
        """Read B instructions, each with V frames.

        Args:
            visual_tokens: already at the model's width [B, V, g, g, D].
            instructions: B texts; an empty one means everything.
        """
        batch, count, grid = visual_tokens.shape[:3]
        if len(instructions) != batch:
            raise ValueError(f"there must be one instruction a sample ({batch}), got {len(instructions)}")
        prompt = build_prompt(self.tokenizer, instructions, count, grid).to(visual_tokens.device)
        hidden = self.hidden_states(visual_tokens, prompt)  # [B, L, D]
        order = torch.arange(hidden.shape[1], device=hidden.device)
        last = (prompt.instruction * order).argmax(dim=-1)  # [B]
        return LanguageStates(
            visual=hidden[prompt.visual].view(visual_tokens.shape),
            instruction=hidden[torch.arange(batch, device=hidden.device), last],
        )

    def hidden_states(self, visual_tokens: Tensor, prompt: Prompt) -> Tensor:
        """Hidden states [B, L, D] at all places of a prompt that holds visual tokens [B, V, g, g, D].

        Raises:
            ValueError: tokens of another width, or another number of them than the prompt has places.
        """
        *_, grid, other, width = visual_tokens.shape
        places = int(prompt.visual.sum())
        if (
            visual_tokens.ndim != 5
            or grid != other
            or width != self.width
            or visual_tokens[..., 0].numel() != places
        ):
            raise ValueError(
                f"visual tokens must be [B, V, g, g, {self.width}] and fill {places} places, "
                f"got {list(visual_tokens.shape)}"
            )
        embedded = self.model.embed_tokens(prompt.ids)  # [B, L, D]
        visual = visual_tokens.reshape(-1, width).to(embedded.dtype)
        embedded = embedded.masked_scatter(prompt.visual[..., None], visual)
        return self.model(
            inputs_embeds=embedded,
            position_ids=mrope_positions(prompt.visual, prompt.attention, grid),
            attention_mask=visibility(prompt.visual, prompt.attention),
            use_cache=False,
        ).last_hidden_state


def _text_model(params: LanguageParams, tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLTextModel:
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLTextModel

    if params.source is None:
        return Qwen2_5_VLTextModel(text_config(params, len(tokenizer), tokenizer.pad_token_id))
    whole = Qwen2_5_VLForConditionalGeneration.from_pretrained(params.source, attn_implementation="sdpa")
    return whole.model.language_model


def text_config(params: LanguageParams, vocabulary: int, pad: int) -> Qwen2_5_VLTextConfig:
    """Configuration of a small text model, rotary channels as in Qwen's: 1/4 time, 3/8 row, 3/8 column."""
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
    config._attn_implementation = "sdpa"
    return config
