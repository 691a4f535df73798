"""Two processes with sharded weights on CPUs: steps, validation, a saved state.

Run by ``torch.distributed.run`` as ``sharded_steps.py FOLDER``; rank 0 leaves ``result.json``. Accelerate shards
on accelerators only, so its state is told here that this is one.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
import toy_training as toy
from accelerate import Accelerator
from accelerate.utils import DistributedType

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training import update
from vln_heatmap.nodes.training.sharding import fsdp_plugin, is_sharded
from vln_heatmap.nodes.training.worker import leave
from vln_heatmap.params import TrainParams
from vln_heatmap.params.training import FsdpParams


def sharding_accelerator(params: TrainParams) -> Any:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=params.accumulation)
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = fsdp_plugin(FsdpParams(min_parameters=500))
    return accelerator


class PlainToy(toy.ToyModel):
    """Without what depends on how a batch is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(16)
        self.mix = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.GELU(), torch.nn.Linear(64, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.mix(self.frozen(x))))[:, 0]


def plain_toy() -> PlainToy:
    torch.manual_seed(1)
    return PlainToy()


if __name__ == "__main__":
    update.make_accelerator = sharding_accelerator
    state = TrainingState(Path(sys.argv[1]) / "training.safetensors")
    seen = []

    def validate(model: Any) -> dict[str, float]:
        seen.append(any(is_sharded(p) for p in model.parameters()))
        return toy.toy_validation(model)

    calls = 0

    def cut_short(model: Any, batch: Any) -> Any:
        global calls  # noqa: PLW0603
        calls += 1
        if calls == 23:
            raise KeyboardInterrupt
        return toy.toy_loss(model, batch)

    settings = {"validate": validate, "ema_decay": 0.5, "save_every": 4}
    whole = toy.run(model=plain_toy(), **settings)
    with contextlib.suppress(KeyboardInterrupt):
        toy.run(state, model=plain_toy(), loss_fn=cut_short, **settings)
    again = toy.run(state, model=plain_toy(), **settings)
    if torch.distributed.get_rank() == 0:
        result = {
            "losses": whole.history["loss"].tolist(),
            "errors": whole.history["val/error"].dropna().tolist(),
            "weights": {name: t.tolist() for name, t in whole.state_dict.items()},
            "resumed": all(torch.equal(again.last[name], t) for name, t in whole.last.items()),
            "sharded": all(seen) and len(seen) > 0,
        }
        (Path(sys.argv[1]) / "result.json").write_text(json.dumps(result))
    torch.distributed.destroy_process_group()
    leave()
