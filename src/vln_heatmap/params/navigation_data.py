"""Navigation as dialogues: windows, words, co-training tasks and how they are mixed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params, Share

#: What a dialogue may be about.
Task = Literal["navigation", "vqa", "scanqa", "description", "conversation"]
Phrase = Annotated[str, Field(min_length=1, max_length=80)]
Weight = Annotated[float, Field(ge=0, le=1e6)]

OBSERVATIONS: tuple[str, ...] = (
    "you see ",
    "ahead of you is ",
    "there is ",
    "your view is ",
    "this is before you: ",
)


class DialogueParams(Params):
    """How a stream of views becomes a dialogue."""

    window: int = Field(32, ge=1, le=4096, description="frames of a window; then memory is built anew")
    history: int = Field(8, ge=0, le=256, description="frames before the window that are remembered")
    actions_per_turn: int = Field(4, ge=1, le=64, description="actions that answer one view")
    stride: int = Field(32, ge=1, le=4096, description="frames from the start of a window to the next one's")
    chat: Literal["full", "compact"] = Field(
        "full",
        description="the language model's own chat, or next to no words round a view, for toy language models "
        "that are trained here",
    )
    words: Literal["special", "arrows"] = Field(
        "special", description="actions as special tokens, or as STOP ↑ ← → in the tokenizer's own words"
    )
    observations: tuple[Phrase, ...] = Field(
        OBSERVATIONS, min_length=1, description="phrases before a view; the first one where none is drawn"
    )
    max_tokens: int = Field(1024, ge=16, le=1_000_000, description="longest dialogue, views and all")
    image_tokens: int = Field(
        1, ge=1, le=4096, description="that a view counts for in max_tokens, where no model says it"
    )
    memory_tokens: int = Field(
        1, ge=1, le=65536, description="that a remembered view counts for, where no model says it"
    )

    @property
    def turns(self) -> int:
        """Turns of a full window."""
        return self.window // self.actions_per_turn

    @model_validator(mode="after")
    def _check(self) -> DialogueParams:
        if self.window % self.actions_per_turn:
            raise ValueError(
                f"window must be a multiple of actions_per_turn ({self.actions_per_turn}), got {self.window}"
            )
        if self.stride % self.actions_per_turn:
            raise ValueError(
                f"stride must be a multiple of actions_per_turn ({self.actions_per_turn}), got {self.stride}"
            )
        if self.stride > self.window:
            raise ValueError(f"stride must be at most window ({self.window}), got {self.stride}")
        return self


class CotrainingParams(Params):
    """Questions and descriptions made of our own sequences."""

    frames: int = Field(8, ge=1, le=64, description="frames of a sequence that a question is about, at most")
    videos: int = Field(2, ge=0, le=1000, description="questions about a sequence as a video")
    spatial: int = Field(4, ge=0, le=1000, description="questions about places, counts and distances")
    descriptions: int = Field(1, ge=0, le=100, description="descriptions of a sequence, view by view")
    described: int = Field(4, ge=1, le=64, description="views of a description, at most")
    as_memory: Share = Field(0.5, description="share of videos of which all but the last frame are memory")


class NavigationSourceParams(Params):
    """Which instructions are taken from a recorded sequence."""

    routes: bool = Field(True, description="routes of walks that stop at their goal")
    objects: bool = Field(True, description="'go to the sofa' for walks that stop in front of a thing")
    new_ways: int = Field(2, ge=0, le=100, description="ways to things passed on a walk, made anew")


class MixingParams(Params):
    """How tasks share the batches of a training."""

    weights: dict[Task, Weight] = Field(
        {"navigation": 4.0, "vqa": 1.0, "scanqa": 1.0, "description": 1.0, "conversation": 1.0},
        description="relative frequencies of the tasks",
    )
    batches: Literal["mixed", "per_task"] = "mixed"
    block: int = Field(64, ge=1, le=1_000_000, description="per_task: batches in which the shares are met")
    seed: int = Field(0, ge=0, le=2**32 - 1)

    @model_validator(mode="after")
    def _check(self) -> MixingParams:
        if not any(self.weights.values()):
            raise ValueError(f"weights must not all be 0, got {self.weights}")
        return self


class NavigationDataParams(Params):
    """All that decides what the navigation model is trained on."""

    seed: int = Field(0, ge=0, le=2**32 - 1)
    dialogue: DialogueParams = Field(default_factory=DialogueParams)
    sources: NavigationSourceParams = Field(default_factory=NavigationSourceParams)
    cotraining: CotrainingParams = Field(default_factory=CotrainingParams)
    mixing: MixingParams = Field(default_factory=MixingParams)
