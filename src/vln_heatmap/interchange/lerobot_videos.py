"""Many episodes in one video file: their packets are put one after the other, nothing is encoded again.

Invariant: frame i of an episode that begins at ``from_timestamp`` is shown at from_timestamp + i / fps, exactly;
no file grows beyond its limit, but for one of a single episode; other parameters of the codec begin a new file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vln_heatmap.interchange.lerobot_format import VIDEO_PATH, next_file

#: Frames that decoding may run ahead of showing: more than any encoder of ours reorders.
_AHEAD = 4
#: Bytes a frame that a container adds, at most (its tables).
_OVERHEAD = 64


@dataclass(frozen=True)
class Span:
    """Where an episode lies: file and seconds."""

    chunk: int
    file: int
    start: float
    stop: float

    def columns(self, key: str) -> dict[str, Any]:
        """As columns of the table of episodes."""
        return {
            f"videos/{key}/chunk_index": self.chunk,
            f"videos/{key}/file_index": self.file,
            f"videos/{key}/from_timestamp": self.start,
            f"videos/{key}/to_timestamp": self.stop,
        }


class VideoFiles:
    """The video files of one camera. Use as a context manager.

    Args:
        root: of the data set.
        key: of the feature.
        limit: bytes of a file, at most.
        fps: frames a second of every episode.
    """

    def __init__(self, root: Path, key: str, *, limit: int, fps: int) -> None:
        self.root, self.key, self.limit, self.fps = root, key, limit, fps
        self._place, self._frames, self._bytes = (0, -1), 0, 0
        self._output: Any = None
        self._stream: Any = None
        self._parameters: tuple[Any, ...] | None = None

    def __enter__(self) -> VideoFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None

    def append(self, data: bytes) -> Span:
        """Add an episode that is a whole video; the time at which it begins is a multiple of 1 / fps."""
        with av.open(io.BytesIO(data), "r") as source:
            stream: Any = source.streams.video[0]
            packets = [packet for packet in source.demux(stream) if packet.size]
            size = sum(packet.size + _OVERHEAD for packet in packets)
            context = stream.codec_context
            parameters = (context.name, context.width, context.height, context.extradata)
            if self._parameters != parameters or self._bytes + size > self.limit:
                self._begin(stream)
                self._parameters = parameters
            first = self._frames
            self._mux(packets, stream.time_base)
            self._bytes += size
        return Span(*self._place, first / self.fps, self._frames / self.fps)

    def _begin(self, template: Any) -> None:
        """Close the file, and open the next one for packets like those of ``template``."""
        self.__exit__()
        self._place = next_file(*self._place)
        chunk, file = self._place
        path = self.root / VIDEO_PATH.format(video_key=self.key, chunk_index=chunk, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._output = av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"})
        self._stream = self._output.add_stream_from_template(template)
        self._frames = self._bytes = 0

    def _mux(self, packets: list[Any], time_base: Fraction) -> None:
        """Write packets in their order of decoding, shown where the episode's frames belong."""
        tick = 1 / (self.fps * time_base)  # ticks of a frame
        shift = self._frames * tick
        for number, packet in enumerate(packets):
            packet.pts = int(packet.pts + shift)
            packet.dts = int(shift + (number - _AHEAD) * tick)
            packet.stream = self._stream
            self._output.mux_one(packet)
        self._frames += len(packets)
