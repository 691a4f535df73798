"""Policies that a server can run, by name.

Invariant: what is loaded is shared by all sessions; what a session changes is its own.
"""

from __future__ import annotations

from collections.abc import Callable

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.nodes.navigation.dialogue_policy import dialogue_policies
from vln_heatmap.nodes.navigation.policy import ForwardOnly, Policy, RandomActions
from vln_heatmap.params.navigation import EXECUTE

Maker = Callable[[], Policy]


def _model(checkpoint: str | None) -> Maker:
    if checkpoint is None:
        raise ValueError(
            "the policy 'model' needs the folder of a checkpoint that the navigation stage has made"
        )
    return dialogue_policies(Checkpoint.open(checkpoint, made_by="navigation"), execute=EXECUTE)


#: By name: given a checkpoint, what makes each session's policy.
POLICIES: dict[str, Callable[[str | None], Maker]] = {
    "model": _model,
    "forward_only": lambda _: ForwardOnly,
    "random": lambda _: RandomActions,
}


def policy_maker(name: str, checkpoint: str | None = None) -> Maker:
    """What makes policies called ``name``.

    Raises:
        ValueError: an unknown name.
    """
    if name not in POLICIES:
        raise ValueError(f"policy must be one of {', '.join(sorted(POLICIES))}, got {name!r}")
    return POLICIES[name](checkpoint)
