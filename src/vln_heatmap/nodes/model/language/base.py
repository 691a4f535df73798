"""The interface of every language model: read an instruction and, with it, what every frame shows.

The heatmap model reads prompts at once (``forward``); a dialogue reads and answers turn by turn (``prefill``,
``extend``, ``answer``); a flow-matching policy lets its own tokens look at what was read
(``extend_embedded``). Invariants: a visual token sees all visual tokens of its turn, earlier or later, and all
text before them; nobody sees padding; no method needs transformers' own vision towers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.model.language.attention import additive, visibility
from vln_heatmap.nodes.model.language.decoding import Memory
from vln_heatmap.nodes.model.language.flash import plan_passes
from vln_heatmap.nodes.model.language.prompt import CAUSAL, Prompt
from vln_heatmap.nodes.model.vggt.base import Origin
from vln_heatmap.nodes.model.vggt.weights import fingerprint
from vln_heatmap.params import LanguageParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class LanguageStates(NamedTuple):
    """What the language model makes of frames and instruction.

    Attributes:
        visual: hidden states at the visual positions [B, V, g, g, D].
        instruction: of the instruction's last token, which has read all of it [B, D].
    """

    visual: Tensor
    instruction: Tensor


class LanguageModel(nn.Module, ABC):
    """A decoder over text and our visual tokens; the kinds differ in prompt, positions and blocks.

    Args:
        params: sizes, or where the weights come from.
        tokenizer: see :func:`vln_heatmap.nodes.model.tokenizer.make_tokenizer`.
        dtype: of the weights that are read from a source; None = as they are stored there is not kept but
            float32 is used, so that they can be trained.

    Attributes:
        model: transformers' text model, all layers and the final norm.
        head: output layer of its own; None where the embedding serves (tied).
        origin: where frozen weights come from that a checkpoint need not store; None for random ones.
        width: channels D of tokens and hidden states.
        tokenizer: text to ids.
        spatial: whether positions have a time, a row and a column, or only count tokens.

    Raises:
        ValueError: the tokenizer has more tokens than the model's vocabulary.
    """

    spatial = False

    def __init__(
        self,
        params: LanguageParams,
        tokenizer: PreTrainedTokenizerFast,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.attention_kind = params.attention
        self.model: Any
        self.head: Any
        self.model, self.head = self._load(params, dtype or torch.float32)
        self.width: int = self.model.config.hidden_size
        self.origin: Origin | None = None
        if params.source is not None:
            self.origin = Origin(params.source, fingerprint(self.model.state_dict(), ""))
        if params.attention == "flash_attention_2" and hasattr(self.model.config, "attn_logit_softcapping"):
            raise ValueError("attention of PaliGemma 2 must be eager (capped logits), got flash_attention_2")
        if len(tokenizer) > self.model.config.vocab_size:
            raise ValueError(
                f"the tokenizer must have at most the {self.model.config.vocab_size} tokens of the language "
                f"model, got {len(tokenizer)}"
            )

    # --- what the kinds differ in --------------------------------------------------------------------------

    @abstractmethod
    def _load(self, params: LanguageParams, dtype: torch.dtype) -> tuple[Any, nn.Module | None]:
        """Text model and, if it is not the embedding, the output layer."""

    @abstractmethod
    def build_prompt(self, instructions: Sequence[str], visual_count: int, grid: int) -> Prompt:
        """Prompts with ``visual_count`` spans of ``grid * grid`` visual tokens each.

        Args:
            instructions: one a sample; an empty one stands for "everything". Special tokens in it lose power.
            visual_count: number of frames, at least 1.
            grid: tokens along a side of a frame, at least 1.
        """

    @abstractmethod
    def follow_up(
        self, instructions: Sequence[str], visual_count: int = 0, grid: int = 1, *, seen: int = 0
    ) -> Prompt:
        """What comes after an answer: the user's next turn, with ``visual_count`` new frames.

        Args:
            instructions, visual_count, grid: as in :meth:`build_prompt`, but frames may be missing.
            seen: frames of the turns before, for those models that number them.
        """

    @abstractmethod
    def positions(self, prompt: Prompt) -> Tensor:
        """Positions of a prompt's tokens counted from 0, [..., B, L], 0 in the padding."""

    # --- the same for all ----------------------------------------------------------------------------------

    def forward(self, visual_tokens: Tensor, instructions: Sequence[str]) -> LanguageStates:
        """Read B instructions, each with V frames.

        Args:
            visual_tokens: already at the model's width [B, V, g, g, D].
            instructions: B texts; an empty one means everything.
        """
        batch, count, grid = visual_tokens.shape[:3]
        if len(instructions) != batch:
            raise ValueError(f"there must be one instruction a sample ({batch}), got {len(instructions)}")
        prompt = self.build_prompt(instructions, count, grid).to(visual_tokens.device)
        hidden = self.hidden_states(visual_tokens, prompt)  # [B, L, D]
        order = torch.arange(hidden.shape[1], device=hidden.device)
        last = (prompt.instruction * order).argmax(dim=-1)  # [B]
        return LanguageStates(
            visual=hidden.take_along_dim(prompt.visual_places[..., None], 1).view(visual_tokens.shape),
            instruction=hidden[torch.arange(batch, device=hidden.device), last],
        )

    def hidden_states(self, visual_tokens: Tensor | None, prompt: Prompt) -> Tensor:
        """Hidden states [B, L, D] at all places of a prompt that holds visual tokens [B, V, g, g, D].

        Raises:
            ValueError: tokens of another width, or another number of them than the prompt has places.
        """
        embedded = self.embed(visual_tokens, prompt)
        return self._run(embedded, self.positions(prompt), prompt.block, prompt.attention, None)

    def prefill(self, visual_tokens: Tensor | None, prompt: Prompt) -> tuple[Tensor, Memory]:
        """Hidden states [B, L, D] as above, and the memory from which ``extend`` reads on."""
        from transformers import DynamicCache

        rows, device = len(prompt.ids), prompt.ids.device
        memory = Memory(
            DynamicCache(),
            torch.zeros(rows, 0, dtype=torch.bool, device=device),
            torch.zeros(rows, dtype=torch.long, device=device),
        )
        return self.extend(memory, prompt, visual_tokens), memory

    def extend(self, memory: Memory, prompt: Prompt, visual_tokens: Tensor | None = None) -> Tensor:
        """Read on: hidden states [B, S, D] of more tokens, which see all that is in the memory and join it."""
        embedded = self.embed(visual_tokens, prompt)
        return self._continue(memory, embedded, self.positions(prompt), prompt.block, prompt.attention)

    def extend_embedded(self, memory: Memory, embedded: Tensor, *, both_ways: bool = False) -> Tensor:
        """Read on with tokens that are no text, such as an action expert's [B, S, D].

        Args:
            memory: is extended; ``mark`` and ``rewind`` it to read several continuations.
            embedded: at the model's width, taken as they are.
            both_ways: whether they all see each other, or only what is before them.
        """
        block = torch.full(
            embedded.shape[:2], 0 if both_ways else CAUSAL, dtype=torch.long, device=embedded.device
        )
        here = torch.ones_like(block, dtype=torch.bool)
        plain = Prompt(block, here, ~here, ~here, block, 0, 1)
        return self._continue(memory, embedded, self.positions(plain), block, here)

    def read(
        self,
        embedded: Tensor,
        places: Tensor,
        block: Tensor,
        attention: Tensor,
        memory: Memory | None = None,
    ) -> Tensor:
        """Hidden states [B, S, D] of tokens that the caller has placed, such as a dialogue's.

        Args:
            embedded: of text and images alike [B, S, D].
            places: time, row and column of each, counted from the row's beginning [3, B, S]; a model that is
                not ``spatial`` takes the first.
            block, attention: as of a :class:`Prompt`, but there may be several blocks in a row.
            memory: what was read before and is extended; None = nothing, and nothing is kept.
        """
        positions = places if self.spatial else places[0]
        hidden = self._run(embedded, positions * attention, block, attention, memory)
        if memory is not None:
            self._remember(memory, positions * attention, attention)
        return hidden

    def embed_text(self, ids: Tensor) -> Tensor:
        """Embeddings of token ids [..., D], as the model's first layer takes them."""
        return self.model.embed_tokens(ids)

    def embed(self, visual_tokens: Tensor | None, prompt: Prompt) -> Tensor:
        """Embeddings [B, L, D]: of the text as ever, visual tokens [B, V, g, g, D] as they are."""
        embedded = self.embed_text(prompt.ids.masked_fill(prompt.visual, self.tokenizer.pad_token_id))
        places = len(prompt.ids) * prompt.frames * prompt.grid**2
        if visual_tokens is None and not places:
            return embedded
        shape = [] if visual_tokens is None else list(visual_tokens.shape)
        if visual_tokens is None or (
            len(shape) != 5
            or shape[2] != shape[3]
            or shape[-1] != self.width
            or visual_tokens[..., 0].numel() != places
        ):
            raise ValueError(
                f"visual tokens must be [B, V, g, g, {self.width}] and fill {places} places, got {shape}"
            )
        visual = visual_tokens.reshape(-1, self.width).to(embedded.dtype)
        return embedded.masked_scatter(prompt.visual[..., None], visual)

    def logits(self, hidden: Tensor) -> Tensor:
        """Of the next token after each hidden state [..., D]: [..., vocabulary]."""
        tied = self.head is None
        logits = F.linear(hidden, self.model.embed_tokens.weight if tied else self.head.weight)
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _continue(
        self, memory: Memory, embedded: Tensor, positions: Tensor, block: Tensor, attention: Tensor
    ) -> Tensor:
        positions = (positions + memory.next[:, None]) * attention
        hidden = self._run(embedded, positions, block, attention, memory)
        self._remember(memory, positions, attention)
        return hidden

    @staticmethod
    def _remember(memory: Memory, positions: Tensor, attention: Tensor) -> None:
        """Note which tokens were read, and where text goes on after them."""
        memory.attention = torch.cat([memory.attention, attention], 1)
        last = positions.view(-1, *attention.shape).amax((0, 2))  # [B]
        memory.next = torch.maximum(memory.next, (last + 1) * attention.any(1))

    def _run(
        self,
        embedded: Tensor,
        positions: Tensor,
        block: Tensor,
        attention: Tensor,
        memory: Memory | None,
    ) -> Tensor:
        """The layers over embeddings [B, S, D], after what the memory holds."""
        past = None if memory is None or not len(memory) else memory.attention
        if self.attention_kind == "flash_attention_2" and past is None and not bool((block > 0).any()):
            seen: dict[str, Any] = {
                "plan": plan_passes(block, attention),
                "attention_mask": attention[:1, :1, None, None],
            }
        else:
            seen = {"attention_mask": self._mask(block, attention, past, embedded.dtype)}
        return self.model(
            inputs_embeds=embedded,
            position_ids=positions,
            past_key_values=None if memory is None else memory.cache,
            use_cache=memory is not None,
            **seen,
        ).last_hidden_state

    def _mask(self, block: Tensor, attention: Tensor, past: Tensor | None, dtype: torch.dtype) -> Any:
        """What transformers' layers take; with sliding windows, one mask for each kind of layer."""
        window = getattr(self.model.config, "sliding_window", None)
        layers = getattr(self.model.config, "layer_types", None) or []
        masks = {"full_attention": visibility(block, attention, past=past)}
        if "sliding_attention" in layers:
            masks["sliding_attention"] = visibility(block, attention, past=past, window=window)
        if self.attention_kind == "eager":
            masks = {name: additive(mask, dtype) for name, mask in masks.items()}
        return masks if len(masks) > 1 else masks["full_attention"]
