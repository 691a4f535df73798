"""What the navigation stage learns from, and how it learns."""

from __future__ import annotations

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params, Share
from vln_heatmap.params.navigation import EpisodeParams
from vln_heatmap.params.navigation_data import NavigationDataParams
from vln_heatmap.params.navigation_model import ActionModelParams, DialogueStageParams


class PerturbationParams(Params):
    """Demonstrations in which something else is done now and then, and the expert says what it would have."""

    share: Share = Field(0.5, description="of the demonstrations that are perturbed; 0 = none")
    rate: Share = Field(0.1, description="probability of a perturbation at each step")
    steps: int = Field(6, ge=1, le=100, description="of a perturbation, at most")
    times: int = Field(3, ge=1, le=100, description="perturbations of a walk, at most")
    seed: int = Field(0, ge=0, le=2**32 - 1)


class NavigationTrainingParams(Params):
    """Demonstrations, dialogues made of them, the action dialogue, and its two stages of training."""

    demonstrations: EpisodeParams = Field(
        EpisodeParams(split="train"), description="episodes that the expert shows"
    )
    perturbed: PerturbationParams = PerturbationParams()
    held_out: Share = Field(0.08, description="share of the demonstrations' houses that validate")
    data: NavigationDataParams = NavigationDataParams()
    model: ActionModelParams = ActionModelParams()
    navigation: DialogueStageParams = DialogueStageParams()
    cotraining: DialogueStageParams = DialogueStageParams()

    def models(self) -> list[ActionModelParams]:
        """The model's parameters in each stage."""
        return [self.model.of_stage(stage) for stage in (self.navigation, self.cotraining)]

    @model_validator(mode="after")
    def _check(self) -> NavigationTrainingParams:
        if self.demonstrations.split != "train":
            raise ValueError("demonstrations.split must be 'train': unseen houses are for measuring")
        if self.model.context.value_map is None and (self.navigation.grounding or self.cotraining.grounding):
            raise ValueError(
                "grounding teaches what context.value_map reads: set that, or leave grounding null"
            )
        if self.demonstrations.houses < 2:
            raise ValueError("demonstrations.houses must be at least 2: one to train on and one to validate")
        return self
