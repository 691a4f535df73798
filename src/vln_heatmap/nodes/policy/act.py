"""A trained policy asked once: images, prompt and state of one moment to a chunk of actions, as a table.

Invariant: the actions are those of ``Policy.act`` from Python, in the units of the robot.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vln_heatmap.params.policy import ActParams, RequestParams


def act(checkpoint: Any, observation: Any, params: ActParams) -> tuple[pd.DataFrame, dict[str, Any], Figure]:
    """Ask a policy.

    Args:
        checkpoint: ``Checkpoint`` of a policy.
        observation: images, and what the request file says; see ``datasets.observation``.
        params: what else is asked, and how.

    Returns:
        One row an action (``step`` from 0 and a column for each number, in the units of the data), what was asked
        and answered, and the chunk drawn.

    Raises:
        ValueError: no state, another number of images or of numbers than the policy's, or actions left of an old
            chunk that nothing is to be done with.
        CheckpointMismatchError: the checkpoint is not one of a policy.
    """
    from vln_heatmap.nodes.policy.inference import Policy
    from vln_heatmap.reporting.policy_figures import chunk_plot

    policy = Policy.open(checkpoint)
    asked = _complete(merged(observation.request, params), policy, params)
    start = time.perf_counter()
    chunk = _answer(policy, list(observation.images.values()), asked, params)
    seconds = time.perf_counter() - start
    table = pd.DataFrame(chunk, columns=list(policy.action_names))
    table.insert(0, "step", np.arange(len(table)))
    summary = {
        "checkpoint": str(checkpoint.path),
        "head": policy.model.params.head.name,
        "images": dict(zip(policy.cameras, observation.images, strict=True)),
        **asked.model_dump(mode="json", exclude={"images"}),
        "chunking": params.chunking.model_dump(),
        "seed": params.seed,
        "actions": table.drop(columns="step").to_dict("records"),
        "seconds": round(seconds, 4),
    }
    return table, summary, chunk_plot(observation.images, table, left=asked.left)


def _answer(policy: Any, images: list[Any], asked: RequestParams, params: ActParams) -> Any:
    return policy.act(
        images,
        asked.prompt or "",
        asked.state or (),
        previous=asked.previous,
        seed=params.seed,
        left=asked.left,
        delay=params.chunking.delay if asked.left else 0,
        strength=params.chunking.strength,
    )


def merged(request: RequestParams, params: ActParams) -> RequestParams:
    """The request of the file with what the parameters say in its place."""
    given = {name: getattr(params, name) for name in RequestParams.model_fields}
    return request.model_copy(update={name: value for name, value in given.items() if value is not None})


def _complete(asked: RequestParams, policy: Any, params: ActParams) -> RequestParams:
    """The request, if it says all that is needed and nothing that is not."""
    if asked.state is None:
        example = " ".join("0" * len(policy.state_names))
        raise ValueError(
            f"the state is missing: --params='act.state={example}' for the numbers {list(policy.state_names)}, "
            "or state in the request file"
        )
    if asked.left is not None and params.chunking.name == "none":
        raise ValueError(
            "actions are left of an old chunk, but act.chunking.name is none: set it to real_time, or leave them "
            "out"
        )
    return asked
