"""The catalog as a whole: nothing is missing from it, and the lineage graph can be drawn in layers."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Any

import pytest
from box_walks import ROOT
from kedro.config import OmegaConfigLoader
from kedro.framework.project import configure_project, pipelines
from kedro.pipeline import Pipeline

from vln_heatmap.pipeline_registry import ROAD, stage_of


@pytest.fixture(scope="module", params=["dagger", "navigation"])
def graph(request: pytest.FixtureRequest) -> Pipeline:
    """All nodes of all stages but one of two that make the same data."""
    configure_project("vln_heatmap")
    return sum((pipelines[name] for name in pipelines if name != request.param), Pipeline([]))


@pytest.fixture(scope="module")
def catalog() -> dict[str, dict[str, Any]]:
    return OmegaConfigLoader(str(ROOT / "conf"), base_env="base", default_run_env="base")["catalog"]


def layer_of(entry: dict[str, Any]) -> str:
    return entry["metadata"]["kedro-viz"]["layer"]


def test_the_road_is_complete_and_every_node_knows_its_stage(graph: Pipeline) -> None:
    assert set(ROAD) <= set(pipelines)
    assert {stage_of(node) for node in pipelines["__default__"].nodes} == set(ROAD)
    assert all(stage_of(node) for node in graph.nodes)


def test_every_input_is_made_by_a_node_or_in_the_catalog(
    graph: Pipeline, catalog: dict[str, dict[str, Any]]
) -> None:
    free = {name for name in graph.inputs() if not name.startswith(("params:", "parameters"))}
    assert free <= set(catalog)


def test_every_entry_is_used_and_has_a_layer(catalog: dict[str, dict[str, Any]]) -> None:
    configure_project("vln_heatmap")
    assert set(catalog) <= set().union(*(pipelines[name].datasets() for name in pipelines))
    assert all(layer_of(entry) for entry in catalog.values())


@pytest.mark.parametrize("stage", ["policy", "inspect_data", "one_batch"])
def test_stages_of_the_policy_stand_behind_the_collection(stage: str) -> None:
    """Although they can do without it, for data of other formats."""
    configure_project("vln_heatmap")
    both = pipelines["__default__"] + pipelines[stage]
    before = {node.name for node in both.to_nodes(*(node.name for node in pipelines[stage].nodes)).nodes}
    assert {"collect_sequences", "split_by_scene", "own_episodes"} <= before


def test_layers_have_an_order(graph: Pipeline, catalog: dict[str, dict[str, Any]]) -> None:
    """kedro-viz draws no layers at all if data flows back into an earlier one."""
    layers_before: dict[str, set[str]] = {}  # layers upstream of each dataset
    order: TopologicalSorter[str] = TopologicalSorter()
    for node in graph.nodes:  # in order of execution
        upstream = set().union(*(layers_before.get(name, set()) for name in node.inputs))
        upstream |= {layer_of(catalog[name]) for name in node.inputs if name in catalog}
        for name in node.outputs:
            layers_before[name] = upstream
            if name in catalog:
                order.add(layer_of(catalog[name]), *(upstream - {layer_of(catalog[name])}))
    order.prepare()  # raises CycleError
