"""Parts on devices of their own: what is moved where, and a language model that visits its device."""

import gc
from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from pydantic import ValidationError
from torch import nn

from vln_heatmap.datasets.checkpoint import CheckpointDataset
from vln_heatmap.nodes.model.assemble import checkpoint_meta, model_from_checkpoint
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.placement import Visitor, device_map
from vln_heatmap.nodes.model.predictor import HeatmapPredictor
from vln_heatmap.params import ModelParams, PlacementParams

FRAMES = 3
CPU, META = torch.device("cpu"), torch.device("meta")


def inputs(device: torch.device = CPU) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    shape = (2, FRAMES, synthetic.CHANNELS, synthetic.GRID, synthetic.GRID)
    return {
        "frames": torch.rand(2, FRAMES, 3, 28, 28, generator=random).to(device),
        "features": torch.randn(shape, generator=random).to(device),
        "instructions": ["", synthetic.PHRASES[0]],
        "current": torch.full((2, 1), FRAMES - 1).to(device),
        "keyframes": torch.arange(FRAMES - 1).expand(2, 1, -1).to(device),
    }


def placed(**placement: Any) -> HeatmapModel:
    params = ModelParams.model_validate({**synthetic.PARAMS.model_dump(), "placement": placement})
    return synthetic.toy_model(params)


def devices(module: nn.Module) -> set[str]:
    return {t.device.type for t in [*module.parameters(), *module.buffers()]}


def test_parts_that_are_not_named_go_with_the_heads() -> None:
    names = {"vggt": "cuda:0", "encoder": "cuda:1", "language": "cuda:2"}
    have = {part: str(device) for part, device in device_map(names).items()}
    assert have == {**names, "heads": "cuda:0"}
    have = device_map({"language": "cuda:1", "heads": "cpu"})
    assert {part: str(device) for part, device in have.items()} == {
        **dict.fromkeys(("vggt", "encoder", "heads"), "cpu"),
        "language": "cuda:1",
    }
    assert set(map(str, device_map("cuda:3").values())) == {"cuda:3"}
    assert device_map(None) == {}


def test_every_part_is_on_its_device() -> None:
    model = placed(devices={"vggt": "meta", "language": "cpu", "heads": "cpu"})
    assert devices(model.vggt) == {"meta"}
    for name, module in model.named_children():
        assert name == "vggt" or devices(module) <= {"cpu"}, name
    model = placed(devices={"language": "cpu", "heads": "meta"})
    assert devices(model.language) == {"cpu"}
    assert model.feature_mean.device == META
    assert devices(model.matcher) == devices(model.enter_language) == {"meta"}


@torch.no_grad()
def test_tensors_cross_from_part_to_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part gets its tensors on its device, the heads get them back: recorded, as there is one device."""
    model, crossings = placed(devices={"vggt": "cpu", "language": "cpu"}), []
    plain = synthetic.toy_model()(**inputs())
    move = HeatmapModel._at

    def recorded(self: HeatmapModel, part: str, tensor: torch.Tensor) -> torch.Tensor:
        crossings.append((part, tuple(tensor.shape)))
        return move(self, part, tensor)

    monkeypatch.setattr(HeatmapModel, "_at", recorded)
    output = model(**inputs())
    assert torch.equal(output.mask_logits, plain.mask_logits)
    grid, wide = synthetic.PARAMS.language.grid, synthetic.PARAMS.language.dim
    there = [shape for part, shape in crossings if part == "language"]
    assert there == [(2, FRAMES, grid, grid, wide)]
    assert [shape for part, shape in crossings if part == "vggt"] == [(2, FRAMES, 3, 28, 28)]
    back = crossings[crossings.index(("language", there[0])) + 1 :]
    assert ("heads", there[0]) in back
    assert ("heads", (2, wide)) in back


@torch.no_grad()
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "paligemma"])
def test_the_language_model_makes_nothing_on_another_device(kind: str) -> None:
    """On `meta`, an operand of the CPU would be an error, and so would waiting for a value."""
    content = synthetic.PARAMS.model_dump()
    content |= {
        "language": {**content["language"], "kind": kind},
        "placement": {"devices": {"language": "meta"}},
    }
    language = synthetic.toy_model(ModelParams.model_validate(content)).language
    tokens = torch.zeros(2, 3, 2, 2, language.width, device=META)
    states = language(tokens, ["", synthetic.PHRASES[0]])
    assert (states.visual.device, states.visual.shape) == (META, tokens.shape)
    assert (states.instruction.device, states.instruction.shape) == (META, (2, language.width))


def test_accelerate_leaves_a_placed_model_where_it_is() -> None:
    from accelerate import Accelerator

    several = placed(devices={"vggt": "cpu", "language": "meta"})
    wrapped = nn.ModuleDict({"model": several})
    assert Accelerator(cpu=True).verify_device_map(wrapped)
    Accelerator(cpu=True).prepare_model(wrapped)
    assert devices(several.language) == {"meta"}
    assert not Accelerator(cpu=True).verify_device_map(placed(devices="cpu"))


def test_placement_is_the_machine_s_and_not_the_checkpoint_s(tmp_path: Path) -> None:
    model = placed(devices="cpu")
    dataset = CheckpointDataset(filepath=str(tmp_path / "finetuned"))
    meta = checkpoint_meta(model, model.params, synthetic.TOKENIZER)
    assert "placement" not in meta["model"]
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    assert model_from_checkpoint(dataset.load()).places == {}
    assert model_from_checkpoint(dataset.load(), expected=model.params).places["heads"] == CPU


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"placement names cuda:99, but this machine has \d+ CUDA devices"):
        placed(devices={"vggt": "cpu", "language": "cuda:99"})
    with pytest.raises(ValidationError, match="pattern"):
        PlacementParams(devices="gpu")
    with pytest.raises(ValidationError, match="offload needs devices"):
        PlacementParams(offload=("language",))


# --- visiting ---------------------------------------------------------------------------------------------


class Recorder(nn.Linear):
    """Notes where its weights are when it is used."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.seen: list[str] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(self.weight.device.type)
        return super().forward(x)


