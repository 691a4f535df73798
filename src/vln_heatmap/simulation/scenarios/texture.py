"""How an image looks: does its largest surface repeat itself, are its surfaces unlike each other.

Invariant: a surface is judged in its own plane, so that perspective neither hides a pattern nor makes one, and
by its chromaticity, so that light and shade make no difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.projection import unproject

_FLAT = 0.03  # metres that a point may lie off the plane
_LARGE = 0.4  # metres: standard deviation of the blur whose result is taken off
_LEAST_CONTRAST = 1.5  # grey levels of 255
_LEAST_OVERLAP = 0.3
_LOBE = 0.4  # autocorrelation above which a lag belongs to the peak at 0, if it is connected to it
_LARGE_ENOUGH = 0.02  # share of the view
_DARK = 4.0  # of 255, added to all colours: the chromaticity of black is uncertain


def periodicity(
    rgb: NDArray[np.uint8],
    depth: NDArray[np.floating],
    surface: NDArray[np.bool_],
    camera: PinholeCamera,
) -> float:
    """Highest autocorrelation of a flat surface's brightness away from the peak at 0, in its own plane.

    Args:
        rgb: [H, W, 3].
        depth: [H, W] z-depth, metres.
        surface: [H, W], the pixels that show the surface.

    Returns:
        0 (nothing repeats, or nothing is there) to 1 (an exact repetition).
    """
    if surface.sum() < 64:
        return 0.0
    points = np.asarray(unproject(depth, camera)[surface], np.float64)  # [N, 3]
    grey = rgb[surface].astype(np.float64).mean(axis=1)  # [N]
    along, off = _plane(points)
    near = np.abs(off - np.median(off)) <= _FLAT
    image, known, cell = _rasterised(along[near], grey[near])
    size = _LARGE / cell
    trend = ndimage.gaussian_filter(image * known, size) / np.maximum(
        ndimage.gaussian_filter(known.astype(float), size), 1e-6
    )
    return _second_peak(np.where(known, image - trend, 0.0), known)


def unlikeness(rgb: NDArray[np.uint8], ids: NDArray[np.int32], surfaces: Sequence[int]) -> float:
    """How much the colour of a surface differs from that of the surface that is most like it.

    Colours are mean log-chromaticities (log R/G, log B/G), which the brightness of the light does not change.

    Args:
        rgb: [H, W, 3].
        ids: [H, W] instance ids.
        surfaces: ids of the instances to compare; those that cover less than 2 % of the view are left out.

    Returns:
        The median over the surfaces of the distance to the nearest other; 0 if there are fewer than three.
    """
    large = [mask for mask in (ids == surface for surface in surfaces) if mask.mean() >= _LARGE_ENOUGH]
    if len(large) < 3:
        return 0.0
    logs = np.log([rgb[mask].mean(axis=0) + _DARK for mask in large])  # [N, 3]
    colours = logs[:, [0, 2]] - logs[:, [1]]  # [N, 2]
    distances = np.linalg.norm(colours[:, None] - colours, axis=-1)  # [N, N]
    np.fill_diagonal(distances, np.inf)
    return float(np.median(distances.min(axis=1)))


def _plane(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates [N, 2] of points [N, 3] in their plane of least squares, and distances [N] from it."""
    good = np.ones(len(points), bool)
    for _ in range(3):  # again without what is not in the plane
        centred = points - points[good].mean(axis=0)
        axes = np.linalg.eigh(centred[good].T @ centred[good])[1]  # columns, the normal first
        off = centred @ axes[:, 0]
        good = np.abs(off - np.median(off)) <= max(_FLAT, float(np.median(np.abs(off))))
    return centred @ axes[:, 1:], off


def _rasterised(
    points: NDArray[np.float64], grey: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
    """Mean brightness in square cells [h, w] of a plane, which cells are known, and their edge in metres."""
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    cell = float(np.clip(1.3 * np.sqrt(span.prod() / len(points)), 0.01, 0.2))
    index = ((points - low) / cell).astype(int)  # [N, 2]
    shape = tuple((span / cell).astype(int) + 1)
    flat = np.ravel_multi_index((index[:, 0], index[:, 1]), shape)
    count = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
    total = np.bincount(flat, grey, minlength=int(np.prod(shape))).reshape(shape)
    return total / np.maximum(count, 1), count > 0, cell


def _second_peak(signal: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    """Highest autocorrelation outside the peak around lag 0 of a signal [h, w] that is known in part."""
    shape = [2 * n for n in signal.shape]
    power = [np.abs(np.fft.rfft2(part, shape)) ** 2 for part in (signal, known.astype(float))]
    total, overlap = (np.fft.fftshift(np.fft.irfft2(part, shape)) for part in power)
    variance = (signal[known] ** 2).mean()
    if variance < _LEAST_CONTRAST**2:
        return 0.0
    enough = overlap >= _LEAST_OVERLAP * known.sum()
    correlation = np.where(enough, total / np.maximum(overlap, 1) / variance, 0.0)
    labels, _ = ndimage.label(correlation > _LOBE)
    centre = signal.shape
    lobe = ndimage.binary_dilation(labels == labels[centre], iterations=1)
    return float(np.clip(correlation[~lobe & enough].max(initial=0.0), 0, 1))
