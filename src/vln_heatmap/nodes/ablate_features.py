"""Variants read the features that are cached already: all channels, or some of them.

Invariant: what a variant is given is what its own encoder would have computed, or it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.params import Encoder2dParams, ModelParams


@dataclass(frozen=True)
class SelectedSequence:
    """Cached arrays of a sequence, of the encoder's features the channels ``channels`` [C] only."""

    cached: Any
    channels: NDArray[np.int64]

    def read(self, name: str, frames: Iterable[int] | None = None) -> NDArray[Any]:
        """See ``SequenceFeatures.read``."""
        array = self.cached.read(name, frames)
        return array[:, self.channels] if name == "features" else array


class SelectedFeatures(Mapping[str, SelectedSequence]):
    """``FrameFeatures`` with some of the encoder's channels."""

    def __init__(self, cached: Any, channels: NDArray[np.int64]) -> None:
        self.cached, self.channels = cached, channels
        self.fingerprint = f"{cached.fingerprint}[{','.join(map(str, channels))}]"

    def __getitem__(self, key: str) -> SelectedSequence:
        return SelectedSequence(self.cached[key], self.channels)

    def __iter__(self) -> Iterator[str]:
        return iter(self.cached)

    def __len__(self) -> int:
        return len(self.cached)


def features_for(model: ModelParams, cached: Any, made_for: ModelParams) -> Any:
    """The cached features as a variant's model takes them.

    Args:
        model: of the variant.
        cached: ``FrameFeatures``.
        made_for: the model that they were computed for.

    Raises:
        ValueError: the variant needs other frames or features than are cached.
    """
    if model.vggt.resolution != made_for.vggt.resolution:
        raise _other("vggt.resolution", model.vggt.resolution, made_for.vggt.resolution)
    channels = kept_channels(model.encoder, made_for.encoder)
    return cached if channels is None else SelectedFeatures(cached, channels)


def kept_channels(wanted: Encoder2dParams, have: Encoder2dParams) -> NDArray[np.int64] | None:
    """Channels of the features of ``have`` that are the features of ``wanted``; None if all are.

    Raises:
        ValueError: they are not among them.
    """
    selects = {"batch", "name", "blocks", "dinov3"} if wanted.name == "none" else {"batch", "blocks"}
    want, got = (p.model_dump(exclude=selects) for p in (wanted, have))
    for key in want:
        if want[key] != got[key]:
            raise _other(f"encoder.{key}", want[key], got[key])
    if wanted.name == have.name and (wanted.blocks == have.blocks or wanted.name != "efficientnet_lite0"):
        return None
    from vln_heatmap.nodes.model.encoder2d import make_encoder

    encoder = make_encoder(have)
    edges = np.cumsum([0, *encoder.groups])
    colours = np.arange(edges[-1], edges[-1] + encoder.extra)
    if wanted.name == "none":
        return colours
    if absent := sorted(set(wanted.blocks) - set(have.blocks)):
        raise _other("encoder.blocks", absent, list(have.blocks))
    places = [have.blocks.index(block) for block in wanted.blocks]
    return np.concatenate([*(np.arange(edges[i], edges[i + 1]) for i in places), colours])


def _other(key: str, wanted: Any, have: Any) -> ValueError:
    return ValueError(
        f"the cached features were made with model.{key} {have}, a variant wants {wanted}: set it for all "
        "variants and run `kedro run --pipelines=pretrain` first"
    )
