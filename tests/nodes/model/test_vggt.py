"""VGGT: the official layout at 1B size, and what each part must obey at any size."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vln_heatmap.nodes.model.vggt import VGGT, decode_cameras, encode_cameras, load_official
from vln_heatmap.nodes.model.vggt.aggregator import token_positions
from vln_heatmap.nodes.model.vggt.camera import quaternion_from_rotation, rotation_from_quaternion
from vln_heatmap.nodes.model.vggt.layers import Attention, rope_rotation, rotate
from vln_heatmap.params import VGGTParams

FIXTURE = Path(__file__).parents[2] / "fixtures" / "vggt_1b_state_dict.txt"
TOY = VGGTParams(
    heads=("camera", "depth", "points"),
    dim=32,
    vit_depth=1,
    camera_depth=1,
    dense_features=16,
    dense_channels=(8, 8, 8, 8),
    pretrain_size=56,
)


def toy(**changes: object) -> VGGT:
    torch.manual_seed(0)
    return VGGT(TOY.model_copy(update=changes)).eval()


def toy_frames(batch: int = 1, count: int = 3, height: int = 42, width: int = 56) -> torch.Tensor:
    return torch.rand(batch, count, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_names_and_shapes_at_1b_are_the_official_checkpoint_s() -> None:
    lines = (line.split("\t") for line in FIXTURE.read_text().splitlines())
    official = {name: ast.literal_eval(shape) for name, shape in lines if not name.startswith("track_head.")}
    with torch.device("meta"):
        model = VGGT(VGGTParams.official())
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == official


def test_outputs_have_the_shapes_and_ranges_they_promise() -> None:
    output = toy()(toy_frames(2), heads=("camera", "depth", "points"))
    assert [tuple(tokens.shape) for tokens in output.layers] == [(2, 3, 5 + 12, 64)] * 4
    assert output.patch_tokens.shape == (2, 3, 12, 64)
    assert output.camera_tokens.shape == (2, 3, 64)
    assert output.grid == (3, 4)
    assert output.pose_encodings is not None
    assert [tuple(encoding.shape) for encoding in output.pose_encodings] == [(2, 3, 9)] * 4
    assert output.depth.shape == output.points_confidence.shape == (2, 3, 42, 56)
    assert output.points.shape == (2, 3, 42, 56, 3)
    assert (output.depth > 0).all()
    assert (output.depth_confidence >= 1).all()


def test_only_the_heads_asked_for_run() -> None:
    model = toy()
    for head in (model.camera_head, model.depth_head, model.point_head):
        head.register_forward_hook(lambda *_: pytest.fail("a head ran that nobody asked for"))
    output = model(toy_frames())
    assert output.pose_encodings is output.depth is output.points is None


def test_dense_heads_do_not_care_how_many_frames_they_take_at_a_time() -> None:
    model, frames = toy(), toy_frames(1, 5)
    whole = model(frames, heads=("points",)).points
    model.point_head.chunk = 2
    torch.testing.assert_close(model(frames, heads=("points",)).points, whole)


@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_rotary_products_depend_on_the_offset_only(dy: int, dx: int, y: int, x: int) -> None:
    query, key = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def product(a: tuple[int, int], b: tuple[int, int]) -> float:
        turned = [
            rotate(part, rope_rotation(torch.tensor([place]), 16)) for part, place in ((query, a), (key, b))
        ]
        return (turned[0] * turned[1]).sum().item()

    shifted = product((y + 7, x + 3), (y + dy + 7, x + dx + 3))
    assert product((y, x), (y + dy, x + dx)) == pytest.approx(shifted, abs=1e-5)


def test_rotary_turns_each_half_by_its_own_axis() -> None:
    """Closed form: pair i of the y half of a unit vector turns by y * 100 ** (-i / 2), the x half by x * …"""
    unit = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 8)
    turned = rotate(unit, rope_rotation(torch.tensor([[3, 5]]), 8)).flatten()
    angles = [3.0, 3.0 / 10, 5.0, 5.0 / 10]
    cos, sin = [math.cos(a) for a in angles], [math.sin(a) for a in angles]
    expected = torch.tensor([*cos[:2], *sin[:2], *cos[2:], *sin[2:]])
    torch.testing.assert_close(turned, expected)


def test_special_tokens_sit_at_the_origin_and_patches_from_one_on() -> None:
    expected = [[0, 0], [0, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    assert token_positions(2, 3, 2, torch.device("cpu")).tolist() == expected


def test_attention_equals_the_textbook_formula() -> None:
    torch.manual_seed(0)
    attention = Attention(16, 2, qk_norm=True)
    x = torch.randn(2, 5, 16)
    qkv = attention.qkv(x).view(2, 5, 3, 2, 8)
    query, key, value = (qkv[:, :, part].transpose(1, 2) for part in range(3))
    weights = (attention.q_norm(query) @ attention.k_norm(key).mT / math.sqrt(8)).softmax(dim=-1)
    expected = attention.proj((weights @ value).transpose(1, 2).reshape(2, 5, 16))
    torch.testing.assert_close(attention(x), expected)


def test_frame_blocks_keep_frames_apart_and_global_blocks_mix_them() -> None:
    model = toy(pairs=1, layers=(0, 0, 0, 0), layer_scale=1.0)
    frames = toy_frames()
    other = frames.clone()
    other[:, 1] = 1 - other[:, 1]
    with torch.no_grad():
        change = (model(frames).layers[0] - model(other).layers[0]).abs().amax(dim=(0, 2))  # [T, 2C]
    frame_half, global_half = change.split(TOY.dim, dim=-1)
    assert frame_half[1].max() > 1e-3
    assert frame_half[[0, 2]].max() == 0
    assert global_half.amax(dim=-1).min() > 1e-4


def masked_attention(
    attention: Attention, x: torch.Tensor, places: torch.Tensor, seen: torch.Tensor
) -> torch.Tensor:
    """Attention of tokens [N, C] by complex rotary factors and an explicit mask [N, N], in float64."""
    state = {name: value.double() for name, value in attention.state_dict().items()}
    heads = attention.heads
    qkv = x @ state["qkv.weight"].T + state["qkv.bias"]
    query, key, value = qkv.view(len(x), 3, heads, -1).permute(1, 2, 0, 3)  # each [heads, N, D]

    def placed(part: torch.Tensor, norm: str) -> torch.Tensor:
        centred = part - part.mean(-1, keepdim=True)
        part = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        part = part * state[f"{norm}.weight"] + state[f"{norm}.bias"]
        first, second = part.unflatten(-1, (2, 2, -1)).unbind(-2)  # each [heads, N, 2, D/4]
        rates = 100.0 ** -(torch.arange(first.shape[-1]).double() / first.shape[-1])
        turn = torch.polar(torch.ones(1, dtype=torch.float64), places[..., None].double() * rates)
        turned = torch.complex(first, second) * turn
        return torch.stack([turned.real, turned.imag], dim=-2).flatten(-3)

    scores = placed(query, "q_norm") @ placed(key, "k_norm").mT / math.sqrt(query.shape[-1])
    weights = scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
    return (weights @ value).transpose(0, 1).flatten(1) @ state["proj.weight"].T + state["proj.bias"]


@pytest.mark.parametrize("scope", ["frame", "global"])
def test_a_block_is_attention_under_the_mask_of_its_scope(scope: str) -> None:
    """All tokens in one row, with a block-diagonal mask for frame attention and none for global attention."""
    model, count = toy(layer_scale=1.0), 3
    block = getattr(model.aggregator, f"{scope}_blocks")[0]
    places = token_positions(3, 4, 5, torch.device("cpu"))  # [P, 2]
    tokens = torch.randn(count, len(places), TOY.dim, generator=torch.Generator().manual_seed(2))
    rotation = rope_rotation(places if scope == "frame" else places.repeat(count, 1), TOY.dim // 4)
    given = tokens if scope == "frame" else tokens.flatten(0, 1)[None]
    frame = torch.arange(count).repeat_interleave(len(places))
    seen = (
        frame[:, None] == frame if scope == "frame" else torch.ones(len(frame), len(frame), dtype=torch.bool)
    )
    row = tokens.flatten(0, 1)
    want = masked_attention(block.attn, row.double(), places.repeat(count, 1), seen)
    have = block.attn(given, rotation).flatten(0, 1)
    torch.testing.assert_close(have, want.float(), atol=1e-5, rtol=1e-5)


def test_samples_of_a_batch_do_not_meet() -> None:
    model, frames = toy(layer_scale=1.0), toy_frames(2)
    torch.testing.assert_close(model(frames).patch_tokens[1:], model(frames[1:]).patch_tokens)


def test_the_first_frame_is_the_frame_of_reference() -> None:
    """The other frames are a set: swapping two swaps their tokens, and the first is told apart."""
    model = toy(layer_scale=1.0)
    torch.nn.init.normal_(model.aggregator.camera_token)
    frames = toy_frames()
    swapped = model(frames[:, [0, 2, 1]]).patch_tokens
    tokens = model(frames).patch_tokens
    torch.testing.assert_close(swapped, tokens[:, [0, 2, 1]], atol=1e-5, rtol=1e-5)
    rotated = model(frames[:, [1, 0, 2]]).patch_tokens
    assert (rotated - tokens[:, [1, 0, 2]]).abs().max() > 1e-3


def test_gradient_reaches_every_parameter_but_the_unused_ones() -> None:
    model = toy().train()
    output = model(toy_frames(), heads=("camera", "depth", "points"))
    total = output.depth.sum() + output.points.square().sum() + output.depth_confidence.sum()
    total = total + output.points_confidence.sum() + sum(e.square().sum() for e in output.pose_encodings)
    total.backward()
    silent = {name for name, value in model.named_parameters() if value.grad is None}
    assert silent == {"aggregator.patch_embed.mask_token"}


def test_bfloat16_autocast_stays_close_and_keeps_the_heads_in_full_precision() -> None:
    model, frames = toy(), toy_frames()
    exact = model(frames, heads=("camera", "depth"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(frames, heads=("camera", "depth"))
    assert rough.depth.dtype == rough.pose_encodings[-1].dtype == torch.float32
    torch.testing.assert_close(rough.depth, exact.depth, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 42, 42), "must be"),
        ((1, 2, 3, 40, 42), "multiples of the patch"),
        ((1, 0, 3, 42, 42), "must be"),
    ],
)
def test_frames_of_a_wrong_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy()(torch.zeros(shape))


def test_a_head_that_was_not_built_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'depth'"):
        toy(heads=("camera",))(toy_frames(), heads=("depth",))


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
@settings(max_examples=50, deadline=None)
def test_quaternions_agree_with_scipy_both_ways(values: list[float]) -> None:
    truth = Rotation.from_quat(values)
    matrix = rotation_from_quaternion(torch.tensor(values, dtype=torch.float64))
    np.testing.assert_allclose(matrix.numpy(), truth.as_matrix(), atol=1e-9)
    back = quaternion_from_rotation(matrix).numpy()
    assert np.linalg.norm(back) == pytest.approx(1)
    assert abs(back @ truth.as_quat()) == pytest.approx(1)


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
def test_quaternions_survive_half_turns(axis: list[float]) -> None:
    matrix = torch.from_numpy(Rotation.from_rotvec(np.pi * np.array(axis, dtype=float)).as_matrix())
    torch.testing.assert_close(rotation_from_quaternion(quaternion_from_rotation(matrix)), matrix)


@given(st.floats(20, 140), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=30, deadline=None)
def test_pose_encoding_round_trip(fov: float, angle: float, shift: float) -> None:
    focal = 64 / math.tan(math.radians(fov) / 2)
    intrinsics = torch.tensor([[focal, 0, 64], [0, focal, 48], [0, 0, 1]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(Rotation.from_euler("yx", [angle, angle / 2]).as_matrix())
    pose[:3, 3] = torch.tensor([shift, 1.0, -shift])
    encoding = encode_cameras(pose[None], intrinsics[None], (96, 128))
    assert encoding[0, 8].item() == pytest.approx(math.radians(fov))
    back, matrix = decode_cameras(encoding, (96, 128))
    torch.testing.assert_close(back[0], pose)
    torch.testing.assert_close(matrix[0], intrinsics)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", "/"])
def test_an_official_checkpoint_loads_strictly_without_its_track_head(tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    source, model = toy(), toy(heads=("camera",))
    torch.nn.init.normal_(source.aggregator.camera_token)
    state = {**source.state_dict(), "track_head.anything": torch.zeros(3)}
    if suffix == ".pt":
        path = tmp_path / "vggt.pt"
        torch.save(state, path)
    else:
        save_file(state, tmp_path / "model.safetensors")
        path = tmp_path / "model.safetensors" if suffix == ".safetensors" else tmp_path
    load_official(model, path)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_checkpoint_of_another_size_or_with_odd_names_is_refused(tmp_path: Path) -> None:
    torch.save(toy(dim=48).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match="another size or layout"):
        load_official(toy(), tmp_path / "other.pt")
    torch.save({**toy().state_dict(), "extra.weight": torch.zeros(1)}, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=r"extra\.weight"):
        load_official(toy(), tmp_path / "odd.pt")
    with pytest.raises(FileNotFoundError, match="found neither"):
        load_official(toy(), tmp_path)
    with pytest.raises(FileNotFoundError, match="no VGGT checkpoint"):
        load_official(toy(), tmp_path / "missing.pt")


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        VGGTParams(dim=36, attention_heads=4)
    with pytest.raises(ValueError, match="resolution must be a multiple of 14, got 100"):
        VGGTParams(resolution=100)
    with pytest.raises(ValueError, match="layers must lie"):
        VGGTParams(pairs=2, layers=(0, 1, 2, 3))
