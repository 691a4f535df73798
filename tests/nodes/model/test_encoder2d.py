"""Frozen 2-D encoders: agreement with their sources, and the layout that every encoder shares."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vln_heatmap.nodes.model.encoder2d import ENCODERS, DINOv3, EfficientNetLite0, make_encoder
from vln_heatmap.nodes.model.fusion import align_grid
from vln_heatmap.params import Dinov3Params, Encoder2dParams

FIXTURE = Path(__file__).parents[2] / "fixtures" / "efficientnet_lite0_reference.json"
SMALL = Encoder2dParams(input_size=64, grid=4, dinov3=Dinov3Params(dim=32, depth=1))
NAMES = sorted(ENCODERS)


def small(name: str) -> EfficientNetLite0 | DINOv3:
    return make_encoder(SMALL.model_copy(update={"name": name}))


def picture(count: int = 2, height: int = 48, width: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_lite0_computes_what_the_package_of_its_weights_computes() -> None:
    """Block outputs of the published forward pass on a picture in closed form (see the fixture)."""
    reference = json.loads(FIXTURE.read_text())
    y, x = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    image = torch.stack([(x / 17).sin() * (y / 23).cos(), ((x + y) / 31).sin(), ((x - 2 * y) / 13).cos()])
    blocks = tuple(int(block) for block in reference["blocks"])
    encoder = EfficientNetLite0(Encoder2dParams(blocks=blocks))
    for maps, expected in zip(encoder.feature_maps(image[None]), reference["blocks"].values(), strict=True):
        side = maps.shape[-1]
        assert maps.mean().item() == pytest.approx(expected["mean"], abs=1e-4)
        assert maps.std().item() == pytest.approx(expected["std"], rel=1e-5)
        places = ((int(row * side), int(column * side)) for row, column in reference["places"])
        values = torch.stack([maps[0, ::7, row, column] for row, column in places])
        torch.testing.assert_close(values, torch.tensor(expected["values"]), atol=1e-3, rtol=1e-4)


def test_lite0_groups_are_the_widths_of_the_chosen_blocks() -> None:
    encoder = EfficientNetLite0(Encoder2dParams(blocks=(2, 4, 10), input_size=64))
    assert encoder.groups == (24, 40, 112)
    assert encoder.channels == 24 + 40 + 112 + 6
    assert len(encoder.blocks) == 11


def test_dinov3_keeps_patch_tokens_only_in_their_order() -> None:
    encoder = DINOv3(SMALL)
    images = picture(1, 64, 64)
    tokens = encoder.model(pixel_values=images).last_hidden_state  # [1, 1 + 4 + 16, 32]
    (maps,) = encoder.feature_maps(images)
    assert torch.equal(maps[0, :, 1, 2], tokens[0, 1 + 4 + 1 * 4 + 2])


@pytest.mark.parametrize("registers", [0, 2, 4])
def test_tokens_of_dinov3_are_class_then_registers_then_patches_row_by_row(registers: int) -> None:
    """What transformers' model takes into its layers, whose order the layers and the last norm keep."""
    sizes = Dinov3Params(dim=32, depth=1, registers=registers)
    encoder = DINOv3(SMALL.model_copy(update={"dinov3": sizes}))
    embeddings, images = encoder.model.embeddings, picture(1, 64, 64)
    torch.nn.init.normal_(embeddings.register_tokens)
    tokens = embeddings(images)[0]  # [1 + registers + 16, 32]
    assert torch.equal(tokens[0], embeddings.cls_token[0, 0])
    assert torch.equal(tokens[1 : 1 + registers], embeddings.register_tokens[0])
    for row, column in ((0, 0), (0, 3), (2, 1)):
        patch = images[..., 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        alone = embeddings.patch_embeddings(patch)[0, :, 0, 0]
        torch.testing.assert_close(tokens[1 + registers + 4 * row + column], alone)
    kept = encoder.feature_maps(images)[0].flatten(2).transpose(1, 2)  # [1, 16, 32]
    assert torch.equal(kept, encoder.model(pixel_values=images).last_hidden_state[:, 1 + registers :])


def test_sizes_of_a_folder_count_whatever_the_parameters_say(tmp_path: Path) -> None:
    other = Dinov3Params(dim=48, depth=2, patch=8, registers=2)
    DINOv3(SMALL.model_copy(update={"dinov3": other})).model.save_pretrained(tmp_path)
    encoder = DINOv3(SMALL.model_copy(update={"dinov3": Dinov3Params(source=str(tmp_path))}))
    assert (encoder.prefix, encoder.groups) == (3, (48,))
    assert encoder.feature_maps(picture(1, 64, 64))[0].shape == (1, 48, 8, 8)


def test_a_folder_that_lacks_weights_of_dinov3_is_refused(tmp_path: Path) -> None:
    """transformers alone would go on with random ones."""
    DINOv3(SMALL).model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    gone = next(name for name in state if "mlp" in name)
    del state[gone]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of DINOv3, such as .*mlp"):
        DINOv3(SMALL.model_copy(update={"dinov3": Dinov3Params(source=str(tmp_path))}))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no DINOv3 at .*empty.*config\.json"):
        DINOv3(SMALL.model_copy(update={"dinov3": Dinov3Params(source=str(tmp_path / "empty"))}))


def test_dinov3_comes_from_a_folder(tmp_path: Path) -> None:
    random = DINOv3(SMALL)
    random.model.save_pretrained(tmp_path)
    params = SMALL.model_copy(update={"name": "dinov3", "dinov3": Dinov3Params(source=str(tmp_path))})
    assert torch.equal(make_encoder(params).encode(picture()), random.encode(picture()))


def test_random_dinov3_is_fixed_by_its_seed_alone() -> None:
    torch.manual_seed(1)
    first = small("dinov3").encode(picture())
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(small("dinov3").encode(picture()), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_frozen_whatever_mode_is_asked_for(name: str) -> None:
    encoder = small(name)
    before = encoder.encode(picture())
    encoder.train()
    after = encoder.encode(picture())
    assert torch.equal(before, after)
    assert not after.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("colour", [True, False])
def test_layout(name: str, colour: bool) -> None:
    encoder = make_encoder(SMALL.model_copy(update={"name": name, "colour": colour}))
    features = encoder.encode(picture(5))
    assert features.shape == (5, encoder.channels, 4, 4)
    assert encoder.channels == sum(encoder.groups) + (6 if colour else 0)
    assert features.dtype == torch.float32
    assert encoder.encode(picture(0)).shape == (0, encoder.channels, 4, 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_s_features_do_not_depend_on_its_company(name: str) -> None:
    encoder, frames = small(name), picture(6)
    torch.testing.assert_close(encoder.encode(frames)[5:], encoder.encode(frames[5:]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bytes_and_floats_agree(name: str) -> None:
    encoder = small(name)
    frames = (picture() * 255).round().to(torch.uint8)
    torch.testing.assert_close(encoder.encode(frames), encoder.encode(frames.float() / 255))


@pytest.mark.parametrize("name", NAMES)
def test_colour_channels_are_mean_and_deviation_of_each_cell(name: str) -> None:
    frames = torch.zeros(1, 3, 64, 64)
    frames[:, 0, :16, 16:32] = 1.0  # cell (0, 1): all red
    frames[:, 1, 48:56, 48:] = 1.0  # upper half of cell (3, 3): green
    colour = small(name).encode(frames)[0, -6:]
    expected = torch.zeros(6, 4, 4)
    expected[0, 0, 1] = 1.0
    expected[1, 3, 3] = expected[4, 3, 3] = 0.5
    torch.testing.assert_close(colour, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_frames_of_a_wrong_shape_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"got \[3, 64, 64\]"):
        small(name).encode(torch.zeros(3, 64, 64))


@pytest.mark.parametrize("side", [8, 12, 5, 3])
def test_gridding_keeps_image_positions(side: int) -> None:
    """A ramp over the image stays the same ramp on any grid within a twentieth of a cell (borders aside)."""

    def ramp(cells: int) -> torch.Tensor:
        return ((torch.arange(cells) + 0.5) / cells).expand(1, 1, cells, cells)

    torch.testing.assert_close(align_grid(ramp(side), (4, 4))[..., 1:3], ramp(4)[..., 1:3], atol=0.01, rtol=0)


def test_an_input_that_is_no_multiple_of_dinov3_s_patch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of the patch \(16\), got 100"):
        make_encoder(Encoder2dParams(name="dinov3", input_size=100))


def test_blocks_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="less than or equal to 15"):
        Encoder2dParams(blocks=(16,))
