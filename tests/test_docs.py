"""README and docs say what is: their commands, parameters, messages, paths and links exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from box_walks import ROOT
from kedro.config import OmegaConfigLoader
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import configure_project, pipelines
from pydantic import BaseModel

from vln_heatmap import params as models
from vln_heatmap.params.policy import ActParams, InspectDataParams, PolicyParams
from vln_heatmap.params.policy_navigation import PolicyNavigationParams
from vln_heatmap.pipeline_registry import stage_names

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS: dict[str, type[BaseModel]] = {
    "collect": models.CollectParams,
    "validate": models.ValidateParams,
    "normalize": models.NormalizeParams,
    "model": models.ModelParams,
    "pretrain": models.StageParams,
    "finetune": models.StageParams,
    "evaluate": models.EvaluateParams,
    "benchmark_samplers": models.SamplerBenchmarkParams,
    "navigation": models.NavigationParams,
    "ablate": models.AblateParams,
    "ablate_training": models.AblateParams,
    "generality": models.GeneralityParams,
    "predict": models.PredictParams,
    "export": models.ExportParams,
    "import": models.ImportParams,
    "policy": PolicyParams,
    "act": ActParams,
    "policy_navigation": PolicyNavigationParams,
    "inspect_data": InspectDataParams,
}
#: Folders of the repository; a path that begins with one of them must exist.
FOLDERS = ("conf", "src", "docs", "tests", "notebooks", "benchmarks")

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def blocks(path: Path, language: str = r"\w*") -> list[str]:
    """Contents of the fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def prose(path: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands(path: Path, program: str) -> list[list[str]]:
    """Every command line, in a shell block or in backticks, that calls ``program``, as words."""
    lines = [line for block in blocks(path, "bash") for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose(path))
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True) for part in parts if part.startswith(program)]


@cache
def values() -> dict[str, Any]:
    """Every parameter group of the default preset, validated, as nested plain values."""
    loader = OmegaConfigLoader(
        str(ROOT / "conf"), base_env="base", default_run_env="base", merge_strategy={"parameters": "soft"}
    )
    given = loader["parameters"]
    return {name: model(**given[name]).model_dump(mode="json") for name, model in GROUPS.items()}


def lookup(path: str) -> Any:
    """Value of the default preset at a dotted path."""
    found: Any = values()
    for part in path.split("."):
        assert isinstance(found, dict), f"{path}: there is nothing below {found}"
        assert part in found, f"there is no parameter {path}"
        found = found[part]
    return found


def options(words: list[str]) -> dict[str, str]:
    """``--name=value`` options of a command line."""
    return dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))


@cache
def node_names() -> frozenset[str]:
    configure_project("vln_heatmap")
    return frozenset(node.name for name in pipelines for node in pipelines[name].nodes)


@page
def test_kedro_runs_name_stages_environments_nodes_and_parameters(path: Path) -> None:
    known = {name.lstrip("-") for option in kedro_run.params for name in option.opts}
    for words in commands(path, "kedro run") + commands(path, "python -m vln_heatmap "):
        given = options(words)
        assert set(given) <= known, words
        stages = [name for key in ("pipelines", "pipeline") if key in given for name in given[key].split(",")]
        assert all(name in stage_names() or name == "…" for name in stages), words
        nodes = [name for key in ("from-nodes", "to-nodes") if key in given for name in given[key].split(",")]
        assert set(nodes) <= node_names(), words
        if given.get("env", "mine") != "mine":  # the example of a preset of one's own
            assert (ROOT / "conf" / given["env"]).is_dir(), words
        for item in filter(None, given.get("params", "").split(",")):
            lookup(item.partition("=")[0])


@page
def test_modules_and_scripts_that_are_run_exist(path: Path) -> None:
    for words in commands(path, "python -m "):
        assert importlib.util.find_spec(words[2]), words
    for words in commands(path, "python docs/"):
        assert (ROOT / words[1]).is_file(), words
    for words in commands(path, "pytest"):
        assert all((ROOT / word).exists() for word in words[1:] if word.endswith(".py")), words


@page
def test_values_that_are_quoted_are_the_default(path: Path) -> None:
    """A parameter in backticks and a number in brackets after it: the value in the default preset."""
    quoted = re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)+)`\s\((-?[\d.]+)\)", prose(path))
    for name, number in quoted:
        assert lookup(name) == float(number), f"{name} is {lookup(name)}, the page says {number}"


@page
def test_parameters_in_prose_exist(path: Path) -> None:
    for name in re.findall(rf"`((?:{'|'.join(GROUPS)})(?:\.[a-z_0-9]+)+)(?::[^`]*)?`", prose(path)):
        if name != "model.safetensors":
            lookup(name)


@page
def test_links_and_their_sections_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith("http"):
            continue
        file, _, section = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        assert not section or section in sections(linked), target


def sections(path: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@page
def test_paths_of_the_repository_exist(path: Path) -> None:
    """``<stage>`` stands for any name; conf/mine and conf/local are the reader's own."""
    for name in re.findall(rf"(?<![\w/])((?:{'|'.join(FOLDERS)})/[\w./<>-]*[\w/])", path.read_text("utf-8")):
        pattern = re.sub(r"<\w+>", "*", name)
        assert any(ROOT.glob(pattern)) or name.startswith(("conf/mine", "conf/local/")), name


@page
def test_datasets_of_tables_are_in_the_catalog(path: Path) -> None:
    catalog = OmegaConfigLoader(str(ROOT / "conf"), base_env="base", default_run_env="base")["catalog"]
    for name in re.findall(r'catalog\.load\("(\w+)"\)', path.read_text("utf-8")):
        assert name in catalog
    if path.name == "stages.md":
        stored = {name for name, entry in catalog.items() if "filepath" in entry or "path" in entry}
        assert {name for name in stored if f"`{name}`" not in path.read_text("utf-8")} == set()


@page
def test_python_examples_compile(path: Path) -> None:
    for block in blocks(path, "python"):
        compile(block, path.name, "exec")


@cache
def texts() -> str:
    """Every string of the package, one a line, with … for what an f-string or a %-format fills in."""
    found = []
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[sdr]|%\.\d+f", "…", node.value))
    return "\n".join(found)


def test_messages_are_those_of_the_code() -> None:
    messages = [block.strip() for block in blocks(ROOT / "docs/troubleshooting.md", "message")]
    assert len(messages) > 30
    assert [message for message in messages if message not in texts()] == []
