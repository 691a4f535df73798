"""Weights of VGGT by configuration: where they may lie, what is refused, and what a checkpoint then stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import synthetic
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset, CheckpointMismatchError
from vln_heatmap.nodes.model.assemble import checkpoint_meta, model_from_checkpoint, stored_weights
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.vggt import VGGT, make_geometry
from vln_heatmap.nodes.model.vggt.weights import fingerprint, locate, read_state
from vln_heatmap.params import ModelParams, VGGTParams

SIZES = synthetic.PARAMS.vggt.model_copy(update={"heads": ("camera", "depth", "points")})


def official_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Toy weights in the official layout, track head included."""
    torch.manual_seed(seed)
    model = VGGT(SIZES)
    torch.nn.init.normal_(model.aggregator.camera_token)
    return {**model.state_dict(), "track_head.anything": torch.zeros(3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(official_state(), tmp_path / "model.safetensors")
    return tmp_path


def with_source(source: Path | str | None, **changes: Any) -> VGGTParams:
    return VGGTParams.model_validate(
        synthetic.PARAMS.vggt.model_dump() | {"source": str(source) if source else None} | changes
    )


# --- sizes ------------------------------------------------------------------------------------------------


def test_official_sizes_are_one_word_and_win_over_the_sizes_of_a_base_preset() -> None:
    base = {"resolution": 112, "dim": 64, "attention_heads": 4, "vit_depth": 2, "pairs": 2, "heads": []}
    params = VGGTParams.model_validate(base | {"size": "official", "resolution": 518})
    assert params == VGGTParams.official(heads=())
    assert (params.dim, params.pairs, params.vit_depth, params.layers) == (1024, 24, 24, (4, 11, 17, 23))
    assert VGGTParams.model_validate(params.model_dump(mode="json")) == params
    assert VGGTParams.official().heads == ("camera", "depth", "points")
    assert VGGTParams.official(resolution=336).resolution == 336


def test_the_official_sizes_of_omega_fit_its_patches() -> None:
    params = VGGTParams.official(name="vggt_omega")
    assert (params.patch, params.resolution, params.registers) == (16, 512, 16)


def test_a_trunk_in_half_precision_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match="cannot be trained: set frozen: true"):
        VGGTParams(dtype="bfloat16")


# --- files ------------------------------------------------------------------------------------------------


def test_a_source_in_the_parameters_is_loaded_and_unbuilt_heads_are_dropped(folder: Path) -> None:
    model = make_geometry(with_source(folder, heads=("depth",)))
    state = official_state()
    assert {name.split(".")[0] for name in model.state_dict()} == {"aggregator", "depth_head"}
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(p.is_meta for p in model.parameters())
    assert all(p.requires_grad for name, p in model.named_parameters() if not name.endswith("mask_token"))
    assert model.origin is not None
    assert model.origin.source == str(folder)


def test_half_precision_and_frozen_by_configuration(folder: Path) -> None:
    exact = make_geometry(with_source(folder, heads=("depth",)))
    rough = make_geometry(with_source(folder, heads=("depth",), dtype="bfloat16", frozen=True))
    assert {p.dtype for p in rough.aggregator.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in rough.depth_head.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in rough.parameters())
    frames = torch.rand(1, 2, 3, 28, 28)
    one, two = exact(frames, heads=("depth",)), rough(frames, heads=("depth",))
    assert two.patch_tokens.dtype == two.depth.dtype == torch.float32
    torch.testing.assert_close(two.patch_tokens, one.patch_tokens, rtol=0.05, atol=0.1)
    torch.testing.assert_close(two.depth, one.depth, rtol=0.05, atol=0.05)


def test_training_code_s_own_files_hold_the_weights_under_model(tmp_path: Path) -> None:
    torch.save({"model": official_state()}, tmp_path / "checkpoint.pt")
    loaded = make_geometry(with_source(tmp_path / "checkpoint.pt"))
    assert torch.equal(loaded.aggregator.camera_token, official_state()["aggregator.camera_token"])


def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "harm",)

    torch.save({"aggregator.camera_token": Harm()}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="cannot be read as plain tensors"):
        make_geometry(with_source(tmp_path))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="must hold tensors by name"):
        read_state(tmp_path / "model.pt")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    with pytest.raises(FileNotFoundError, match=r"must be a \.safetensors or \.pt file"):
        locate(tmp_path / "weights.bin")


# --- hub --------------------------------------------------------------------------------------------------


