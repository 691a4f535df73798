"""Keyframe samplers by name: which of the frames seen so far are worth remembering."""

from __future__ import annotations

from vln_heatmap.nodes.model.keyframes.base import Indices, KeyframeSampler
from vln_heatmap.nodes.model.keyframes.space_aware import QualitySampler, SpaceAwareSampler
from vln_heatmap.nodes.model.keyframes.uniform import UniformSampler
from vln_heatmap.nodes.model.keyframes.views import EnhancedSampler, FastSampler
from vln_heatmap.params import KeyframeParams

__all__ = ["KEYFRAME_SAMPLERS", "Indices", "KeyframeSampler", "UniformSampler", "make_sampler"]

KEYFRAME_SAMPLERS: dict[str, type[KeyframeSampler]] = {
    "uniform": UniformSampler,
    "fast": FastSampler,
    "quality": QualitySampler,
    "enhanced": EnhancedSampler,
    "space_aware": SpaceAwareSampler,
}


def make_sampler(params: KeyframeParams) -> KeyframeSampler:
    """The sampler that ``params.name`` names."""
    return KEYFRAME_SAMPLERS[params.name](params)
