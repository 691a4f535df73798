"""The full preset is configuration alone: its values are valid, and its path loads what lies in folders."""

from pathlib import Path
from typing import Any

import pytest
import torch
from box_walks import ROOT
from kedro.config import OmegaConfigLoader
from safetensors.torch import save_file

from vln_heatmap import params as models
from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.encoder2d import DINOv3, make_encoder
from vln_heatmap.nodes.model.language.qwen import text_config
from vln_heatmap.nodes.model.tokenizer import load_tokenizer, train_tokenizer
from vln_heatmap.nodes.model.vggt import VGGT
from vln_heatmap.params import Dinov3Params, Encoder2dParams, LanguageParams, ModelParams, VGGTParams

VGGT_SIZES = {
    "size": "custom",
    "resolution": 28,
    "pretrain_size": 28,
    "dim": 16,
    "attention_heads": 2,
    "vit_depth": 1,
    "pairs": 2,
    "registers": 4,
    "layers": [0, 0, 1, 1],
}
CONTENT = train_tokenizer(["go to the red chair"], 400)


def full(**changes: Any) -> dict[str, Any]:
    """Parameters of the environment ``full``, with changes to the model as a user gives them at run time."""
    return OmegaConfigLoader(
        str(ROOT / "conf"),
        env="full",
        base_env="base",
        default_run_env="local",
        merge_strategy={"parameters": "soft"},
        runtime_params={"model": changes} if changes else {},
    )["parameters"]


def save_language(folder: Path) -> None:
    """A toy of Qwen2.5-VL as its repository holds it: configuration, weights and tokenizer."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = load_tokenizer(CONTENT)
    sizes = LanguageParams(dim=64, hidden=96, depth=2)
    text = text_config(sizes, len(tokenizer), tokenizer.pad_token_id).to_dict()
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}
    Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture
def toy(tmp_path: Path) -> ModelParams:
    """The full preset with small official-looking folders as its sources, and parts that fit them."""
    torch.manual_seed(0)
    folders = {name: tmp_path / name for name in ("vggt", "dinov3", "language")}
    for folder in folders.values():
        folder.mkdir()
    trained = VGGT(VGGTParams.model_validate({**VGGT_SIZES, "heads": ["camera", "depth", "points"]}))
    save_file(trained.state_dict(), folders["vggt"] / "model.safetensors")
    small = Encoder2dParams(
        name="dinov3", input_size=64, grid=4, dinov3=Dinov3Params(dim=32, depth=1, seed=3)
    )
    DINOv3(small).model.save_pretrained(folders["dinov3"])
    save_language(folders["language"])
    changes = {
        "vggt": {**VGGT_SIZES, "source": str(folders["vggt"])},
        "encoder": {"input_size": 64, "grid": 4, "dinov3": {"source": str(folders["dinov3"])}},
        "fusion": {"width": 32},
        "language": {"source": str(folders["language"]), "grid": 2},
        "head": {"heads": 2, "embed": 8, "width": 16, "blocks": 1, "detail": 8, "heatmap_size": 16},
    }
    return ModelParams.model_validate(full(**changes)["model"])


def test_every_group_of_the_full_preset_is_valid_and_official() -> None:
    given = full()
    model = models.ModelParams.model_validate(given["model"])
    assert model.preset == "full"
    assert model.vggt == VGGTParams.official(
        source="facebook/VGGT-1B", resolution=518, dtype="bfloat16", frozen=True
    )
    assert model.encoder.dinov3.source == "facebook/dinov3-vitl16-pretrain-lvd1689m"
    assert model.encoder.input_size == 16 * model.encoder.grid
    assert model.language.source == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert (model.keyframes.name, model.keyframes.count) == ("space_aware", 8)
    assert model.head.heatmap_size == 112
    for stage in ("pretrain", "finetune"):
        params = models.StageParams.model_validate(given[stage])
        assert params.train.mixed_precision == "bf16"
        assert params.window.sampled >= model.head.heatmap_size  # targets are no coarser than the heatmaps
    collect = models.CollectParams.model_validate(given["collect"])
    assert collect.sequences == 25_000
    assert min(collect.camera.width, collect.camera.height) >= 224


def test_the_same_configuration_loads_local_folders(toy: ModelParams) -> None:
    encoder = make_encoder(toy.encoder)
    model = make_model(toy, CONTENT, groups=encoder.groups, extra=encoder.extra).eval()
    assert {p.dtype for n, p in model.named_parameters() if n.startswith("vggt.aggregator")} == {
        torch.bfloat16
    }
    assert {part.origin.source for part in (model.vggt, model.language) if part.origin} == {
        toy.vggt.source,
        toy.language.source,
    }
    trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained >= {"fusion", "enter_language", "language", "matcher", "head"}
    assert "vggt" not in trained
    frames = torch.rand(1, 3, 3, 28, 28)
    features = encoder.encode(frames[0])[None]
    output = model(frames, features, ["the red chair"], torch.tensor([[2]]), torch.tensor([[[0, 1]]]))
    assert output.mask_logits.shape == (1, 1, 2, 16, 16)
    assert output.mask_logits.isfinite().all()
    output.mask_logits.sum().backward()
    assert all("lora" in n for n, p in model.language.named_parameters() if p.grad is not None)
