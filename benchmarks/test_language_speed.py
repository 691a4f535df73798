"""What the language model's ways of reading cost, as ratios of one run.

``pytest benchmarks/test_language_speed.py -s`` prints them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from vln_heatmap.nodes.model.language import answer, make_language
from vln_heatmap.nodes.model.tokenizer import make_tokenizer, train_tokenizer
from vln_heatmap.params import LanguageParams

COUNT, GRID, TOKENS = 9, 7, 16
CONTENT = train_tokenizer(["go to the red chair left of the table and stop"], 400)


def model(attention: str = "sdpa") -> Any:
    params = LanguageParams.model_validate({"depth": 2, "attention": attention})
    torch.manual_seed(0)
    return make_language(params, make_tokenizer(params, CONTENT)).eval()


def fastest(*runs: Callable[[], Any], rounds: int = 7) -> list[float]:
    """Least seconds of each run; they take turns, so that the machine's load falls on all alike."""
    times: list[list[float]] = [[] for _ in runs]
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for run, taken in zip(runs, times, strict=True):
                started = time.perf_counter()
                run()
                taken.append(time.perf_counter() - started)
    return [min(taken[1:]) for taken in times]


def inputs(language: Any, count: int = COUNT) -> tuple[torch.Tensor, Any]:
    tokens = torch.randn(1, count, GRID, GRID, language.width, generator=torch.Generator().manual_seed(0))
    return tokens, language.build_prompt(["go to the red chair"], count, GRID)


def test_an_answer_from_memory_costs_a_fraction_of_reading_again(benchmark) -> None:
    language = model()
    tokens, prompt = inputs(language)

    def again() -> None:
        ids = torch.zeros(1, 0, dtype=torch.long)
        for _ in range(TOKENS):
            hidden = language.hidden_states(tokens, prompt.followed_by(ids))[:, -1]
            ids = torch.cat([ids, language.logits(hidden).argmax(-1, keepdim=True)], 1)

    def remembered() -> None:
        answer(language, tokens, prompt, limit=TOKENS, stop=-1)

    ours, plain = benchmark.pedantic(fastest, args=(remembered, again), rounds=1)
    benchmark.extra_info["ratio"] = ours / plain
    print(f"\n{TOKENS} tokens: {ours * 1e3:.0f} ms, {ours / plain:.2f} of reading again")
    assert ours < 0.5 * plain


def test_our_prompt_masks_and_positions_cost_little_beside_the_layers(benchmark) -> None:
    language = model()
    tokens, prompt = inputs(language)
    embedded = language.embed(tokens, prompt)
    seen = language._mask(prompt.block, prompt.attention, None, embedded.dtype)
    positions = language.positions(prompt)

    def layers() -> None:
        language.model(inputs_embeds=embedded, position_ids=positions, attention_mask=seen, use_cache=False)

    ours, bare = benchmark.pedantic(
        fastest, args=(lambda: language(tokens, ["go to the red chair"]), layers), rounds=1
    )
    benchmark.extra_info["ratio"] = ours / bare
    print(f"\nwhole step {ours * 1e3:.1f} ms, {ours / bare:.2f} of the layers alone")
    assert ours < 1.35 * bare


def test_two_passes_of_flash_attention_over_a_long_prompt(benchmark) -> None:
    """On a CPU, where masked attention is fused too; the gain in memory is what a GPU sees."""
    masked, flash = model(), model("flash_attention_2")
    tokens, prompt = inputs(masked, 32)
    ours, plain = benchmark.pedantic(
        fastest,
        args=(lambda: flash.hidden_states(tokens, prompt), lambda: masked.hidden_states(tokens, prompt)),
        kwargs={"rounds": 3},
        rounds=1,
    )
    benchmark.extra_info["ratio"] = ours / plain
    print(f"\n{prompt.ids.shape[1]} tokens: {ours * 1e3:.0f} ms, {ours / plain:.2f} of masked attention")
    assert ours < 2 * plain
