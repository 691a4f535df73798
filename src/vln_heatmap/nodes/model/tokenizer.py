"""Text to token ids: a byte-level BPE of our own for small models, the official tokenizer for official ones.

Invariant: every tokenizer has the special tokens that its kind of language model needs and ours beside them,
and every text of a user becomes ordinary tokens that decode to the same text (after Unicode NFC); it can never
become a special token.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vln_heatmap.nodes.model.qwen_vocabulary import SPLIT, qwen_tokenizer
from vln_heatmap.params import LanguageParams
from vln_heatmap.simulation.simulators.base import ACTION_NAMES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"
MEMORY, IMAGE = "<memory>", "<image>"
ACTIONS = tuple(f"<|action_{name}|>" for name in ACTION_NAMES)
REQUIRED = {
    "qwen2_5_vl": (TURN_START, TURN_END, VISION_START, VISION_END, IMAGE_PAD),
    "paligemma": (IMAGE,),
    "none": (),
}
OURS = (IMAGE, MEMORY, *ACTIONS)  # added to official vocabularies
SPECIAL = (
    PAD,
    TURN_START,
    TURN_END,
    VISION_START,
    VISION_END,
    IMAGE_PAD,
    "<|video_pad|>",
    IMAGE,
    MEMORY,
    *ACTIONS,
)

SYSTEM_PROMPT = "You see through a robot's camera. Find what the instruction speaks of."

# Qwen's own template, as far as it is needed here; ``add_vision_id`` numbers the pictures
CHAT_TEMPLATE = (
    "{% set seen = namespace(pictures=0) %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "{% set seen.pictures = seen.pictures + 1 %}"
    "{% if add_vision_id %}Picture {{ seen.pictures }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CHAT_WORDS = f"system\n{SYSTEM_PROMPT}\nuser\nPicture 1: Picture 2: \nassistant\n"
_BLANKS = " \n\t\u2581"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> dict[str, Any]:
    """Byte-level BPE learned from texts, each as the model will read it: in its chat frame.

    Args:
        texts: instructions.
        vocab_size: largest number of tokens, special tokens and the 256 bytes included.

    Returns:
        content of a ``tokenizer.json``, the same for the same texts.

    Raises:
        ValueError: a vocabulary that has no room for the bytes and the special tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    least = len(alphabet) + len(SPECIAL)
    if vocab_size < least:
        raise ValueError(f"vocab_size must be at least {least} (bytes and special tokens), got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    corpus = itertools.chain.from_iterable((_CHAT_WORDS, text) for text in texts)
    tokenizer.train_from_iterator(corpus, trainer)
    return json.loads(tokenizer.to_str())


def load_tokenizer(content: Mapping[str, Any], kind: str = "qwen2_5_vl") -> PreTrainedTokenizerFast:
    """Tokenizer from the content of a ``tokenizer.json`` as :func:`train_tokenizer` returns it.

    Args:
        content: see above.
        kind: of the language model. PaliGemma's prompts begin with ``<bos>``, whose part a turn's start plays.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        eos_token=TURN_END,
        pad_token=PAD,
        **({"bos_token": TURN_START} if kind == "paligemma" else {}),
    )
    return _ready(tokenizer, kind, "the tokenizer content")


def make_tokenizer(
    params: LanguageParams, content: Mapping[str, Any] | None = None
) -> PreTrainedTokenizerFast:
    """The tokenizer that belongs to a language model.

    Args:
        params: with a ``source``, its tokenizer is taken from there; ``tokenizer: qwen`` takes Qwen's.
        content: in all other cases, the content of the trained ``tokenizer.json``.

    Raises:
        ValueError: nothing to make it from, or a tokenizer without the special tokens of its kind.
        ImportError: Qwen's vocabulary is asked for and its package is not installed.
    """
    if params.source is not None:
        from transformers import AutoTokenizer

        official = with_our_tokens(AutoTokenizer.from_pretrained(params.source))
        return _ready(official, params.kind, params.source)
    if params.tokenizer == "qwen":
        return _ready(with_our_tokens(qwen_tokenizer()), params.kind, "Qwen's vocabulary")
    if content is None:
        raise ValueError("a language model without a source needs the content of a trained tokenizer")
    return load_tokenizer(content, params.kind)


def with_our_tokens(tokenizer: Any) -> Any:
    """The tokenizer with those of our special tokens added that it lacks; they take the next free ids."""
    vocabulary = tokenizer.get_vocab()
    if missing := [name for name in OURS if name not in vocabulary]:
        tokenizer.add_tokens(missing, special_tokens=True)
    return tokenizer


def plain(text: str, tokenizer: PreTrainedTokenizerFast) -> str:
    """User's text in which no special token is left: a space after the first character breaks each."""
    for name in tokenizer.get_added_vocab():
        if name.strip(_BLANKS):  # runs of line ends and blanks are tokens of Gemma, but ordinary text
            text = text.replace(name, f"{name[0]} {name[1:]}")
    return text.strip()


def _ready(tokenizer: Any, kind: str, origin: str) -> PreTrainedTokenizerFast:
    required = REQUIRED[kind]
    missing = [name for name in required if name not in tokenizer.get_vocab()]
    if missing:
        raise ValueError(f"{origin} must have the special tokens {list(required)}, it lacks {missing}")
    if kind == "paligemma" and tokenizer.bos_token is None:
        raise ValueError(f"{origin} must have a bos_token, with which PaliGemma's instructions begin")
    tokenizer.padding_side = "left"  # the end of the prompt is the last position of every row
    if kind == "qwen2_5_vl" and tokenizer.chat_template is None:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
