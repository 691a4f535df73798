"""What trains: freezing by part, LoRA, precision, gradient checkpointing, and checkpoints of all that."""

from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from pydantic import ValidationError

from vln_heatmap.datasets.checkpoint import CheckpointDataset, CheckpointMismatchError
from vln_heatmap.nodes.model.assemble import checkpoint_meta, model_from_checkpoint, stored_weights
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.language.lora import merge_lora
from vln_heatmap.nodes.model.language.qwen import text_config
from vln_heatmap.nodes.model.parts import PARTS, part_of
from vln_heatmap.nodes.model.tokenizer import make_tokenizer
from vln_heatmap.nodes.model.tuning import count_parts, format_parts, tune
from vln_heatmap.nodes.training.optimizer import parameter_groups
from vln_heatmap.params import ModelParams, OptimizerParams, TuningParams

LORA = {"rank": 4, "alpha": 8}
FRAMES = 3


def changed(**parts: Any) -> ModelParams:
    content = synthetic.PARAMS.model_dump()
    return ModelParams.model_validate(content | {n: {**content[n], **v} for n, v in parts.items()})


def inputs() -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    shape = (2, FRAMES, synthetic.CHANNELS, synthetic.GRID, synthetic.GRID)
    return {
        "frames": torch.rand(2, FRAMES, 3, 28, 28, generator=random),
        "features": torch.randn(shape, generator=random),
        "instructions": ["", synthetic.PHRASES[0]],
        "current": torch.full((2, 1), FRAMES - 1),
        "keyframes": torch.arange(FRAMES - 1).expand(2, 1, -1),
    }


def trained_parts(model: HeatmapModel) -> set[str]:
    return {count.part for count in count_parts(model) if count.trained}


def with_adapters(params: ModelParams | None = None) -> HeatmapModel:
    """A model whose adapters are no longer what they are at the start, where they change nothing."""
    model = synthetic.toy_model(params or changed(tuning={"lora": LORA}))
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.2)
    return model


def test_every_parameter_is_in_one_part() -> None:
    model = with_adapters()
    assert {part_of(name) for name, _ in model.named_parameters()} == set(PARTS) - {"encoder"}
    counts = count_parts(model)
    assert sum(count.parameters for count in counts) == sum(p.numel() for p in model.parameters())


def test_without_a_list_all_parts_train() -> None:
    assert trained_parts(synthetic.toy_model()) == {"vggt", "fusion", "projector", "language", "heads"}
    assert trained_parts(with_adapters()) == {"vggt", "fusion", "projector", "lora", "heads"}


@pytest.mark.parametrize(
    "parts", [("heads",), ("lora", "heads"), ("projector", "language"), ("vggt", "lora")]
)
def test_only_the_parts_of_the_list_train(parts: tuple[str, ...]) -> None:
    tuning = {"tunable_parts": parts, "lora": LORA}
    model = synthetic.toy_model(changed(tuning=tuning)).train()
    assert trained_parts(model) == set(parts)
    model(**inputs()).mask_logits.square().sum().backward()
    moved = {part_of(name) for name, p in model.named_parameters() if p.grad is not None}
    assert moved == set(parts)


def test_adapters_train_and_nothing_beside_them_is_frozen_by_accident() -> None:
    """peft freezes all of the module that it is given; our own heads are not its business."""
    model = synthetic.toy_model(changed(tuning={"lora": LORA}))
    for name, parameter in model.named_parameters():
        expected = part_of(name) != "language" and not name.endswith("mask_token")
        assert parameter.requires_grad is expected, name


def test_freezing_can_be_changed_again() -> None:
    model = with_adapters()
    tune(model, ["language"])
    assert trained_parts(model) == {"language"}
    counts = {count.part: count for count in tune(model, ["lora", "heads"])}
    assert counts["lora"].trained == counts["lora"].parameters == 4 * 1 * (2 * 32 + 2 * (32 + 16) + 2 * 32)
    assert counts["vggt"].trained == 0


