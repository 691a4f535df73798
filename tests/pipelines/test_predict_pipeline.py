"""The predict stage as a session runs it: from the newest checkpoint and a clip to files, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from box_walks import ROOT, walk
from kedro.framework.session import KedroSession
from PIL import Image

from vln_heatmap.datasets.checkpoint import CheckpointDataset
from vln_heatmap.datasets.video import encode_rgb
from vln_heatmap.hooks import MissingUpstreamError
from vln_heatmap.nodes.model.assemble import checkpoint_meta, make_model
from vln_heatmap.nodes.model.encoder2d import make_encoder

FINETUNED = "data/06_models/finetuned/2026-01-01T00.00.00.000Z/finetuned"


def save_model(folder: Path) -> None:
    encoder = make_encoder(synthetic.PARAMS.encoder)
    layout: dict[str, Any] = {"groups": encoder.groups, "extra": encoder.extra}
    model = make_model(synthetic.PARAMS, synthetic.TOKENIZER, **layout)
    meta = checkpoint_meta(model, synthetic.PARAMS, synthetic.TOKENIZER)
    CheckpointDataset(filepath=str(folder)).save({"state_dict": model.state_dict(), "meta": meta})


def save_clip(path: Path) -> Path:
    path.write_bytes(encode_rgb(walk().rgb, fps=10, crf=18))
    return path


def run(project: Path, **params: Any) -> None:
    conf = str(ROOT / "conf")
    changes = {"predict": params}
    with KedroSession.create(project, env="test", conf_source=conf, runtime_params=changes) as session:
        session.run(pipeline_names=["predict"])


def test_a_clip_becomes_pictures_arrays_and_a_summary(project: Path) -> None:
    save_model(project / FINETUNED)
    save_clip(project / "clip.mp4")
    run(project, video="clip.mp4", instruction="the $5 wall")  # relative to where the user stands
    out = project / "data/07_model_output/prediction"
    summary = json.loads((out / "prediction.json").read_text())
    indices = [keyframe["index"] for keyframe in summary["keyframes"]]
    assert len(indices) == synthetic.PARAMS.keyframes.count
    assert summary["current_index"] == 8
    overlays = sorted(file.name for file in (out / "overlays").iterdir())
    assert overlays == [f"keyframe_{index:05d}.png" for index in indices]
    assert Image.open(out / "overlays" / overlays[0]).size == (64, 48)
    assert Image.open(out / "summary.png").size[0] > 300
    with np.load(out / "heatmaps.npz", allow_pickle=False) as arrays:
        assert arrays["heatmaps"].shape == arrays["masks"].shape == (3, 48, 64)
        assert arrays["keyframe_indices"].tolist() == indices

    run(project, video=str(project / "clip.mp4"), keyframes=[4], current=6)
    assert [file.name for file in (out / "overlays").iterdir()] == [
        "keyframe_00004.png"
    ]  # of this clip alone


@pytest.mark.parametrize("given", ["nothing", "absent", "broken", "one frame"])
def test_a_clip_that_cannot_be_used_is_one_clear_error(project: Path, given: str) -> None:
    save_model(project / FINETUNED)
    path = project / "clip.mp4"
    if given == "broken":
        save_clip(path).write_bytes(path.read_bytes()[:500])
    elif given == "one frame":
        path.write_bytes(encode_rgb(walk().rgb[:1], fps=10, crf=18))
    message = {
        "nothing": r"--params=predict\.video=PATH",
        "absent": r"no video or folder of images at .*clip\.mp4",
        "broken": r"clip\.mp4 is not a video that can be read",
        "one frame": "at least 2 frames are needed",
    }[given]
    with pytest.raises(Exception, match=message):
        run(project, **({} if given == "nothing" else {"video": str(path)}))
    assert not (project / "data/07_model_output/prediction").exists()


def test_without_a_model_the_one_of_the_package_is_taken(project: Path) -> None:
    save_clip(project / "clip.mp4")
    run(project, video="clip.mp4")
    assert (project / "data/07_model_output/prediction/heatmaps.npz").is_file()


def test_a_model_that_is_named_and_missing_is_never_replaced(project: Path) -> None:
    save_clip(project / "clip.mp4")
    with pytest.raises(MissingUpstreamError, match="run `kedro run --pipelines=finetune"):
        run(project, video="clip.mp4", checkpoint="elsewhere/finetuned_too")


def test_a_damaged_model_is_named(project: Path) -> None:
    save_model(project / FINETUNED)
    (project / FINETUNED / "model.safetensors").write_bytes(b"broken")
    save_clip(project / "clip.mp4")
    with pytest.raises(Exception, match=r"model\.safetensors cannot be read"):
        run(project, video="clip.mp4")
