"""Whether several processes of this machine (or cluster) can train together, before a training finds out.

    python -m vln_heatmap.nodes.training.self_test --processes=2
    srun python -m torch.distributed.run … -m vln_heatmap.nodes.training.self_test

The first starts the processes itself, at an address and port of its own choice or the given ones; under a
launcher every process takes part. They meet, add up numbers whose sum is known, hand some on, and time a sum.
Exit code: 0 all is well, 1 not, with the reason. Invariant: what is right was compared with arithmetic.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from vln_heatmap.nodes.training.launch import free_port
from vln_heatmap.nodes.training.worker import leave

_RESULT = "VLN_SELF_TEST_RESULT"  # file that rank 0 leaves for the process that started it


class SelfTestError(RuntimeError):
    """Processes cannot train together; the message says why."""


def take_part(*, backend: str, megabytes: float, timeout: float) -> dict[str, Any]:
    """Be one of the processes; all of them call this.

    Args:
        backend: gloo, nccl or auto (nccl where there is a CUDA device for this process).
        megabytes: of the tensor whose sum is timed.
        timeout: seconds that each step may take.

    Returns:
        ``address``, ``backend``, ``ranks`` (rank, host, process and device of each), ``checks`` and
        ``gigabytes_per_second``: of the sum, bytes that pass each process.

    Raises:
        SelfTestError: a check failed.
    """
    rank = int(os.environ["RANK"])
    name, device = _device(backend)
    dist.init_process_group(name, timeout=timedelta(seconds=timeout))
    try:
        ranks: list[Any] = [None] * dist.get_world_size()
        own = {"rank": rank, "host": socket.gethostname(), "process": os.getpid(), "device": str(device)}
        dist.all_gather_object(ranks, own)
        checks = check_arithmetic(device)
        speed = bandwidth(device, megabytes)
    finally:
        dist.destroy_process_group()
    place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    return {
        "address": place,
        "backend": name,
        "ranks": ranks,
        "checks": checks,
        "gigabytes_per_second": speed,
    }


def _device(backend: str) -> tuple[str, torch.device]:
    """Name of the backend, and where this process computes."""
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    name = ("nccl" if there > local else "gloo") if backend == "auto" else backend
    if name != "nccl":
        return name, torch.device("cpu")
    if there <= local:
        raise SelfTestError(
            f"nccl needs a CUDA device a process, rank {os.environ['RANK']} has none of {there}: take "
            "--backend=gloo, or fewer processes"
        )
    torch.cuda.set_device(local)
    return name, torch.device("cuda", local)


def check_arithmetic(device: torch.device) -> list[str]:
    """Sum, mean of gradients and broadcast, against what they must be.

    Raises:
        SelfTestError: one of them is something else.
    """
    rank, count = dist.get_rank(), dist.get_world_size()
    numbers = torch.arange(1000.0, device=device)
    summed = numbers * (rank + 1)
    dist.all_reduce(summed)
    _same("all-reduce", summed, numbers * (count * (count + 1) / 2))
    handed = numbers + rank
    dist.broadcast(handed, src=0)
    _same("broadcast", handed, numbers)
    net = torch.nn.Linear(4, 1, bias=False).to(device)
    torch.nn.init.ones_(net.weight)
    ids = [device.index] if device.type == "cuda" else None
    wrapped = torch.nn.parallel.DistributedDataParallel(net, device_ids=ids)
    wrapped(torch.full((1, 4), float(rank), device=device)).sum().backward()
    assert net.weight.grad is not None
    _same("mean of gradients", net.weight.grad, torch.full((1, 4), (count - 1) / 2, device=device))
    return ["all-reduce", "broadcast", "mean of gradients"]


def _same(what: str, found: torch.Tensor, wanted: torch.Tensor) -> None:
    if not torch.allclose(found, wanted):
        worst = (found - wanted).abs().max()
        raise SelfTestError(f"{what} in rank {dist.get_rank()} is wrong by up to {worst:g}")


def bandwidth(device: torch.device, megabytes: float, *, repeats: int = 5) -> float:
    """GB/s that pass each process when all of them add up a tensor: 2 (n - 1) / n of its bytes in its time."""
    count = dist.get_world_size()
    tensor = torch.ones(max(1, int(megabytes * 1e6 / 4)), device=device)
    spent = []
    for _ in range(repeats + 1):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(tensor)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - start)
        tensor.fill_(1)
    passed = 2 * (count - 1) / count * tensor.numel() * tensor.element_size()
    return passed / sorted(spent[1:])[repeats // 2] / 1e9


def start(given: argparse.Namespace) -> dict[str, Any]:
    """Start the processes, wait for them, and read what rank 0 left.

    Raises:
        SelfTestError: they failed, hung, or cannot meet where they were told to.
    """
    port = given.port or free_port()
    _check_place(given.address, port)
    meeting = ["--nnodes=1", f"--master-addr={given.address}", f"--master-port={port}"]
    runner = [sys.executable, "-m", "torch.distributed.run", *meeting, f"--nproc-per-node={given.processes}"]
    own = [f"--backend={given.backend}", f"--megabytes={given.megabytes}", f"--timeout={given.timeout}"]
    with tempfile.TemporaryDirectory(prefix="self-test-") as folder:
        result = Path(folder) / "result.json"
        try:
            done = subprocess.run(
                [*runner, "-m", "vln_heatmap.nodes.training.self_test", *own],
                env=os.environ | {_RESULT: str(result), "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=given.timeout * 3,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SelfTestError(
                f"the processes did not finish within {given.timeout * 3:g} s at {given.address}:{port}: is the "
                "port reachable, and the machine free? (--timeout)"
            ) from error
        if done.returncode or not result.is_file():
            raise SelfTestError(_reason(done.stderr))
        return json.loads(result.read_text("utf-8"))


def _check_place(address: str, port: int) -> None:
    """See that the processes can meet there.

    Raises:
        SelfTestError: the address is not one of this machine, or somebody uses the port.
    """
    try:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
    except OSError as error:
        raise SelfTestError(
            f"no process can listen at {address}:{port} ({error.strerror or error}): the address must be one of "
            "this machine, and the port free"
        ) from error


def _reason(stderr: str) -> str:
    """The first error that a process told."""
    told = re.findall(r"\w*Error: .*", stderr)
    said = [line for line in stderr.splitlines() if line.strip()]
    return f"a process failed: {told[0] if told else ' / '.join(said[-5:]) or 'it said nothing'}"


def as_text(found: dict[str, Any]) -> str:
    """What is well, for a terminal."""
    lines = [f"{len(found['ranks'])} processes met at {found['address']}, backend {found['backend']}"]
    lines += [
        f"  rank {own['rank']}: {own['host']}, process {own['process']}, {own['device']}"
        for own in found["ranks"]
    ]
    lines.append(f"right: {', '.join(found['checks'])}")
    lines.append(f"sum of all processes: {found['gigabytes_per_second']:.3g} GB/s a process")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m vln_heatmap.nodes.training.self_test",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, default=2, help="to start (default 2)")
    parser.add_argument("--backend", choices=("auto", "gloo", "nccl"), default="auto")
    parser.add_argument("--address", default="127.0.0.1", help="where they meet, one of this machine")
    parser.add_argument("--port", type=int, default=0, help="where they meet; 0 = a free one")
    parser.add_argument(
        "--megabytes", type=float, default=16, help="of the tensor that is timed (default 16)"
    )
    parser.add_argument("--timeout", type=float, default=60, help="seconds that a step may take (default 60)")
    given = parser.parse_args(arguments)
    settings = {"backend": given.backend, "megabytes": given.megabytes, "timeout": given.timeout}
    try:
        found = take_part(**settings) if "RANK" in os.environ else start(given)
    except (RuntimeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if os.environ.get("RANK", "0") == "0":
        if file := os.environ.get(_RESULT):
            Path(file).write_text(json.dumps(found), encoding="utf-8")
        else:
            print(as_text(found))
    return 0


if __name__ == "__main__":
    leave(main())
