"""Flash attention in two passes is masked attention: outputs, gradients, padding, whole models."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.model.language import make_language, visibility
from vln_heatmap.nodes.model.language.flash import plan_passes, two_way_attention
from vln_heatmap.nodes.model.language.prompt import text_prompt
from vln_heatmap.nodes.model.tokenizer import make_tokenizer, train_tokenizer
from vln_heatmap.params import LanguageParams

TEXTS = ["go to the red chair", "find the bed left of the table and stop"]
CONTENT = train_tokenizer(TEXTS, 400)
HEADS, WIDTH, SCALE = 2, 8, 0.3


def prompts(rows: list[list[bool]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Block and attention [B, L] of rows of visual (True) and text tokens, padded on the left."""
    length = max(len(row) for row in rows)
    block = torch.full((len(rows), length), -1)
    attention = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        block[i, length - len(row) :] = torch.tensor(row).long() - 1
        attention[i, length - len(row) :] = True
    return block, attention


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=3), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_two_passes_are_masked_attention(rows: list[list[bool]], seed: int) -> None:
    """Any pattern, any number of block tokens in a row, none and all included; gradients as well."""
    block, attention = prompts(rows)
    random = torch.Generator().manual_seed(seed)
    shape = (len(rows), HEADS, block.shape[1], WIDTH)
    sides = [torch.randn(shape, generator=random).requires_grad_() for _ in range(3)]
    weight = torch.randn(shape, generator=random) * attention[:, None, :, None]
    results = []
    for output in (
        F.scaled_dot_product_attention(*sides, attn_mask=visibility(block, attention), scale=SCALE),
        two_way_attention(*sides, plan_passes(block, attention), SCALE),
    ):
        grads = torch.autograd.grad((output * weight).sum(), sides)
        results.append((output * attention[:, None, :, None], *grads))
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "paligemma"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_language_model_says_and_learns_the_same(kind: str, checkpointing: bool) -> None:
    results: list[Any] = []
    for attention in ("sdpa", "flash_attention_2"):
        params = LanguageParams.model_validate(
            {"kind": kind, "dim": 64, "hidden": 96, "depth": 2, "attention": attention}
        )
        torch.manual_seed(0)
        language = make_language(params, make_tokenizer(params, CONTENT)).train()
        if checkpointing:
            language.model.gradient_checkpointing_enable({"use_reentrant": False})
        tokens = torch.randn(2, 2, 3, 3, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        states = language(tokens, TEXTS)
        (states.visual.square().sum() + states.instruction.sum()).backward()
        grads = {name: p.grad for name, p in language.named_parameters() if p.grad is not None}
        results.append(({"visual": states.visual, "text": states.instruction}, tokens.grad, grads))
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_reading_on_uses_masked_attention_over_the_memory() -> None:
    read = []
    for attention in ("sdpa", "flash_attention_2"):
        params = LanguageParams.model_validate({"dim": 64, "hidden": 96, "attention": attention})
        torch.manual_seed(0)
        language = make_language(params, make_tokenizer(params, CONTENT)).eval()
        tokens = torch.randn(2, 2, 3, 3, 64, generator=torch.Generator().manual_seed(1))
        _, memory = language.prefill(tokens, language.build_prompt(TEXTS, 2, 3))
        read.append(language.extend(memory, text_prompt(torch.full((2, 3), 40))))
    torch.testing.assert_close(*read, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_kernels_of_a_gpu_do_the_same() -> None:
    block, attention = prompts([[False] * 5 + [True] * 40 + [False] * 3 + [True] * 40, [True] * 30])
    block, attention = block.cuda(), attention.cuda()
    random = torch.Generator("cuda").manual_seed(0)
    shape = (2, HEADS, block.shape[1], 64)
    kind: Any = {"generator": random, "device": "cuda", "dtype": torch.bfloat16}
    sides = [torch.randn(shape, **kind).requires_grad_() for _ in range(3)]
    here = attention[:, None, :, None]
    results = []
    for output in (
        F.scaled_dot_product_attention(*sides, attn_mask=visibility(block, attention), scale=0.125),
        two_way_attention(*sides, plan_passes(block, attention), 0.125),
    ):
        grads = torch.autograd.grad((output * here).sum(), sides)
        results.append((output * here, *grads))
    torch.testing.assert_close(*results, atol=3e-2, rtol=3e-2)
