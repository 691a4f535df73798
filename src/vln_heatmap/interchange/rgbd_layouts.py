"""How RGB-D recordings lie in folders: where the images, poses and intrinsics of a real camera are.

Layouts, told apart by what is there:

- ``frames`` (7-Scenes, 3DMatch): ``frame-000000.color.png`` or ``.jpg``, ``.depth.png`` (millimetres),
  ``.pose.txt`` (camera to world, 4x4), ``camera-intrinsics.txt`` (3x3) here or in the folder above; without it
  a focal length of 585 pixels and the middle of the image, as 7-Scenes has it.
- ``tum``: ``rgb.txt``, ``depth.txt``, ``groundtruth.txt`` with times; depth in units of 1/5000 m; the published
  intrinsics and lens distortion of the cameras freiburg1 to freiburg3, by the folder's name.
- ``folders`` (Open3D, exported ScanNet): ``color/``, ``depth/`` (millimetres), ``pose/`` with one file a frame,
  ``intrinsic/intrinsic_color.txt`` (4x4), and ``intrinsic_depth.txt`` where depth has another size.

Invariant: a layout is found by names alone, no image is opened; every path lies below the folder that was named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vln_heatmap.interchange.checks import RefusedError, inside, number_rows

#: Focal length of 7-Scenes' camera in pixels, and the units of a metre in depth images.
SEVEN_SCENES_FOCAL = 585.0
MILLIMETRES, TUM_UNITS = 1000.0, 5000.0
#: Colour, depth and pose of a frame belong together if they are so many seconds apart at most (TUM's own tool).
SAME_MOMENT = 0.02
_FRAME = re.compile(r"frame-(\d+)\.color\.(png|jpg|jpeg)")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Intrinsics:
    """A real camera, in pixels as OpenCV counts them (the middle of the first pixel is 0).

    Attributes:
        fx, fy: focal lengths; cx, cy: principal point.
        distortion: k1, k2, p1, p2, k3 of OpenCV's lens model.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0,) * 5

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K [3, 3]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def scaled(self, x: float, y: float) -> Intrinsics:
        """The camera of the same image with so many times the columns and rows."""
        place = x * (self.cx + 0.5) - 0.5, y * (self.cy + 0.5) - 0.5
        return replace(self, fx=x * self.fx, fy=y * self.fy, cx=place[0], cy=place[1])