def test_the_table_says_what_is_trained() -> None:
    model = synthetic.toy_model(changed(tuning={"tunable_parts": ("heads",)}))
    rows = [line.split() for line in format_parts(count_parts(model)).splitlines()]
    heads = sum(p.numel() for n, p in model.named_parameters() if part_of(n) == "heads")
    assert rows[0] == ["part", "parameters", "trained"]
    assert ["heads", f"{heads:,}", f"{heads:,}"] in rows
    assert rows[-1] == ["all", f"{sum(p.numel() for p in model.parameters()):,}", f"{heads:,}"]


def test_the_optimiser_knows_parts_by_name() -> None:
    model = with_adapters()
    params = OptimizerParams(lr=1.0, lr_multipliers={"lora": 0.5, "heads": 0.25, "head": 0.125})
    groups = parameter_groups(model, params)
    rates = {name: group["lr"] for group in groups for name in group["names"]}
    for name, rate in rates.items():
        expected = {"lora": 0.5, "heads": 0.25}.get(part_of(name), 1.0)
        assert rate == (0.125 if name.startswith("head.") else expected), name
    assert set(rates) == {name for name, p in model.named_parameters() if p.requires_grad}
    whole = parameter_groups(model, OptimizerParams(lr=1.0, lr_multipliers={"language": 0.5}))
    rates = {name: group["lr"] for group in whole for name in group["names"]}
    assert all(rate == (0.5 if part_of(name) == "lora" else 1.0) for name, rate in rates.items())
    tune(model, ["heads"])
    with pytest.raises(ValueError, match=r"lr_multipliers fits no trainable parameter: \['lora'\]"):
        parameter_groups(model, OptimizerParams(lr_multipliers={"lora": 0.1}))


# --- LoRA -------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_new_adapters_change_nothing_and_other_weights_are_the_same() -> None:
    plain, adapted = synthetic.toy_model(), synthetic.toy_model(changed(tuning={"lora": LORA}))
    state = {n.replace(".base_layer", ""): t for n, t in adapted.state_dict().items() if "lora_" not in n}
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    torch.testing.assert_close(plain(**inputs()).mask_logits, adapted(**inputs()).mask_logits)


@torch.no_grad()
def test_merged_adapters_say_what_unmerged_ones_said() -> None:
    model, plain = with_adapters(), synthetic.toy_model()
    before = model(**inputs()).mask_logits
    assert (before - plain(**inputs()).mask_logits).abs().max() > 1e-4
    merge_lora(model.language)
    assert model.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(model(**inputs()).mask_logits, before, atol=1e-5, rtol=1e-5)


def test_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="wings"):
        synthetic.toy_model(changed(tuning={"lora": {**LORA, "targets": ("wings",)}}))


# --- precision and memory ---------------------------------------------------------------------------------


def test_frozen_weights_in_bfloat16_and_trained_ones_in_float32() -> None:
    model = with_adapters(changed(language={"dtype": "bfloat16"}, tuning={"lora": LORA})).train()
    kinds = {part: set() for part in PARTS}
    for name, parameter in model.named_parameters():
        kinds[part_of(name)].add(parameter.dtype)
    assert kinds.pop("language") == {torch.bfloat16}
    assert set().union(*kinds.values()) == {torch.float32}
    output = model(**inputs()).mask_logits
    exact = with_adapters()(**inputs()).mask_logits
    assert output.dtype == torch.float32
    assert (output - exact).abs().mean() < 0.05 * exact.abs().mean()
    output.square().sum().backward()
    grads = [p.grad for n, p in model.named_parameters() if part_of(n) == "lora"]
    assert all(g.dtype == torch.float32 and g.any() for g in grads)


def test_what_trains_in_bfloat16_is_refused() -> None:
    with pytest.raises(ValidationError, match="bfloat16 is for frozen weights"):
        changed(language={"dtype": "bfloat16"})
    assert changed(language={"dtype": "bfloat16"}, tuning={"tunable_parts": ("heads",)})
    with pytest.raises(ValidationError, match="there are no adapters"):
        TuningParams(tunable_parts=("lora",))
    with pytest.raises(ValidationError, match=r"vggt\.frozen is true"):
        changed(vggt={"frozen": True}, tuning={"tunable_parts": ("vggt",)})


