"""Where a training computes: device, precision and threads, through Hugging Face Accelerate.

Invariant: two trainings of one process do not see each other's settings, and the thread count and torch's
random state of the process are afterwards as they were before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vln_heatmap.nodes.training.sharding import fsdp_plugin
from vln_heatmap.params import TrainParams


def make_accelerator(params: TrainParams) -> Any:
    """An ``accelerate.Accelerator`` for the run.

    Raises:
        ValueError: the device or precision asked for is not there.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import DistributedDataParallelKwargs

    cuda = torch.cuda.is_available()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    _check_processes(params, processes)
    on_cpu = params.device == "cpu" or not cuda
    if params.device == "cuda" and not cuda:
        raise ValueError("device is cuda, but torch sees no CUDA device: set device to auto or cpu")
    if params.mixed_precision == "fp16" and on_cpu:
        raise ValueError("mixed_precision fp16 needs a CUDA device: set it to bf16 or no")
    if params.fsdp.enabled and on_cpu:
        raise ValueError("fsdp needs CUDA devices: set fsdp.enabled to false, or run where there are some")
    automatic = params.mixed_precision == "auto"
    AcceleratorState._reset_state(reset_partial_state=True)  # process-wide, and refuses a second precision
    GradientState._reset_state()
    return Accelerator(
        cpu=params.device == "cpu" or (processes > 1 and on_cpu),
        fsdp_plugin=fsdp_plugin(params.fsdp) if params.fsdp.enabled else None,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        mixed_precision=automatic_precision(on_cpu) if automatic else params.mixed_precision,
        gradient_accumulation_steps=params.accumulation,
    )


def _check_processes(params: TrainParams, processes: int) -> None:
    """Refuse a number of processes that is not the one asked for, or that cannot share a batch evenly."""
    if params.several and processes % params.processes:
        raise ValueError(
            f"train.processes is {params.processes}, but {processes} run: only pretrain, finetune and policy "
            "start several; set it to 1 here"
        )
    if params.batch_size % (params.accumulation * processes):
        raise ValueError(
            f"{processes} processes x {params.accumulation} micro-batches must divide batch_size, "
            f"got {params.batch_size}"
        )


def automatic_precision(on_cpu: bool) -> str:
    """Name of the fastest precision: bf16 where the hardware computes in it, else no."""
    if not on_cpu:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "no"


@contextmanager
def torch_settings(threads: int | None) -> Iterator[None]:
    """Use this many threads on the CPU, and give back the process as it was."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