def test_a_hub_id_is_asked_for_its_safetensors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub itself is not asked in tests: its download function is replaced by a local folder."""
    asked = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    model = make_geometry(with_source("facebook/VGGT-1B"))
    assert asked == [("facebook/VGGT-1B", "model.safetensors")]
    assert model.origin is not None
    assert model.origin.source == "facebook/VGGT-1B"


def test_a_hub_that_cannot_be_reached_is_reported_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(repository: str, name: str) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(FileNotFoundError, match=r"no connection.*set model\.vggt\.source to its path"):
        locate("facebook/VGGT-1B")


# --- fingerprint ------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_weights_and_not_of_their_file(tmp_path: Path) -> None:
    state = official_state()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    half = {name: value.bfloat16() for name, value in state.items()}
    trunk = {name: value for name, value in state.items() if name.startswith("aggregator.")}
    same = {
        fingerprint(s)
        for s in (read_state(tmp_path / "a.safetensors"), read_state(tmp_path / "b.pt"), half, trunk)
    }
    assert same == {fingerprint(state)}
    name = "aggregator.global_blocks.0.attn.qkv.weight"
    assert fingerprint(state | {name: state[name] + 1}) not in same
    assert fingerprint(state | {name: state[name].T}) not in same


# --- the whole model --------------------------------------------------------------------------------------


def whole(source: Path | str | None, **changes: Any) -> ModelParams:
    return synthetic.PARAMS.model_copy(update={"vggt": with_source(source, **changes)})


def saved(folder: Path, model: HeatmapModel, params: ModelParams) -> Checkpoint:
    dataset = CheckpointDataset(filepath=str(folder))
    state = stored_weights(model, model.state_dict())
    dataset.save({"state_dict": state, "meta": checkpoint_meta(model, params, synthetic.TOKENIZER)})
    return dataset.load()


def vggt_names(checkpoint: Checkpoint) -> list[str]:
    return [name for name in checkpoint.state_dict() if name.startswith("vggt.")]


def same_weights(one: HeatmapModel, two: HeatmapModel) -> bool:
    weights = two.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


def test_a_checkpoint_leaves_frozen_official_weights_out_and_finds_them_again(
    folder: Path, tmp_path: Path
) -> None:
    params = whole(folder, frozen=True)
    model = synthetic.toy_model(params)
    checkpoint = saved(tmp_path / "checkpoint", model, params)
    assert vggt_names(checkpoint) == []
    assert checkpoint.meta["external"]["vggt"]["source"] == str(folder)
    for expected in (None, params):
        assert same_weights(model, model_from_checkpoint(checkpoint, expected=expected))
    moved = folder.rename(folder.with_name("elsewhere"))
    assert same_weights(
        model, model_from_checkpoint(Checkpoint.open(moved / "checkpoint"), whole(moved, frozen=True))
    )


def test_other_frozen_weights_than_those_trained_on_are_refused(folder: Path, tmp_path: Path) -> None:
    params = whole(folder, frozen=True)
    checkpoint = saved(tmp_path / "checkpoint", synthetic.toy_model(params), params)
    save_file(official_state(seed=1), folder / "model.safetensors")
    with pytest.raises(CheckpointMismatchError, match=r"holds others.*Set model\.vggt\.source"):
        model_from_checkpoint(checkpoint)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="found neither"):
        model_from_checkpoint(checkpoint)


def test_weights_that_are_trained_are_stored_and_their_source_is_not_needed_again(
    folder: Path, tmp_path: Path
) -> None:
    params = whole(folder)
    model = synthetic.toy_model(params)
    assert torch.equal(model.vggt.aggregator.camera_token, official_state()["aggregator.camera_token"])
    checkpoint = saved(tmp_path / "checkpoint", model, params)
    assert len(vggt_names(checkpoint)) == len(model.vggt.state_dict())
    assert checkpoint.meta["external"] == {}
    (folder / "model.safetensors").unlink()
    assert same_weights(model, model_from_checkpoint(checkpoint, expected=params))


def test_a_frozen_model_from_nowhere_is_stored(tmp_path: Path) -> None:
    params = whole(None, frozen=True)
    model = synthetic.toy_model(params)
    checkpoint = saved(tmp_path / "checkpoint", model, params)
    assert len(vggt_names(checkpoint)) == len(model.vggt.state_dict())
    assert same_weights(model, model_from_checkpoint(checkpoint))


def test_a_vggt_of_another_resolution_is_refused_though_its_shapes_fit(tmp_path: Path) -> None:
    params = whole(None)
    checkpoint = saved(tmp_path / "checkpoint", synthetic.toy_model(params), params)
    other = params.model_copy(update={"vggt": params.vggt.model_copy(update={"resolution": 42})})
    with pytest.raises(CheckpointMismatchError, match=r"vggt\.resolution is 28 in the checkpoint and 42"):
        model_from_checkpoint(checkpoint, expected=other)


# --- one pass ---------------------------------------------------------------------------------------------


def test_a_sequence_is_described_once_for_all_current_views() -> None:
    """Four views from one pass over five frames are the views from passes of their own."""
    model, passes = synthetic.toy_model(), []
    model.vggt.register_forward_hook(lambda *_: passes.append(1))
    frames, features = torch.rand(1, 5, 3, 28, 28), torch.rand(1, 5, synthetic.CHANNELS, 4, 4)
    views = torch.tensor([[4, 0, 2, 3]])
    others = torch.tensor([[[k for k in range(5) if k != view][:3] for view in views[0].tolist()]])
    with torch.no_grad():
        together = model(frames, features, ["the west wall"], views, others).mask_logits
        assert len(passes) == 1
        for n in range(4):
            alone = model(frames, features, ["the west wall"], views[:, [n]], others[:, [n]]).mask_logits
            torch.testing.assert_close(alone[:, 0], together[:, n])
