"""The weights of a checkpoint looked at: what is not finite, dead or constant, how large, and whether they fit.

    python -m vln_heatmap.nodes.model.weights data/06_models/policy --env=test

Checkpoints of heatmap models, action dialogues, policies and VGGT are compared with the model of a preset or,
without ``--env``, with the one that they describe themselves. Exit code: 0 sound, 1 weights that are not finite
or do not fit, 2 no such checkpoint or preset. Invariant: nothing is changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from kedro.io import DatasetError
from torch import Tensor

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.nodes.model.language.lora import MARK
from vln_heatmap.nodes.model.parts import part_of
from vln_heatmap.nodes.model.presets import read_parameters

#: Findings that make a checkpoint unusable; the others are worth a look.
SEVERE = ("not_finite", "missing", "unexpected", "shape")
Sizes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Finding:
    """Something about a tensor, of a kind in ``SEVERE`` or ``dead_outputs``, ``dead_inputs``, ``zeros``,
    ``constant``."""

    kind: str
    tensor: str
    what: str


@dataclass(frozen=True)
class PartWeights:
    """All tensors of a part: how many, how many numbers, their norm, root mean square and largest size."""

    part: str
    tensors: int
    numbers: int
    norm: float
    rms: float
    largest: float
    not_finite: int


def summarised(state: Mapping[str, Tensor]) -> list[PartWeights]:
    """The parts of a state dict, in its order; numbers that are not finite count for none of the sizes."""
    parts: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        parts.setdefault(part_of(name), []).append(tensor)
    return [_part(name, tensors) for name, tensors in parts.items()]


def _part(name: str, tensors: list[Tensor]) -> PartWeights:
    numbers = sum(tensor.numel() for tensor in tensors)
    finite = [tensor[tensor.isfinite()].double() for tensor in tensors]
    square = sum(float(values.square().sum()) for values in finite)
    count = sum(values.numel() for values in finite)
    largest = max((float(values.abs().max()) for values in finite if values.numel()), default=0.0)
    rms = (square / max(1, count)) ** 0.5
    return PartWeights(name, len(tensors), numbers, square**0.5, rms, largest, numbers - count)


def unsound(state: Mapping[str, Tensor]) -> list[Finding]:
    """What is wrong with the numbers themselves.

    Tensors of one axis may be constant: biases begin at 0 and norms at 1. Of others, an output (row of the first
    axis) or input (of the second) of zeros only is dead.
    """
    return [finding for name, tensor in state.items() for finding in _of_tensor(name, tensor)]


def _of_tensor(name: str, tensor: Tensor) -> Iterable[Finding]:
    bad = ~tensor.isfinite()
    if bad.any():
        first = bad.nonzero()[0].tolist()
        what = f"{int(bad.sum())} of {tensor.numel()} numbers, first {tensor[tuple(first)]:g} at {first}"
        yield Finding("not_finite", name, what)
        return
    if tensor.dim() < 2 or tensor.numel() < 2 or not tensor.is_floating_point():
        return
    if tensor.min() == tensor.max():
        value = float(tensor.min())
        yield Finding("constant" if value else "zeros", name, f"all {tensor.numel()} numbers are {value:g}")
        return
    for axis, kind in ((0, "dead_outputs"), (1, "dead_inputs")):
        dead = (tensor.movedim(axis, 0).flatten(1) == 0).all(1)  # [D]
        if dead.any():
            shown = dead.nonzero()[:5, 0].tolist()
            yield Finding(kind, name, f"{int(dead.sum())} of {len(dead)}, such as {shown}")


def misfits(state: Mapping[str, Tensor], expected: Sizes, external: Collection[str] = ()) -> list[Finding]:
    """Where weights and a model differ: names and shapes; ``external`` ones need not be stored."""
    found = [
        Finding("missing", name, f"the model has {shape}")
        for name, shape in expected.items()
        if name not in state and name not in external
    ]
    for name, tensor in state.items():
        shape = tuple(tensor.shape)
        if name not in expected:
            found.append(Finding("unexpected", name, f"{shape}, the model has none"))
        elif shape != expected[name]:
            found.append(Finding("shape", name, f"{shape}, the model has {expected[name]}"))
    return found


def kind_of(checkpoint: Checkpoint) -> str:
    """dialogue, policy, heatmap or vggt.

    Raises:
        ValueError: it says nothing of any of them.
    """
    kinds = {"action": "dialogue", "policy": "policy", "model": "heatmap", "vggt": "vggt"}
    for key, kind in kinds.items():
        if key in checkpoint.meta:
            return kind
    raise ValueError(f"{checkpoint.path} describes no model: its state.json must have one of {sorted(kinds)}")


def expected_sizes(checkpoint: Checkpoint, preset: Mapping[str, Any] | None = None) -> tuple[Sizes, set[str]]:
    """Shapes by name that a model of the checkpoint's kind has, and the names that it need not store.

    Args:
        checkpoint: of which tokenizer, statistics and layout are taken.
        preset: parameters by group; None = the checkpoint's own.

    Raises:
        ValueError: parameters of another version.
    """
    model = BUILDERS[kind_of(checkpoint)](checkpoint.meta, preset)
    sizes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    external = checkpoint.meta.get("external", {})
    left_out = {n for n in sizes if n.partition(".")[0] in external and MARK not in n}
    if external:  # a dialogue's drawer has the same tensors under names of its own
        left_out |= {name for name in sizes if name.startswith("drawer.")}
    return sizes, left_out


def _heatmap(meta: Mapping[str, Any], preset: Mapping[str, Any] | None) -> Any:
    from vln_heatmap.nodes.model.assemble import make_model
    from vln_heatmap.nodes.model.published import without_sources
    from vln_heatmap.params import ModelParams

    given = meta["model"] if preset is None else {**preset["model"], "placement": {}}
    params, layout = without_sources(ModelParams.model_validate(given)), meta["features"]
    return make_model(params, meta["tokenizer"], groups=tuple(layout["groups"]), extra=layout["extra"])


def _dialogue(meta: Mapping[str, Any], preset: Mapping[str, Any] | None) -> Any:
    from vln_heatmap.nodes.model.action_dialogue import ActionDialogue
    from vln_heatmap.params.navigation_data import DialogueParams
    from vln_heatmap.params.navigation_model import ActionModelParams

    action = ActionModelParams.model_validate(meta["action"])
    dialogue = DialogueParams.model_validate(meta["dialogue"])
    changed = tuple(meta["changed_parts"])
    return ActionDialogue(_heatmap(meta, preset), action, dialogue, changed=changed)


def _policy(meta: Mapping[str, Any], preset: Mapping[str, Any] | None) -> Any:
    from vln_heatmap.nodes.model.policy.assemble import make_policy
    from vln_heatmap.params.policy import PolicyModelParams

    params = PolicyModelParams.model_validate(meta["policy"] if preset is None else preset["policy"]["model"])
    return make_policy(params, meta["tokenizer"], meta["statistics"])


def _vggt(meta: Mapping[str, Any], preset: Mapping[str, Any] | None) -> Any:
    from vln_heatmap.nodes.model.vggt import VGGT
    from vln_heatmap.params import VGGTParams

    own = VGGTParams.model_validate(meta["vggt"])
    kept = {"source": None, "heads": own.heads, "frozen": False, "name": own.name}
    return VGGT(own if preset is None else VGGTParams.model_validate(preset["model"]["vggt"] | kept))


BUILDERS = {"heatmap": _heatmap, "dialogue": _dialogue, "policy": _policy, "vggt": _vggt}


def report(checkpoint: Checkpoint, *, env: str | None = None, conf: str = "conf") -> dict[str, Any]:
    """Everything about a checkpoint's weights, as plain values: ``parts``, ``findings``, and what they are of.

    Raises:
        ValueError, FileNotFoundError: no such preset, or a checkpoint that describes no model.
    """
    state = checkpoint.state_dict()
    sizes, external = expected_sizes(checkpoint, None if env is None else read_parameters(env, conf))
    findings = [*unsound(state), *misfits(state, sizes, external)]
    return {
        "checkpoint": str(checkpoint.path),
        "kind": kind_of(checkpoint),
        "preset": checkpoint.preset,
        "compared_with": "its own description" if env is None else f"preset {env}",
        "parts": [asdict(part) for part in summarised(state)],
        "findings": [asdict(finding) for finding in findings],
        "sound": not any(finding.kind in SEVERE for finding in findings),
    }


def as_text(found: Mapping[str, Any], *, shown: int = 20) -> str:
    """The report for a terminal; of each kind of finding the first ``shown``."""
    columns = ("part", "tensors", "numbers", "norm", "rms", "largest", "not_finite")
    lines = [f"{found['checkpoint']}: {found['kind']}, preset {found['preset']}", ""]
    lines.append("".join(f"{name:>12}" if i else f"{name:<16}" for i, name in enumerate(columns)))
    for part in found["parts"]:
        cells = (f"{part[c]:>12,}" if isinstance(part[c], int) else f"{part[c]:>12.4g}" for c in columns[1:])
        lines.append(f"{part['part']:<16}{''.join(cells)}")
    lines += ["", f"compared with {found['compared_with']}: {'sound' if found['sound'] else 'NOT SOUND'}"]
    for kind in dict.fromkeys(finding["kind"] for finding in found["findings"]):
        own = [finding for finding in found["findings"] if finding["kind"] == kind]
        lines.append(f"{kind} ({len(own)}){'' if kind in SEVERE else ', worth a look'}:")
        lines += [f"  {finding['tensor']}: {finding['what']}" for finding in own[:shown]]
        if len(own) > shown:
            lines.append(f"  … and {len(own) - shown} more (--shown)")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m vln_heatmap.nodes.model.weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", help='a checkpoint folder, that of all its versions, or "reference"')
    parser.add_argument("--env", help="preset to compare with: tiny, test, full, …; without: its own")
    parser.add_argument("--conf", default="conf", help="folder of the presets")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--shown", type=int, default=20, help="findings of each kind that are listed")
    given = parser.parse_args(arguments)
    try:
        with torch.no_grad():
            found = report(Checkpoint.open(given.checkpoint), env=given.env, conf=given.conf)
    except (DatasetError, ValueError, FileNotFoundError, KeyError) as error:
        print(f"cannot look at {given.checkpoint}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=2) if given.format == "json" else as_text(found, shown=given.shown))
    return 0 if found["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())
