"""How a real camera spoils the picture: ranges of its faults."""

from __future__ import annotations

from pydantic import Field

from vln_heatmap.params.base import Params


class SensorParams(Params):
    """Ranges at strength 1 that a sequence's camera is drawn from; ``strength`` widens all of them.

    A signed effect is drawn evenly from +- its range, any other from 0 to its range. Lengths are shares of the
    image's width, so that a camera does the same to every image size.
    """

    strength: float = Field(1.0, ge=0, le=2, description="0 = the picture as it is, 2 = very poor cameras")
    clean: float = Field(0.0, ge=0, le=1, description="share of sequences that are left as they are")
    exposure: float = Field(0.5, ge=0, le=4, description="stops, signed")
    adaptation: float = Field(0.7, ge=0, le=1, description="share of brightness that auto-exposure evens out")
    drift: float = Field(0.25, ge=0, le=4, description="stops by which exposure wanders over the sequence")
    gamma: float = Field(0.25, ge=0, le=2, description="log of the factor on the display's exponent, signed")
    contrast: float = Field(0.35, ge=0, le=1, description="slope at mid grey, less 1, signed")
    flare: float = Field(0.06, ge=0, le=1, description="share of light that is spread over the image")
    temperature: float = Field(0.3, ge=0, le=2, description="log ratio of red to blue, signed")
    tint: float = Field(0.08, ge=0, le=2, description="log gain of green, signed")
    wander: float = Field(0.06, ge=0, le=2, description="of the temperature over the sequence")
    crosstalk: float = Field(0.06, ge=0, le=0.5, description="of a colour in another, signed")
    saturation: float = Field(0.35, ge=0, le=2, description="log factor, signed")
    hue: float = Field(6.0, ge=0, le=90, description="degrees, signed")
    vignetting: float = Field(0.4, ge=0, le=1, description="light that is missing in the corners")
    shot: float = Field(0.05, ge=0, le=1, description="standard deviation of noise at white, linear light")
    read: float = Field(0.003, ge=0, le=1, description="standard deviation of noise at black, linear light")
    grain: float = Field(0.006, ge=0, le=0.1, description="size of noise grains")
    defocus: float = Field(0.006, ge=0, le=0.1, description="standard deviation of the blur")
    motion: float = Field(0.025, ge=0, le=0.1, description="longest motion blur")
    sharpening: float = Field(0.8, ge=0, le=5, description="height of halos at edges, share of the edge")
    resolution: float = Field(0.4, ge=0, le=0.9, description="share of the resolution that is lost")
    compression: float = Field(50.0, ge=0, le=95, description="100 less the JPEG quality; chroma is halved")


class FeatureParams(Params):
    """What the frozen encoder is shown."""

    sensor: SensorParams = Field(
        SensorParams(strength=0.0), description="cameras through which training sequences are seen"
    )