@pytest.mark.parametrize("lora", [None, LORA])
def test_gradient_checkpointing_changes_memory_alone(lora: Any) -> None:
    """Also where the embeddings and all weights but the adapters are frozen."""
    grads = []
    for checkpointing in (False, True):
        model = with_adapters(changed(tuning={"lora": lora, "gradient_checkpointing": checkpointing})).train()
        layers = model.language.model.layers
        calls: list[bool] = []
        hook = layers[0].mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(True))
        model(**inputs()).mask_logits.square().sum().backward()
        hook.remove()
        assert len(calls) == 1 + checkpointing  # again in the backward pass
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*grads)


# --- checkpoints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tuning", [{}, {"lora": LORA}, {"lora": LORA, "tunable_parts": ("lora", "heads")}], ids=str
)
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "paligemma"])
@torch.no_grad()
def test_save_and_load_give_the_same_outputs_bit_for_bit(tmp_path: Path, tuning: Any, kind: str) -> None:
    params = changed(tuning=tuning, language={"kind": kind})
    model = with_adapters(params)
    dataset = CheckpointDataset(filepath=str(tmp_path / "finetuned"))
    meta = checkpoint_meta(model, params, synthetic.TOKENIZER)
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    restored = model_from_checkpoint(dataset.load())
    for name, value in vars(model(**inputs())).items():
        same = getattr(restored(**inputs()), name)
        assert value is same is None or torch.equal(value, same), name
    assert trained_parts(restored) == trained_parts(model)


def test_adapters_of_another_rank_or_scale_are_refused(tmp_path: Path) -> None:
    params = changed(tuning={"lora": LORA})
    dataset = CheckpointDataset(filepath=str(tmp_path / "finetuned"))
    model = with_adapters(params)
    meta = checkpoint_meta(model, params, synthetic.TOKENIZER)
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    other = changed(tuning={"lora": {**LORA, "alpha": 16}})
    with pytest.raises(CheckpointMismatchError, match=r"tuning\.lora"):
        model_from_checkpoint(dataset.load(), expected=other)
    free = changed(tuning={"lora": LORA, "tunable_parts": ("lora",), "gradient_checkpointing": True})
    assert trained_parts(model_from_checkpoint(dataset.load(), expected=free)) == {"lora"}


def official_folder(folder: Path, seed: int = 0) -> Path:
    """A toy of Qwen2.5-VL on disk, with the tokenizer of the synthetic world."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    language = synthetic.PARAMS.language
    tokenizer = make_tokenizer(language, synthetic.TOKENIZER)
    text = text_config(language, len(tokenizer), tokenizer.pad_token_id).to_dict()
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("tuning", "left_out"),
    [
        ({"lora": LORA}, True),
        ({"lora": LORA, "tunable_parts": ("heads",)}, True),
        ({"tunable_parts": ("heads",)}, True),
        ({}, False),
    ],
    ids=str,
)
@torch.no_grad()
def test_frozen_official_weights_are_left_out_and_found_again(
    tmp_path: Path, tuning: Any, left_out: bool
) -> None:
    source = official_folder(tmp_path / "official")
    params = changed(language={"source": str(source)}, tuning=tuning)
    model = with_adapters(params)
    dataset = CheckpointDataset(filepath=str(tmp_path / "finetuned"))
    stored = stored_weights(model, model.state_dict())
    assert any(part_of(name) == "language" for name in stored) is not left_out
    assert any(part_of(name) == "lora" for name in stored) is ("lora" in tuning)
    dataset.save({"state_dict": stored, "meta": checkpoint_meta(model, params, synthetic.TOKENIZER)})
    restored = model_from_checkpoint(dataset.load())
    assert torch.equal(restored(**inputs()).mask_logits, model(**inputs()).mask_logits)
    if left_out:
        official_folder(source, seed=7)  # others' weights in the same place
        with pytest.raises(
            CheckpointMismatchError, match=r"trained on language weights from .* holds others"
        ):
            model_from_checkpoint(dataset.load())