@pytest.mark.parametrize("rest", ["cpu", "disk"])
@torch.no_grad()
def test_a_visitor_is_on_its_device_only_while_it_is_used(rest: Any) -> None:
    module = Recorder()
    want = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    visitor = Visitor(module, META, rest)
    for _ in range(2):
        with visitor.visiting():
            assert module(torch.zeros(1, 4, device=META)).device == META
        assert devices(module) == {"cpu"}
        assert all(torch.equal(tensor, want[name]) for name, tensor in module.state_dict().items())
    assert module.seen == ["meta", "meta"]


@torch.no_grad()
def test_weights_return_after_an_error() -> None:
    module = Recorder()
    visitor = Visitor(module, META, "cpu")
    with pytest.raises(RuntimeError), visitor.visiting():
        module(torch.zeros(1, 5, device=META))
    assert devices(module) == {"cpu"}


@torch.no_grad()
def test_weights_on_disk_are_a_mapped_file_that_goes_with_the_model() -> None:
    module = nn.Linear(256, 256)
    visitor = Visitor(module, CPU, "disk")
    with visitor.visiting():
        pass
    assert visitor._folder is not None
    file = Path(visitor._folder.name) / "weights.safetensors"
    assert file.stat().st_size > module.weight.nbytes
    address = module.weight.data_ptr()
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(file) in line]
    spans = [[int(side, 16) for side in line[0].split("-")] for line in maps]
    assert any(start <= address < end for start, end in spans)
    del visitor, module
    gc.collect()
    assert not file.exists()


@pytest.mark.parametrize("rest", ["cpu", "disk"])
@torch.no_grad()
def test_a_model_with_a_visiting_language_says_the_same(rest: str) -> None:
    model = placed(devices="cpu", offload=("language",), rest=rest)
    want = synthetic.toy_model()(**inputs())
    for _ in range(2):
        assert torch.equal(model(**inputs()).mask_logits, want.mask_logits)


def test_visiting_is_not_for_training() -> None:
    model = placed(devices="cpu", offload=("language",))
    with pytest.raises(ValueError, match="offload is for inference"):
        model(**inputs())


@torch.no_grad()
def test_loaded_weights_are_those_that_visit(tmp_path: Path) -> None:
    """The weights of a checkpoint come in after the placement; only then do they rest."""
    model = synthetic.toy_model(seed=4)
    dataset = CheckpointDataset(filepath=str(tmp_path / "finetuned"))
    dataset.save(
        {
            "state_dict": model.state_dict(),
            "meta": checkpoint_meta(model, synthetic.PARAMS, synthetic.TOKENIZER),
        }
    )
    params = placed(devices="cpu", offload=("language",), rest="disk").params
    restored = model_from_checkpoint(dataset.load(), expected=params)
    assert torch.equal(restored(**inputs()).mask_logits, model(**inputs()).mask_logits)


def test_a_predictor_takes_a_placement(tmp_path: Path) -> None:
    model = synthetic.toy_model(seed=4)
    dataset = CheckpointDataset(filepath=str(tmp_path / "finetuned"))
    meta = checkpoint_meta(model, synthetic.PARAMS, synthetic.TOKENIZER)
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    placement = PlacementParams(devices={"vggt": "cpu", "encoder": "meta", "heads": "cpu"})
    predictor = HeatmapPredictor.from_checkpoint(dataset.load().path, placement=placement)
    assert devices(predictor.encoder) == {"meta"}
    assert devices(predictor.model) == {"cpu"}


# --- GPUs -------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@torch.no_grad()
def test_parts_on_a_gpu_and_on_the_cpu_say_the_same() -> None:
    want = synthetic.toy_model()(**inputs()).mask_logits
    for placement in (
        {"devices": {"vggt": "cuda:0", "language": "cpu", "heads": "cuda:0"}},
        {"devices": {"vggt": "cpu", "language": "cuda:0", "heads": "cpu"}},
        {"devices": "cuda:0", "offload": ("language",), "rest": "disk"},
    ):
        model = placed(**placement)
        for _ in range(2):
            got = model(**inputs()).mask_logits.cpu()
            torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@torch.no_grad()
def test_a_visitor_leaves_nothing_on_the_gpu() -> None:
    before = torch.cuda.memory_allocated()
    visitor = Visitor(nn.Linear(1024, 1024), torch.device("cuda:0"), "cpu")
    with visitor.visiting():
        assert torch.cuda.memory_allocated() - before >= 4 * 1024 * 1024
    assert torch.cuda.memory_allocated() == before
