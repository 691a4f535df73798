"""The model card: what each part of a preset's model has and costs.

    python -m vln_heatmap.nodes.model.describe --env=full --format=markdown

Invariant: parameters, memory and FLOPs are counted on the meta device, which holds no numbers, so that nothing
is downloaded and any size fits. Only times need a model that really runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from vln_heatmap.nodes.model.encoder2d import Encoder2d, make_encoder
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.parts import PARTS, part_of
from vln_heatmap.nodes.model.presets import read_parameters
from vln_heatmap.nodes.model.published import at_hand, without_sources
from vln_heatmap.nodes.model.tokenizer import make_tokenizer, train_tokenizer
from vln_heatmap.nodes.model.tuning import adapt
from vln_heatmap.params import ModelParams

INSTRUCTION = "go to the red chair on the left of the door"
Weights = Literal["auto", "random", "none"]


@dataclass(frozen=True)
class PartCard:
    """One part of the model, for one window of frames.

    Attributes:
        part: see ``parts.PARTS``.
        parameters: numbers; trained: those of them that train.
        weights: bytes, in the precision they have.
        activations: bytes that a training step on one window keeps for the backward pass, weights apart. An
            upper estimate: kernels that fuse attention do not keep its matrices, which are counted here.
        flops: of one forward pass; a multiplication and an addition are two. Those of adapters count as the
            language model's.
        seconds: of one forward pass; None where nothing was timed.
    """

    part: str
    parameters: int
    trained: int
    weights: int
    activations: int
    flops: int
    seconds: float | None


@dataclass(frozen=True)
class ModelCard:
    """The parts, and what was done to find out.

    Attributes:
        preset: name of the preset.
        frames: of a window: the keyframes and the current view.
        parts: in the order of ``parts.PARTS``.
        timing: on what the times were taken, or why there are none.
    """

    preset: str
    frames: int
    parts: tuple[PartCard, ...]
    timing: str

    @property
    def whole(self) -> PartCard:
        """All parts together."""
        columns = ("parameters", "trained", "weights", "activations", "flops")
        sums = {name: sum(getattr(p, name) for p in self.parts) for name in columns}
        times = [p.seconds for p in self.parts if p.seconds is not None]
        return PartCard("all", **sums, seconds=sum(times) if times else None)


def describe(
    params: ModelParams, *, frames: int | None = None, device: str = "cpu", weights: Weights = "auto"
) -> ModelCard:
    """The card of a model.

    Args:
        params: of the model; weights that it names are not needed but for times.
        frames: of a window, at least 2; None = the keyframes and the current view.
        device: on which times are taken.
        weights: of the model that is timed: "auto" the configured ones, if they are at hand; "random" any of
            the right shapes; "none" takes no times.

    Raises:
        ValueError: sizes of a source that are not known (see ``published``), or too few frames.
    """
    count = params.keyframes.count + 1 if frames is None else frames
    if count < 2:
        raise ValueError(f"frames must be at least 2 (a keyframe and the current view), got {count}")
    bare = without_sources(params)
    model, encoder = build(bare, "meta")
    flops, activations = _costs(model, encoder, count)
    seconds: dict[str, float] = {}
    reason = _why_no_times(params, [model, encoder], device, weights)
    if reason is None:
        seconds = _times(*build(params if weights == "auto" else bare, device), count)
    numbers = [*model.named_parameters(), *((f"encoder.{n}", p) for n, p in encoder.named_parameters())]
    parts = []
    for part in PARTS:
        own = [p for name, p in numbers if part_of(name) == part]
        if own:
            parts.append(
                PartCard(
                    part,
                    parameters=sum(p.numel() for p in own),
                    trained=sum(p.numel() for p in own if p.requires_grad),
                    weights=sum(p.numel() * p.element_size() for p in own),
                    activations=activations.get(part, 0),
                    flops=flops.get(part, 0),
                    seconds=seconds.get(part),
                )
            )
    return ModelCard(params.preset, count, tuple(parts), reason or _device_name(device))


def build(params: ModelParams, device: str) -> tuple[HeatmapModel, Encoder2d]:
    """Model and encoder on a device; "meta" holds no numbers, and must not have to read any."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = _tokenizer(params)
        of_sizes = params.encoder.name == "dinov3"  # the other has its weights from a package, always
        with torch.device(device) if of_sizes else nullcontext():
            encoder = make_encoder(params.encoder).to(device)
        with torch.device(device):
            model = HeatmapModel(params, encoder.groups, encoder.extra, tokenizer)
            adapt(model, params.tuning)
    return model.to(device), encoder


