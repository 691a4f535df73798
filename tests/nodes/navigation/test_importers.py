"""Conversations from elsewhere show the files that their texts speak of; what does not fit is refused by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vln_heatmap.datasets.dialogue_samples import NO_FRAME, Turn
from vln_heatmap.datasets.video import encode_rgb
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.nodes.navigation.frames import Media
from vln_heatmap.nodes.navigation.importers import read_llava, read_scanqa


def picture(file: Path, shade: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 12, 3), shade, np.uint8)).save(file)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(4):
        picture(folder / f"{number}.png", 10 * number)
    for number in range(12):
        picture(folder / "scene0000_00/color" / f"{number}.png", number)
        picture(folder / "clip" / f"{number}.png", number)
    return folder


def written(folder: Path, entries: Any, name: str = "talks.json") -> Path:
    file = folder / name
    lines = [json.dumps(entry) for entry in entries] if name.endswith("l") else [json.dumps(entries)]
    file.write_text("\n".join(lines))
    return file


def talk(*texts: str, **more: Any) -> dict[str, Any]:
    speakers = ("human", "gpt")
    said = [{"from": speakers[i % 2], "value": text} for i, text in enumerate(texts)]
    return {"id": "x", "conversations": said, **more}


def test_one_image_and_several_rounds(images: Path, tmp_path: Path) -> None:
    file = written(tmp_path, [talk("<image>\nwhat is it?", "a chair", "its colour?", "red", image="2.png")])
    found = read_llava(file, images)
    (dialogue,) = found.dialogues
    assert dialogue.turns == (
        Turn(0, question="what is it?", answer="a chair"),
        Turn(NO_FRAME, question="its colour?", answer="red"),
    )
    assert dialogue.task == "conversation"
    assert found.media[dialogue.sequence_id] == (Media(images / "2.png"),)
    assert (found.media[dialogue.sequence_id][0].read()[0] == 20).all()


@given(st.lists(st.lists(st.one_of(st.just("<image>"), st.text("ab ", max_size=3))), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_interleaved_images_and_texts_keep_their_order(
    images: Path, tmp_path_factory: pytest.TempPathFactory, rounds: list[list[str]]
) -> None:
    texts = ["".join(parts) for parts in rounds]
    count = sum(text.count("<image>") for text in texts)
    said = [part for text in texts for part in (text, "yes")]
    named = [f"{i % 4}.png" for i in range(count)]
    file = written(tmp_path_factory.mktemp("talk"), [talk(*said, image=named)])
    found = read_llava(file, images)
    (dialogue,) = found.dialogues
    again, asked = [], ""
    for turn in dialogue.turns:
        asked += ("<image>" if turn.frame != NO_FRAME else "") + turn.question
        if turn.replied:
            again.append(asked)
            asked = ""
    assert [a.replace(" ", "") for a in again] == [text.replace(" ", "") for text in texts]
    assert list(dialogue.frames) == list(range(count))
    assert [media.path.name for media in found.media[dialogue.sequence_id]] == named


def test_an_image_of_which_the_text_says_nothing_comes_first(images: Path, tmp_path: Path) -> None:
    file = written(tmp_path, [talk("what is it?", "a bed", image="1.png")], "talks.jsonl")
    assert read_llava(file, images).dialogues[0].turns == (
        Turn(0),
        Turn(NO_FRAME, question="what is it?", answer="a bed"),
    )


@pytest.mark.parametrize("name", ["clip", "film.mp4"])
def test_a_video_is_a_few_frames_of_it(images: Path, tmp_path: Path, name: str) -> None:
    shades = np.arange(0, 240, 20, np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (12, 16, 16, 3))
    (images / "film.mp4").write_bytes(encode_rgb(frames, fps=10, crf=4))
    file = written(tmp_path, [talk("<video>\nwhat happens?", "nothing", video=name)])
    found = read_llava(file, images, video_frames=4)
    (dialogue,) = found.dialogues
    assert dialogue.frames == (0, 1, 2, 3)
    assert [turn.replied for turn in dialogue.turns] == [False] * 3 + [True]
    (media,) = found.media[dialogue.sequence_id]
    means = [image.mean() for image in media.read()]
    assert len(means) == 4
    assert means == sorted(means)
    assert len(Media(images / name, 20).read()) == 20


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "outside": (talk("<image>", "a", image="../0.png"), "leads out of"),
    "absolute": (talk("<image>", "a", image="/etc/passwd"), "leads out of"),
    "missing": (talk("<image>", "a", image="9.png"), "there is no file '9.png'"),
    "folder": (talk("<image>", "a", image="clip"), "there is no file 'clip'"),
    "too few": (talk("<image><image>", "a", image="0.png"), "for 1 images"),
    "none": (talk("<image>", "a"), "for 0 images"),
    "kind": (talk("<video>", "a", image="0.png"), "for 1 images"),
    "both": (talk("<image>", "a", image="0.png", video="clip"), "not both"),
    "path": (talk("<image>", "a", image=[3]), "must be paths"),
    "turns": (talk("a", "b", "c"), "must take turns"),
    "empty": (talk(), "must take turns"),
    "speaker": ({"conversations": [{"from": "cat", "value": "a"}]}, "no message from human or gpt"),
    "silent": (talk("a", " "), "no message from human or gpt"),
    "shown": (talk("a", "<image>", image="0.png"), "an answer cannot show"),
    "nothing": ({}, "conversations must be a list"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_conversation_is_refused_with_its_row(images: Path, tmp_path: Path, name: str) -> None:
    entry, message = BROKEN[name]
    file = written(tmp_path, [talk("a", "b"), entry])
    with pytest.raises(RefusedError, match=f"talks.json, row 1: .*{message}"):
        read_llava(file, images)


def test_a_link_out_of_the_folder_is_refused(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").symlink_to(images / "0.png")
    with pytest.raises(RefusedError, match="leads out of"):
        read_llava(written(tmp_path, [talk("<image>", "a", image="a.png")]), folder)


@pytest.mark.parametrize("text", ["{}", "[]", "[1]", "no json"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "talks.json").write_text(text)
    for read in (read_llava, read_scanqa):
        with pytest.raises(RefusedError, match=r"talks\.json"):
            read(tmp_path / "talks.json", tmp_path)


QUESTION = {
    "question_id": "train-scene0000-0",
    "scene_id": "scene0000_00",
    "question": "What is on the table?",
    "answers": ["a lamp", "lamp"],
    "object_ids": [8],
}


def test_scanqa_asks_about_frames_of_the_scene(images: Path, tmp_path: Path) -> None:
    file = written(tmp_path, [QUESTION, {**QUESTION, "question": "How many chairs?", "answers": ["2"]}])
    found = read_scanqa(file, images, frames=5)
    first, second = found.dialogues
    assert first.sequence_id == second.sequence_id == "scannet_scene0000_00"
    assert first.frames == (0, 1, 2, 3, 4)
    assert (first.turns[-1].question, first.turns[-1].answer) == ("What is on the table?", "a lamp")
    assert second.turns[-1].answer == "2"
    (media,) = found.media["scannet_scene0000_00"]
    assert [int(image.mean()) for image in media.read()] == [0, 3, 6, 8, 11]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": None}, "the test splits have none"),
        ({"answers": [" "]}, "the first answer is empty"),
        ({"scene_id": "../scene0000_00"}, "scene_id must be like"),
        ({"scene_id": "scene0001_00"}, "no images of scene0001_00"),
        ({"question": ""}, "question must be a text"),
    ],
)
def test_a_broken_question_is_refused_with_its_row(
    images: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    file = written(tmp_path, [QUESTION, QUESTION | changes], "qa.json")
    with pytest.raises(RefusedError, match=f"qa.json, row 1: .*{message}"):
        read_scanqa(file, images)
