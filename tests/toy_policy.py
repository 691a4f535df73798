"""A policy of a few thousand weights, and batches for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vln_heatmap.nodes.model.policy.assemble import make_policy
from vln_heatmap.nodes.model.policy.policy_model import PolicyModel
from vln_heatmap.nodes.model.tokenizer import train_tokenizer
from vln_heatmap.nodes.statistics import Moments
from vln_heatmap.params.policy import PolicyModelParams

TEXTS = ["go to the red chair", "pick up the cup"]
TOKENIZER = train_tokenizer(TEXTS, 330)
SIZES: dict[str, Any] = {
    "vision": {"image_size": 28, "patch": 14, "dim": 16, "hidden": 32, "depth": 1, "attention_heads": 2},
    "language": {
        "kind": "paligemma",
        "vocab_size": 330,
        "dim": 32,
        "hidden": 32,
        "depth": 1,
        "attention_heads": 2,
        "kv_heads": 1,
    },
    "head": {"horizon": 3, "width": 16, "depth": 1, "attention_heads": 2, "steps": 4, "bins": 32},
}


def sizes(**changes: Any) -> PolicyModelParams:
    """Toy parameters; dicts among the changes are merged."""
    merged = dict(SIZES)
    for name, value in changes.items():
        merged[name] = {**SIZES[name], **value} if isinstance(value, dict) and name in SIZES else value
    return PolicyModelParams.model_validate(merged)


def statistics(state: int = 4, action: int = 2, *, cameras: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    summaries = {
        name: Moments.of(rng.normal(3, 2, (200, count))).summary([f"{name}_{n}" for n in range(count)])
        for name, count in (("state", state), ("action", action))
    }
    return {**summaries, "normalisation": {}, "cameras": [f"image_{n + 1}" for n in range(cameras)]}


def toy_policy(stats: dict[str, Any] | None = None, *, seed: int = 0, **changes: Any) -> PolicyModel:
    return make_policy(sizes(**changes), TOKENIZER, stats or statistics(), seed=seed).eval()


def toy_batch(*, batch: int = 2, length: int = 3, state: int = 4, action: int = 2, cameras: int = 1) -> dict:
    """Random windows; the last place of the second is padding."""
    random = torch.Generator().manual_seed(3)
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1:, -1] = False
    return {
        "images": torch.randint(0, 256, (batch, length, cameras, 3, 28, 28), generator=random).byte(),
        "state": torch.randn(batch, length, state, generator=random),
        "previous": torch.randn(batch, length, action, generator=random),
        "has_previous": torch.ones(batch, length, dtype=torch.bool),
        "target": 3 + torch.randn(batch, length, 3, action, generator=random),
        "target_mask": torch.ones(batch, length, 3, dtype=torch.bool) & mask[..., None],
        "mask": mask,
        "prompt": [[TEXTS[row % 2]] * length for row in range(batch)],
    }
