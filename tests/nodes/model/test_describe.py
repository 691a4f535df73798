"""The model card: counts in closed form, published sizes, and nothing that needs weights."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from box_walks import ROOT
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from vln_heatmap.nodes.model.describe import (
    FORMATS,
    Kept,
    ModelCard,
    PartCard,
    as_json,
    as_markdown,
    build,
    describe,
    main,
    read_params,
)
from vln_heatmap.nodes.model.published import without_sources
from vln_heatmap.nodes.model.tuning import count_parts
from vln_heatmap.params import ModelParams

FRAMES = 4


def changed(**parts: dict[str, Any]) -> ModelParams:
    content = synthetic.PARAMS.model_dump()
    return ModelParams.model_validate(
        content | {name: {**content[name], **values} for name, values in parts.items()}
    )


def by_part(card: ModelCard) -> dict[str, PartCard]:
    return {part.part: part for part in card.parts}


@pytest.fixture(scope="module")
def toy() -> dict[str, PartCard]:
    return by_part(describe(synthetic.PARAMS, weights="none"))


@pytest.fixture(scope="module")
def full() -> ModelCard:
    return describe(read_params("full", ROOT / "conf"))


def test_parameters_are_those_of_the_model_itself(toy: dict[str, PartCard]) -> None:
    model, encoder = build(synthetic.PARAMS, "cpu")
    for count in count_parts(model):
        assert (toy[count.part].parameters, toy[count.part].trained) == (count.parameters, count.trained)
    assert toy["encoder"].parameters == sum(p.numel() for p in encoder.parameters())
    assert toy["encoder"].trained == 0
    assert all(part.weights == 4 * part.parameters for part in toy.values())


def test_flops_are_two_for_each_multiplication(toy: dict[str, PartCard]) -> None:
    """The projector is a linear layer to the language model and one back, on every visual token."""
    tokens = FRAMES * synthetic.PARAMS.language.grid**2
    product = synthetic.PARAMS.fusion.width * synthetic.PARAMS.language.dim
    assert toy["projector"].flops == 2 * 2 * tokens * product
    more = by_part(describe(synthetic.PARAMS, frames=2 * FRAMES, weights="none"))
    for part in ("projector", "encoder", "fusion"):  # frame by frame; attention across frames grows faster
        assert more[part].flops == 2 * toy[part].flops
    assert more["language"].flops > 2 * toy["language"].flops * 0.6


def test_what_backward_keeps_counts_once_and_without_weights() -> None:
    layer, x = nn.Linear(8, 5, bias=False), torch.ones(3, 8)
    kept = Kept(layer.parameters())
    with saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        kept.enter("fusion")
        first = layer(x)  # keeps x
        second = layer(x)  # which is kept already
        kept.leave("fusion")
        product = first * second  # keeps both
    assert kept.bytes == {"fusion": 4 * 3 * 8, "heads": 2 * 4 * 3 * 5}
    assert product.requires_grad


def test_what_does_not_train_keeps_nothing_and_checkpointing_keeps_less(toy: dict[str, PartCard]) -> None:
    def language(**tuning: Any) -> int:
        card = by_part(describe(changed(language={"depth": 4}, tuning=tuning), weights="none"))
        return card["language"].activations

    heads = by_part(describe(changed(tuning={"tunable_parts": ["heads"]}), weights="none"))
    assert heads["vggt"].activations == heads["fusion"].activations == 0
    assert heads["heads"].activations > 0
    assert heads["vggt"].trained == 0
    assert toy["encoder"].activations == 0 < toy["vggt"].activations
    assert 0 < language(gradient_checkpointing=True) < 0.5 * language()


def test_adapters_are_a_part_of_their_own(toy: dict[str, PartCard]) -> None:
    card = by_part(describe(changed(tuning={"lora": {"rank": 2, "targets": ["o_proj"]}}), weights="none"))
    dim = synthetic.PARAMS.language.dim
    assert card["lora"].parameters == card["lora"].trained == synthetic.PARAMS.language.depth * 2 * 2 * dim
    assert card["language"].parameters == toy["language"].parameters
    assert card["language"].trained == 0


def test_the_full_model_is_counted_without_its_weights(full: ModelCard) -> None:
    """Qwen2.5-3B has 3,085,938,688 parameters, DINOv3 ViT-L/16 303 million; VGGT's are the fixture's."""
    parts = by_part(full)
    lines = (ROOT / "tests" / "fixtures" / "vggt_1b_state_dict.txt").read_text().splitlines()
    shapes = [line.split("\t")[1] for line in lines if not line.startswith("track_head.")]
    published = sum(math.prod(int(side) for side in re.findall(r"\d+", shape)) for shape in shapes)
    assert parts["language"].parameters == 3_085_938_688
    assert parts["encoder"].parameters == pytest.approx(303e6, rel=2e-3)
    assert parts["vggt"].parameters == published
    assert [name for name, part in parts.items() if part.trained] == ["fusion", "projector", "lora", "heads"]
    assert parts["language"].weights == 2 * parts["language"].parameters  # bfloat16
    assert parts["vggt"].activations == 0
    assert parts["vggt"].flops > 2 * 9 * 37**2 * 9e8  # each weight of its trunk, for each patch
    assert full.timing.startswith("not timed")
    assert all(name in full.timing for name in ("facebook/VGGT-1B", "Qwen/Qwen2.5-VL-3B-Instruct"))
    assert full.whole.seconds is None


def test_a_model_at_hand_is_timed_by_part() -> None:
    card = describe(synthetic.PARAMS)
    seconds = [part.seconds for part in card.parts]
    assert all(value is not None and value > 0 for value in seconds)
    assert card.whole.seconds == pytest.approx(sum(value or 0 for value in seconds))
    assert card.timing.startswith("timed on cpu")


def test_sizes_of_a_folder_come_from_its_configuration(tmp_path: Path) -> None:
    from transformers import DINOv3ViTConfig, Qwen2_5_VLConfig

    DINOv3ViTConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=2).save_pretrained(
        tmp_path / "eye"
    )
    text = {"hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 1}
    Qwen2_5_VLConfig(text_config={**text, "intermediate_size": 80, "vocab_size": 999}).save_pretrained(
        tmp_path / "tongue"
    )
    sources = {"dinov3": {"source": str(tmp_path / "eye")}, "name": "dinov3"}
    bare = without_sources(changed(encoder=sources, language={"source": str(tmp_path / "tongue")}))
    assert (bare.encoder.dinov3.dim, bare.encoder.dinov3.depth) == (48, 3)
    assert (bare.language.dim, bare.language.depth, bare.language.vocab_size) == (64, 5, 999)
    assert bare.language.grid == synthetic.PARAMS.language.grid
    assert bare.encoder.dinov3.source is bare.language.source is None


@pytest.mark.parametrize("part", ["encoder", "language"])
def test_sources_of_unknown_size_are_refused_by_name(part: str) -> None:
    source = "someone/own-model"
    values = {"dinov3": {"source": source}} if part == "encoder" else {"source": source}
    with pytest.raises(ValueError, match=rf"{part}.*'{source}'.*config\.json"):
        describe(changed(**{part: values}))


def test_one_frame_is_no_window() -> None:
    with pytest.raises(ValueError, match=r"at least 2 .*got 1"):
        describe(synthetic.PARAMS, frames=1)


def test_formats_say_the_same(full: ModelCard) -> None:
    exact = json.loads(as_json(full))
    assert exact["whole"]["parameters"] == sum(part["parameters"] for part in exact["parts"])
    table = [line for line in as_markdown(full).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + len(full.parts) + 1
    for write in FORMATS.values():
        assert "language" in write(full)
        assert full.timing in write(full)
    assert "3,085,938,688" in FORMATS["text"](full)


def test_the_command_line_writes_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--env=test", f"--conf={ROOT / 'conf'}", "--format=json", "--weights=none", "--frames=3"])
    card = json.loads(capsys.readouterr().out)
    assert (card["preset"], card["frames"], card["timing"]) == ("test", 3, "not timed: as asked")


def test_an_unknown_environment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--env=huge", f"--conf={ROOT / 'conf'}"])
    assert "no environment 'huge'" in capsys.readouterr().err


def test_tiny_is_the_base_environment() -> None:
    assert read_params("tiny", ROOT / "conf") == read_params("base", ROOT / "conf")


@pytest.mark.parametrize(("size", "steps"), [(28, 0), (56, 1), (112, 2), (224, 3)])
def test_the_tiny_preset_draws_finer_heatmaps_by_configuration_alone(size: int, steps: int) -> None:
    tiny = read_params("tiny", ROOT / "conf")
    params = tiny.model_copy(update={"head": tiny.head.model_copy(update={"heatmap_size": size})})
    model, _ = build(params, "meta")
    frames, features = (
        torch.rand(1, 3, 3, 112, 112),
        torch.rand(1, 3, sum(model.groups) + model.extra, 14, 14),
    )
    roles = torch.tensor([[2]]), torch.tensor([[[0, 1]]])
    output = model(frames.to("meta"), features.to("meta"), ["the chair"], *(r.to("meta") for r in roles))
    assert output.mask_logits.shape == (1, 1, 2, size, size)
    assert sum("finer" in name for name, _ in model.named_parameters()) == 2 * 8 * steps


def test_without_the_weights_random_ones_can_be_timed(tmp_path: Path) -> None:
    """The source is a folder that has a configuration and nothing else."""
    from transformers import DINOv3ViTConfig

    DINOv3ViTConfig(hidden_size=48, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    params = changed(encoder={"name": "dinov3", "dinov3": {"source": str(tmp_path)}})
    with pytest.raises(FileNotFoundError, match="no DINOv3 at"):
        describe(params)
    seconds = {part.part: part.seconds for part in describe(params, weights="random").parts}
    assert all(value is not None and value > 0 for value in seconds.values())
    assert "encoder" in seconds
