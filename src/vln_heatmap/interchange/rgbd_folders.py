"""Recordings of real RGB-D cameras as sequences: colour, depth in metres, poses; no ids, no actions.

A real camera has unequal focal lengths, a principal point beside the middle and a lens that bends lines. Ours has
one field of view and its axis in the middle, so every image is looked up anew: the largest centred view with
square pixels that the real image covers, sampled where its rays fall.

Invariant: the geometry is that of the recording: pixel, depth and pose of a sequence agree as they did there. The
world is as it was recorded, too: which way is up is not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.interchange.checks import RefusedError, check_poses, decode_image, safe_id
from vln_heatmap.interchange.incoming import Incoming, Stated, to_sequence
from vln_heatmap.interchange.rgbd_layouts import (
    SEVEN_SCENES_FOCAL,
    Intrinsics,
    Recording,
    Shot,
    find_recordings,
    read_matrix,
)

NAME = "rgbd"
#: What a depth image says where it saw nothing.
NO_DEPTH = (0, 65535)
#: How far a written rotation may be from one.
_RIGID = 0.02


class RgbdFolders:
    """The recordings in a folder, cut into sequences of at most ``stated.rgbd.length`` frames.

    Attributes:
        ids: ``<name of the recording>_<number>``, in order.

    Raises:
        RefusedError: no recording, a path that leads out of the folder, a name that cannot be an id.
    """

    def __init__(self, folder: Path, stated: Stated) -> None:
        self.folder, self.stated = Path(folder), stated
        self._pieces: dict[str, tuple[Recording, tuple[Shot, ...]]] = {}
        for name, recording in find_recordings(self.folder).items():
            for number, shots in enumerate(self._cut(recording.shots)):
                key = safe_id(f"{name.replace(' ', '-')}_{number:03d}", file=recording.folder)
                self._pieces[key] = recording, shots
        self.ids = tuple(self._pieces)
        if not self.ids:
            raise RefusedError(self.folder, "no recording has two frames")

    def read(self, sequence_id: str) -> Sequence:
        """Read one sequence, see ``Source``. Frames without a finite pose or a rotation in it are left out."""
        recording, every = self._pieces[sequence_id]
        shots, poses = _posed(every)
        if len(shots) < 2:
            raise RefusedError(recording.folder, f"{len(shots)} of {len(every)} frames have a pose")
        settings, rate = self.stated.rgbd, self.stated.fps / self.stated.rgbd.stride
        sampler = _Sampler(recording, shots[0], settings.width, settings.intrinsics)
        seconds = [shot.seconds for shot in shots]
        known = [s - seconds[0] for s in seconds if s is not None and seconds[0] is not None]
        camera = sampler.camera
        found = Incoming(
            sequence_id,
            np.stack([sampler.colour(shot.colour) for shot in shots]),
            {
                "camera_to_world": [pose.ravel().tolist() for pose in poses],
                "timestamp": known if len(known) == len(shots) else (np.arange(len(shots)) / rate).tolist(),
            },
            depth=np.stack([sampler.depth(shot.depth) for shot in shots]),
            metadata={
                "camera": {"width": camera.width, "height": camera.height, "hfov": camera.hfov},
                "fps": rate,
                "recording": {"layout": recording.layout, "stride": settings.stride, "frames": len(every)},
            },
        )
        return to_sequence(found, self.stated, file=recording.folder, format_name=NAME)

    def _cut(self, shots: Items[Shot]) -> list[tuple[Shot, ...]]:
        """Sequences of about equal length: every ``stride``-th frame, at most ``sequences`` of them."""
        settings = self.stated.rgbd
        kept = shots[:: settings.stride]
        if len(kept) < 2:
            return []
        pieces = min(math.ceil(len(kept) / settings.length), len(kept) // 2)
        edges = [round(k * len(kept) / pieces) for k in range(pieces + 1)]
        parts = [tuple(kept[low:high]) for low, high in pairwise(edges)]
        if settings.sequences is None or settings.sequences >= pieces:
            return parts
        places = np.linspace(0, pieces - 1, settings.sequences).round().astype(int)
        return [parts[place] for place in places]


def centred_camera(real: Intrinsics, size: tuple[int, int], width: int) -> PinholeCamera:
    """The widest centred camera with square pixels that an image of ``size`` (width, height) covers.

    Its height is the even number of rows that the image covers at ``width`` columns, to within half a pixel
    of the image above and below (files differ in where they count the middle of a pixel). The lens is taken
    as straight.

    Raises:
        ValueError: the principal point lies outside the image, or nothing is left.
    """
    middle = (real.cx + 0.5, real.cy + 0.5)
    across = min(middle[0], size[0] - middle[0]) / real.fx  # tangent of half the field of view
    down = (min(middle[1], size[1] - middle[1]) + 0.5) / real.fy
    if across <= 0 or down <= 0:
        raise ValueError(f"the principal point {middle} must lie within the image {size[0]}x{size[1]}")
    height = 2 * math.floor(width * down / across / 2 + 1e-6)
    if height < 2:
        raise ValueError(f"the image {size[0]}x{size[1]} covers no view of {width} columns around {middle}")
    return PinholeCamera(width, height, math.degrees(2 * math.atan(across)))


def look_up(real: Intrinsics, camera: PinholeCamera, times: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where the pixels of a centred camera lie in the real image, x and y [times * H, times * W] each.

    Args:
        real: camera of the real image.
        camera: what is asked for.
        times: pixels asked for along each side of one of ``camera``'s.
    """
    size = (times * camera.width, times * camera.height)
    wanted = np.array(
        [
            [times * camera.focal, 0, (size[0] - 1) / 2],
            [0, times * camera.focal, (size[1] - 1) / 2],
            [0, 0, 1],
        ]
    )
    bent = np.array(real.distortion)
    x, y = cv2.initUndistortRectifyMap(real.matrix, bent, np.eye(3), wanted, size, cv2.CV_32FC1)
    return x, y


