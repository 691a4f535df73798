"""Reading in pieces is reading at once: memory, later turns, answers, tokens that are no text."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.model.language import LANGUAGES, LanguageModel, answer, make_language, text_prompt
from vln_heatmap.nodes.model.tokenizer import make_tokenizer, train_tokenizer
from vln_heatmap.params import LanguageParams

TEXTS = ["go to the red chair", "find the bed left of the table and stop"]
CONTENT = train_tokenizer(TEXTS, 400)
WIDTH, GRID, COUNT = 64, 3, 2


def make(kind: str, attention: str = "sdpa") -> LanguageModel:
    params = LanguageParams.model_validate(
        {"kind": kind, "dim": WIDTH, "hidden": 96, "depth": 2, "attention": attention}
    )
    torch.manual_seed(0)
    language = make_language(params, make_tokenizer(params, CONTENT)).eval()
    with torch.no_grad():  # larger weights than at the start of a training: differences would show
        for weight in language.parameters():
            if weight.dim() > 1:
                weight.mul_(3)
    return language


MODELS = {kind: make(kind) for kind in LANGUAGES}
every_kind = pytest.mark.parametrize("kind", sorted(LANGUAGES))


def frames(batch: int = 2, count: int = COUNT, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, count, GRID, GRID, WIDTH, generator=torch.Generator().manual_seed(seed))


@every_kind
@torch.no_grad()
def test_the_memory_of_a_prompt_gives_the_states_of_the_whole(kind: str) -> None:
    """Rows of different length, so that positions and padding of the memory matter."""
    language, tokens = MODELS[kind], frames()
    prompt = language.build_prompt(TEXTS, COUNT, GRID)
    more = torch.randint(20, 300, (2, 6), generator=torch.Generator().manual_seed(2))
    whole = language.hidden_states(tokens, prompt.followed_by(more))
    first, memory = language.prefill(tokens, prompt)
    pieces = [language.extend(memory, text_prompt(part)) for part in more.split([1, 3, 2], dim=1)]
    read = torch.cat([first, *pieces], 1)
    here = prompt.followed_by(more).attention
    torch.testing.assert_close(read[here], whole[here], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        language.logits(read[:, -7:]), language.logits(whole[:, -7:]), atol=1e-5, rtol=1e-5
    )
    assert len(memory) == prompt.ids.shape[1] + 6


@every_kind
@torch.no_grad()
def test_positions_go_on_where_the_prompt_ends(kind: str) -> None:
    """In slices as in the whole; after an image, Qwen's text goes on a grid later."""
    language = MODELS[kind]
    prompt = language.build_prompt(TEXTS, COUNT, GRID)
    _, memory = language.prefill(frames(), prompt)
    more = torch.full((2, 3), 30)
    whole = language.positions(prompt.followed_by(more))[..., -3:]
    sliced = language.positions(text_prompt(more)) + memory.next[:, None]
    assert torch.equal(sliced, whole)
    tokens = prompt.attention.sum(1)
    saved = COUNT * (GRID * GRID - GRID) if kind == "qwen2_5_vl" else 0
    assert torch.equal(memory.next, tokens - saved)


@every_kind
@given(seed=st.integers(0, 50))
@settings(max_examples=5, deadline=None)
@torch.no_grad()
def test_cached_and_uncached_answers_are_the_same_tokens(kind: str, seed: int) -> None:
    language, tokens = MODELS[kind], frames(seed=seed)
    prompt = language.build_prompt(TEXTS, COUNT, GRID)
    got = answer(language, tokens, prompt, limit=6, stop=-1)
    ids = torch.zeros(2, 0, dtype=torch.long)
    for _ in range(6):
        hidden = language.hidden_states(tokens, prompt.followed_by(ids))[:, -1]
        ids = torch.cat([ids, language.logits(hidden).argmax(-1, keepdim=True)], 1)
    assert torch.equal(got.ids, ids)
    assert len(got.memory) == prompt.ids.shape[1] + 6


@every_kind
def test_a_row_that_ended_changes_nothing_any_more(kind: str) -> None:
    language, tokens = MODELS[kind], frames()
    prompt = language.build_prompt(TEXTS, COUNT, GRID)
    free = answer(language, tokens, prompt, limit=5, stop=-1)
    stop = int(free.ids[0, 1])
    got = answer(language, tokens, prompt, limit=5, stop=stop)
    for row in range(2):
        ends = (free.ids[row] == stop).nonzero()
        length = int(ends[0]) + 1 if len(ends) else 5
        width = got.ids.shape[1]
        assert got.said[row].tolist() == [i < length for i in range(width)]
        assert torch.equal(got.ids[row, :length], free.ids[row, :length])
        assert (got.ids[row, length:] == language.tokenizer.pad_token_id).all()
    alone = answer(language, tokens[1:], language.build_prompt(TEXTS[1:], COUNT, GRID), limit=5, stop=stop)
    assert torch.equal(got.ids[1][got.said[1]], alone.ids[0][alone.said[0]])
    assert int(got.memory.next[1]) == int(alone.memory.next[0])


