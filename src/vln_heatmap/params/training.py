"""Optimiser, schedule and windows: the pretrain and finetune stages."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vln_heatmap.params.base import Params
from vln_heatmap.params.curriculum import CurriculumParams
from vln_heatmap.params.losses import LossParams
from vln_heatmap.params.monitor import MonitorParams


class OptimizerParams(Params):
    """AdamW. Norms, biases and scalars (parameters of fewer than two axes) are not decayed."""

    lr: float = Field(1e-3, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0, le=1)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    eps: float = Field(1e-8, gt=0, le=1e-2)
    clip: float = Field(1.0, gt=0, le=1e6, description="largest norm of the whole gradient")
    lr_multipliers: dict[str, Annotated[float, Field(gt=0, le=100)]] = Field(
        {}, description="by module path, e.g. {language: 0.5}; the longest path that fits a parameter wins"
    )


class ScheduleParams(Params):
    """Learning rate over the run: linear warm-up, then a curve from the peak to ``final`` of the peak."""

    name: Literal["cosine", "constant"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps")
    final: float = Field(0.02, ge=0, le=1, description="last learning rate / peak learning rate")


class LaunchParams(Params):
    """Where the processes of a training run, if there are several. docs/training.md tells how."""

    nodes: int | None = Field(1, ge=1, le=10_000, description="machines; null = as SLURM says")
    prefix: tuple[str, ...] = Field(
        (), description="command that runs what follows once on every machine: srun --ntasks-per-node=1"
    )
    folder: str | None = Field(
        None, min_length=1, description="that all machines see, for the job; null = a temporary one"
    )

    @field_validator("prefix", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        return tuple(shlex.split(given)) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _check(self) -> LaunchParams:
        if self.nodes != 1 and not (self.prefix and self.folder):
            raise ValueError(
                "several machines need launch.prefix, which starts the processes there, and launch.folder, "
                f"which all of them see; got {list(self.prefix)} and {self.folder}"
            )
        return self

    def machines(self, environ: Mapping[str, str]) -> int:
        """Number of machines in this environment."""
        return int(environ.get("SLURM_JOB_NUM_NODES", 1)) if self.nodes is None else self.nodes


class FsdpParams(Params):
    """Weights, gradients and moments spread over the processes (FSDP2), for models that no device holds."""

    enabled: bool = Field(False, description="false = every process holds the whole model")
    min_parameters: int = Field(1_000_000, ge=1, description="of a module that is gathered by itself")
    reshard: bool = Field(True, description="spread weights again between forward and backward: less memory")
    offload: bool = Field(False, description="keep them in the memory of the CPU")


class TrainParams(Params):
    """One training run of any stage. A step is one update of the weights."""

    seed: int = Field(0, ge=0, lt=2**32)
    steps: int = Field(1000, ge=1, le=10_000_000)
    batch_size: int = Field(8, ge=1, le=65536, description="windows a step, over all micro-batches")
    accumulation: int = Field(1, ge=1, le=65536, description="micro-batches a step; divides batch_size")
    loss: LossParams = LossParams()
    optimizer: OptimizerParams = OptimizerParams()
    schedule: ScheduleParams = ScheduleParams()
    ema_decay: float = Field(0.99, ge=0, lt=1, description="of the averaged weights; 0 = no averaging")
    mixed_precision: Literal["no", "bf16", "fp16", "auto"] = Field(
        "no", description="auto = bf16 where the hardware has it, else no"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: Literal["no", "inductor", "aot_eager", "eager"] = Field(
        "no", description="backend of torch.compile for the model in training; no = not compiled"
    )
    processes: int = Field(1, ge=1, le=1024, description="on each machine; they share each batch evenly")
    launch: LaunchParams = LaunchParams()
    fsdp: FsdpParams = FsdpParams()
    threads: int | None = Field(None, ge=1, le=1024, description="of torch on the CPU; null = as they are")
    num_workers: int = Field(1, ge=0, le=256, description="processes that prepare batches; 0 = none")
    prefetch: int = Field(4, ge=1, le=256, description="batches each worker prepares ahead")
    cache_mib: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="memory of all loader processes for frames that were read; 0 = none",
    )
    validate_every: int = Field(200, ge=1, description="steps; the last step is always validated")
    save_every: int = Field(200, ge=1, description="steps between saved states, from which a run resumes")
    log_every: int = Field(10, ge=1, description="steps between live metrics")
    metric: str = Field("auc", min_length=1, description="validation metric that picks the best weights")
    mode: Literal["max", "min"] = "max"
    keep: Literal["best", "last"] = Field("best", description="which averaged weights are the result")

    @model_validator(mode="after")
    def _divides(self) -> TrainParams:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"accumulation must divide batch_size, got {self.accumulation} and {self.batch_size}"
            )
        return self

    @property
    def several(self) -> bool:
        """Whether more than one process trains."""
        return self.processes > 1 or self.launch.nodes != 1

    def identity(self) -> dict[str, Any]:
        """What the result depends on: a run may resume with any other value of everything else."""
        where = {"device", "launch", "threads", "num_workers", "prefetch", "cache_mib"}
        return self.model_dump(mode="json", exclude={*where, "save_every", "log_every"})


class WindowParams(Params):
    """How a training sample becomes tensors."""

    views: int = Field(3, ge=1, le=64, description="frames of a training window that serve as current view")
    sampled: int = Field(
        56, ge=7, le=1024, description="pixels along a side at which co-visibility is computed"
    )
    sigma: float = Field(0.6, ge=0, le=32, description="of the target's Gaussian, in heatmap cells")
    mirror: float = Field(0.5, ge=0, le=1, description="share of mirrored windows")
    colour: float = Field(0.1, ge=0, le=2, description="standard deviation of the log gain of each colour")
    feature_noise: float = Field(0.05, ge=0, le=2, description="relative noise on the frozen features")


class StageParams(Params):
    """Pretraining or finetuning."""

    window: WindowParams = WindowParams()
    train: TrainParams = TrainParams()
    curriculum: CurriculumParams | None = Field(None, description="phases; null = one, as train says")
    monitor: MonitorParams | None = Field(None, description="thresholds of alerts; null = nobody watches")
    validation_samples: int = Field(64, ge=1, le=100_000, description="windows that a validation looks at")
