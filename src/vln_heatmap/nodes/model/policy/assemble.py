"""Making a policy from parameters, from a checkpoint alone, and from a checkpoint of another policy.

Invariant: a checkpoint carries parameters, tokenizer and statistics, so that the policy made from it answers as
the one that was saved; and whatever of a warm start is not taken over is said.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from pydantic import ValidationError

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointMismatchError, load_into
from vln_heatmap.nodes.model.policy.normalisation import check_statistics
from vln_heatmap.nodes.model.policy.policy_model import PolicyModel
from vln_heatmap.nodes.model.tokenizer import make_tokenizer
from vln_heatmap.params.policy import PolicyModelParams

_LOG = logging.getLogger(__name__)
#: Parts that a warm start may make anew, because they depend on the robot.
_OF_THE_ROBOT = ("head", "enter_state", "cameras")


def make_policy(
    params: PolicyModelParams, tokenizer: Mapping[str, Any], statistics: Mapping[str, Any], *, seed: int = 0
) -> PolicyModel:
    """A policy with random weights, the same for the same seed, but for parts whose parameters name a source.

    Args:
        params: sizes of the parts, and where they come from.
        tokenizer: content of tokenizer.json; not looked at if the language model has a source.
        statistics: of the training data, see ``policy_statistics``.
        seed: of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PolicyModel(params, make_tokenizer(params.language, tokenizer), statistics)


def external_parts(policy: PolicyModel) -> dict[str, Any]:
    """Frozen parts whose weights come from a source of their own: a checkpoint need not store them."""
    return {
        name: getattr(policy, name)
        for name in policy.params.freeze
        if getattr(policy, name).origin is not None
    }


def external_weights(policy: PolicyModel) -> set[str]:
    """Names of the weights of ``external_parts``."""
    return {
        f"{part}.{name}" for part, module in external_parts(policy).items() for name in module.state_dict()
    }


def policy_meta(
    policy: PolicyModel, tokenizer: Mapping[str, Any], statistics: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Metadata with which ``policy_from_checkpoint`` can rebuild the policy."""
    return {
        "preset": policy.params.preset,
        "policy": policy.params.model_dump(mode="json"),
        "tokenizer": tokenizer,
        "statistics": statistics,
        "external": {name: asdict(part.origin) for name, part in external_parts(policy).items()},
        **more,
    }


def policy_from_checkpoint(
    checkpoint: Checkpoint, *, statistics: Mapping[str, Any] | None = None
) -> PolicyModel:
    """Rebuild a trained policy, in evaluation mode.

    Args:
        checkpoint: where from.
        statistics: of the data that it is to be used on; None = they are not compared.

    Raises:
        CheckpointMismatchError: it is no policy, or its frozen weights came from elsewhere than its sources hold.
        StatisticsMismatchError: the data have other statistics.
    """
    params = stored_params(checkpoint)
    meta = checkpoint.meta
    if statistics is not None:
        check_statistics(meta["statistics"], statistics, checkpoint=checkpoint.path)
    policy = make_policy(params, meta["tokenizer"], meta["statistics"])
    for part, module in external_parts(policy).items():
        stored = meta["external"].get(part)
        if stored is not None and module.origin.fingerprint != stored["fingerprint"]:
            raise CheckpointMismatchError(
                f"checkpoint {checkpoint.path} was trained on {part} weights from {stored['source']} "
                f"(fingerprint {stored['fingerprint']}), but they are others now ({module.origin.fingerprint})"
            )
    load_into(policy, checkpoint, preset=params.preset, external=external_weights(policy))
    return policy.eval()


def stored_params(checkpoint: Checkpoint) -> PolicyModelParams:
    """Parameters of the policy in a checkpoint.

    Raises:
        CheckpointMismatchError: there is none, or of another version.
    """
    try:
        return PolicyModelParams.model_validate(checkpoint.meta["policy"])
    except (KeyError, ValidationError) as error:
        raise CheckpointMismatchError(
            f"checkpoint {checkpoint.path} does not describe a policy of this version: {error}"
        ) from error


def warm_start(policy: PolicyModel, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Take over the weights of another policy, but for parts that do not fit the robot.

    Args:
        policy: changed in place.
        checkpoint: of a policy; its head is left if it has another form, dimension or horizon, and so are the
            entrance of the state and the cameras.

    Returns:
        The parts that were made anew.

    Raises:
        CheckpointMismatchError: it is no policy, or other parts have other shapes.
    """
    stored_params(checkpoint)
    stored, own = checkpoint.state_dict(), policy.state_dict()
    anew = tuple(part for part in _OF_THE_ROBOT if _shapes(stored, part) != _shapes(own, part))
    kept = [name for name in own if name.partition(".")[0] not in anew]
    external = external_weights(policy)
    wrong = [
        name
        for name in kept
        if name not in external and (name not in stored or stored[name].shape != own[name].shape)
    ]
    if wrong:
        raise CheckpointMismatchError(
            f"checkpoint {checkpoint.path} cannot start this policy: {wrong[0]} is "
            f"{tuple(stored[wrong[0]].shape) if wrong[0] in stored else 'not in it'}, here "
            f"{tuple(own[wrong[0]].shape)}. Use its sizes of vision, language and resampler"
        )
    policy.load_state_dict({name: stored[name] for name in kept if name in stored}, strict=False)
    if anew:
        _LOG.warning("%s made anew: %s has others", ", ".join(anew), checkpoint.path)
    return anew


def _shapes(state: Mapping[str, Any], part: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items() if name.partition(".")[0] == part}
