"""Conversations about images from elsewhere: LLaVA-style JSON and ScanQA files.

Invariant: every image that a dialogue shows is a file below the folder that the user named, and there are as many
as its text speaks of; whatever is wrong is refused with its file and row before anything is decoded.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from vln_heatmap.datasets.clip import IMAGES
from vln_heatmap.datasets.dialogue_samples import NO_FRAME, Dialogue, Turn
from vln_heatmap.interchange.checks import RefusedError, inside
from vln_heatmap.nodes.navigation.frames import Media
from vln_heatmap.params.navigation_data import Task

_PLACE = re.compile(r"<(image|video)>")
_SPEAKERS = {"human": "user", "user": "user", "gpt": "agent", "assistant": "agent"}
_SCENE = re.compile(r"scene\d{4}_\d{2}")


@dataclass(frozen=True)
class Imported:
    """Dialogues, and the files of their frames in order, by the dialogues' ``sequence_id``."""

    dialogues: tuple[Dialogue, ...]
    media: Mapping[str, tuple[Media, ...]]


def read_llava(file: Path, folder: Path, *, video_frames: int = 8, task: Task = "conversation") -> Imported:
    """Conversations of a LLaVA-style file: a list, or a line each (``.jsonl``), of ``{id, image | video,
    conversations: [{from, value}, ...]}``.

    ``image`` is a path or a list of paths below ``folder``, shown where the text says ``<image>``, or first where
    it does not; ``video`` a video file or a folder of images (``<video>``).

    Args:
        file: to read.
        folder: of the images.
        video_frames: frames of a video that are shown.
        task: of the dialogues.

    Raises:
        RefusedError: not such a file; speakers that do not take turns; images and texts that do not fit
            together; a path that leads out of the folder, or where there is no file.
    """
    dialogues, media = [], {}
    for row, entry in enumerate(_entries(file)):
        key = f"llava_{zlib.crc32(Path(file).name.encode()):08x}_{row:07d}"
        items = _media(entry, folder, video_frames, file=file, row=row)
        turns = _conversation(entry, items, file=file, row=row)
        dialogues.append(Dialogue(turns, "", (), task, key))
        media[key] = tuple(items)
    return Imported(tuple(dialogues), media)