def _tokenizer(params: ModelParams) -> Any:
    """A tokenizer of as many tokens as the configured vocabulary has."""
    language = params.language
    content = None if language.source else train_tokenizer([INSTRUCTION], language.vocab_size)
    tokenizer = make_tokenizer(language, content)
    if language.source is None:
        tokenizer.add_tokens([f"<|unused_{i}|>" for i in range(language.vocab_size - len(tokenizer))])
    return tokenizer


# --- what a window costs ------------------------------------------------------------------------------------


def _window(model: HeatmapModel, frames: int, device: torch.device) -> dict[str, Any]:
    """Inputs of one window whose last frame is the current view."""
    side, grid = model.params.vggt.resolution, model.params.encoder.grid
    return {
        "frames": torch.rand(1, frames, 3, side, side, device=device),
        "features": torch.rand(1, frames, sum(model.groups) + model.extra, grid, grid, device=device),
        "instructions": [INSTRUCTION],
        "current": torch.full((1, 1), frames - 1, device=device),
        "keyframes": torch.arange(frames - 1, device=device)[None, None],
        "poses": torch.eye(4, device=device).expand(1, frames, 4, 4),
    }


def _costs(model: HeatmapModel, encoder: Encoder2d, frames: int) -> tuple[dict[str, int], dict[str, int]]:
    """FLOPs of a forward pass and bytes kept for the backward pass, by part, of models on the meta device."""
    flops: dict[str, int] = {}
    kept = Kept(model.parameters())
    with (
        FlopCounterMode(display=False) as counter,
        _visits(model, kept.enter, kept.leave),
        saved_tensors_hooks(kept.pack, lambda tensor: tensor),
    ):
        model.train()(**_window(model, frames, torch.device("meta")))
    for name, counts in counter.get_flop_counts().items():
        owner, _, child = name.partition(".")
        if owner == type(model).__name__ and child in dict(model.named_children()):
            part = part_of(child)
            flops[part] = flops.get(part, 0) + sum(counts.values())
    with FlopCounterMode(display=False) as counter:
        encoder.encode(torch.rand(frames, 3, 8, 8, device="meta"))
    return {**flops, "encoder": counter.get_total_flops()}, kept.bytes


class Kept:
    """Adds up what autograd keeps, by the part that is running; every memory counts once."""

    def __init__(self, weights: Iterator[nn.Parameter]) -> None:
        self.bytes: dict[str, int] = {}
        self._part = "heads"  # between the parts: the model's own arithmetic
        self._seen = {p.untyped_storage()._cdata for p in weights}

    def enter(self, part: str) -> None:
        self._part = part

    def leave(self, part: str) -> None:
        self._part = "heads"

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self.bytes[self._part] = self.bytes.get(self._part, 0) + storage.nbytes()
        return tensor


