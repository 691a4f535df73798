"""A user's clip: any video or folder of images becomes frames, anything else one clear error."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from vln_heatmap.datasets.clip import ClipDataset, UnreadableClipError, read_clip
from vln_heatmap.datasets.video import encode_rgb

HEIGHT, WIDTH = 32, 48


def level(number: int) -> int:
    """Grey level of frame ``number``."""
    return 20 + 8 * number


def frames(count: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Grey frames that tell their number."""
    levels = np.array([level(i) for i in range(count)], np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def video(path: Path, count: int, **size: int) -> Path:
    path.write_bytes(encode_rgb(frames(count, **size), fps=10, crf=0, pixel_format="yuv444p"))
    return path


def images(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for image, name in zip(frames(len(names)), names, strict=True):
        Image.fromarray(image).save(folder / name)
    return folder


def numbers(clip_frames: np.ndarray) -> list[int]:
    """Which frames these are, by their grey level."""
    return ((clip_frames.mean((1, 2, 3)) - 20) / 8).round().astype(int).tolist()


# --- videos -----------------------------------------------------------------------------------------------


def test_a_video_is_read_frame_by_frame_in_order(tmp_path: Path) -> None:
    clip = read_clip(video(tmp_path / "clip.mp4", 6), 64)
    assert clip.frames.shape == (6, HEIGHT, WIDTH, 3)
    assert clip.frames.dtype == np.uint8
    assert np.abs(clip.frames.astype(int) - frames(6)).max() <= 2  # RGB to YUV and back
    assert clip.numbers.tolist() == list(range(6))
    assert clip.total == 6


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[..., 0] = 255
    (tmp_path / "red.mp4").write_bytes(encode_rgb(red, fps=5, crf=0, pixel_format="yuv444p"))
    assert np.abs(read_clip(tmp_path / "red.mp4", 8).frames.astype(int) - red).max() <= 4


@pytest.mark.parametrize(
    ("count", "most", "kept"),
    [
        (9, 2, [0, 8]),
        (9, 3, [0, 4, 8]),
        (9, 9, list(range(9))),
        (5, 64, list(range(5))),
        (10, 5, [0, 2, 4, 7, 9]),
    ],
)
@pytest.mark.parametrize("kind", ["video", "folder"])
def test_of_a_long_clip_an_even_spread_with_both_ends_is_kept(
    tmp_path: Path, kind: str, count: int, most: int, kept: list[int]
) -> None:
    if kind == "video":
        clip = read_clip(video(tmp_path / "clip.mp4", count), most)
    else:
        clip = read_clip(images(tmp_path / "clip", [f"{i}.png" for i in range(count)]), most)
    assert clip.numbers.tolist() == kept
    assert numbers(clip.frames) == kept
    assert clip.total == count


@pytest.mark.parametrize("container", ["mkv", "avi", "webm"])
def test_other_containers_are_videos_too(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"clip.{container}"
    codec = {"mkv": "ffv1", "avi": "mjpeg", "webm": "libvpx-vp9"}[container]
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=5)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in frames(4):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    assert numbers(read_clip(path, 64).frames) == [0, 1, 2, 3]


@pytest.mark.parametrize("keep", [0, 1, 40, 0.5, 0.95])
def test_an_empty_or_truncated_video_is_named(tmp_path: Path, keep: float) -> None:
    """Of an mp4 whose index stands at the end, no part can be read."""
    path = video(tmp_path / "clip.mp4", 8)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(UnreadableClipError, match=r"clip\.mp4"):
        read_clip(path, 64)


@pytest.mark.parametrize(
    ("name", "content"),
    [("clip.mp4", b"not a video at all" * 40), ("notes.txt", b"frame\n" * 200), ("clip.bin", bytes(4096))],
)
def test_a_file_that_is_no_video_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableClipError, match=name):
        read_clip(tmp_path / name, 64)


def test_sound_without_pictures_is_named(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=16_000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16_000
        output.mux(stream.encode(sound))
        output.mux(stream.encode(None))
    with pytest.raises(UnreadableClipError, match=r"song\.mp4 has no video stream"):
        read_clip(path, 64)


def test_a_path_where_nothing_is_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableClipError, match=r"there is no video or folder of images at .*absent\.mp4"):
        read_clip(tmp_path / "absent.mp4", 64)


# --- folders of images ------------------------------------------------------------------------------------


def test_images_come_in_natural_order(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.png", "frame10.png", "frame11.png", "frame100.png"]
    folder = images(tmp_path / "clip", names)
    (folder / "readme.md").write_text("not an image")
    (folder / "depth").mkdir()
    assert numbers(read_clip(folder, 64).frames) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "names", [["1.png", "a.png", "1a.png"], ["2²3.png", "2²10.png"], ["x.JPG", "y.jpeg"]]
)
def test_any_names_can_be_ordered(tmp_path: Path, names: list[str]) -> None:
    assert read_clip(images(tmp_path / "clip", names), 64).total == len(names)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 0), (90, 90, 90)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("P", 0, (0, 0, 0)),
        ("1", 1, (255, 255, 255)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
    ],
)
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, mode: str, colour: object, expected: tuple) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    for i in range(2):
        Image.new(mode, (8, 6), colour).save(tmp_path / f"{i}.{suffix}")
    clip = read_clip(tmp_path, 64)
    assert clip.frames.shape == (2, 6, 8, 3)
    assert (clip.frames == np.array(expected, np.uint8)).all()


