"""The stages of the road. Each is a folder of ``pipelines/`` with a ``create_pipeline()``.

Invariant: ``kedro run --pipelines=<stage>`` imports only that stage, so that ``collect``, ``validate`` and
``normalize`` run without torch.
"""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

ROAD = ("collect", "validate", "normalize", "pretrain", "finetune", "evaluate")


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name; ``__default__`` is the whole road from nothing to a results table."""
    pipelines = find_pipelines()
    pipelines["__default__"] = sum((pipelines[name] for name in ROAD if name in pipelines), Pipeline([]))
    return pipelines
