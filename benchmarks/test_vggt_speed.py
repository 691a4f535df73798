"""VGGT's trunk against a plain implementation of the same mathematics, and what it saves to compute it once.

``pytest benchmarks/test_vggt_speed.py -s`` prints the ratios. The reference is written layer by layer, straight
from the papers: a softmax over the whole matrix of attention, rotary angles in every layer; frames are worked on
together in it too. Both run the same weights and give the same tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.tokenizer import train_tokenizer
from vln_heatmap.nodes.model.vggt import VGGT
from vln_heatmap.params import ModelParams, VGGTParams

SIZES = VGGTParams(pairs=4, layers=(0, 1, 2, 3), layer_scale=0.1)  # the tiny preset's width, twice its depth
Weights = dict[str, Tensor]


def layer_norm(x: Tensor, weights: Weights, name: str, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def turned(x: Tensor, places: Tensor) -> Tensor:
    """Rotary positions [N, 2] on x [..., N, D]: first half of the channels by y, second by x."""
    halves = []
    for half, place in zip(x.chunk(2, dim=-1), places.float().unbind(-1), strict=True):
        quarter = half.shape[-1] // 2
        angles = place[:, None] * 100.0 ** (-torch.arange(quarter) / quarter)
        a, b = half.chunk(2, dim=-1)
        halves += [a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()]
    return torch.cat(halves, dim=-1)


def attention(x: Tensor, weights: Weights, name: str, heads: int, places: Tensor | None) -> Tensor:
    """Tokens [B, N, C]: softmax(q k^T / sqrt(D)) v, the matrix [B, heads, N, N] written out."""
    qkv = linear(x, weights, f"{name}.qkv").unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, value = qkv  # each [B, heads, N, D]
    if places is not None:
        query = turned(layer_norm(query, weights, f"{name}.q_norm", 1e-5), places)
        key = turned(layer_norm(key, weights, f"{name}.k_norm", 1e-5), places)
    scores = query @ key.mT / query.shape[-1] ** 0.5  # [B, heads, N, N]
    mixed = torch.softmax(scores, dim=-1) @ value
    return linear(mixed.transpose(1, 2).flatten(-2), weights, f"{name}.proj")


def block(x: Tensor, weights: Weights, name: str, heads: int, eps: float, places: Tensor | None) -> Tensor:
    normed = layer_norm(x, weights, f"{name}.norm1", eps)
    x = x + weights[f"{name}.ls1.gamma"] * attention(normed, weights, f"{name}.attn", heads, places)
    hidden = F.gelu(linear(layer_norm(x, weights, f"{name}.norm2", eps), weights, f"{name}.mlp.fc1"))
    return x + weights[f"{name}.ls2.gamma"] * linear(hidden, weights, f"{name}.mlp.fc2")


def patches_of(frames: Tensor, weights: Weights, sizes: VGGTParams) -> Tensor:
    """Normalised patch tokens [T, h*w, C] of frames [T, 3, S, S], S = ``pretrain_size``."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = (frames - mean[:, None, None]) / std[:, None, None]
    kernel, bias = (weights[f"patch_embed.patch_embed.proj.{part}"] for part in ("weight", "bias"))
    tokens = F.conv2d(images, kernel, bias, sizes.patch).flatten(2).mT
    table = weights["patch_embed.pos_embed"][0]
    special = [weights["patch_embed.cls_token"][0] + table[:1], weights["patch_embed.register_tokens"][0]]
    x = torch.cat([torch.cat(special).expand(len(frames), -1, -1), tokens + table[1:]], dim=1)
    for layer in range(sizes.vit_depth):
        x = block(x, weights, f"patch_embed.blocks.{layer}", sizes.attention_heads, 1e-6, None)
    return layer_norm(x[:, 1 + sizes.registers :], weights, "patch_embed.norm", 1e-6)


