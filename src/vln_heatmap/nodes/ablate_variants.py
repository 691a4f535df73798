"""From a list of changes to trials that differ in these changes and in nothing else.

Invariant: all trials have the same budget, data and seeds unless a variant names another; a key or value that
does not exist is refused before anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

from vln_heatmap.params import AblateParams, ModelParams, Params, StageParams, TrialParams

_P = TypeVar("_P", bound=Params)


@dataclass(frozen=True)
class Trial:
    """One variant with one seed.

    Attributes:
        variant: its name; changes: what it overrides, by dotted key.
        seed: of initial weights, order of the data and augmentation.
        model, pretrain, finetune: all parameters of its training.
        settings: budget, windows that it is measured on, what it is compared with.
    """

    variant: str
    changes: Mapping[str, Any]
    seed: int
    model: ModelParams
    pretrain: StageParams
    finetune: StageParams
    settings: TrialParams

    @property
    def name(self) -> str:
        return f"{self.variant}/seed_{self.seed}"


def make_trials(
    params: AblateParams, model: ModelParams, pretrain: StageParams, finetune: StageParams
) -> list[Trial]:
    """All chosen trials, the first seed of every variant before the second of any, the reference first.

    Raises:
        ValueError: a variant that names a parameter or value that does not exist.
    """
    settings = TrialParams.model_validate(params.model_dump(include=set(TrialParams.model_fields)))
    groups = {"model": model, "pretrain": pretrain, "finetune": finetune, "ablate": settings}
    return [
        _trial(name, params.variants[name], seed, groups) for seed in params.seeds for name in params.chosen()
    ]


def _trial(variant: str, changes: Mapping[str, Any], seed: int, groups: Mapping[str, Params]) -> Trial:
    try:
        own: dict[str, Any] = {g: overridden(base, changes, g) for g, base in groups.items()}
        settings = own["ablate"]
        budget = {"pretrain": max(settings.pretrain_steps, 1), "finetune": settings.steps}
        stages = {stage: budgeted(own[stage], steps, seed) for stage, steps in budget.items()}
    except ValueError as error:  # of pydantic, too
        raise ValueError(f"variant {variant} of ablate.variants: {error}") from error
    return Trial(variant, changes, seed, own["model"], **stages, settings=settings)


def budgeted(stage: StageParams, steps: int, seed: int) -> StageParams:
    """A stage that makes so many updates; those of a curriculum are spread over its epochs, all of which it has.

    Raises:
        ValueError: a curriculum whose epochs do not divide the steps.
    """
    changes: dict[str, Any] = {"train.steps": steps, "train.seed": seed}
    curriculum = stage.curriculum
    if curriculum is not None and curriculum.enabled:
        epochs = sum(curriculum.epochs(phase.epochs) for phase in curriculum.phases.values())
        if steps % epochs:
            raise ValueError(f"steps must be a multiple of the curriculum's {epochs} epochs, got {steps}")
        changes |= {f"curriculum.{key}": value for key, value in (("least", 1.0), ("extension", 0.0))}
        changes["curriculum.steps_per_epoch"] = steps // epochs
    return overridden(stage, changes)


def overridden(params: _P, changes: Mapping[str, Any], group: str = "") -> _P:
    """Parameters with other values at dotted keys; of keys that begin with a group, those of ``group``.

    Raises:
        ValidationError: a value out of bounds, or a key that does not exist.
        ValueError: a key below something that has no keys.
    """
    content = params.model_dump(exclude_unset=True)  # what nobody chose may follow from what is changed
    for key, value in changes.items():
        if not group:
            _set(content, key.split("."), value, key)
        elif key.startswith(f"{group}."):
            _set(content, key.split(".")[1:], value, key)
    return type(params).model_validate(content)


def _set(content: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    *parents, last = path
    for name in parents:
        if content.get(name) is None:
            content[name] = {}  # a group that is off, or that validation will not know
        content = content[name]
        if not isinstance(content, dict):
            raise ValueError(f"{key}: {name} is {content!r}, which has no keys")
    content[last] = deepcopy(value)
