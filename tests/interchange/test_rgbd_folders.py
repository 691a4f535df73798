"""Recordings of real cameras: layouts are found, geometry is kept, and nothing outside the folder is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imported import kept
from recorded_wall import (
    HEIGHT,
    REAL,
    SLOPE,
    WIDTH,
    paint,
    pictures,
    pose_of,
    wall_depth,
    write_frames,
    write_png,
)

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.interchange.incoming import Stated
from vln_heatmap.interchange.rgbd_folders import RgbdFolders, centred_camera, look_up
from vln_heatmap.interchange.rgbd_layouts import Intrinsics
from vln_heatmap.params import ImportParams, RgbdParams


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Seven frames in the layout of 7-Scenes, with intrinsics of their own."""
    folder = tmp_path / "office" / "seq-01"
    write_frames(folder, 7)
    (folder / "camera-intrinsics.txt").rename(tmp_path / "office" / "camera-intrinsics.txt")
    return tmp_path / "office"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three frames as ScanNet is exported: depth at half the size of colour."""
    place = tmp_path / "scene0000_00"
    colour, _ = pictures()
    _, depth = pictures(REAL.scaled(0.5, 0.5), (WIDTH // 2, HEIGHT // 2))
    for number in (0, 2, 10):
        write_png(place / "color" / f"{number}.png", colour)
        write_png(place / "depth" / f"{number}.png", depth)
        (place / "pose").mkdir(exist_ok=True)
        np.savetxt(place / "pose" / f"{number}.txt", pose_of(number))
    (place / "intrinsic").mkdir()
    camera = np.eye(4)
    camera[:3, :3] = REAL.matrix
    np.savetxt(place / "intrinsic" / "intrinsic_color.txt", camera)
    return place


@pytest.fixture
def tum(tmp_path: Path) -> Path:
    """Three frames in TUM's layout, depth a little later than colour, poses at times of their own."""
    place = tmp_path / "rgbd_dataset_freiburg3_desk"
    colour, depth = pictures()
    lists: dict[str, list[str]] = {"rgb": ["# timestamp filename"], "depth": [], "groundtruth": ["# poses"]}
    for number in range(4):
        moment = 100 + 0.1 * number
        write_png(place / "rgb" / f"{number}.png", colour)
        write_png(place / "depth" / f"{number}.png", (5 * depth.astype(int)).astype(np.uint16))
        lists["rgb"].append(f"{moment:.4f} rgb/{number}.png")
        lists["depth"].append(f"{moment + 0.01:.4f} depth/{number}.png")
        if number != 2:  # tracking was lost
            lists["groundtruth"].append(f"{moment - 0.005:.4f} {0.1 * number} 0 0 0 0 0.6 0.8")
    for name, lines in lists.items():
        (place / f"{name}.txt").write_text("\n".join(lines))
    return place


def read(folder: Path, **settings: object) -> RgbdFolders:
    return RgbdFolders(folder, Stated(fps=30, rgbd=RgbdParams(**{"width": 32, **settings})))


@given(
    fx=st.floats(40, 90),
    fy=st.floats(40, 90),
    cx=st.floats(20, 44),
    cy=st.floats(14, 34),
    width=st.sampled_from([16, 32, 64, 96]),
)
def test_a_centred_view_lies_within_the_image_and_is_looked_up_along_its_rays(
    fx: float, fy: float, cx: float, cy: float, width: int
) -> None:
    real = Intrinsics(fx, fy, cx, cy)
    camera = centred_camera(real, (WIDTH, HEIGHT), width)
    x, y = look_up(real, camera)
    rays = camera.directions()
    np.testing.assert_allclose(x, fx * rays[..., 0] + cx, atol=1e-3)
    np.testing.assert_allclose(y, fy * rays[..., 1] + cy, atol=1e-3)
    assert x.min() >= -0.5
    assert x.max() <= WIDTH - 0.5
    assert y.min() >= -1
    assert y.max() <= HEIGHT