#: Published colour cameras of the TUM RGB-D benchmark, to which its depth images are registered.
FREIBURG = {
    "1": Intrinsics(517.3, 516.5, 318.6, 255.3, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "2": Intrinsics(520.9, 521.0, 325.1, 249.7, (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "3": Intrinsics(535.4, 539.2, 320.1, 247.6),
}


@dataclass(frozen=True)
class Shot:
    """One frame: its images, its pose (camera to world, or the file that holds it), its time if it is known."""

    colour: Path
    depth: Path
    pose: Path | NDArray[np.float64]
    seconds: float | None = None


@dataclass(frozen=True)
class Recording:
    """A recording in one of the layouts.

    Attributes:
        folder: where it lies; layout: its name.
        shots: in order of time.
        units: of a metre in the depth images.
        colour: camera of the colour images; None: ``SEVEN_SCENES_FOCAL`` and the middle.
        depth: camera of the depth images; None: that of the colour images, at their size.
    """

    folder: Path
    layout: str
    shots: tuple[Shot, ...]
    units: float = MILLIMETRES
    colour: Intrinsics | None = None
    depth: Intrinsics | None = None


def find_recordings(folder: Path) -> dict[str, Recording]:
    """Recordings in a folder, or in folders one or two levels below it, by a name that can be part of an id.

    Raises:
        RefusedError: there is none, or one whose files do not fit together.
    """
    below = sorted(path for path in (*folder.glob("*/"), *folder.glob("*/*/")) if path.is_dir())
    found: dict[str, Recording] = {}
    for place in (folder, *below):
        recording = recognise(place, root=folder)
        if recording is not None:
            parts = place.relative_to(folder).parts or (place.resolve().name,)
            found["-".join(parts)] = recording
    if not found:
        raise RefusedError(
            folder,
            "holds no recording: neither frame-*.color.png, nor rgb.txt with depth.txt and groundtruth.txt, nor "
            "the folders color, depth and pose",
        )
    return found


def recognise(folder: Path, *, root: Path) -> Recording | None:
    """The recording in a folder, None if there is none; nothing outside ``root`` is read."""
    for has, read in _LAYOUTS:
        if has(folder):
            return read(folder, root)
    return None


def read_matrix(file: Path, size: int) -> NDArray[np.float64]:
    """A matrix [size, size] of numbers in a text file; they may be infinite.

    Raises:
        RefusedError: the file is missing, or holds something else.
    """
    try:
        numbers = np.array(file.read_text().split(), np.float64)
    except (OSError, ValueError) as error:
        raise RefusedError(file, f"not a readable matrix ({error})") from error
    if numbers.size != size * size:
        raise RefusedError(file, f"must be {size}x{size} numbers, got {numbers.size}")
    return numbers.reshape(size, size)


def _has_frames(folder: Path) -> bool:
    return any(_FRAME.fullmatch(path.name) for path in folder.glob("frame-*.color.*"))


def _read_frames(folder: Path, root: Path) -> Recording:
    numbered = {
        int(match[1]): path for path in folder.iterdir() if (match := _FRAME.fullmatch(path.name)) is not None
    }
    shots = []
    for _, path in sorted(numbered.items()):
        stem = path.name.split(".")[0]
        files = [path, folder / f"{stem}.depth.png", folder / f"{stem}.pose.txt"]
        colour, depth, pose = _safe(files, root)
        shots.append(Shot(colour, depth, pose))
    places = [place / "camera-intrinsics.txt" for place in (folder, folder.parent) if _within(place, root)]
    return Recording(folder, "frames", tuple(shots), colour=_camera(places, 3, root))


def _has_folders(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in ("color", "depth", "pose"))


def _read_folders(folder: Path, root: Path) -> Recording:
    listed = {
        name: _by_number(folder / name, patterns)
        for name, patterns in {"color": ("*.jpg", "*.png"), "depth": ("*.png",), "pose": ("*.txt",)}.items()
    }
    numbers = sorted(set.intersection(*map(set, listed.values())))
    if not numbers:
        raise RefusedError(folder, "no frame has files in color, depth and pose")
    shots = []
    for number in numbers:
        picture, metres, pose = _safe([listed[name][number] for name in ("color", "depth", "pose")], root)
        shots.append(Shot(picture, metres, pose))
    colour, depth = (
        _camera([folder / "intrinsic" / f"intrinsic_{n}.txt"], 4, root) for n in ("color", "depth")
    )
    if colour is None:
        raise RefusedError(folder / "intrinsic" / "intrinsic_color.txt", "is missing")
    return Recording(folder, "folders", tuple(shots), colour=colour, depth=depth)


def _has_tum(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("rgb.txt", "depth.txt", "groundtruth.txt"))


def _read_tum(folder: Path, root: Path) -> Recording:
    colour, depth = (_listed_images(folder / name, root) for name in ("rgb.txt", "depth.txt"))
    times, poses = _listed_poses(folder / "groundtruth.txt")
    shots = []
    for moment, image in sorted(colour.items()):
        other, place = _nearest(list(depth), moment), _nearest(times, moment)
        if other is not None and place is not None:
            shots.append(Shot(image, list(depth.values())[other], poses[place], moment))
    if not shots:
        raise RefusedError(folder, f"no frame has colour, depth and pose within {SAME_MOMENT} s")
    number = re.search(r"(?:freiburg|fr)_?([123])", folder.resolve().name.lower())
    return Recording(folder, "tum", tuple(shots), TUM_UNITS, FREIBURG[number[1]] if number else None)


_LAYOUTS: tuple[tuple[Callable[[Path], bool], Callable[[Path, Path], Recording]], ...] = (
    (_has_frames, _read_frames),
    (_has_folders, _read_folders),
    (_has_tum, _read_tum),
)


def _safe(files: Iterable[Path], root: Path) -> list[Path]:
    return [inside(root, str(file.relative_to(root)), named_by=file) for file in files]


def _within(place: Path, root: Path) -> bool:
    return place.resolve().is_relative_to(root.resolve())


def _camera(files: Iterable[Path], size: int, root: Path) -> Intrinsics | None:
    """The camera of the first of these files that is there."""
    for file in files:
        if file.is_file():
            k = read_matrix(_safe([file], root)[0], size)
            if not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
                raise RefusedError(file, f"focal lengths must be above 0, got {k[0, 0]:g} and {k[1, 1]:g}")
            return Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    return None


def _by_number(folder: Path, patterns: Iterable[str]) -> dict[int, Path]:
    """Files by the last number in their names."""
    files = (path for pattern in patterns for path in folder.glob(pattern))
    return {int(found[-1]): path for path in files if (found := _NUMBER.findall(path.stem))}


def _lines(file: Path) -> list[list[str]]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise RefusedError(file, f"not a readable text file ({error})") from error
    return [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _listed_images(file: Path, root: Path) -> dict[float, Path]:
    """Images by their times."""
    found = {}
    for row, line in enumerate(_lines(file)):
        if len(line) != 2:
            raise RefusedError(file, f"must be a time and a file name, got {' '.join(line)!r}", row=row)
        (moment,) = number_rows([line[:1]], "time", 1, file=file, first_row=row)[0]
        path = inside(file.parent, line[1], named_by=file)
        found[float(moment)] = _safe([path], root)[0]
    return dict(sorted(found.items()))


def _listed_poses(file: Path) -> tuple[list[float], NDArray[np.float64]]:
    """Times [N] and poses [N, 4, 4]: time, translation, quaternion (x, y, z, w)."""
    rows = number_rows(_lines(file), "pose", 8, file=file)  # [N, 8]
    if (bad := np.flatnonzero(np.linalg.norm(rows[:, 4:], axis=1) < 1e-6)).size:
        raise RefusedError(file, "the quaternion is zero", row=int(bad[0]))
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, 3] = rows[:, 1:4]
    poses[:, :3, :3] = Rotation.from_quat(rows[:, 4:]).as_matrix()
    return rows[:, 0].tolist(), poses


def _nearest(times: list[float], moment: float) -> int | None:
    """Index of the nearest of these rising times; None if it is too far."""
    after = int(np.searchsorted(times, moment))
    near = [index for index in (after - 1, after) if 0 <= index < len(times)]
    best: Any = min(near, key=lambda index: abs(times[index] - moment), default=None)
    return best if best is not None and abs(times[best] - moment) <= SAME_MOMENT else None
