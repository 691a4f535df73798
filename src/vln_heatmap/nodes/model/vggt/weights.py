"""Weights of geometry models from a file, a folder or a hub, and how to tell two sets of weights apart.

Invariant: only tensors are read; a pickle is opened with ``weights_only`` and thus runs no code. Every name
and shape must fit, but for the heads that the model was built without.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt.base import Origin

FILES = ("model.safetensors", "model.pt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SAMPLED = 64  # values of a tensor that enter its fingerprint


def locate(source: str | Path) -> Path:
    """The file that holds the weights of ``source``.

    Args:
        source: a ``.safetensors`` or ``.pt`` file; a folder with ``model.safetensors`` or ``model.pt``; or the
            id of a hub repository with one of the two, which is downloaded once and then taken from the cache.

    Raises:
        FileNotFoundError: none of these; the message says what was looked for.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        for name in FILES:
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(f"{path} must hold {' or '.join(FILES)}, found neither")
    if path.is_file():
        if path.suffix not in {".safetensors", ".pt"}:
            raise FileNotFoundError(f"weights must be a .safetensors or .pt file, got {path}")
        return path
    if isinstance(source, str) and _HUB_ID.fullmatch(source):
        return _download(source)
    raise FileNotFoundError(f"no VGGT checkpoint at {path}: name a file, a folder or a hub id (owner/name)")


def _download(repository: str) -> Path:
    """One of ``FILES`` of a hub repository, from the cache if it is there."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    reason: Exception | None = None
    for name in FILES:
        try:
            return Path(hf_hub_download(repository, name))
        except LocalEntryNotFoundError as error:  # neither cached nor reachable
            reason = error
        except EntryNotFoundError as error:
            reason = reason or error
        except (HfHubHTTPError, OSError) as error:
            reason = error
            break
    raise FileNotFoundError(
        f"no local file or folder {repository!r}, and the hub gave no {' or '.join(FILES)} of it ({reason}). "
        "Download one of them and set model.vggt.source to its path"
    ) from reason


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a ``.safetensors`` or ``.pt`` file, mapped into memory rather than read where possible.

    A ``.pt`` file may hold the state dict itself or, as training code writes it, one under ``model``.

    Raises:
        ValueError: the file holds something other than tensors, or cannot be read without running its code.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    from pickle import UnpicklingError

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (UnpicklingError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as plain tensors: {error}") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} must hold tensors by name, and nothing else")
    return state


def load_source(model: nn.Module, source: str | Path, absent: tuple[str, ...]) -> Origin:
    """Fill ``model`` (whose tensors may be on the meta device) in its own precision, strictly.

    Args:
        model: built at the size of the weights.
        source: see :func:`locate`.
        absent: prefixes of weights that the model was built without.

    Raises:
        FileNotFoundError: see :func:`locate`.
        ValueError: names or shapes that differ from the model's.
    """
    path = locate(source)
    state = {name: value for name, value in read_state(path).items() if not name.startswith(absent)}
    own = model.state_dict()
    cast = {name: value.to(own[name].dtype) if name in own else value for name, value in state.items()}
    try:
        model.load_state_dict(cast, strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path} holds a VGGT of another size or layout: {error}") from error
    return Origin(str(source), fingerprint(state))


def fingerprint(state: Mapping[str, Tensor], prefix: str = "aggregator.") -> str:
    """Names what the weights under ``prefix`` (the trunk's) are, whatever file format, precision or device.

    It takes names, shapes and evenly spread values (rounded to bfloat16) of every tensor, so that it costs no
    second reading of a large file.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if not name.startswith(prefix):
            continue
        value = state[name].detach().flatten()
        places = torch.linspace(0, max(len(value) - 1, 0), min(len(value), _SAMPLED), dtype=torch.float64)
        sample = value[places.long().to(value.device)].to(torch.bfloat16).view(torch.int16)
        digest.update(f"{name}{tuple(state[name].shape)}".encode() + sample.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
