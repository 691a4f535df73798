"""What an image shows without knowing what it should show: sharpness, exposure, variety, noise.

Invariant: sharpness is that of the edges that are there. It depends neither on how many there are nor on how
bright the scene is, so that a calm wall is not taken for a blurred one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Pixels on either side of an edge between which its full contrast is measured.
_REACH = 3
#: Least contrast of an edge that is measured, grey levels.
_CONTRAST = 12.0
#: Fewest such edges in a frame.
_EDGES = 12
#: Fewest neighbouring triples of pixels that depth noise is measured on.
_TRIPLES = 64


def edge_sharpness(
    grey: NDArray[np.float32], instance: NDArray[np.integer], stride: int
) -> NDArray[np.float64]:
    """How much of the contrast across the borders of instances happens between two pixels.

    At a border in a row, the largest step between neighbours within a pixel of it is divided by the range of
    the ``2 * _REACH`` pixels around it: about 1 for a sharp edge, 1 / k after a blur over k pixels.

    Args:
        grey: [N, H, W] grey levels.
        instance: [N, H, W] ids.
        stride: use every n-th row.

    Returns:
        [N] the upper quartile over a frame's borders (some borders have no edge of their own in the image);
        NaN where too few have any contrast.
    """
    grey, ids = grey[:, ::stride], instance[:, ::stride]
    border = (
        ids[..., _REACH - 1 : -_REACH] != ids[..., _REACH : 1 - _REACH]
    )  # between columns c + 2 and c + 3
    frame, row, column = np.nonzero(border)  # [E] each
    around = grey[frame[:, None], row[:, None], column[:, None] + np.arange(2 * _REACH)]  # [E, 6]
    contrast = np.ptp(around, axis=1)  # [E]
    steps = np.abs(np.diff(around[:, 1:-1], axis=1)).max(axis=1)  # [E]
    strong = contrast >= _CONTRAST
    ratio, frame = steps[strong] / contrast[strong], frame[strong]
    result = np.full(len(grey), np.nan)
    for index, values in enumerate(np.split(ratio, np.searchsorted(frame, np.arange(1, len(grey))))):
        if len(values) >= _EDGES:
            result[index] = np.quantile(values, 0.75)
    return result


def clipped_share(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share [N] of the pixels of grey images [N, H, W] that are as good as black or white."""
    return ((grey < 3) | (grey > 252)).mean(axis=(1, 2))


def entropy(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shannon entropy [N] in bits of the grey levels of images [N, H, W], in 64 bins: 0 (plain) to 6."""
    bins = (grey / 4).astype(np.int64) + 64 * np.arange(len(grey))[:, None, None]  # [N, H, W]
    share = np.bincount(bins.ravel(), minlength=64 * len(grey)).reshape(-1, 64) / grey[0].size  # [N, 64]
    return -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1)


def depth_noise(
    depth: NDArray[np.float32], instance: NDArray[np.integer], stride: int
) -> NDArray[np.float64]:
    """How rough the surfaces are: inverse depth of a plane is linear in the image, so its bend is 0 there.

    Args:
        depth: [N, H, W] z-depth in metres, 0 = nothing.
        instance: [N, H, W] ids; only three neighbours of one instance are compared.
        stride: use every n-th row.

    Returns:
        [N] median of |w(i-1) - 2 w(i) + w(i+1)| / w(i) with w = 1 / depth, along the rows; for independent
        errors of relative size s it is about 1.65 s. NaN where too few triples can be compared.
    """
    depth, ids = depth[:, ::stride], instance[:, ::stride]
    inverse = np.zeros_like(depth)
    np.divide(1, depth, out=inverse, where=depth > 0)
    same = ids[..., 1:] == ids[..., :-1]  # [N, h, W - 1]
    usable = same[..., 1:] & same[..., :-1] & (inverse[..., 1:-1] > 0)  # [N, h, W - 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        bend = np.abs((inverse[..., 2:] + inverse[..., :-2]) / inverse[..., 1:-1] - 2)  # [N, h, W - 2]
    rows = [values[chosen] for values, chosen in zip(bend, usable, strict=True)]
    return np.array([np.median(row) if len(row) >= _TRIPLES else np.nan for row in rows])
