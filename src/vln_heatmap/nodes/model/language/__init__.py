"""The language side of the model: one interface, one class a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vln_heatmap.nodes.model.language.attention import visibility
from vln_heatmap.nodes.model.language.base import LanguageModel, LanguageStates
from vln_heatmap.nodes.model.language.decoding import Answer, Memory, answer
from vln_heatmap.nodes.model.language.nothing import NoLanguage
from vln_heatmap.nodes.model.language.paligemma import PaliGemmaLanguage
from vln_heatmap.nodes.model.language.positions import mrope_positions
from vln_heatmap.nodes.model.language.prompt import EVERYTHING, Prompt, text_prompt
from vln_heatmap.nodes.model.language.qwen import QwenLanguage
from vln_heatmap.params import LanguageParams

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

LANGUAGES: dict[str, type[LanguageModel]] = {"qwen2_5_vl": QwenLanguage, "paligemma": PaliGemmaLanguage}
#: What the heatmap model may have in this place, by ``LanguageParams.kind``: with them, none.
READERS: dict[str, type[LanguageModel] | type[NoLanguage]] = {**LANGUAGES, "none": NoLanguage}


def make_language(
    params: LanguageParams, tokenizer: PreTrainedTokenizerFast, *, dtype: torch.dtype | None = None
) -> LanguageModel | NoLanguage:
    """The language model of a kind, from sizes or from a source; see :class:`LanguageModel`."""
    return READERS[params.kind](params, tokenizer, dtype=dtype)


__all__ = [
    "EVERYTHING",
    "LANGUAGES",
    "READERS",
    "Answer",
    "LanguageModel",
    "LanguageStates",
    "Memory",
    "NoLanguage",
    "PaliGemmaLanguage",
    "Prompt",
    "QwenLanguage",
    "answer",
    "make_language",
    "mrope_positions",
    "text_prompt",
    "visibility",
]