def test_a_centred_camera_is_taken_as_it_is() -> None:
    real = Intrinsics(585, 585, 319.5, 239.5)
    camera = centred_camera(real, (640, 480), 640)
    assert camera == PinholeCamera(640, 480, math.degrees(2 * math.atan(320 / 585)))


def test_a_principal_point_outside_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="principal point"):
        centred_camera(Intrinsics(60, 60, 70, 20), (WIDTH, HEIGHT), 32)


def test_distortion_moves_points_as_the_lens_does() -> None:
    real = Intrinsics(60, 60, 31.5, 23.5, (0.2, 0, 0, 0, 0))
    camera = centred_camera(real, (WIDTH, HEIGHT), 32)
    x, _ = look_up(real, camera)
    ray = camera.directions()[0, 0]
    bent = ray[0] * (1 + 0.2 * (ray[0] ** 2 + ray[1] ** 2))
    assert x[0, 0] == pytest.approx(60 * bent + 31.5, abs=1e-3)


@pytest.mark.parametrize("width", [16, 32, 128])
def test_colour_and_depth_are_those_of_the_rays(frames: Path, width: int) -> None:
    """On a slanted wall every pixel's colour and depth follow from its direction alone."""
    sequence = read(frames, width=width).read("seq-01_000")
    rays = sequence.camera.directions()
    inner = (slice(2, -2), slice(2, -2))
    wanted = paint(rays[..., 0], rays[..., 1])
    np.testing.assert_allclose(sequence.rgb[0][inner], wanted[inner], atol=1.6)
    step = SLOPE * wall_depth(rays[..., 0]) ** 2 / 2 / REAL.fx / 2  # half a pixel of the real image
    assert (np.abs(sequence.depth[0] - wall_depth(rays[..., 0])) <= step + 2e-3)[inner].all()


def test_frames_of_7_scenes_are_found_and_cut(frames: Path) -> None:
    source = read(frames, stride=2, length=2)
    assert source.ids == ("seq-01_000", "seq-01_001")
    first, second = (source.read(key) for key in source.ids)
    assert (len(first), len(second)) == (2, 2)
    places = [pose[0, 3] for sequence in (first, second) for pose in sequence.poses]
    np.testing.assert_allclose(places, [0, 0.2, 0.4, 0.6])
    assert first.absent == {"instance", "state", "velocity"}
    assert first.metadata["scene"] == "seq-01"
    assert first.frames["timestamp"].tolist() == pytest.approx([0, 2 / 30])


def test_so_many_sequences_at_most_spread_over_the_recording(frames: Path) -> None:
    source = read(frames, length=2, sequences=2)
    assert len(source.ids) == 2
    starts = [source.read(key).poses[0][0, 3] for key in source.ids]
    assert starts[0] == 0
    assert starts[1] > 0.35


def test_without_intrinsics_7_scenes_has_its_own(frames: Path) -> None:
    (frames / "camera-intrinsics.txt").unlink()
    camera = read(frames).read("seq-01_000").camera
    assert camera.hfov == pytest.approx(math.degrees(2 * math.atan(WIDTH / 2 / 585)))
    stated = read(frames, intrinsics=(64.0, 64.0, 31.5, 23.5)).read("seq-01_000").camera
    assert stated.hfov == pytest.approx(math.degrees(2 * math.atan(0.5)))


