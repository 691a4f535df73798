"""FlashAttention-2 (arXiv:2307.08691) for prompts whose visual tokens see each other both ways.

Its kernels know causal and full attention, no other mask. But what a prompt's tokens see is the causal part,
which one pass computes, and for the tokens of the block those of the block that come later, which is a causal
pass over the block in reverse. Two softmaxes over disjoint keys make one by their log-sum-exps, and the
backward pass of each part is right if it is given the joint output and log-sum-exp (as in ring attention,
arXiv:2310.01889). Invariant: the result is that of masked attention; no L x L matrix is ever made.

The kernels are those inside torch: on CUDA in half precision, on the CPU in any.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

NAME = "vln_two_way"  # for transformers, which takes "flash" in a name for its own


class Plan(NamedTuple):
    """Which token goes where in the two passes; made once for all layers.

    Attributes:
        packed: columns with the padding moved from the left to the right, where causal attention sees nothing
            of it [B, L]; unpacked: the inverse.
        block: columns of the block's tokens, last to first; rows with fewer end in others' columns [B, N].
        member: true where ``block`` is a token of the block [B, N].
    """

    packed: Tensor
    unpacked: Tensor
    block: Tensor
    member: Tensor


def plan_passes(block: Tensor, attention: Tensor) -> Plan:
    """Plan for tokens of block 0 among causal ones, padded on the left: both [B, L]."""
    length = block.shape[1]
    order = torch.arange(length, device=block.device)
    shift = length - attention.sum(1, keepdim=True)  # padding of each row [B, 1]
    inside = (block == 0) & attention
    count = int(inside.sum(1).max())
    last_first = inside.int().argsort(dim=1, stable=True)[:, length - count :].flip(1)
    return Plan(
        packed=(order + shift) % length,
        unpacked=(order - shift) % length,
        block=last_first,
        member=inside.gather(1, last_first),
    )


def register() -> str:
    """Make the attention known to transformers; returns its name."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _layer_attention)
    return NAME


def two_way_attention(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scale: float) -> Tensor:
    """Attention of [B, H, L, d] as the plan's prompt allows it; rows of padding are meaningless, but finite."""
    result: Any = _TwoWay.apply(query, key, value, plan, scale)
    return result


def _layer_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    plan: Plan | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: heads first in, tokens first out; without a plan, masked attention."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if plan is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)
        return output, None
    groups = query.shape[1] // key.shape[1]
    query, key = query.to(value.dtype), key.to(value.dtype)  # autocast leaves rotated ones in float32
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    return two_way_attention(query, key, value, plan, scaling).transpose(1, 2).contiguous(), None


class _TwoWay(torch.autograd.Function):
    """Both passes as one function, because their backward passes need what they make together."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: Plan, scale: float) -> Tensor:
        parts = [_causal(_sides((query, key, value), plan, part), scale) for part in range(2)]
        (output, total, *_), (later, later_total, *_) = parts
        output, total = _rows(output, plan.unpacked), _rows(total, plan.unpacked)  # [B, H, L, d], [B, H, L]
        if plan.block.shape[1] > 1:
            joint = torch.full_like(total, -torch.inf)
            member = plan.member[:, None, 1:].expand_as(later_total)
            columns = plan.block[:, None, 1:].expand_as(later_total)
            joint = joint.scatter(2, columns, later_total.where(member, -torch.inf))
            spread = torch.zeros_like(output).scatter(2, columns[..., None].expand_as(later), later)
            merged = torch.logaddexp(total, joint)
            share = (joint - merged).exp()[..., None]
            output = (output * (total - merged).exp()[..., None] + spread * share).to(query.dtype)
            total = merged
        ctx.save_for_backward(query, key, value, output, total, *(x for part in parts for x in part[2:]))
        ctx.plan, ctx.scale = plan, scale
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        query, key, value, output, total, *random = ctx.saved_tensors
        plan, wanted = ctx.plan, [torch.zeros_like(x) for x in (query, key, value)]
        for part in range(2 if plan.block.shape[1] > 1 else 1):
            rows = _columns(plan, part)[0]
            grad, out, logs = (_rows(x, rows) for x in (grads[0], output, total))
            if part:
                grad = grad * plan.member[:, None, 1:, None]  # others' rows are not of this pass
            half = len(random) // 2
            sides = _sides((query, key, value), plan, part)
            got = _causal_backward(grad, sides, out, logs, random[part * half : (part + 1) * half], ctx.scale)
            for whole, piece, columns in zip(wanted, got, _columns(plan, part), strict=True):
                whole.scatter_add_(2, columns[:, None, :, None].expand_as(piece), piece)
        return (*wanted, None, None)


def _columns(plan: Plan, part: int) -> tuple[Tensor, Tensor, Tensor]:
    """Columns of queries, keys and values in a pass: 0 the causal one, 1 what comes later in the block."""
    if part == 0:
        return plan.packed, plan.packed, plan.packed
    return plan.block[:, 1:], plan.block[:, :-1], plan.block[:, :-1]


def _sides(sides: tuple[Tensor, ...], plan: Plan, part: int) -> list[Tensor]:
    return [_rows(x, columns) for x, columns in zip(sides, _columns(plan, part), strict=True)]


def _rows(x: Tensor, columns: Tensor) -> Tensor:
    """Tokens of [B, H, L, …] in the order of ``columns`` [B, N]."""
    index = columns[:, None].reshape(len(columns), 1, -1, *(1,) * (x.dim() - 3))
    return x.gather(2, index.expand(-1, x.shape[1], -1, *x.shape[3:]))


def _causal(sides: list[Tensor], scale: float) -> tuple[Tensor, ...]:
    """Causal attention: output [B, H, N, d], log-sum-exp [B, H, N], and what CUDA's backward pass wants."""
    query = sides[0]
    if not query.shape[2]:
        return query, query.new_zeros(query.shape[:3], dtype=torch.float32)
    if query.device.type == "cpu":
        op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return op(*sides, 0.0, True, scale=scale)
    if query.dtype == torch.float32:
        raise ValueError(
            "flash_attention_2 needs half precision: set language.dtype or train.mixed_precision to bf16, "
            "or language.attention to sdpa"
        )
    op = torch.ops.aten._scaled_dot_product_flash_attention
    output, total, _, _, _, _, seed, offset, _ = op(*sides, 0.0, True, False, scale=scale)
    return output, total, seed, offset


def _causal_backward(
    grad: Tensor, sides: list[Tensor], output: Tensor, total: Tensor, random: Any, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    grad, output, total = grad.contiguous(), output.contiguous(), total.contiguous()
    if grad.device.type == "cpu":
        op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        return op(grad, *sides, output, total, 0.0, True, scale=scale)
    length = sides[0].shape[2]
    op = torch.ops.aten._scaled_dot_product_flash_attention_backward
    return op(
        grad, *sides, output, total, None, None, length, length, 0.0, True, random[0], random[1], scale=scale
    )
