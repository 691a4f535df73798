"""How much of the memory that there is, is in use: of the machine, of the container or job, of the GPU.

Invariant: a limit that cannot be read counts as none; measuring never fails and allocates nothing on a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def memory_measures() -> dict[str, float]:
    """Shares of memory in use, for ``EpochReport.resources``.

    Returns:
        process_share: resident memory of this process and its children over the tightest limit. Pages that
            they share count more than once.
        system_share: all that is in use over that limit, whoever uses it; that decides when a process is ended.
        gpu_share: peak of the current CUDA device since the last call, its other processes included; only where
            CUDA is in use already.
        memory_share: the greater one of system_share and gpu_share.
    """
    import psutil

    machine = psutil.virtual_memory()
    levels = [(machine.total - machine.available, machine.total), *cgroup_memory()]
    smallest = min(limit for _, limit in levels)
    shares = {
        "process_share": min(1.0, _resident() / smallest),
        "system_share": min(1.0, max(used / limit for used, limit in levels)),
        **_gpu_share(),
    }
    return shares | {"memory_share": max(shares["system_share"], shares.get("gpu_share", 0.0))}


def cgroup_memory(root: Path = CGROUPS, own: Path = OWN_CGROUP) -> list[tuple[int, int]]:
    """Bytes in use and the limit of every Linux control group around this process that has a memory limit.

    The page cache that can be dropped at any time (inactive files) is not in use.

    Args:
        root: where the control groups are mounted (version 2, or 1 with a folder ``memory``).
        own: the kernel's list of the groups of the process.
    """
    found = []
    for folder, usage, limit, inactive in _groups(root, own):
        used, most = _number(folder / usage), _number(folder / limit)
        if used is None or most is None or not 0 < most < 1 << 60:  # no limit: "max", or nearly 2^63
            continue
        found.append((max(0, used - _field(folder / "memory.stat", inactive)), most))
    return found


def _groups(root: Path, own: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Folder, names of usage and limit, name of the inactive files: of the own group and all above it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = root, ("memory.current", "memory.max", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "memory"
            names = ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
        else:
            continue
        folder = top / path.lstrip("/")
        while folder != top and top in folder.parents:
            yield folder, *names
            folder = folder.parent
        yield top, *names  # inside a container this is the container's own


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # the root has no such file; "max" is no limit
        return None


def _field(path: Path, name: str) -> int:
    """A line ``name value`` of a statistics file; 0 where there is none."""
    try:
        fields = dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
        return int(fields.get(name, 0))
    except (OSError, ValueError):
        return 0


def _resident() -> int:
    import psutil

    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


def _gpu_share() -> dict[str, float]:
    """Memory that PyTorch keeps for later use is free: it gives it back where it is needed."""
    torch = sys.modules.get("torch")
    if not (torch and torch.cuda.is_available() and torch.cuda.is_initialized()):
        return {}
    free, total = torch.cuda.mem_get_info()
    others = total - free - torch.cuda.memory_reserved()
    share = (others + torch.cuda.max_memory_allocated()) / total
    torch.cuda.reset_peak_memory_stats()
    return {"gpu_share": min(1.0, max(0.0, share))}
