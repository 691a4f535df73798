"""Which variants of model and training are compared, and what each may spend."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from vln_heatmap.params.base import Params
from vln_heatmap.params.model import SamplerName

#: Groups whose keys a variant may override.
GROUPS = ("model", "pretrain", "finetune", "ablate")
VariantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class TrialParams(Params):
    """Budget of a training and the windows that it is measured on; a variant may override these, too."""

    steps: int = Field(220, ge=1, le=10_000_000, description="of finetuning")
    pretrain_steps: int = Field(360, ge=0, le=10_000_000, description="0 = finetune random weights")
    sampler: SamplerName = Field("uniform", description="keyframes of the windows that it is measured on")
    against: VariantName | None = Field(None, description="null = the reference, itself = nothing")


class AblateParams(TrialParams):
    """Variants by name; window counts, maps and bootstrap are those of ``evaluate``."""

    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field((0, 1, 2), min_length=1)
    reference: VariantName = "reference"
    variants: dict[VariantName, dict[str, Any]] = Field(
        {"reference": {}}, min_length=1, description="dotted keys of other groups, and their values"
    )
    only: tuple[VariantName, ...] = Field(
        (), description="these and what they are compared with, joined by + in one text; none = all"
    )

    @field_validator("only", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        return tuple(given.split("+")) if isinstance(given, str) else given

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"seeds must be distinct, got {list(value)}")
        return value

    @model_validator(mode="after")
    def _check(self) -> AblateParams:
        for name, changes in self.variants.items():
            for key in changes:
                group, _, rest = key.partition(".")
                if group not in GROUPS or not rest:
                    raise ValueError(
                        f"a key of variant {name} must be {', '.join(f'{g}.…' for g in GROUPS)}, got {key!r}"
                    )
                if group == "ablate" and rest not in TrialParams.model_fields:
                    known = ", ".join(f"ablate.{field}" for field in TrialParams.model_fields)
                    raise ValueError(f"variant {name} may set {known}, got {key!r}")
        named = {self.reference: "ablate.reference"}
        named |= {
            changes["ablate.against"]: f"ablate.against of variant {name}"
            for name, changes in self.variants.items()
            if changes.get("ablate.against") is not None
        }
        named |= dict.fromkeys(self.only, "ablate.only")
        for name, where in named.items():
            if name not in self.variants:
                raise ValueError(f"{where} must be one of {', '.join(self.variants)}, got {name!r}")
        return self

    def chosen(self) -> list[str]:
        """Variants to try: the reference first, then those of ``only`` with what they are compared with."""
        wanted: list[str] = [self.reference, *(self.only or self.variants)]
        for name in wanted:  # grows by what each of it is compared with
            against = self.variants[name].get("ablate.against")
            if against and against not in wanted:
                wanted.append(against)
        return [self.reference, *(n for n in self.variants if n in wanted and n != self.reference)]
