"""Sizes of published models, so that a model can be described without its weights.

Invariant: nothing is downloaded. Sizes come from the list below or from the ``config.json`` of a local folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vln_heatmap.params import Dinov3Params, LanguageParams, ModelParams

#: DINOv3 by the letter of its size (arXiv:2508.10104); the larger ones have other MLPs.
DINOV3: dict[str, dict[str, int]] = {
    "s": {"dim": 384, "depth": 12, "attention_heads": 6},
    "b": {"dim": 768, "depth": 12, "attention_heads": 12},
    "l": {"dim": 1024, "depth": 24, "attention_heads": 16},
}
#: Vocabulary of Qwen2.5-VL, unused rows included.
QWEN_VOCABULARY = {"3b": 151_936, "7b": 152_064}


def at_hand(source: str) -> bool:
    """Whether a source is on this machine."""
    return Path(source).expanduser().exists()


def without_sources(params: ModelParams) -> ModelParams:
    """The same model with sizes instead of sources.

    Raises:
        ValueError: a source whose sizes are neither published here nor in a local ``config.json``.
    """
    changes: dict[str, Any] = {"vggt": params.vggt.model_copy(update={"source": None})}
    if params.encoder.dinov3.source is not None:
        changes["encoder"] = params.encoder.model_copy(update={"dinov3": _dinov3(params.encoder.dinov3)})
    if params.language.source is not None:
        changes["language"] = _language(params.language)
    return params.model_copy(update=changes)


def _dinov3(params: Dinov3Params) -> Dinov3Params:
    source = str(params.source)
    if at_hand(source):
        config = _config(source)
        sizes = {
            "dim": config.hidden_size,
            "depth": config.num_hidden_layers,
            "attention_heads": config.num_attention_heads,
            "patch": config.patch_size,
            "registers": config.num_register_tokens,
        }
    elif found := re.search(r"dinov3-vit([sbl])16-", source):
        sizes = DINOV3[found[1]]
    else:
        raise _unknown("encoder.dinov3", source, "facebook/dinov3-vit{s,b,l}16-…")
    return Dinov3Params.model_validate(sizes)


def _language(params: LanguageParams) -> LanguageParams:
    source = str(params.source)
    if at_hand(source):
        text = _config(source).get_text_config()
        sizes = {
            "vocab_size": text.vocab_size,
            "dim": text.hidden_size,
            "hidden": text.intermediate_size,
            "depth": text.num_hidden_layers,
            "attention_heads": text.num_attention_heads,
            "kv_heads": text.num_key_value_heads,
        }
    elif found := re.search(r"Qwen2\.5-VL-([37])B", source):
        size: Any = f"{found[1]}b"
        official = LanguageParams.official(size).model_dump(exclude_unset=True, exclude={"tokenizer"})
        sizes = official | {"vocab_size": QWEN_VOCABULARY[size]}
    else:
        raise _unknown("language", source, "Qwen/Qwen2.5-VL-{3,7}B-Instruct")
    return LanguageParams.model_validate(
        params.model_dump() | {"source": None, "tokenizer": "trained"} | sizes
    )


def _config(source: str) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source, local_files_only=True)


def _unknown(part: str, source: str, known: str) -> ValueError:
    return ValueError(
        f"the sizes of {part}.source {source!r} are not known here: name a local folder with its config.json "
        f"or one of {known}"
    )
