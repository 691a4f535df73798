"""What a real camera does to a clean picture, so that what is learned from renderings holds on videos.

Light passes the lens (vignetting, flare, defocus, motion), the sensor (resolution, shot and read noise), the
camera's processor (exposure, white balance, colour, tone, sharpening) and the codec (halved chroma, JPEG).

Invariant: the picture's geometry stays exact: every blur is symmetric about its pixel and nothing is warped, so
that depth, ids and poses still fit. What a sequence becomes depends on its pixels, the generator and the
parameters alone, and strength 0 changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vln_heatmap.params.sensor import SensorParams
from vln_heatmap.simulation.exposure import to_linear

Floats = NDArray[Any]
#: Rec. 709 luminance of linear light; steps of the tone curve; mean light that auto-exposure aims at.
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
STEPS = 4096
AIM = 0.25
#: Frames in which auto-exposure follows the scene; least and greatest period of what wanders, in frames.
LAG = 6.0
PERIODS = (12.0, 60.0)
LEAST_SCALE, LEAST_QUALITY = 0.35, 20
_LINEAR = to_linear(np.arange(256, dtype=np.uint8)).astype(np.float32)  # [256]


@dataclass(frozen=True)
class Sensor:
    """One camera, drawn for a sequence of T frames. Lengths are shares of the image's width.

    Attributes:
        stops: exposure [T], before auto-exposure evens out the share ``adaptation`` of the brightness.
        colour: from linear light to linear light [T, 3, 3]: white balance, crosstalk, saturation, hue.
        flare: share of the light that is spread over the image; vignetting: light missing in the corners.
        gamma: factor on the display's exponent; contrast: slope at mid grey, less 1.
        shot, read: standard deviation of noise at white and at black; grain: size of its grains.
        blur: standard deviation of the defocus; motion: vector [T, 2] of the motion blur.
        sharpening: height of halos; scale: resolution that is left; quality: of JPEG, 100 = none.
    """

    stops: Floats
    adaptation: float
    colour: Floats
    flare: float
    vignetting: float
    gamma: float
    contrast: float
    shot: float
    read: float
    grain: float
    blur: float
    motion: Floats
    sharpening: float
    scale: float
    quality: int


def film_with_sensor(
    rgb: NDArray[np.uint8], rng: np.random.Generator, params: SensorParams
) -> NDArray[np.uint8]:
    """A sequence as a real camera would have filmed it.

    Args:
        rgb: [T, H, W, 3] display values (sRGB).
        rng: draws the camera, what wanders and the noise.
        params: ranges.

    Returns:
        [T, H, W, 3] display values.
    """
    if params.strength == 0 or rng.random() < params.clean or not len(rgb):
        return rgb.copy()
    return expose_sensor(rgb, draw_sensor(len(rgb), rng, params), rng)


def draw_sensor(length: int, rng: np.random.Generator, params: SensorParams) -> Sensor:
    """A camera for ``length`` frames."""

    def signed(limit: float) -> float:
        return params.strength * limit * rng.uniform(-1, 1)

    def amount(limit: float, most: float = math.inf) -> float:
        return min(params.strength * limit * rng.uniform(), most)

    angle = math.pi * (rng.uniform() + _wander(length, rng))  # [T]
    speed = amount(params.motion) * np.abs(_wander(length, rng))  # [T]
    return Sensor(
        stops=signed(params.exposure) + amount(params.drift) * _wander(length, rng),
        adaptation=amount(params.adaptation, 1.0),
        colour=_colours(length, rng, params),
        flare=amount(params.flare, 1.0),
        vignetting=amount(params.vignetting, 0.9),
        gamma=math.exp(signed(params.gamma)),
        contrast=max(signed(params.contrast), -0.9),
        shot=amount(params.shot),
        read=amount(params.read),
        grain=amount(params.grain),
        blur=amount(params.defocus),
        motion=speed[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1),
        sharpening=amount(params.sharpening),
        scale=max(1 - amount(params.resolution), LEAST_SCALE),
        quality=max(round(100 - amount(params.compression)), LEAST_QUALITY),
    )


def expose_sensor(rgb: NDArray[np.uint8], sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Film [T, H, W, 3] with a camera that was drawn for T frames; ``rng`` makes the noise."""
    height, width = rgb.shape[1:3]
    size = max(8, round(sensor.scale * width)), max(8, round(sensor.scale * height))
    gains = _gains(rgb, sensor)  # [T]
    lens, curve = _lens(size, sensor.vignetting), _tone_curve(sensor)
    out = np.empty_like(rgb)
    for index, image in enumerate(rgb):
        light = _LINEAR[image]  # [H, W, 3]
        if size != (width, height):
            light = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
        light = _spread(light, size[0] * sensor.motion[index], size[0] * sensor.blur)
        light = _noisy(light * lens * gains[index], sensor, rng)
        light = cv2.transform(light, _colour_matrix(sensor, index, light))
        shown = curve[np.clip(light * (STEPS - 1), 0, STEPS - 1).astype(np.uint16)]  # [h, w, 3] 0 to 255
        finished = _sharpened(shown, sensor.sharpening)
        if size != (width, height):
            finished = cv2.resize(finished, (width, height))
        out[index] = _compressed(finished, sensor.quality)
    return out


def _wander(length: int, rng: np.random.Generator, waves: int = 3) -> Floats:
    """A smooth random course [T] within -1 and 1."""
    frequencies = 1 / rng.uniform(*PERIODS, waves)
    phases = 2 * math.pi * (np.arange(length)[:, None] * frequencies + rng.uniform(0, 1, waves))  # [T, waves]
    return np.sin(phases).mean(1)