@dataclass(frozen=True)
class _Sampler:
    """Looks up the images of a recording, all of the size of its first."""

    recording: Recording
    first: Shot
    width: int
    stated: tuple[float, float, float, float] | None

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Width and height of the colour and of the depth images."""
        images = (_image(self.first.colour), _image(self.first.depth, grey16=True))
        return tuple((image.shape[1], image.shape[0]) for image in images)  # type: ignore[return-value]

    @cached_property
    def real(self) -> tuple[Intrinsics, Intrinsics]:
        """Cameras of the colour and of the depth images."""
        (width, height), (columns, rows) = self.sizes
        colour = Intrinsics(*self.stated) if self.stated else self.recording.colour
        if colour is None:
            if self.recording.layout != "frames":
                raise RefusedError(
                    self.recording.folder, "its camera is not known: set import.rgbd.intrinsics"
                )
            colour = Intrinsics(SEVEN_SCENES_FOCAL, SEVEN_SCENES_FOCAL, (width - 1) / 2, (height - 1) / 2)
        depth = self.recording.depth
        if depth is None or (columns, rows) == (width, height):
            depth = colour.scaled(columns / width, rows / height)
        return colour, depth

    @cached_property
    def camera(self) -> PinholeCamera:
        try:
            return centred_camera(self.real[0], self.sizes[0], self.width)
        except ValueError as error:
            raise RefusedError(self.recording.folder, str(error)) from error

    @cached_property
    def maps(self) -> Any:
        colour, depth = self.real
        return look_up(colour, self.camera, self.times), look_up(depth, self.camera)

    @cached_property
    def times(self) -> int:
        """Samples along each side of a pixel, so that none of the real image is passed over."""
        return max(1, math.ceil(self.real[0].fx / self.camera.focal - 1e-6))

    def colour(self, file: Path) -> NDArray[np.uint8]:
        """[H, W, 3]."""
        image: Any = self._checked(_image(file), 0, file)
        x, y = self.maps[0]
        fine = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        size = (self.camera.width, self.camera.height)
        return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA) if self.times > 1 else fine)

    def depth(self, file: Path) -> NDArray[np.float32]:
        """[H, W] metres; the nearest pixel's, since depths of two surfaces have no mean."""
        image: Any = self._checked(_image(file, grey16=True), 1, file)
        image = np.where(np.isin(image, NO_DEPTH), 0, image).astype(np.uint16)
        x, y = self.maps[1]
        near = cv2.remap(image, x, y, cv2.INTER_NEAREST)  # 0 beyond the edge
        return (near / self.recording.units).astype(np.float32)

    def _checked(self, image: NDArray[Any], kind: int, file: Path) -> NDArray[Any]:
        width, height = self.sizes[kind]
        if image.shape[:2] != (height, width):
            raise RefusedError(
                file, f"the image is {image.shape[1]}x{image.shape[0]}, the first {width}x{height}"
            )
        return image


def _image(file: Path, *, grey16: bool = False) -> NDArray[Any]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RefusedError(file, f"cannot be read ({error})") from error
    return decode_image(data, file=file, row=None, grey16=grey16)


def _posed(shots: Iterable[Shot]) -> tuple[list[Shot], list[NDArray[np.float64]]]:
    """The frames whose pose is known, and their poses [4, 4], made exactly rigid.

    Raises:
        RefusedError: a pose that is no rigid motion at all.
    """
    kept, poses = [], []
    for shot in shots:
        pose = read_matrix(shot.pose, 4) if isinstance(shot.pose, Path) else shot.pose
        if not np.isfinite(pose).all() or not pose.any():
            continue  # lost by the tracking
        turned = pose[:3, :3]
        left, _, right = np.linalg.svd(turned)
        rigid = np.eye(4)
        rigid[:3, :3], rigid[:3, 3] = left @ right, pose[:3, 3]
        if np.abs(rigid - pose).max() > _RIGID or np.linalg.det(rigid[:3, :3]) < 0:
            raise RefusedError(
                shot.pose if isinstance(shot.pose, Path) else shot.colour, "the pose is not rigid"
            )
        check_poses(rigid[None], file=shot.colour)
        kept.append(shot)
        poses.append(rigid)
    return kept, poses
