"""Weights, moments and averages that are spread over the processes (FSDP), and whole ones on their way to a file.

Invariant: what is saved or handed on is whole, so that a state does not know how it was spread; without sharding
every function here gives back the tensor that it got. All processes must call them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vln_heatmap.params.training import FsdpParams


def fsdp_plugin(params: FsdpParams) -> Any:
    """Accelerate's ``FullyShardedDataParallelPlugin``: FSDP2, a unit for every module of some size."""
    from accelerate import FullyShardedDataParallelPlugin

    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        reshard_after_forward=params.reshard,
        auto_wrap_policy="size_based_wrap",
        min_num_params=params.min_parameters,
        cpu_offload=params.offload,
        state_dict_type="FULL_STATE_DICT",
    )


def is_sharded(tensor: Tensor) -> bool:
    """Whether this process holds a part of the tensor only."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """The tensor with the parts of all processes."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def like(tensor: Tensor, own: Any) -> Tensor:
    """A whole tensor, spread as ``own`` is, if that has the same shape."""
    if not is_sharded(own) or tensor.shape != own.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(own.device), own.device_mesh, own.placements)


@torch.no_grad()
def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy whole weights into a model that may be spread; the others stay."""
    own = model.state_dict()
    for name, tensor in tensors.items():
        own[name].copy_(like(tensor, own[name]))


@contextmanager
def gathered(root: nn.Module) -> Iterator[None]:
    """Let the modules under ``root`` be called by themselves for a while: what only it gathers is whole."""
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(root, FSDPModule):
        yield
        return
    root.unshard()
    try:
        yield
    finally:
        root.reshard()
