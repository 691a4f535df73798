"""Frames to video bytes and back, so that a sequence is a few small files that any player opens.

Invariant: the same frames and settings give the same bytes (one encoder thread, no random ids, no dates), and
16-bit grey frames come back bit for bit. Grey frames are all key frames: any of them decodes alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

#: FFV1 version 3, every frame a key frame.
_FFV1_OPTIONS = {"level": "3", "g": "1"}
_BITEXACT = {"fflags": "+bitexact"}
#: x264's vector code for macroblock trees reads memory that nobody wrote where the image is not a multiple of
#: 128 pixels wide, and then the same frames give other bytes each time: it stays off.
_REPEATABLE = {"threads": "1", "x264-params": "mbtree=0"}


class VideoError(ValueError):
    """The bytes are not a whole video of the expected kind."""


def encode_rgb(
    frames: NDArray[np.uint8],
    *,
    fps: float,
    crf: int,
    preset: str = "veryfast",
    pixel_format: str = "yuv420p",
) -> bytes:
    """Encode colour frames as H.264 in mp4 (lossy).

    Args:
        frames: [T, H, W, 3] uint8, T >= 1, H and W even.
        fps: frames a second, > 0.
        crf: x264's constant rate factor, 0 (lossless) to 51 (worst).
        preset: x264's speed preset.
        pixel_format: "yuv420p" (every player) or "yuv444p" (full colour resolution).

    Raises:
        ValueError: wrong shape or type, or an odd size.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"rgb must be [T, H, W, 3] uint8 with T >= 1, got {frames.shape} {frames.dtype}")
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"H.264 needs even image sizes, got {width}x{height}")
    options = {"crf": str(crf), "preset": preset, **_REPEATABLE}
    return _encode(frames, "libx264", "rgb24", pixel_format, container="mp4", fps=fps, options=options)


def encode_grey16(frames: NDArray[np.uint16], *, fps: float, context: int = 0) -> bytes:
    """Encode 16-bit grey frames [T, H, W] uint16, T >= 1, as FFV1 in Matroska (lossless).

    Args:
        frames: [T, H, W].
        fps: frames a second, > 0.
        context: of FFV1's model of neighbours: 0 (small) or 1 (large: a little smaller, and slower).

    Raises:
        ValueError: wrong shape or type.
    """
    if frames.ndim != 3 or frames.dtype != np.uint16 or not len(frames):
        raise ValueError(
            f"grey frames must be [T, H, W] uint16 with T >= 1, got {frames.shape} {frames.dtype}"
        )
    options = {**_FFV1_OPTIONS, "context": str(context)}
    return _encode(frames, "ffv1", "gray16le", "gray16le", container="matroska", fps=fps, options=options)


def encode_grey12(frames: NDArray[np.uint16], *, fps: float) -> bytes:
    """Encode 12-bit grey frames [T, H, W] uint16 below 4096, T >= 1, as HEVC in mp4 (lossless).

    Every frame is a key frame: x265's lossless mode is not lossless in frames that are predicted from others (at
    12 bits and strong contrasts, some pixels differ).

    Raises:
        ValueError: wrong shape or type, or a value of 4096 or more.
    """
    if frames.ndim != 3 or frames.dtype != np.uint16 or not len(frames) or frames.max() > 4095:
        raise ValueError(f"12-bit grey frames must be [T, H, W] uint16 below 4096, got {frames.shape}")
    options = {"x265-params": "lossless=1:keyint=1:pools=1:frame-threads=1:log-level=none"}
    return _encode(frames, "libx265", "gray12le", "gray12le", container="mp4", fps=fps, options=options)


def decode_rgb(data: bytes, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Decode the frames ``indices`` (in [0, T), any order, repeats allowed) to [len(indices), H, W, 3] uint8.

    Raises:
        VideoError: not a video, or fewer frames than asked for.
    """
    return _gather(_decode_until(data, int(indices.max(initial=-1)), "rgb24"), indices)


def decode_grey16(data: bytes, indices: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Decode the frames ``indices`` (in [0, T), any order) to [len(indices), H, W] uint16, and no others.

    Raises:
        VideoError: not a video, or fewer frames than asked for.
    """
    return _gather(_decode_only(data, set(indices.tolist())), indices)


def decode_grey12(data: bytes, indices: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Decode the frames ``indices`` of a 12-bit grey video to [len(indices), H, W] uint16.

    Raises:
        VideoError: not a video, or fewer frames than asked for.
    """
    return _gather(_decode_until(data, int(indices.max(initial=-1)), "gray12le"), indices)


def _encode(
    frames: NDArray,
    codec: str,
    source: str,
    target: str,
    *,
    container: str,
    fps: float,
    options: dict[str, str],
) -> bytes:
    buffer = io.BytesIO()
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(buffer, "w", format=container, options=_BITEXACT) as output:
        stream: Any = output.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], target
        stream.codec_context.thread_count = 1
        for frame in frames:
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=source)
            output.mux(stream.encode(image))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _decode_until(data: bytes, last: int, pixel_format: str) -> dict[int, NDArray]:
    """Frames 0 .. last by index; later ones are not decoded."""
    frames: dict[int, NDArray] = {}
    with _open(data) as container:
        for index, frame in enumerate(container.decode(video=0) if last >= 0 else ()):
            frames[index] = frame.to_ndarray(format=pixel_format)
            if index == last:
                break
    return frames


def _decode_only(data: bytes, wanted: set[int]) -> dict[int, NDArray]:
    """The wanted frames by index: every packet is one key frame, so the others are skipped undecoded."""
    frames: dict[int, NDArray] = {}
    with _open(data) as container:
        packets = (packet for packet in container.demux(video=0) if packet.size)
        for index, packet in enumerate(packets):
            if index in wanted:
                frames[index] = packet.decode()[0].to_ndarray()  # type: ignore[union-attr]
            if len(frames) == len(wanted):
                break
    return frames


def _gather(frames: dict[int, NDArray], indices: NDArray[np.int64]) -> NDArray:
    missing = sorted(set(indices.tolist()) - set(frames))
    if missing:
        raise VideoError(f"frame {missing[0]} is missing, the video ends or breaks before it")
    return np.stack([frames[index] for index in indices.tolist()])


@contextmanager
def _open(data: bytes) -> Iterator[Any]:
    """An open container with a video stream that decodes on one thread; errors become ``VideoError``."""
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.video:
                raise VideoError("it holds no video stream")
            container.streams.video[0].thread_count = 1
            yield container
    except (av.error.FFmpegError, IndexError) as error:
        raise VideoError(f"not a readable video ({error})") from error