@contextmanager
def _visits(model: nn.Module, enter: Callable[[str], None], leave: Callable[[str], None]) -> Iterator[None]:
    """Call ``enter`` and ``leave`` with the part's name around each of the model's modules."""
    handles = []
    for name, module in model.named_children():
        part = part_of(name)
        handles.append(module.register_forward_pre_hook(partial(_call, enter, part)))
        handles.append(module.register_forward_hook(partial(_call, leave, part)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _call(function: Callable[[str], None], part: str, *_: Any) -> None:
    function(part)


# --- times --------------------------------------------------------------------------------------------------


def _why_no_times(params: ModelParams, models: list[nn.Module], device: str, weights: Weights) -> str | None:
    """Why nothing can be timed; None if it can."""
    if weights == "none":
        return "not timed: as asked"
    missing = [] if weights == "random" else [s for s in sources(params) if not at_hand(s)]
    if missing:
        return f"not timed: the weights of {', '.join(missing)} are not at hand (--weights=random needs none)"
    needed = sum(p.numel() * 4 for model in models for p in model.parameters())  # made in float32
    free = _free_memory(device)
    if needed > 0.7 * free:
        return f"not timed: {_bytes(needed)} of weights do not fit into {_bytes(free)} of free memory"
    return None


def sources(params: ModelParams) -> list[str]:
    """Folders, files and hub ids that the parts take weights from."""
    encoder = params.encoder.dinov3.source if params.encoder.name == "dinov3" else None
    return [s for s in (params.vggt.source, encoder, params.language.source) if s is not None]


def _free_memory(device: str) -> int:
    """Bytes."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _times(model: HeatmapModel, encoder: Encoder2d, frames: int, *, repeats: int = 3) -> dict[str, float]:
    """Seconds of a forward pass by part: medians, after one pass that is not counted."""
    device = next(model.parameters()).device
    window = _window(model.eval(), frames, device)
    images = torch.rand(frames, 3, encoder.params.input_size, encoder.params.input_size, device=device)
    runs: list[dict[str, float]] = []
    for _ in range(repeats + 1):
        clock = Clock(device)
        with torch.inference_mode(), _visits(model, clock.enter, clock.leave):
            clock.enter("encoder")
            encoder.encode(images)
            clock.leave("encoder")
            model(**window)
        runs.append(clock.seconds)
    return {part: statistics.median(run[part] for run in runs[1:]) for part in runs[0]}


class Clock:
    """Adds up seconds by part."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self._since = device, dict[str, float](), 0.0

    def enter(self, part: str) -> None:
        self._since = self._now()

    def leave(self, part: str) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + self._now() - self._since

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return f"timed on {torch.cuda.get_device_name(torch.device(device))}"
    return f"timed on {device}, {torch.get_num_threads()} threads"


# --- what it looks like -------------------------------------------------------------------------------------

_COLUMNS = ("part", "parameters", "trained", "weights", "activations", "GFLOPs", "ms")


def as_text(card: ModelCard) -> str:
    """A table for the terminal."""
    lines = ["".join(f"{cell:>14}" if i else f"{cell:<10}" for i, cell in enumerate(r)) for r in _rows(card)]
    return "\n".join([_title(card), "", *lines, "", card.timing])


def as_markdown(card: ModelCard) -> str:
    """A table for a page."""
    head, *rows = _rows(card)
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
    return "\n".join([f"**{_title(card)}**", "", *lines, "", card.timing])


def as_json(card: ModelCard) -> str:
    """Exact numbers: bytes, FLOPs, seconds."""
    return json.dumps({**asdict(card), "whole": asdict(card.whole)}, indent=2)


def _title(card: ModelCard) -> str:
    return f"Model card of preset {card.preset}: one window of {card.frames} frames"


def _rows(card: ModelCard) -> list[list[str]]:
    return [list(_COLUMNS), *([_cells(part) for part in (*card.parts, card.whole)])]


def _cells(part: PartCard) -> list[str]:
    return [
        part.part,
        f"{part.parameters:,}",
        f"{part.trained:,}",
        _bytes(part.weights),
        _bytes(part.activations),
        f"{part.flops / 1e9:,.3f}",
        "-" if part.seconds is None else f"{part.seconds * 1e3:.1f}",
    ]


def _bytes(count: float) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.2f} MiB"


FORMATS: dict[str, Callable[[ModelCard], str]] = {"text": as_text, "markdown": as_markdown, "json": as_json}


def read_params(env: str, conf: str | Path = "conf") -> ModelParams:
    """Parameters of the model in a configuration environment; ``base`` and ``tiny`` are the same.

    Raises:
        FileNotFoundError: no such environment.
    """
    return ModelParams.model_validate(read_parameters(env, conf)["model"])


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m vln_heatmap.nodes.model.describe", description=__doc__)
    parser.add_argument("--env", default="tiny", help="configuration environment: tiny (base), full, …")
    parser.add_argument("--conf", default="conf", help="folder of the environments")
    parser.add_argument("--format", choices=sorted(FORMATS), default="text")
    parser.add_argument(
        "--frames", type=int, help="of a window; the keyframes and the current view if not given"
    )
    parser.add_argument("--device", default="cpu", help="on which times are taken")
    parser.add_argument("--weights", choices=("auto", "random", "none"), default="auto", help="to take times")
    options = parser.parse_args(arguments)
    try:
        params = read_params(options.env, options.conf)
        card = describe(params, frames=options.frames, device=options.device, weights=options.weights)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    print(FORMATS[options.format](card))


if __name__ == "__main__":
    main()