@every_kind
@torch.no_grad()
def test_later_turns_see_earlier_ones_and_their_own_frames_both_ways(kind: str) -> None:
    language, tokens, new = MODELS[kind], frames(1), frames(1, 1, seed=9)
    _, memory = language.prefill(tokens, language.build_prompt(TEXTS[:1], COUNT, GRID))
    mark = memory.mark()
    turn = language.follow_up(["now the bed"], 1, GRID, seen=COUNT)
    before = language.extend(memory, turn, new)
    assert before.shape == (1, turn.ids.shape[1], WIDTH)
    memory.rewind(mark)
    changed = new.clone()
    changed[..., -1, -1, :] += 1  # the last visual token
    after = language.extend(memory, turn, changed)
    differs = ((before - after).abs().amax(-1) > 1e-6)[0]
    first = int(turn.visual[0].nonzero()[0])
    everyone = torch.ones_like(differs)
    onward = torch.arange(len(differs)) >= first
    assert torch.equal(differs, everyone if kind == "paligemma" else onward)


def test_qwen_s_later_turns_are_its_chat_format_with_numbers_that_go_on() -> None:
    language = MODELS["qwen2_5_vl"]
    turn = language.follow_up(["now the bed"], 1, 1, seen=2)
    assert language.tokenizer.decode(turn.ids[0]) == (
        "\n<|im_start|>user\nnow the bed\nPicture 3: <|vision_start|><|image_pad|><|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert "Picture" not in language.tokenizer.decode(language.follow_up(["stop"]).ids[0])


@every_kind
@torch.no_grad()
def test_rewinding_forgets_what_was_read_since(kind: str) -> None:
    language = MODELS[kind]
    _, memory = language.prefill(frames(), language.build_prompt(TEXTS, COUNT, GRID))
    mark, length = memory.mark(), len(memory)
    one, other = torch.full((2, 4), 40), torch.full((2, 2), 90)
    first = language.extend(memory, text_prompt(one))
    memory.rewind(mark)
    language.extend(memory, text_prompt(other))
    memory.rewind(mark)
    assert len(memory) == length == memory.cache.get_seq_length()
    assert torch.equal(language.extend(memory, text_prompt(one)), first)


@every_kind
@torch.no_grad()
def test_tokens_that_are_no_text_read_the_memory(kind: str) -> None:
    """An action expert's tokens: as text if they are embeddings of text; both ways only if asked for."""
    language = MODELS[kind]
    _, memory = language.prefill(frames(), language.build_prompt(TEXTS, COUNT, GRID))
    mark, ids = memory.mark(), torch.tensor([[50, 60, 70]] * 2)
    as_text = language.extend(memory, text_prompt(ids))
    embedded = language.embed_text(ids)
    changed = embedded + torch.tensor([0.0, 0.0, 1.0])[:, None]  # the last one
    for both_ways in (False, True):
        states = []
        for given_tokens in (embedded, changed):
            memory.rewind(mark)
            states.append(language.extend_embedded(memory, given_tokens, both_ways=both_ways))
        differs = (states[0] - states[1]).abs().amax((0, 2)) > 1e-5
        assert differs.tolist() == [both_ways, both_ways, True]
        same = torch.allclose(states[0], as_text, atol=1e-5)
        assert same is not both_ways


@every_kind
@torch.no_grad()
def test_eager_attention_is_the_same(kind: str) -> None:
    """Its masks are summands, with a memory too."""
    eager, language = make(kind, "eager"), MODELS[kind]
    prompt, more = language.build_prompt(TEXTS, COUNT, GRID), text_prompt(torch.full((2, 2), 40))
    for_each = []
    for one in (eager, language):
        hidden, memory = one.prefill(frames(), prompt)
        for_each.append((hidden[prompt.attention], one.extend(memory, more)))
    torch.testing.assert_close(for_each[0], for_each[1], atol=1e-5, rtol=1e-5)


def test_an_answer_needs_room_for_a_token() -> None:
    language = MODELS["qwen2_5_vl"]
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        answer(language, frames(), language.build_prompt(TEXTS, COUNT, GRID), limit=0)
