"""The tokenizer: deterministic training, any text, Qwen's chat format."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.model.tokenizer import (
    ACTIONS,
    IMAGE_PAD,
    SPECIAL,
    load_tokenizer,
    make_tokenizer,
    plain,
    train_tokenizer,
)
from vln_heatmap.params import LanguageParams

TEXTS = [
    f"the {colour} chair left of the {thing}" for colour in ("red", "blue") for thing in ("table", "bed")
]
CONTENT = train_tokenizer(TEXTS, 400)
TOKENIZER = load_tokenizer(CONTENT)


def test_training_is_deterministic_and_plain_json() -> None:
    assert train_tokenizer(TEXTS, 400) == CONTENT
    assert json.loads(json.dumps(CONTENT)) == CONTENT


def test_words_of_the_corpus_and_of_the_chat_frame_become_single_tokens() -> None:
    assert TOKENIZER.tokenize("the red chair") == ["the", "Ġred", "Ġchair"]
    assert len(TOKENIZER.tokenize("Picture")) == 1


def test_the_vocabulary_stays_within_its_size_and_holds_the_special_tokens() -> None:
    assert len(TOKENIZER) <= 400
    assert set(SPECIAL) <= set(TOKENIZER.get_vocab())
    assert [TOKENIZER.tokenize(f"a{name}b")[1] for name in (*ACTIONS, IMAGE_PAD)] == [*ACTIONS, IMAGE_PAD]


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back_and_never_as_a_special_token(text: str) -> None:
    safe = plain(text, TOKENIZER)
    ids = TOKENIZER(safe, add_special_tokens=False)["input_ids"]
    assert min(ids, default=len(SPECIAL)) >= len(SPECIAL)
    assert TOKENIZER.decode(ids) == unicodedata.normalize("NFC", safe)
    assert safe == text.strip() or any(name in text for name in SPECIAL)


@given(st.lists(st.sampled_from([*SPECIAL, "<", "|", "im_end", " "]), max_size=6).map("".join))
@settings(max_examples=100, deadline=None)
def test_special_tokens_in_a_user_s_text_lose_their_power(text: str) -> None:
    ids = TOKENIZER(plain(text, TOKENIZER), add_special_tokens=False)["input_ids"]
    assert min(ids, default=len(SPECIAL)) >= len(SPECIAL)


def test_chat_format_is_qwen_s() -> None:
    messages = [
        {"role": "system", "content": "Look."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Where?\n"}, {"type": "image"}, {"type": "image"}],
        },
    ]
    assert TOKENIZER.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, add_vision_id=True
    ) == (
        "<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\nWhere?\n"
        "Picture 1: <|vision_start|><|image_pad|><|vision_end|>"
        "Picture 2: <|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_folder_serves_as_the_source(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    again = make_tokenizer(LanguageParams(source=str(tmp_path)))
    text = "<|im_start|>the red chair, déjà vu"
    assert again(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert again.padding_side == "left"


def test_without_a_source_the_content_is_needed_and_used() -> None:
    assert len(make_tokenizer(LanguageParams(), CONTENT)) == len(TOKENIZER)
    with pytest.raises(ValueError, match="needs the content"):
        make_tokenizer(LanguageParams())


def test_a_tokenizer_without_qwen_s_special_tokens_is_refused() -> None:
    content = json.loads(json.dumps(CONTENT).replace("<|vision_start|>", "<|something_else|>"))
    with pytest.raises(ValueError, match=r"lacks \['<\|vision_start\|>'\]"):
        load_tokenizer(content)


def test_a_vocabulary_too_small_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 269"):
        train_tokenizer(TEXTS, 200)
