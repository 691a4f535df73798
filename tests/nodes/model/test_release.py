"""A released checkpoint has the weights that were trained, and the settings that were asked for."""

from pathlib import Path

import pytest
import synthetic
import torch
from pydantic import ValidationError

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset
from vln_heatmap.nodes.model.assemble import checkpoint_meta, model_from_checkpoint
from vln_heatmap.nodes.model.release import main, released


@pytest.fixture
def trained(tmp_path: Path) -> Checkpoint:
    model = synthetic.toy_model()
    meta = checkpoint_meta(model, synthetic.PARAMS, synthetic.TOKENIZER)
    dataset = CheckpointDataset(filepath=str(tmp_path / "trained"))
    dataset.save({"state_dict": model.state_dict(), "meta": {**meta, "events": [{"step": 1}]}})
    return dataset.load()


def test_the_weights_stay_and_the_settings_change(
    trained: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "released"
    main([str(trained.path), str(folder), "--residual", "5"])
    assert "MB" in capsys.readouterr().out
    checkpoint = Checkpoint.open(folder)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(checkpoint.state_dict()[name], tensor)
    model = model_from_checkpoint(checkpoint)
    assert model.params.head.residual == 5.0
    assert "events" not in checkpoint.meta


def test_without_settings_it_is_the_same_model(trained: Checkpoint) -> None:
    assert released(trained)["meta"]["model"] == trained.meta["model"]


def test_settings_out_of_bounds_are_refused(trained: Checkpoint) -> None:
    with pytest.raises(ValidationError, match="residual"):
        released(trained, residual=-1.0)