def test_what_has_no_depth_is_0(frames: Path) -> None:
    _, depth = pictures()
    depth[: HEIGHT // 2] = 65535
    for file in frames.glob("seq-01/*.depth.png"):
        write_png(file, depth)
    sequence = read(frames).read("seq-01_000")
    assert (sequence.depth[:, :8] == 0).all()
    assert (sequence.depth[:, -6:] > 1).all()


def test_a_lost_pose_costs_its_frame(frames: Path) -> None:
    np.savetxt(frames / "seq-01" / "frame-000003.pose.txt", np.full((4, 4), -np.inf))
    sequence = read(frames).read("seq-01_000")
    assert len(sequence) == 6
    np.testing.assert_allclose(sequence.poses[3][0, 3], 0.4)


def test_a_pose_that_is_no_motion_is_refused(frames: Path) -> None:
    np.savetxt(frames / "seq-01" / "frame-000003.pose.txt", np.diag([2, 1, 1, 1.0]))
    with pytest.raises(RefusedError, match="not rigid"):
        read(frames).read("seq-01_000")


def test_scannet_folders_with_small_depth_images(folders: Path) -> None:
    source = read(folders)
    sequence = source.read(source.ids[0])
    assert source.ids == ("scene0000_00_000",)
    np.testing.assert_allclose([pose[0, 3] for pose in sequence.poses], [0, 0.2, 1.0])
    rays = sequence.camera.directions()
    step = SLOPE * wall_depth(rays[..., 0]) ** 2 / 2 / REAL.fx
    assert (np.abs(sequence.depth[0] - wall_depth(rays[..., 0])) <= step + 2e-3).all()


def test_tum_lists_are_joined_by_time(tum: Path) -> None:
    source = read(tum, intrinsics=(60.0, 56.0, 30.0, 25.0))
    sequence = source.read(source.ids[0])
    np.testing.assert_allclose([pose[0, 3] for pose in sequence.poses], [0, 0.1, 0.3])
    np.testing.assert_allclose(sequence.frames["timestamp"], [0, 0.1, 0.3], atol=1e-6)
    turn = sequence.poses[0][:3, :3]
    np.testing.assert_allclose(turn @ [1, 0, 0], [1 - 2 * 0.36, 2 * 0.6 * 0.8, 0], atol=1e-12)
    assert 1.2 < sequence.depth[0].min() < sequence.depth[0].max() < 4


def test_tum_has_the_camera_of_its_name(tum: Path) -> None:
    known = read(tum)  # images here are a tenth as large, so the principal point lies outside of them
    with pytest.raises(RefusedError, match=r"320\.6, 248\.1"):
        known.read(known.ids[0])
    unknown = read(tum.rename(tum.with_name("desk")))
    with pytest.raises(RefusedError, match=r"import\.rgbd\.intrinsics"):
        unknown.read(unknown.ids[0])


def test_a_list_that_names_a_file_elsewhere_is_refused(tum: Path) -> None:
    (tum / "rgb.txt").write_text("100.0 ../../secret.png\n")
    with pytest.raises(RefusedError, match="leads out"):
        read(tum)


def test_a_link_that_leads_out_is_refused(frames: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    write_png(outside, pictures()[1])
    file = frames / "seq-01" / "frame-000002.depth.png"
    file.unlink()
    file.symlink_to(outside)
    with pytest.raises(RefusedError, match="leads out"):
        read(frames)


@pytest.mark.parametrize("damage", ["missing", "broken", "small"])
def test_a_bad_image_is_named(frames: Path, damage: str) -> None:
    file = frames / "seq-01" / "frame-000004.color.png"
    if damage == "missing":
        (frames / "seq-01" / "frame-000004.depth.png").unlink()
        file = file.with_name("frame-000004.depth.png")
    elif damage == "broken":
        file.write_bytes(b"\x89PNG no")
    else:
        write_png(file, pictures()[0][:-2])
    source = read(frames)
    with pytest.raises(RefusedError, match=file.name):
        source.read(source.ids[0])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="holds no recording"):
        read(tmp_path)


def test_a_recording_goes_into_the_store(frames: Path, tmp_path: Path) -> None:
    stored = kept(tmp_path / "store", read(frames).read("seq-01_000"))
    assert stored.rgb().shape == (7, stored.camera.height, 32, 3)
    assert stored.depth().max() > 1
    with pytest.raises(ValueError, match="without instance"):
        stored.instance()


def test_the_format_is_one_of_the_import_stage() -> None:
    assert ImportParams(format="rgbd", rgbd={"stride": 5}).rgbd.stride == 5
    with pytest.raises(ValueError, match="multiple of 2"):
        RgbdParams(width=33)
