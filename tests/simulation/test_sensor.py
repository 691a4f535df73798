"""The camera between renderer and encoder: what it must not touch, and what its physics says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vln_heatmap.params import SensorParams
from vln_heatmap.simulation.sensor import draw_sensor, expose_sensor, film_with_sensor

NOTHING = dict.fromkeys(set(SensorParams.model_fields) - {"strength"}, 0)


def only(**effects: float) -> SensorParams:
    """A camera with no faults but these."""
    return SensorParams(**{**NOTHING, **effects})


def scene(seed: int = 0, *, frames: int = 4, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Smooth random pictures [T, H, W, 3], the same in every frame, neither black nor white anywhere."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(size=(*size, 3)), (2, 2, 0))
    image = 128 + 70 * image / np.abs(image).max()
    return np.repeat(image[None], frames, axis=0).astype(np.uint8)


def test_strength_0_changes_nothing_and_hands_out_a_copy() -> None:
    rgb = scene()
    out = film_with_sensor(rgb, np.random.default_rng(0), SensorParams(strength=0))
    assert (out == rgb).all()
    assert not np.shares_memory(out, rgb)


def test_a_clean_share_of_1_changes_nothing() -> None:
    rgb = scene()
    assert (film_with_sensor(rgb, np.random.default_rng(0), SensorParams(clean=1)) == rgb).all()


def test_a_camera_without_faults_changes_nothing_but_rounding() -> None:
    rgb = scene()
    out = film_with_sensor(rgb, np.random.default_rng(0), only())
    assert np.abs(out.astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("strength", [1, 2])
def test_the_same_generator_gives_the_same_video(strength: float) -> None:
    rgb, params = scene(), SensorParams(strength=strength)
    first, again, other = (film_with_sensor(rgb, np.random.default_rng(seed), params) for seed in (1, 1, 2))
    assert first.shape == rgb.shape
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any()


def test_an_empty_sequence_stays_empty() -> None:
    assert len(film_with_sensor(scene(frames=0), np.random.default_rng(0), SensorParams())) == 0


def test_noise_grows_with_the_light_and_is_there_in_the_dark() -> None:
    """In linear light the variance is read² + shot² · light."""
    levels = np.repeat(np.array([0, 60, 120, 180], np.uint8), 24)  # [96] columns, far from white
    rgb = np.broadcast_to(levels[None, None, :, None], (1, 400, 96, 3)).copy()
    sensor = draw_sensor(1, np.random.default_rng(3), only(shot=0.2, read=0.02))
    out = expose_sensor(rgb, sensor, np.random.default_rng(4))
    shown = out[0].reshape(400, 4, 24, 3).astype(float) / 255
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    variance = light.var(axis=(0, 2, 3))  # [4]
    true = (levels[::24] / 255 + 0.055) / 1.055
    expected = sensor.read**2 + sensor.shot**2 * np.where(levels[::24] > 10, true**2.4, 0)
    assert variance[0] > 0
    np.testing.assert_allclose(variance[1:], expected[1:], rtol=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_moves(seed: int) -> None:
    """The cross-correlation of before and after peaks at no shift, for even and odd sizes."""
    rgb = scene(seed, frames=3, size=(61, 74))
    out = film_with_sensor(rgb, np.random.default_rng(seed), SensorParams(strength=2))
    for before, after in zip(rgb[..., 1].astype(float), out[..., 1].astype(float), strict=True):
        spectra = [np.fft.rfft2(image - image.mean()) for image in (before, after)]
        correlation = np.fft.irfft2(spectra[0].conj() * spectra[1], s=before.shape)
        assert np.unravel_index(correlation.argmax(), before.shape) == (0, 0)


def test_blur_keeps_the_centre_of_a_spot() -> None:
    rgb = np.zeros((8, 65, 65, 3), np.uint8)
    rgb[:, 32, 32] = 255
    out = film_with_sensor(rgb, np.random.default_rng(0), only(motion=0.1, defocus=0.02))
    weight = out[..., 0].astype(float)
    axis = np.arange(65)
    total = weight.sum((1, 2))
    np.testing.assert_allclose((weight.sum(1) * axis).sum(1) / total, 32, atol=0.05)
    np.testing.assert_allclose((weight.sum(2) * axis).sum(1) / total, 32, atol=0.05)
    assert (weight > 5).sum(axis=(1, 2)).max() > 4


def test_the_mean_stays_in_a_sane_band_and_contrast_is_left() -> None:
    rgb = scene()
    for seed in range(12):
        out = film_with_sensor(rgb, np.random.default_rng(seed), SensorParams(strength=1))
        assert 50 < out.mean() < 210
        assert out.std() > 8


def test_grey_stays_grey_without_white_balance() -> None:
    rgb = np.full((2, 16, 16, 3), 120, np.uint8)
    out = film_with_sensor(rgb, np.random.default_rng(0), only(saturation=0.5, hue=30, crosstalk=0.2))
    assert np.abs(out.astype(int) - 120).max() <= 2


def test_auto_exposure_brightens_the_dark() -> None:
    dark = np.full((4, 16, 16, 3), 30, np.uint8)
    out = film_with_sensor(dark, np.random.default_rng(0), only(adaptation=1))
    assert out.mean() > 40


def test_vignetting_darkens_corners_alone() -> None:
    rgb = np.full((1, 33, 33, 3), 128, np.uint8)
    out = film_with_sensor(rgb, np.random.default_rng(0), only(vignetting=0.8))[0, :, :, 0]
    assert abs(int(out[16, 16]) - 128) <= 1
    assert out[0, 0] < 115
    assert out[0, 0] == out[-1, -1] == out[0, -1]


def test_compression_alone_spoils_colour_edges() -> None:
    rgb = np.zeros((1, 16, 17, 3), np.uint8)
    rgb[..., :9, 0], rgb[..., 9:, 2] = 200, 200
    out = film_with_sensor(rgb, np.random.default_rng(0), only(compression=60))
    assert 0 < np.abs(out.astype(int) - rgb).max() < 130


@pytest.mark.parametrize("strength", [-0.1, 2.1])
def test_strength_is_bounded(strength: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        SensorParams(strength=strength)
