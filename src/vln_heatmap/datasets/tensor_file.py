"""Tensors and JSON in one safetensors file, written so that a crash leaves the old file or the new one.

Invariant: a path that ``replace`` writes to never holds half a file; what is read back is bit for bit what
was written, tied weights included. Nothing here unpickles.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import DatasetError

if TYPE_CHECKING:
    from torch import Tensor

_ALIASES, _STATE = "aliases", "state"


class CorruptCheckpointError(DatasetError):
    """A stored file cannot be read; the message names it and says why."""


def replace(path: Path, write: Callable[[Path], None]) -> None:
    """Put at ``path`` the file or folder that ``write`` makes, whole or not at all.

    ``write`` gets a path beside it; what it leaves there is flushed to disk and renamed.

    Raises:
        DatasetError: it could not be written (a full disk, …); what was at ``path`` is untouched.
    """
    import safetensors

    beside = path.with_name(f".{path.name}.tmp")
    try:
        _remove(beside)  # of a run that was killed
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        for file in [*beside.iterdir(), beside] if beside.is_dir() else [beside]:
            _flush(file)
        _swap(beside, path)
        _flush(path.parent)
    except (OSError, safetensors.SafetensorError) as error:
        raise DatasetError(f"could not write {path}: {error}; what was stored before is untouched") from error
    finally:
        _remove(beside)


def _swap(new: Path, path: Path) -> None:
    """Rename ``new`` to ``path``; a folder that is there already is put aside first, as folders need."""
    old = path.with_name(f".{path.name}.old")
    if path.is_dir():
        path.rename(old)
    new.replace(path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], state: Any = None) -> None:
    """Write tensors, and anything JSON can hold, into one file (not atomic by itself: see ``replace``)."""
    from safetensors.torch import save_file

    unique, aliases = untied(tensors)
    metadata = {"format": "pt", _ALIASES: json.dumps(aliases), _STATE: json.dumps(state, default=plain)}
    save_file(unique, str(path), metadata=metadata)


def read_tensors(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], Any]:
    """Tensors and state of a file; tied weights come back as one tensor under all of their names.

    Raises:
        CorruptCheckpointError: truncated, or not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device=device) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CorruptCheckpointError(f"{path} cannot be read: {error}") from error
    aliases = json.loads(metadata.get(_ALIASES, "{}"))
    tensors |= {name: tensors[kept] for name, kept in aliases.items()}
    return tensors, json.loads(metadata.get(_STATE, "null"))


def check_tensors(path: Path) -> None:
    """Read the header only, which is enough to notice a truncated file.

    Raises:
        CorruptCheckpointError: as ``read_tensors``.
    """
    import safetensors

    try:
        with safetensors.safe_open(str(path), framework="np"):
            pass
    except (safetensors.SafetensorError, OSError) as error:
        raise CorruptCheckpointError(f"{path} cannot be read: {error}") from error


def untied(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split a state dict into tensors that share no memory and aliases (dropped name -> kept name)."""
    unique: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    kept: dict[Any, str] = {}
    storages: set[Any] = set()
    for name, tensor in tensors.items():
        view = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        storage = (tensor.device, tensor.untyped_storage().data_ptr())
        if tensor.numel() and view in kept:
            aliases[name] = kept[view]
            continue
        unique[name] = tensor.detach().clone() if storage in storages else tensor.detach().contiguous()
        kept[view] = name
        storages.add(storage)
    return unique, aliases


def plain(value: Any) -> Any:
    """JSON form of numpy scalars and arrays and of pydantic models."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON: {value!r}")