def test_sixteen_bit_grey_keeps_its_shades(tmp_path: Path) -> None:
    shades = np.linspace(0, 65535, 48).round().astype(np.uint16).reshape(6, 8)
    for i in range(2):
        Image.fromarray(shades).save(tmp_path / f"{i}.png")
    got = read_clip(tmp_path, 64).frames[0].astype(int)
    assert np.abs(got - (shades / 257)[..., None]).max() <= 1


def test_pictures_stand_upright(tmp_path: Path) -> None:
    """A phone stores a portrait picture lying down, and says so."""
    upright = np.zeros((8, 6, 3), np.uint8)
    upright[:4] = 255  # light above
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    for i in range(2):
        Image.fromarray(np.rot90(upright)).save(tmp_path / f"{i}.png", exif=exif)
    np.testing.assert_array_equal(read_clip(tmp_path, 64).frames[0], upright)


def test_a_folder_without_images_says_what_an_image_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(UnreadableClipError, match=r"holds no images \(\.bmp, \.jpeg, \.jpg, \.png, \.webp\)"):
        read_clip(tmp_path, 64)


def test_images_of_different_sizes_are_named_with_their_sizes(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "0.png")
    Image.new("RGB", (6, 8)).save(tmp_path / "1.png")
    with pytest.raises(UnreadableClipError, match=r"1\.png is 6x8, the first is 8x6"):
        read_clip(tmp_path, 64)


@pytest.mark.parametrize("keep", [0, 10, 30, 60, -60])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str, keep: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    for i in range(2):
        Image.fromarray(noise).save(tmp_path / f"{i}.{suffix}")
    content = (tmp_path / f"1.{suffix}").read_bytes()
    (tmp_path / f"1.{suffix}").write_bytes(content[:keep])
    with pytest.raises(UnreadableClipError, match=rf"1\.{suffix} cannot be read as an image"):
        read_clip(tmp_path, 64)


# --- catalog entry ----------------------------------------------------------------------------------------


def test_the_dataset_reads_what_the_user_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video(tmp_path / "clip.mp4", 5)
    dataset = ClipDataset(video=str(tmp_path / "clip.mp4"), max_frames=3)
    assert dataset.exists()
    assert dataset.load().numbers.tolist() == [0, 2, 4]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ClipDataset(video="~/clip.mp4").load().total == 5
    monkeypatch.chdir(tmp_path)
    assert ClipDataset(video="clip.mp4").load().total == 5


def test_without_a_name_it_says_how_to_give_one() -> None:
    dataset = ClipDataset(video=None)
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"kedro run --pipelines=predict --params=predict\.video=PATH"):
        dataset.load()


def test_a_users_clip_is_never_written(tmp_path: Path) -> None:
    path = video(tmp_path / "clip.mp4", 2)
    content = path.read_bytes()
    with pytest.raises(DatasetError):
        ClipDataset(video=str(path)).save(None)
    assert path.read_bytes() == content


@pytest.mark.parametrize("most", [1, 0, -3])
def test_fewer_frames_than_a_keyframe_and_a_view_cannot_be_asked_for(tmp_path: Path, most: int) -> None:
    with pytest.raises(ValueError, match=f"max_frames must be at least 2, got {most}"):
        read_clip(tmp_path, most)


def test_reading_clips_needs_no_torch() -> None:
    code = "import sys, vln_heatmap.datasets.clip; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
