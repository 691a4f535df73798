"""Official folders: layouts of the hub, untied output layers, precision, what is left out and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vln_heatmap.nodes.model.language import make_language, text_prompt
from vln_heatmap.nodes.model.language.qwen import text_config
from vln_heatmap.nodes.model.tokenizer import load_tokenizer, train_tokenizer
from vln_heatmap.params import LanguageParams

TOKENIZER = load_tokenizer(train_tokenizer(["go to the red chair"], 400))
PARAMS = LanguageParams(dim=64, hidden=96, depth=2)
VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}


def save_official(folder: Path, *, tied: bool = False) -> Any:
    """A toy of Qwen2.5-VL with a vision tower, as transformers writes it; returns it."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = text_config(PARAMS, len(TOKENIZER), TOKENIZER.pad_token_id).to_dict()
    config = Qwen2_5_VLConfig(
        text_config={**text, "tie_word_embeddings": tied}, vision_config=VISION, tie_word_embeddings=tied
    )
    torch.manual_seed(0)
    whole = Qwen2_5_VLForConditionalGeneration(config).eval()
    whole.save_pretrained(folder)
    return whole


def rewrite(folder: Path, change: Any) -> None:
    """Change the weights of a folder: ``change`` maps a dict of tensors to another."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def loaded(folder: Path, dtype: torch.dtype | None = None) -> Any:
    return make_language(LanguageParams(source=str(folder)), TOKENIZER, dtype=dtype).eval()


@pytest.mark.parametrize("tied", [False, True])
@torch.no_grad()
def test_text_model_and_output_layer_come_from_the_folder(tmp_path: Path, tied: bool) -> None:
    whole = save_official(tmp_path, tied=tied)
    language = loaded(tmp_path)
    ids = torch.arange(30, 40)[None]
    assert (language.head is None) is tied
    logits = language.logits(language.hidden_states(None, text_prompt(ids)))
    torch.testing.assert_close(logits, whole(input_ids=ids).logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_hub_s_first_layout_loads_too(tmp_path: Path) -> None:
    """Its keys are model.layers…, visual… and lm_head."""
    whole = save_official(tmp_path)
    names = {"model.language_model.": "model.", "model.visual.": "visual."}

    def older(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        renamed = {}
        for name, tensor in tensors.items():
            new = next((o + name.removeprefix(n) for n, o in names.items() if name.startswith(n)), name)
            renamed[new] = tensor
        assert "model.layers.0.self_attn.q_proj.weight" in renamed
        return renamed

    rewrite(tmp_path, older)
    language = loaded(tmp_path)
    state = whole.model.language_model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in language.model.state_dict().items())


def test_the_vision_tower_is_neither_built_nor_needed(tmp_path: Path) -> None:
    whole = save_official(tmp_path)
    rewrite(tmp_path, lambda tensors: {n: t for n, t in tensors.items() if "visual" not in n})
    language = loaded(tmp_path)
    assert not [name for name in language.state_dict() if "visual" in name]
    text = sum(p.numel() for p in whole.model.language_model.parameters())
    assert sum(p.numel() for p in language.parameters()) == text + whole.lm_head.weight.numel()


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    save_official(tmp_path)
    rewrite(tmp_path, lambda tensors: {n: t for n, t in tensors.items() if "layers.1.mlp.up" not in n})
    with pytest.raises(ValueError, match=r"lacks 1 weights of the text model, such as .*layers\.1\.mlp\.up"):
        loaded(tmp_path)


@torch.no_grad()
def test_bfloat16_is_read_as_such_and_stays_close(tmp_path: Path) -> None:
    save_official(tmp_path)
    exact, half = loaded(tmp_path), loaded(tmp_path, torch.bfloat16)
    assert {p.dtype for p in exact.parameters()} == {torch.float32}
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    prompt = text_prompt(torch.arange(30, 40)[None])
    a, b = (one.hidden_states(None, prompt).float() for one in (exact, half))
    assert (a - b).abs().mean() < 0.05 * a.abs().mean()


@pytest.mark.parametrize(
    ("size", "embedding", "rest"),
    [("3b", 151936 * 2048, 2_774_773_760), ("7b", 152064 * 3584, 7_615_616_512 - 2 * 152064 * 3584)],
)
def test_official_sizes_have_the_published_numbers_of_parameters(
    size: Any, embedding: int, rest: int
) -> None:
    """Qwen2.5-3B has 3,085,938,688 parameters with its (tied) embedding, 7B 7,615,616,512 with both."""
    from transformers import Qwen2_5_VLTextModel

    params = LanguageParams.official(size)
    with torch.device("meta"):
        model = Qwen2_5_VLTextModel(text_config(params, embedding // params.dim, 0))
    count = sum(p.numel() for p in model.parameters())
    assert count - model.embed_tokens.weight.numel() == rest
    assert model.embed_tokens.weight.numel() == embedding
