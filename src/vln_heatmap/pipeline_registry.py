"""The stages of the road. Each is a folder of ``pipelines/`` with a ``create_pipeline()``.

Invariant: ``kedro run --pipelines=<stage>`` imports only that stage, so that ``collect``, ``validate`` and
``normalize`` run without torch; and every node carries the name of its stage as a tag, by which the tracking
hook knows where its parameters and metrics belong (and ``kedro run --tags=<stage>`` picks it).
"""

from __future__ import annotations

import pkgutil

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vln_heatmap import pipelines as stage_folders

ROAD = ("collect", "validate", "normalize", "pretrain", "finetune", "evaluate")


def stage_names() -> frozenset[str]:
    """Names of all stages, without importing any of them."""
    return frozenset(module.name for module in pkgutil.iter_modules(stage_folders.__path__) if module.ispkg)


def stage_of(node: Node) -> str:
    """Name of the stage that a registered node belongs to, "" if it carries no stage's tag."""
    return min(node.tags & stage_names(), default="")


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name; ``__default__`` is the whole road from nothing to a results table.

    Raises:
        ImportError: a requested stage cannot be imported (a shorter road would hide it).
    """
    found = find_pipelines(raise_errors=True)
    stages = {name: Pipeline(graph, tags=name) for name, graph in found.items() if name != "__default__"}
    road = sum((stages[name] for name in ROAD if name in stages), Pipeline([]))
    return stages | {"__default__": road}