def reference(frames: Tensor, weights: Weights, sizes: VGGTParams) -> list[Tensor]:
    """Tokens [T, P, 2C] of frames [T, 3, S, S] after every pair."""
    side, specials, count = frames.shape[-1] // sizes.patch, 1 + sizes.registers, len(frames)
    grid = [(y, x) for y in range(1, side + 1) for x in range(1, side + 1)]
    places = torch.tensor([(0, 0)] * specials + grid)  # [P, 2]
    own = torch.cat([weights["camera_token"][0], weights["register_token"][0]], dim=1)  # [2, 1 + R, C]
    special = torch.stack([own[min(number, 1)] for number in range(count)])
    tokens, chosen = torch.cat([special, patches_of(frames, weights, sizes)], dim=1), []
    for pair in range(sizes.pairs):
        heads = sizes.attention_heads
        local = block(tokens, weights, f"frame_blocks.{pair}", heads, 1e-5, places)  # [T, P, C]
        joined, everywhere = local.flatten(0, 1)[None], places.repeat(count, 1)
        tokens = block(joined, weights, f"global_blocks.{pair}", heads, 1e-5, everywhere)[0]
        tokens = tokens.unflatten(0, (count, -1))
        chosen.append(torch.cat([local, tokens], dim=-1))
    return chosen


def trunk(count: int) -> tuple[VGGT, Tensor, Weights]:
    torch.manual_seed(0)
    model = VGGT(SIZES).eval()
    for value in model.parameters():  # what is zero at first would hide mistakes
        if not value.any():
            torch.nn.init.normal_(value, std=0.05)
    return model, torch.rand(count, 3, 112, 112), dict(model.aggregator.state_dict())


def seconds(*runs: Callable[[], object]) -> list[float]:
    """Fastest of five rounds of each run, taken in turns, after one to warm up."""
    times: list[list[float]] = [[] for _ in runs]
    with torch.inference_mode():
        for _ in range(6):
            for run, taken in zip(runs, times, strict=True):
                started = time.perf_counter()
                run()
                taken.append(time.perf_counter() - started)
    return [min(taken[1:]) for taken in times]


def test_both_give_the_same_tokens() -> None:
    model, frames, weights = trunk(3)
    with torch.inference_mode():
        ours, plain = model(frames[None]).layers, reference(frames, weights, SIZES)
    for have, want in zip(ours, plain, strict=True):
        torch.testing.assert_close(have[0], want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("count", [8, 16, 32])
def test_the_trunk_takes_at_most_seven_tenths_of_the_plain_one(benchmark, count: int) -> None:
    model, frames, weights = trunk(count)
    ours, plain = benchmark.pedantic(
        seconds, args=(lambda: model(frames[None]), lambda: reference(frames, weights, SIZES)), rounds=1
    )
    benchmark.extra_info["ratio"] = ours / plain
    print(f"\n{count} frames: {ours * 1e3:.0f} ms, {ours / plain:.2f} of the plain implementation")
    assert ours < 0.7 * plain


def test_only_the_heads_that_are_asked_for_take_time(benchmark) -> None:
    """Poses alone cost little more than tokens; maps cost what maps cost."""
    sizes = SIZES.model_copy(update={"heads": ("camera", "depth", "points")})
    torch.manual_seed(0)
    model, frames = VGGT(sizes).eval(), torch.rand(1, 16, 3, 112, 112)
    runs = [lambda h=heads: model(frames, heads=h) for heads in ((), ("camera",), ("depth",), sizes.heads)]
    tokens, camera, depth, everything = benchmark.pedantic(seconds, args=runs, rounds=1)
    ratios = {"camera": camera / tokens, "depth": depth / tokens, "all": everything / tokens}
    benchmark.extra_info |= ratios
    print(
        f"\n16 frames, of the tokens' time {tokens * 1e3:.0f} ms:",
        {k: round(v, 2) for k, v in ratios.items()},
    )
    assert camera < everything
    assert depth < 0.8 * everything


def test_one_pass_over_a_sequence_serves_all_current_views(benchmark) -> None:
    """The tiny model: eight current views read from one pass over a window, or one after the other."""
    tokenizer = train_tokenizer(["the red chair", "the door to the left"], 300)
    model = make_model(ModelParams(), tokenizer, groups=(40, 112), extra=6).eval()
    frames, features = torch.rand(1, 9, 3, 112, 112), torch.rand(1, 9, 158, 14, 14)
    views = torch.arange(8)[None]  # [1, 8]
    others = torch.stack([torch.tensor([k for k in range(9) if k != view]) for view in range(8)])[None]

    def read(chosen: slice) -> None:
        model(frames, features, ["the red chair"], views[:, chosen], others[:, chosen])

    runs = (lambda: read(slice(None)), lambda: [read(slice(view, view + 1)) for view in range(8)])
    once, each = benchmark.pedantic(seconds, args=runs, rounds=1)
    benchmark.extra_info["ratio"] = once / each
    print(f"\neight views from one pass: {once * 1e3:.0f} ms, {once / each:.2f} of a pass a view")
    assert once < 0.7 * each
