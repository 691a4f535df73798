"""A geometry model that knows nothing: what the rest of the model is worth without one.

Invariant: its tokens have the shapes of VGGT's at the same sizes and are zero, whatever the frames show.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt.base import Head, Origin, VGGTOutput, check_request
from vln_heatmap.params import VGGTParams


class NoGeometry(nn.Module):
    """Zeros in the place of VGGT.

    Args:
        params: of which patch and width count.
    """

    def __init__(self, params: VGGTParams) -> None:
        super().__init__()
        self.params = params
        self.origin: Origin | None = None
        self.channels = 2 * params.dim

    @classmethod
    def from_source(cls, params: VGGTParams) -> NoGeometry:
        """Never: there are no weights to read.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"vggt.name none has no weights, but vggt.source is {params.source!r}")

    def forward(self, frames: Tensor, heads: Collection[Head] = ()) -> VGGTOutput:
        """Zero tokens of frames [B, T, 3, H, W].

        Raises:
            ValueError: frames of another shape, or a head: there is none.
        """
        check_request(self.params, frames, heads)
        (batch, count), (height, width) = frames.shape[:2], frames.shape[-2:]
        grid = (height // self.params.patch, width // self.params.patch)
        return VGGTOutput(
            layers=[],
            patch_tokens=frames.new_zeros(batch, count, grid[0] * grid[1], self.channels),
            camera_tokens=frames.new_zeros(batch, count, self.channels),
            grid=grid,
        )
