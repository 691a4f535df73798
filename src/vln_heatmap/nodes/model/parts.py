"""The parts of the whole model by the names that configurations use.

Invariant: every parameter of the model belongs to exactly one part.
"""

from __future__ import annotations

from vln_heatmap.nodes.model.language.lora import MARK

#: Modules of ``HeatmapModel`` by part; ``lora`` are the adapters inside the language model.
PARTS: dict[str, tuple[str, ...]] = {
    "vggt": ("vggt",),
    "encoder": ("encoder",),
    "fusion": ("fusion",),
    "projector": ("enter_language", "leave_language"),
    "language": ("language",),
    "lora": (),
    "heads": ("detail", "matcher", "referring", "head"),
}
_PART_OF = {module: part for part, modules in PARTS.items() for module in modules}


def part_of(parameter: str) -> str:
    """Part of a parameter of ``HeatmapModel``, by its full name; its first module's name if it is in none."""
    first = parameter.partition(".")[0]
    part = _PART_OF.get(first, first)
    return "lora" if part == "language" and MARK in parameter else part
