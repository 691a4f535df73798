"""Which tensors make up a training, under which names they are saved, and which runs may share them.

Invariant: what ``grouped`` puts together, ``group`` takes apart; copies keep tied weights tied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vln_heatmap.datasets.tensor_file import untied
from vln_heatmap.nodes.training.sharding import is_sharded, whole
from vln_heatmap.params import TrainParams

_LAYOUT = 2  # of a saved state; one of another layout is not resumed


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The part of the state dict that training may change: trainable parameters and buffers."""
    frozen = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: t for name, t in model.state_dict().items() if name not in frozen}


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, tied where the originals are; whole ones of what is sharded."""
    unique, aliases = untied({name: t for name, t in tensors.items() if not is_sharded(t)})
    copies = {name: t.detach().to("cpu", copy=True) for name, t in unique.items()}
    copies |= {name: whole(t.detach()).cpu() for name, t in tensors.items() if is_sharded(t)}
    return {name: copies[aliases.get(name, name)] for name in tensors}


def grouped(**groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One flat dict with keys "<group>.<name>"."""
    return {f"{group}.{name}": t for group, tensors in groups.items() for name, t in tensors.items()}


def group(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One group of a flat dict."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}


def run_fingerprint(fingerprint: str, params: TrainParams, model: nn.Module) -> str:
    """Hash of everything that a saved state must have in common with the run that goes on from it."""
    shapes = [[name, list(t.shape)] for name, t in trained_tensors(model).items()]
    return digest(_LAYOUT, fingerprint, params.identity(), shapes)


def digest(*things: Any) -> str:
    """Hash of anything that JSON can hold, the same in every process."""
    return hashlib.sha256(json.dumps(things, sort_keys=True).encode()).hexdigest()
