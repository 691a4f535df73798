"""Where the parts of the model live: each on a device of its own, or off it between uses.

Invariant: without a placement nothing is moved, the model is wherever its caller puts it; with one, the model
takes inputs from any device and gives its outputs on the device of the heads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vln_heatmap.params import PlacementParams

PLACED = ("vggt", "encoder", "language", "heads")  # all other parts go with the heads


def device_map(devices: Any) -> dict[str, torch.device]:
    """Device of each of ``PLACED``; nothing where nothing is asked for.

    Parts that are not named go where the heads go; unnamed heads go where the first named part is, which
    is where a training puts its batches.
    """
    if devices is None:
        return {}
    if isinstance(devices, str):
        return dict.fromkeys(PLACED, torch.device(devices))
    home = devices.get("heads") or next(devices[part] for part in PLACED if part in devices)
    return {part: torch.device(devices.get(part) or home) for part in PLACED}


def place(model: Any, params: PlacementParams) -> None:
    """Move every part to its device, tell the model and, if there are several devices, Accelerate.

    Args:
        model: a ``HeatmapModel``.
        params: see there.

    Raises:
        ValueError: a CUDA device that this machine does not have.
    """
    places = device_map(params.devices)
    if not places:
        return
    check_devices(places.values())
    model.places = places
    for name, module in model.named_children():
        module.to(places.get(name, places["heads"]))
    for name, buffer in model.named_buffers(recurse=False):
        setattr(model, name, buffer.to(places["heads"]))
    if len(set(places.values())) > 1:
        model.hf_device_map = {part: str(device) for part, device in places.items()}
    if "language" in params.offload:
        model.visitor = Visitor(model.language, places["language"], params.rest)


def check_devices(devices: Iterable[torch.device]) -> None:
    """Refuse CUDA devices that are not there."""
    there = torch.cuda.device_count()
    for device in devices:
        if device.type == "cuda" and (device.index or 0) >= there:
            raise ValueError(
                f"placement names {device}, but this machine has {there} CUDA devices: change placement.devices"
            )


class Visitor:
    """A module that is on its device only while it is used.

    Nothing is copied back: what it has on the device is dropped, and its own weights stay where they rest.

    Args:
        module: at rest after this.
        device: where it works.
        rest: "cpu": its weights stay in memory; "disk": in a temporary file, mapped into memory, which the
            operating system reads when they are used.
    """

    def __init__(self, module: nn.Module, device: torch.device, rest: Literal["cpu", "disk"]) -> None:
        self.module, self.device, self.rest = module, device, rest
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        module.to("cpu")

    @contextmanager
    def visiting(self) -> Iterator[None]:
        """The module on its device, for a while.

        Raises:
            ValueError: while gradients are recorded: a backward pass would miss the weights.
        """
        if torch.is_grad_enabled():
            raise ValueError("placement.offload is for inference: use torch.inference_mode(), or no offload")
        self._settle()
        slots: list[tuple[Any, str]] = [
            (store, name)
            for part in self.module.modules()
            for store in (part._parameters, part._buffers)
            for name in store
            if store[name] is not None
        ]
        resting = [store[name] for store, name in slots]
        try:
            for (store, name), tensor in zip(slots, resting, strict=True):
                there = tensor.detach().to(self.device, non_blocking=True)
                is_weight = isinstance(tensor, nn.Parameter)
                store[name] = nn.Parameter(there, requires_grad=False) if is_weight else there
            yield
        finally:
            for (store, name), tensor in zip(slots, resting, strict=True):
                store[name] = tensor

    def _settle(self) -> None:
        """Put the weights to rest on the disk, if that is where: at the first use, when they are final."""
        if self.rest == "disk" and self._folder is None:
            tensors = dict([*self.module.named_parameters(), *self.module.named_buffers()])
            for name, mapped in self._written(tensors).items():
                tensors[name].data = mapped

    def _written(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        from safetensors import safe_open
        from safetensors.torch import save_file

        self._folder = tempfile.TemporaryDirectory(prefix="vln_heatmap_")
        file = Path(self._folder.name) / "weights.safetensors"
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, file)
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in tensors}
