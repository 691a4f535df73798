"""Variants with a smaller encoder read of the cached channels exactly those that are their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch

from vln_heatmap.nodes.ablate_features import SelectedFeatures, features_for, kept_channels
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.params import Encoder2dParams, ModelParams

HAVE = Encoder2dParams(input_size=64, grid=4, blocks=(1, 4, 2))


@pytest.mark.parametrize("changes", [{"name": "none"}, {"blocks": (4,)}, {"blocks": (2, 1)}, {"batch": 7}])
def test_the_kept_channels_are_what_the_other_encoder_computes(changes: dict[str, Any]) -> None:
    wanted = Encoder2dParams.model_validate(HAVE.model_dump() | changes)
    frames = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    cached, own = make_encoder(HAVE).encode(frames), make_encoder(wanted).encode(frames)
    channels = kept_channels(wanted, HAVE)
    torch.testing.assert_close(cached if channels is None else cached[:, torch.from_numpy(channels)], own)


@pytest.mark.parametrize(
    "changes", [{"name": "dinov3"}, {"blocks": (1, 3)}, {"grid": 7}, {"name": "none", "input_size": 96}]
)
def test_features_that_are_not_cached_are_refused(changes: dict[str, Any]) -> None:
    wanted = Encoder2dParams.model_validate(HAVE.model_dump() | changes)
    with pytest.raises(ValueError, match=r"cached features were made with model\.encoder\."):
        kept_channels(wanted, HAVE)


def test_selected_features_select_features_and_nothing_else(tmp_path: Path) -> None:
    cached = synthetic.store_features(tmp_path, {"a": next(iter(synthetic.walks().values()))})
    chosen = SelectedFeatures(cached, np.array([3, 1]))
    assert list(chosen) == ["a"]
    assert len(chosen) == 1
    assert chosen.fingerprint != cached.fingerprint
    for frames in (None, [2, 0]):
        whole = cached["a"].read("features", frames)
        np.testing.assert_array_equal(chosen["a"].read("features", frames), whole[:, [3, 1]])
        np.testing.assert_array_equal(chosen["a"].read("frames", frames), cached["a"].read("frames", frames))


def test_frames_of_another_size_are_refused() -> None:
    content = synthetic.PARAMS.model_dump()
    content["vggt"] |= {"resolution": 56}
    with pytest.raises(ValueError, match=r"model\.vggt\.resolution 28, a variant wants 56"):
        features_for(ModelParams.model_validate(content), {}, synthetic.PARAMS)
