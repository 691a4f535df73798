"""PaliGemma as the language model: agreement with transformers' own forward, who sees whom."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vln_heatmap.nodes.model.language import EVERYTHING, PaliGemmaLanguage, make_language
from vln_heatmap.nodes.model.language.paligemma import gemma_config
from vln_heatmap.nodes.model.tokenizer import make_tokenizer, train_tokenizer
from vln_heatmap.params import LanguageParams

TEXTS = ["go to the red chair", "find the bed left of the table and stop"]
PARAMS = LanguageParams(kind="paligemma", dim=64, hidden=96, depth=2)
TOKENIZER = make_tokenizer(PARAMS, train_tokenizer(TEXTS, 400))
GRID, COUNT = 3, 2
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def model() -> PaliGemmaLanguage:
    torch.manual_seed(0)
    language = make_language(PARAMS, TOKENIZER)
    assert isinstance(language, PaliGemmaLanguage)
    return language.eval()


def whole_model(text: Any) -> Any:
    """transformers' whole PaliGemma around a text configuration."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    config = PaliGemmaConfig(
        text_config=text.to_dict(),
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14},
        projection_dim=PARAMS.dim,
        hidden_size=PARAMS.dim,
        image_token_index=TOKENIZER.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    return PaliGemmaForConditionalGeneration(config).eval()


def reference(language: PaliGemmaLanguage) -> Any:
    whole = whole_model(gemma_config(PARAMS, len(TOKENIZER), TOKENIZER.pad_token_id))
    whole.model.language_model.load_state_dict(language.model.state_dict())
    whole.tie_weights()
    return whole


def frames(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, COUNT, GRID, GRID, PARAMS.dim, generator=torch.Generator().manual_seed(1))


def official_states(whole: Any, prompt: Any, tokens: torch.Tensor, suffix: int) -> Any:
    """transformers' forward from ids and image features: 0 = prefix, 1 = suffix in ``token_type_ids``."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    kinds = torch.zeros_like(prompt.ids)
    kinds[:, prompt.ids.shape[1] - suffix :] = 1
    features = tokens.flatten(0, 1).flatten(1, 2)  # [B * V, g * g, D]
    return whole(
        input_ids=prompt.ids,
        attention_mask=prompt.attention.long(),
        token_type_ids=kinds,
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)},
        output_hidden_states=True,
    )


@torch.no_grad()
def test_states_and_logits_are_those_of_transformers() -> None:
    language, tokens = model(), frames()
    whole = reference(language)
    prompt = language.build_prompt(TEXTS[:1], COUNT, GRID).followed_by(torch.tensor([[30, 40, 50]]))
    theirs = official_states(whole, prompt, tokens, suffix=3)
    hidden = language.hidden_states(tokens, prompt)
    torch.testing.assert_close(hidden, theirs.hidden_states[-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(language.logits(hidden), theirs.logits, atol=1e-5, rtol=0)


def test_the_prompt_is_frames_then_bos_then_the_instruction() -> None:
    prompt = model().build_prompt([TEXTS[0], ""], COUNT, GRID)
    spans = "<image>" * COUNT * GRID**2
    assert TOKENIZER.decode(prompt.ids[0][prompt.attention[0]]) == f"{spans}<|im_start|>{TEXTS[0]}\n"
    assert TOKENIZER.decode(prompt.ids[0][prompt.instruction[0]]) == TEXTS[0]
    assert TOKENIZER.decode(prompt.ids[1][prompt.instruction[1]]) == EVERYTHING
    assert prompt.attention[:, -1].all()


def test_text_is_scaled_and_visual_tokens_are_not() -> None:
    language, tokens = model(), frames()
    prompt = language.build_prompt(TEXTS[:1], COUNT, GRID)
    embedded = language.embed(tokens, prompt)
    text = ~prompt.visual
    scaled = language.model.embed_tokens.weight[prompt.ids[text]] * PARAMS.dim**0.5
    torch.testing.assert_close(embedded[text], scaled)
    assert torch.equal(embedded[prompt.visual], tokens.flatten(0, 3))


@torch.no_grad()
def test_who_sees_whom_by_changing_one_token() -> None:
    """The prefix sees all of itself; an answer's token is seen by itself and by what follows alone."""
    language, tokens = model(), frames()
    prompt = language.build_prompt(TEXTS[:1], COUNT, GRID)
    length = prompt.ids.shape[1]
    longer = prompt.followed_by(torch.tensor([[30, 40, 50]]))
    before = language.hidden_states(tokens, longer)

    def changed(after: torch.Tensor) -> list[bool]:
        return ((after - before).abs().amax(-1) > 1e-6)[0].tolist()

    order = range(length + 3)
    for place in (length - 2, length, length + 1):  # the instruction's last token, two of the answer
        ids = longer.ids.clone()
        ids[0, place] = 60
        other = type(longer)(**{**vars(longer), "ids": ids})
        seen_by_all = place < length
        assert changed(language.hidden_states(tokens, other)) == [seen_by_all or i >= place for i in order]
    moved = tokens.clone()
    moved[0, -1, -1, -1] += 1
    assert all(changed(language.hidden_states(moved, longer)))


@torch.no_grad()
def test_padding_changes_nothing() -> None:
    language, tokens = model(), frames(2)
    together = language(tokens, TEXTS)
    for row, text in enumerate(TEXTS):
        alone = language(tokens[row : row + 1], [text])
        torch.testing.assert_close(together.visual[row], alone.visual[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.instruction[row], alone.instruction[0], atol=1e-5, rtol=1e-5)


def test_official_layout_loads_from_a_folder(tmp_path: Path) -> None:
    language = model()
    reference(language).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    params = LanguageParams(kind="paligemma", source=str(tmp_path))
    loaded = make_language(params, make_tokenizer(params)).eval()
    assert loaded.head is None  # tied
    assert torch.equal(loaded(frames(), TEXTS[:1]).visual, language(frames(), TEXTS[:1]).visual)


@torch.no_grad()
def test_paligemma_2_with_its_sliding_windows_and_capped_logits(tmp_path: Path) -> None:
    from transformers import Gemma2Config

    config = Gemma2Config(
        vocab_size=len(TOKENIZER),
        hidden_size=PARAMS.dim,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        sliding_window=8,
        query_pre_attn_scalar=16,
        pad_token_id=TOKENIZER.pad_token_id,
        bos_token_id=None,
        eos_token_id=None,
    )
    whole_model(config).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    params = LanguageParams(kind="paligemma", source=str(tmp_path), attention="eager")
    language, whole = make_language(params, TOKENIZER).eval(), whole_model(config)
    whole.set_attn_implementation("eager")
    assert whole.config.text_config.layer_types == ["sliding_attention", "full_attention"]
    answer = torch.arange(30, 42)[None]  # longer than the window
    prompt = language.build_prompt(TEXTS[:1], COUNT, GRID).followed_by(answer)
    theirs = official_states(whole, prompt, frames(), suffix=12)
    hidden = language.hidden_states(frames(), prompt)
    torch.testing.assert_close(
        hidden[prompt.block == 0], theirs.hidden_states[-1][prompt.block == 0], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(language.logits(hidden), theirs.logits, atol=1e-5, rtol=1e-5)


def test_another_kind_of_folder_is_refused(tmp_path: Path) -> None:
    reference(model()).save_pretrained(tmp_path)
    params = LanguageParams(kind="qwen2_5_vl", source=str(tmp_path))
    with pytest.raises(ValueError, match="must be a qwen2_5_vl model, it is 'paligemma'"):
        make_language(params, TOKENIZER)
