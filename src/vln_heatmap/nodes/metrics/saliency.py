"""How well one distribution over the image matches another: the measures of the MIT saliency benchmark.

Source: Bylinskii et al., "What do different evaluation metrics tell us about saliency models?" (TPAMI 2019).
Invariant: each function takes maps [M, h, w] and returns one finite number a map [M].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Floats = NDArray[np.floating]
#: Matlab's eps, which the benchmark's code adds inside the logarithm.
EPS = 2.2204e-16


def as_distribution(maps: Floats) -> Floats:
    """Maps [M, h, w] as distributions that sum to 1: shifted to be non-negative; a zero map turns uniform."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)  # [M, P]
    flat = flat - np.minimum(flat.min(1, keepdims=True), 0)
    total = flat.sum(1, keepdims=True)
    uniform = 1 / flat.shape[1]
    return np.where(total > 0, flat / np.where(total > 0, total, 1), uniform).reshape(maps.shape)


def kl_divergence(target: Floats, predicted: Floats) -> Floats:
    """KLD of the prediction from the target, nats: sum T log(eps + T / (eps + P)). 0 is perfect."""
    term = target * np.log(EPS + target / (EPS + predicted))
    return term.sum((1, 2))


def correlation(target: Floats, predicted: Floats) -> Floats:
    """CC: Pearson's correlation of the two maps, in [-1, 1]; 0 where one of them is constant."""
    a, a_flat = _centred(target)
    b, b_flat = _centred(predicted)
    return np.where(a_flat | b_flat, 0.0, (a * b).sum(1))


def _centred(maps: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Maps less their mean, of unit length [M, P], and whether they are constant up to rounding [M]."""
    rows = maps.reshape(len(maps), -1).astype(np.float64)
    centred = rows - rows.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1)
    flat = length <= 1e-6 * np.linalg.norm(rows, axis=1)
    return centred / np.where(flat, 1.0, length)[:, None], flat


def similarity(target: Floats, predicted: Floats) -> Floats:
    """SIM: histogram intersection sum min(T, P), in [0, 1]; 1 is perfect."""
    return np.minimum(target, predicted).sum((1, 2))


def distance_to(mask: NDArray[np.bool_]) -> Floats:
    """Distance of every pixel to the nearest True one, in fractions of the image width [M, h, w].

    A map without any True pixel gets 1 everywhere (callers leave such maps out).
    """
    out = np.ones(mask.shape)
    for index in np.flatnonzero(mask.any((1, 2))):
        out[index] = distance_transform_edt(~mask[index]) / mask.shape[2]
    return out


def peak_error(distance: Floats, predicted: Floats) -> Floats:
    """Distance (see ``distance_to``) at the predicted peak; the mean over all peaks where several tie.

    A constant map so gets the expected error of a pixel drawn at random.
    """
    peaks = predicted == predicted.max((1, 2), keepdims=True)  # [M, h, w]
    return (distance * peaks).sum((1, 2)) / peaks.sum((1, 2))
