"""The trained model as a method: what it is without one of its sources, and where its parts live."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import synthetic
import torch

from vln_heatmap.datasets.checkpoint import CheckpointDataset
from vln_heatmap.nodes.evaluation_model import SOURCES, ModelMethod, model_method
from vln_heatmap.nodes.model.assemble import checkpoint_meta
from vln_heatmap.nodes.model.predictor import HeatmapPredictor
from vln_heatmap.params import ModelParams

SIZE = (synthetic.PARAMS.head.heatmap_size,) * 2


def window(seed: int = 0) -> Any:
    arrays = synthetic.sequence_arrays(synthetic.walks()["house_00000_00"])
    rng = np.random.default_rng(seed)
    features = arrays["features"][:4].astype(np.float32)
    return SimpleNamespace(
        inputs=arrays["frames"][:4],
        features=features + 0.1 * rng.standard_normal(features.shape, dtype=np.float32),
        instruction="",
    )


@pytest.fixture(scope="module")
def method() -> ModelMethod:
    model = synthetic.toy_model()
    model.set_feature_statistics(torch.full_like(model.feature_mean, 0.3), torch.ones_like(model.feature_std))
    predictor: Any = SimpleNamespace(model=model)
    predictor.run = lambda *inputs: HeatmapPredictor.run(predictor, *inputs)  # without an encoder to load
    return ModelMethod(predictor, (), {})


def test_a_silent_encoder_cannot_be_heard(method: ModelMethod) -> None:
    first, second = (method.without("semantics", window(seed), SIZE).scores for seed in (0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(method(window(0), SIZE).scores, method(window(1), SIZE).scores)


def test_a_silent_geometry_says_the_same_of_every_place(method: ModelMethod) -> None:
    seen = []
    vggt, fusion = method.predictor.model.vggt, method.predictor.model.fusion
    hook = fusion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    silent = method.without("geometry", window(), SIZE)
    hook.remove()
    (maps,) = seen  # [1, T, C, h, w]
    assert torch.equal(maps, maps[:, :1, :, :1, :1].expand_as(maps))
    assert maps.abs().max() > 0
    assert not vggt._forward_hooks  # it speaks again
    assert not np.allclose(silent.scores, method(window(), SIZE).scores)


@pytest.mark.parametrize("source", SOURCES)
def test_a_silent_source_leaves_an_answer(method: ModelMethod, source: Any) -> None:
    maps = method.without(source, window(), SIZE)
    assert maps.scores.shape == (3, *SIZE)
    assert np.isfinite(maps.scores).all()


def test_a_method_heeds_placement_and_knows_its_training(tmp_path: Path) -> None:
    model = synthetic.toy_model()
    dataset = CheckpointDataset(filepath=str(tmp_path / "finetuned"))
    meta = checkpoint_meta(model, synthetic.PARAMS, synthetic.TOKENIZER, training={"epoch_seconds": 5.0})
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    plain = model_method(dataset.load(), synthetic.PARAMS)
    assert plain.predictor.model.places == {}
    assert plain.training == {"epoch_seconds": 5.0}
    placed = ModelParams.model_validate(
        synthetic.PARAMS.model_dump() | {"placement": {"devices": "cpu", "offload": ["language"]}}
    )
    method = model_method(dataset.load(), placed)
    assert set(method.predictor.model.places) == {"vggt", "encoder", "language", "heads"}
    assert method.predictor.model.visitor is not None
    np.testing.assert_array_equal(method(window(), SIZE).scores, plain(window(), SIZE).scores)
