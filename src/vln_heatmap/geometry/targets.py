"""Target heatmaps: what a perfect model would answer.

Invariant: a target is drawn in the current view's grid. Smoothing moves mass but neither makes nor loses any,
so that the sum of a mask is the referred co-visible area in cells, border or no border.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vln_heatmap.geometry.covisibility import COVISIBLE, area_average


class TargetHeatmaps(NamedTuple):
    """Targets of K keyframes.

    Attributes:
        mask: [K, h, w] float32 in [0, 1].
        distribution: [K, h, w] float32, the mask over its sum; all 0 where the target is not valid.
        valid: [K] bool, false where nothing that is referred to is co-visible.
    """

    mask: NDArray[np.float32]
    distribution: NDArray[np.float32]
    valid: NDArray[np.bool_]


def target_heatmaps(
    classes: NDArray[np.uint8],
    instance: NDArray[np.integer],
    referred: Collection[int] = (),
    sigma: float = 1.0,
    *,
    grid: tuple[int, int] | None = None,
) -> TargetHeatmaps:
    """Smoothed masks and distributions of the co-visible pixels that an instruction refers to.

    Args:
        classes: [K, H, W] as ``covisibility`` gives them.
        instance: [H, W] instance ids of the current view.
        referred: instance ids that count; none = all.
        sigma: of the Gaussian, in cells of the grid that is returned; 0 does not smooth.
        grid: (h, w) of the targets; a cell starts as the share of its area that counts. None = (H, W).

    The Gaussian mirrors at the border (half-sample symmetric, scipy's "reflect"): its matrix is symmetric
    with rows that sum to 1, so the sum of each map is kept and values stay in [0, 1].

    Raises:
        ValueError: ids of another size than the classes, a negative sigma, or a grid finer than the image.
    """
    if classes.shape[1:] != instance.shape:
        raise ValueError(f"classes are {classes.shape[1:]} pixels, but instance ids {instance.shape}")
    if sigma < 0:
        raise ValueError(f"sigma must be >= 0 cells, got {sigma:g}")
    counts = classes == COVISIBLE  # [K, H, W]
    if len(referred):
        counts &= np.isin(instance, list(referred))
    mask = area_average(counts, grid or instance.shape)  # [K, h, w]
    if sigma > 0:
        mask = gaussian_filter(mask, (0, sigma, sigma), mode="reflect")
    mask = np.clip(mask, 0, 1)
    valid = counts.any(axis=(1, 2))  # [K]
    total = mask.sum(axis=(1, 2), keepdims=True, dtype=np.float64)  # [K, 1, 1]
    distribution = np.divide(mask, total, out=np.zeros_like(mask), where=total > 0, casting="same_kind")
    return TargetHeatmaps(mask, distribution, valid)