def _colours(length: int, rng: np.random.Generator, params: SensorParams) -> Floats:
    """Colour matrices [T, 3, 3]; white balance wanders, the rest stays."""
    strength = params.strength
    mix = np.eye(3) + strength * params.crosstalk * rng.uniform(-1, 1, (3, 3))
    mix /= mix.sum(1, keepdims=True)  # grey stays grey
    grey = np.tile(LUMINANCE.astype(np.float64), (3, 1))  # [3, 3]: to luminance
    saturation = math.exp(strength * params.saturation * rng.uniform(-1, 1))
    turn = _turn_of_hue(math.radians(strength * params.hue * rng.uniform(-1, 1)))
    mix = turn @ (grey + saturation * (np.eye(3) - grey)) @ mix
    warm = strength * (
        params.temperature * rng.uniform(-1, 1) + params.wander * rng.uniform() * _wander(length, rng)
    )  # [T]
    green = np.full(length, strength * params.tint * rng.uniform(-1, 1))  # [T]
    balance = np.exp(np.stack([warm / 2, green, -warm / 2], axis=1))  # [T, 3]
    balance /= (balance @ LUMINANCE)[:, None]  # white keeps its luminance
    return mix * balance[:, None, :]


def _turn_of_hue(angle: float) -> Floats:
    """Rotation [3, 3] about the grey axis (Rodrigues)."""
    axis = 1 / math.sqrt(3)
    cross = axis * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def _gains(rgb: NDArray[np.uint8], sensor: Sensor) -> Floats:
    """Gain of every frame [T]: what is set, and auto-exposure that follows the mean light with a lag."""
    light = _LINEAR[rgb[:, ::4, ::4]].mean((1, 2)) @ LUMINANCE  # [T]
    wanted = np.log2(AIM / np.maximum(light, 0.01))  # [T]
    followed = np.empty_like(wanted)
    state = wanted[0]
    for index, target in enumerate(wanted):
        state += (target - state) / LAG
        followed[index] = state
    return (2.0 ** (sensor.stops + sensor.adaptation * followed)).astype(np.float32)


def _lens(size: tuple[int, int], vignetting: float) -> Floats:
    """Share of the light that arrives [h, w, 1]; 1 in the middle, 1 - ``vignetting`` in the corners."""
    x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in size)
    return (1 - vignetting * (x[None, :] ** 2 + y[:, None] ** 2) / 2)[:, :, None]


def _spread(light: Floats, motion: Floats, sigma: float) -> Floats:
    """Blur by a moving camera (vector in pixels) and by defocus (pixels)."""
    reach = 0.5 * np.abs(motion).max() + 2.5 * sigma
    if reach < 0.25:
        return light
    return cv2.filter2D(light, -1, _blur_kernel(motion, max(sigma, 0.25), math.ceil(reach)))


def _blur_kernel(motion: Floats, sigma: float, reach: int) -> Floats:
    """A Gaussian that is drawn along a line [2 r + 1, 2 r + 1], symmetric about its middle, of sum 1."""
    grid = np.arange(-reach, reach + 1, dtype=np.float64)
    spots = np.linspace(-0.5, 0.5, 9)[:, None] * motion  # [9, 2]
    across = np.exp(-((grid - spots[:, :1]) ** 2) / (2 * sigma**2))  # [9, 2 r + 1]
    down = np.exp(-((grid - spots[:, 1:]) ** 2) / (2 * sigma**2))
    kernel = down.T @ across
    return (kernel / kernel.sum()).astype(np.float32)


def _noisy(light: Floats, sensor: Sensor, rng: np.random.Generator) -> Floats:
    """Light with photon noise, of which the variance grows with the light, and the electronics' own."""
    if not (sensor.shot or sensor.read):
        return light
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    if (sigma := sensor.grain * light.shape[1]) > 0.3:
        noise = cv2.GaussianBlur(noise, (0, 0), sigma) * (2 * math.sqrt(math.pi) * sigma)  # variance stays 1
    return light + noise * cv2.sqrt(sensor.shot**2 * light + sensor.read**2)


def _colour_matrix(sensor: Sensor, index: int, light: Floats) -> Floats:
    """Affine map [3, 4] of linear light: a share is spread evenly over the image, then colours are mixed."""
    mean = np.array(cv2.mean(light)[:3])
    mixed = sensor.colour[index]
    return np.concatenate(
        [(1 - sensor.flare) * mixed, sensor.flare * (mixed @ mean)[:, None]], axis=1
    ).astype(np.float32)


def _tone_curve(sensor: Sensor) -> Floats:
    """From linear light in ``STEPS`` steps to display values [STEPS] in 0 to 255."""
    light = np.linspace(0, 1, STEPS)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) ** sensor.gamma
    bent = shown + sensor.contrast * (shown - 0.5) * 4 * shown * (1 - shown)
    return (255 * np.clip(bent, 0, 1)).astype(np.float32)


def _sharpened(shown: Floats, strength: float) -> Floats:
    """Edges with halos; from here on display values are whole numbers (uint8)."""
    if strength:
        shown = cv2.addWeighted(shown, 1 + strength, cv2.GaussianBlur(shown, (3, 3), 0), -strength, 0)
    return cv2.convertScaleAbs(np.maximum(shown, 0))


def _compressed(shown: Floats, quality: int) -> Floats:
    """Through JPEG with chroma of half the resolution; 100 = not compressed."""
    if quality >= 100:
        return shown
    _, code = cv2.imencode(".jpg", shown[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded: Any = cv2.imdecode(code, cv2.IMREAD_COLOR)  # [H, W, 3]
    return decoded[:, :, ::-1]