def read_scanqa(file: Path, folder: Path, *, frames: int = 8) -> Imported:
    """Questions of a ScanQA file: a list of ``{question_id, scene_id, question, answers}``.

    Args:
        file: of the training or validation split; the others have no answers.
        folder: of ScanNet's frames: images in ``<scene_id>/color`` or ``<scene_id>``.
        frames: of a scene, evenly spread, that are shown.

    Raises:
        RefusedError: not such a file, no answer, or a scene without images.
    """
    dialogues: list[Dialogue] = []
    media: dict[str, tuple[Media, ...]] = {}
    for row, entry in enumerate(_entries(file)):
        scene, question = _text(entry, "scene_id", file, row), _text(entry, "question", file, row)
        answers = entry.get("answers")
        if not isinstance(answers, list) or not answers or not all(isinstance(a, str) for a in answers):
            reason = f"answers must be a list of texts, got {answers!r} (the test splits have none)"
            raise RefusedError(file, reason, row=row)
        if not _SCENE.fullmatch(scene):
            raise RefusedError(file, f"scene_id must be like 'scene0000_00', got {scene!r}", row=row)
        if (key := f"scannet_{scene}") not in media:
            media[key] = (_scene_media(folder, scene, frames, file=file, row=row),)
        shown = [Turn(frame) for frame in range(media[key][0].frames)]
        asked = Turn(NO_FRAME, question=question, answer=answers[0].strip())
        if not asked.answer:
            raise RefusedError(file, "the first answer is empty", row=row)
        dialogues.append(Dialogue((*shown, asked), "", (), "scanqa", key))
    return Imported(tuple(dialogues), media)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = Path(file).read_text(encoding="utf-8")
        if Path(file).suffix == ".jsonl":
            entries = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            entries = json.loads(text)
    except (OSError, ValueError) as error:
        raise RefusedError(file, f"not a readable JSON file ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise RefusedError(file, f"must be a list of entries, got {type(entries).__name__}")
    for row, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise RefusedError(file, f"must be an object, got {type(entry).__name__}", row=row)
        yield entry


def _media(entry: Mapping[str, Any], folder: Path, video_frames: int, *, file: Path, row: int) -> list[Media]:
    """The files of an entry, images or one video."""
    if "image" in entry and "video" in entry:
        raise RefusedError(file, "an entry has either image or video, not both", row=row)
    named = entry.get("image", entry.get("video", []))
    paths = [named] if isinstance(named, str) else named
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise RefusedError(file, f"image and video must be paths, got {named!r}", row=row)
    frames = video_frames if "video" in entry else 1
    return [Media(_existing(folder, path, file, row, clip="video" in entry), frames) for path in paths]


def _existing(folder: Path, name: str, file: Path, row: int, *, clip: bool) -> Path:
    try:
        path = inside(Path(folder), name, named_by=file)
    except RefusedError as error:
        raise RefusedError(file, error.reason, row=row) from error
    if path.is_file() or (clip and path.is_dir()):
        return path
    raise RefusedError(file, f"there is no file {name!r} in {folder}", row=row)


def _conversation(
    entry: Mapping[str, Any], items: Sequence[Media], *, file: Path, row: int
) -> tuple[Turn, ...]:
    """Texts and images in order, as turns."""
    said = _messages(entry, file, row)
    kind = "video" if "video" in entry else "image"
    places = [found for _, text in said for found in _PLACE.findall(text)]
    wrong = [place for place in places if place != kind]
    if wrong or (places and len(places) != len(items)):
        reason = f"its text has {places or 'no places'} for {len(items)} {kind}s"
        raise RefusedError(file, reason, row=row)
    numbers = iter(_numbers(items))
    turns: list[Turn] = [] if places else [Turn(frame) for frames in numbers for frame in frames]
    for (_, question), (_, answer) in zip(said[::2], said[1::2], strict=True):
        if _PLACE.search(answer):
            raise RefusedError(file, "an answer cannot show an image", row=row)
        first, *others = re.split(r"<(?:image|video)>", question)
        parts: list[Turn] = [Turn(NO_FRAME, question=first.strip())] if first.strip() else []
        for text in others:
            shown = [Turn(frame) for frame in next(numbers)]
            parts += [*shown[:-1], Turn(shown[-1].frame, question=text.strip())]
        last = parts.pop() if parts else Turn(NO_FRAME)
        turns += [*parts, Turn(last.frame, question=last.question, answer=answer.strip())]
    return tuple(turns)


def _numbers(items: Sequence[Media]) -> Iterator[range]:
    """Frame numbers of each file."""
    first = 0
    for item in items:
        yield range(first, first + item.frames)
        first += item.frames


def _messages(entry: Mapping[str, Any], file: Path, row: int) -> list[tuple[str, str]]:
    """Speakers and texts, a question and an answer in turn; a leading system message is left out."""
    given = entry.get("conversations")
    if not isinstance(given, list) or not all(isinstance(message, dict) for message in given):
        raise RefusedError(file, "conversations must be a list of {from, value}", row=row)
    if given and given[0].get("from") == "system":
        given = given[1:]
    said = []
    for message in given:
        speaker, text = _SPEAKERS.get(cast(str, message.get("from"))), message.get("value")
        if speaker is None or not isinstance(text, str) or (speaker == "agent" and not text.strip()):
            raise RefusedError(file, f"{message!r:.80} is no message from human or gpt", row=row)
        said.append((speaker, text))
    speakers = [speaker for speaker, _ in said]
    if speakers[:1] != ["user"] or speakers[-1:] != ["agent"] or any(a == b for a, b in pairwise(speakers)):
        raise RefusedError(file, f"human and gpt must take turns, got {speakers}", row=row)
    return said


def _scene_media(folder: Path, scene: str, frames: int, *, file: Path, row: int) -> Media:
    for place in (Path(folder) / scene / "color", Path(folder) / scene):
        found = sum(image.suffix.lower() in IMAGES for image in place.iterdir()) if place.is_dir() else 0
        if found:
            return Media(place, min(frames, found))
    raise RefusedError(file, f"there are no images of {scene} in {folder}", row=row)


def _text(entry: Mapping[str, Any], name: str, file: Path, row: int) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(file, f"{name} must be a text, got {value!r}", row=row)
    return value.strip()
