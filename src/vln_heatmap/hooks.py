"""What happens around every node: runs in MLflow, and a plain word when an earlier stage was not run.

Invariant: hooks watch; they change no data. kedro-mlflow keeps its configuration (``mlflow.yml``) and the run
of each ``kedro run``, but it is driven from here instead of through its own entry point, because it knows one
run only and writes a typed parameter group as one long text.
"""

from __future__ import annotations

import atexit
import logging
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, CatalogProtocol
from kedro.io.core import VersionNotFoundError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vln_heatmap.datasets.tracker import Tracker
from vln_heatmap.pipeline_registry import ROAD, stage_of
from vln_heatmap.tracking import StageRuns, finite_numbers, flat_parameters

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext

_SQLITE = "sqlite:///"


class MissingUpstreamError(click.ClickException):
    """A stage was asked for whose input no earlier stage has made yet."""


def anchored(config: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """The mlflow.yml configuration with a relative SQLite file, and its artifacts, put into the project.

    Without this, both would land in whatever folder the command was started from. A server or an absolute
    path is left alone.
    """
    server = dict(config.get("server") or {})
    uri = server.get("mlflow_tracking_uri") or f"{_SQLITE}mlflow.db"
    if not uri.startswith(_SQLITE) or uri.startswith(f"{_SQLITE}/"):
        return dict(config)
    server["mlflow_tracking_uri"] = f"{_SQLITE}{(project / uri.removeprefix(_SQLITE)).as_posix()}"
    tracking = dict(config.get("tracking") or {})
    experiment = dict(tracking.get("experiment") or {})
    experiment.setdefault("create_experiment_kwargs", {"artifact_location": "mlartifacts"})
    return {**config, "server": server, "tracking": {**tracking, "experiment": experiment}}


def git_state(project: Path) -> dict[str, str]:
    """Tags that name the commit the project's code was at, and whether files differed from it."""
    command = ["git", "-C", str(project), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return {"git.commit": "unknown"}
    commit = text.removesuffix("-dirty")
    dirty = str(text != commit).lower()
    return {"git.commit": commit, "git.dirty": dirty, "mlflow.source.git.commit": commit}


def run_name(pipelines: Iterable[str]) -> str:
    """Name of a run: its stages in the order of the road (kedro gives them in any order), or "road"."""
    order = {stage: position for position, stage in enumerate(ROAD)}
    names = sorted(set(pipelines) - {"__default__"}, key=lambda name: (order.get(name, len(order)), name))
    return "+".join(names) or "road"


class UpstreamHooks:
    """Refuses to start a stage whose inputs are missing, and names the stage that makes them."""

    @hook_impl(tryfirst=True)  # before a run is opened for what cannot run
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Check every free input that is in the catalog.

        Raises:
            MissingUpstreamError: an input does not exist, and some stage would make it.
        """
        chosen = run_params.get("load_versions") or {}  # kedro itself says if such a version does not exist
        names = sorted(name for name in pipeline.inputs() if not name.startswith(("params:", "parameters")))
        absent = [
            name for name in names if name in catalog and name not in chosen and not catalog.exists(name)
        ]
        missing = [name for name in absent if not getattr(catalog.get(name), "stands_in", False)]
        makers = _makers(missing) if missing else {}
        if not makers:
            return
        env = f" --env={run_params['env']}" if run_params.get("env") not in {None, "local"} else ""
        commands = [f"`kedro run --pipelines={stage}{env}`" for stage in dict.fromkeys(makers.values())]
        raise MissingUpstreamError(f"no {', '.join(makers)} yet: run {', then '.join(commands)} first")


def _makers(names: list[str]) -> dict[str, str]:
    """Stage that makes each dataset, in the order of the road; datasets that no stage makes are left out."""
    from kedro.framework.project import pipelines

    pipelines.set_requested(None)  # the session asked for some stages only: now all are needed
    stages = [name for name in ROAD if name in pipelines]
    stages += sorted(set(pipelines) - {*ROAD, "__default__"})
    makers: dict[str, str] = {}
    for stage in stages:
        made = {output for node in pipelines[stage].nodes for output in node.outputs}
        makers |= {name: stage for name in names if name in made and name not in makers}
    return makers


class TrackingHooks:
    """Parameters, metrics, artifacts, data versions and times of every stage, in a run of its own.

    A catalog entry says in its metadata what becomes of it: ``mlflow: {artifact_path: validate}`` copies the
    saved file to the artifacts, ``mlflow: {metrics: scores}`` writes the numbers of saved JSON as metrics.
    """

    def __init__(self) -> None:
        self._mlflow: Any = None  # kedro-mlflow's own hook
        self._runs: StageRuns | None = None
        self._catalog: Any = None
        self._started: dict[str, float] = {}  # clock at the start of each node
        self._unsaved: dict[str, set[str]] = {}  # outputs that each running node has yet to save

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook

        logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)  # it sets INFO when it is imported
        self._interrupted()  # an earlier session of this process that Ctrl-C ended
        try:
            config = context.config_loader["mlflow"]
        except MissingConfigException:
            config = {}
        context.config_loader["mlflow"] = anchored(config, context.project_path)
        self._mlflow = MlflowHook()
        self._mlflow.after_context_created(context)

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        import mlflow

        options = self._mlflow.mlflow_config.tracking.run
        options.name = options.name or run_name(run_params.get("pipeline_names") or ())
        self._mlflow.before_pipeline_run(run_params, pipeline, catalog)
        run = mlflow.active_run()
        if run is None:  # mlflow.yml disables tracking for this pipeline
            return
        mlflow.set_tags({"data.version": run_params["run_id"], **git_state(Path(run_params["project_path"]))})
        self._catalog, self._started, self._unsaved = catalog, {}, {}
        self._runs = StageRuns(mlflow.MlflowClient(), run, (stage_of(node) for node in pipeline.nodes))
        atexit.register(self._interrupted)

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> dict[str, Any] | None:
        """Log parameters and the versions of what was loaded; attach trackers to the run of the stage."""
        if self._runs is None:
            return None
        self._started[node.name] = time.perf_counter()
        self._unsaved[node.name] = set(node.outputs)
        stage = stage_of(node)
        params: dict[str, str] = {}
        for name, value in inputs.items():
            if name.startswith("params:"):
                params |= flat_parameters(value, name.removeprefix("params:"))
        versions = {f"loaded.{name}": version for name in inputs if (version := self._version(name, "load"))}
        self._runs.log(stage, params=params, tags=versions)
        return {
            name: Tracker(self._runs.uri, self._runs.run_id(stage))
            for name, value in inputs.items()
            if isinstance(value, Tracker)
        }

    @hook_impl
    def after_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        _flush_trackers(inputs)
        if self._runs is not None and not node.outputs:
            self._runs.log(stage_of(node), metrics=self._seconds(node))
            self._runs.node_done(stage_of(node))

    @hook_impl
    def on_node_error(self, inputs: dict[str, Any]) -> None:
        _flush_trackers(inputs)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log what the catalog entry's metadata asks for."""
        if self._runs is None:
            return
        stage, dataset = stage_of(node), self._catalog.get(dataset_name)
        wish = (getattr(dataset, "metadata", None) or {}).get("mlflow") or {}
        if "artifact_path" in wish and (path := _saved_path(dataset)).exists():
            self._runs.log_file(stage, path, wish["artifact_path"])
        metrics = finite_numbers(data, wish["metrics"]) if "metrics" in wish else {}
        version = self._version(dataset_name, "save")
        self._unsaved[node.name].discard(dataset_name)
        last = not self._unsaved[node.name]
        metrics |= self._seconds(node) if last else {}
        self._runs.log(stage, metrics=metrics, tags={f"saved.{dataset_name}": version} if version else {})
        if last:
            self._runs.node_done(stage)

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        self._close("FINISHED")
        self._mlflow.after_pipeline_run(run_params, pipeline, catalog)

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        self._close("FAILED", {"error": f"{type(error).__name__}: {error}"})
        self._mlflow.on_pipeline_error(error, run_params, pipeline, catalog)

    def _seconds(self, node: Node) -> dict[str, float]:
        return {f"seconds/{node.name}": time.perf_counter() - self._started[node.name]}

    def _version(self, name: str, kind: str) -> str | None:
        """Version of a versioned dataset that is being loaded or saved; None for all other inputs."""
        dataset = self._catalog.get(name)
        if not isinstance(dataset, AbstractVersionedDataset):
            return None
        try:
            return dataset.resolve_load_version() if kind == "load" else dataset.resolve_save_version()
        except VersionNotFoundError:  # a dataset that may be loaded before anything was saved
            return None

    def _close(self, status: str, tags: Mapping[str, str] | None = None) -> None:
        if self._runs is not None:
            self._runs.close(status, tags)
            self._runs = None
            atexit.unregister(self._interrupted)

    def _interrupted(self) -> None:
        """Ctrl-C reaches no hook: mark what is still open before MLflow, at exit, calls it finished."""
        if self._runs is not None:
            import mlflow

            self._close("KILLED")
            mlflow.end_run("KILLED")


def _flush_trackers(inputs: Mapping[str, Any]) -> None:
    for value in inputs.values():
        if isinstance(value, Tracker):
            value.flush()


def _saved_path(dataset: Any) -> Path:
    """Where a file dataset has just saved; a partitioned one keeps its folder in ``_path``."""
    if isinstance(dataset, AbstractVersionedDataset):
        return Path(str(dataset._get_load_path()))
    return Path(str(getattr(dataset, "_filepath", None) or dataset._path))
