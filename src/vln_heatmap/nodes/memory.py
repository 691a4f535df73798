"""The most memory that was held, on the machine and on the GPU.

Invariant: measuring allocates nothing and never starts CUDA.
"""

from __future__ import annotations

import sys

_GIB = 1 << 30


def peak_memory() -> dict[str, float | None]:
    """In GiB: ``memory_gib`` of this process so far, or of the largest of its children that have ended if that is
    more; ``gpu_memory_gib`` of the current CUDA device. None where there is none or the system does not tell."""
    return {"memory_gib": _resident(), "gpu_memory_gib": _on_gpu()}


def _resident() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(each).ru_maxrss for each in who) * unit / _GIB


def _on_gpu() -> float | None:
    torch = sys.modules.get("torch")
    if not (torch and torch.cuda.is_available() and torch.cuda.is_initialized()):
        return None
    return torch.cuda.max_memory_allocated() / _GIB
