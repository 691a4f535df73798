"""Trained models as versioned folders, and the state of a training that is not finished.

Invariant: a checkpoint folder is whole (``model.safetensors`` + ``state.json``) or absent, and it carries
everything that a user of the weights needs: parameters, statistics, tokenizer, metrics and origin.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, AbstractVersionedDataset, DatasetError, Version
from kedro.io.core import VersionNotFoundError

from vln_heatmap.datasets.tensor_file import (
    CorruptCheckpointError,
    check_tensors,
    plain,
    read_tensors,
    replace,
    write_tensors,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT_VERSION = 1
_WEIGHTS, _STATE = "model.safetensors", "state.json"
_LOG = logging.getLogger(__name__)
#: The checkpoint that ships with the package, and the name by which it can be asked for.
REFERENCE, REFERENCE_NAME = Path(__file__).resolve().parents[1] / "reference", "reference"


class MissingCheckpointError(DatasetError):
    """There is no checkpoint where one was looked for."""


class CheckpointMismatchError(DatasetError):
    """A checkpoint does not fit the model that it was loaded into."""


@dataclass(frozen=True)
class Checkpoint:
    """Handle on a checkpoint folder; weights are read only when asked for."""

    path: Path

    @classmethod
    def open(cls, path: str | Path, *, made_by: str = "finetune") -> Checkpoint:
        """Check and open a checkpoint.

        Args:
            path: a checkpoint folder, the ``model.safetensors`` in it, or the folder of a versioned dataset,
                of which the newest version is taken; "reference" is the one that ships with the package.
            made_by: the stage that makes such checkpoints, for the error message.

        Raises:
            MissingCheckpointError: nothing is there.
            CorruptCheckpointError: a file is missing, truncated, or of a newer format.
        """
        folder = REFERENCE if str(path) == REFERENCE_NAME else Path(path)
        folder = folder.parent if folder.name == _WEIGHTS else folder
        if not (folder / _WEIGHTS).exists() and not (folder / _STATE).exists():
            versions = sorted(folder.glob(f"*/{folder.name}/{_WEIGHTS}"))
            if not versions:
                raise MissingCheckpointError(
                    f"there is no checkpoint in {folder}; run `kedro run --pipelines={made_by}` first"
                )
            folder = versions[-1].parent
        checkpoint = cls(folder)
        check_tensors(folder / _WEIGHTS)
        _ = checkpoint.meta
        return checkpoint

    @classmethod
    def newest(cls, path: str | Path) -> Checkpoint:
        """The newest checkpoint in a versioned dataset's folder, else the one that ships with the package."""
        try:
            return cls.open(path)
        except MissingCheckpointError:
            _LOG.info("No trained model in %s: taking the reference checkpoint of the package.", path)
            return cls.open(REFERENCE_NAME)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What was saved beside the weights, and ``format_version``."""
        file = self.path / _STATE
        try:
            meta = json.loads(file.read_text(encoding="utf-8"))
            version = meta["format_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CorruptCheckpointError(f"{file} cannot be read ({reason})") from error
        if version > FORMAT_VERSION:
            raise CorruptCheckpointError(
                f"{file} has format {version}; this version reads up to {FORMAT_VERSION}: upgrade vln_heatmap"
            )
        return meta

    @property
    def preset(self) -> str:
        """Name of the preset that the model was made with."""
        return str(self.meta.get("preset", "unknown"))

    def state_dict(self, device: str = "cpu") -> dict[str, Tensor]:
        """Weights by name; tied weights appear under each of their names."""
        return read_tensors(self.path / _WEIGHTS, device)[0]


def load_into(
    model: nn.Module, checkpoint: Checkpoint, *, preset: str = "unknown", external: Collection[str] = ()
) -> None:
    """Copy a checkpoint's weights into a model of exactly the same shape.

    Args:
        model: changed in place, and only if everything fits.
        checkpoint: where from.
        preset: name of the model's preset, for the error message.
        external: names that the checkpoint leaves out, because the model has them from elsewhere.

    Raises:
        CheckpointMismatchError: names, shapes or both differ; the first few are listed.
    """
    stored, own = checkpoint.state_dict(), model.state_dict()
    problems = [f"{name} is not in the model" for name in stored if name not in own]
    problems += [
        f"{name} is not in the checkpoint" for name in own if name not in stored and name not in external
    ]
    problems += [
        f"{name} is {tuple(stored[name].shape)} in the checkpoint and {tuple(own[name].shape)} in the model"
        for name in own
        if name in stored and stored[name].shape != own[name].shape
    ]
    if problems:
        rest = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointMismatchError(
            f"checkpoint {checkpoint.path} of preset {checkpoint.preset!r} does not fit the model of preset "
            f"{preset!r}: {'; '.join(problems[:4])}{rest}. "
            "Choose the preset that the checkpoint was made with, or train this one first"
        )
    model.load_state_dict(stored, strict=False)  # strict by what was checked above


class CheckpointDataset(AbstractVersionedDataset[dict[str, Any], Checkpoint]):
    """Saves ``{"state_dict": {name: tensor}, "meta": {…}}`` as a folder; loads a ``Checkpoint`` handle.

    Args:
        filepath: folder.
        version: which version to load and save.
        made_by: stage that makes it, named when it is missing.
        home: folder of the project's own trained models; while nothing is there, the checkpoint that ships with
            the package is loaded in its place. Of any other folder a missing checkpoint is an error.
        metadata: for kedro plugins.
    """

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        made_by: str = "finetune",
        home: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(PurePosixPath(filepath), version)
        self._made_by = made_by
        self._home = home is not None and Path(filepath).parts[-len(Path(home).parts) :] == Path(home).parts
        self.metadata = metadata

    @property
    def stands_in(self) -> bool:
        """Whether the checkpoint of the package is loaded where none is stored."""
        return self._home and not (self._version and self._version.load)

    def load(self) -> Checkpoint:
        if self.stands_in and not self._exists():
            return Checkpoint.newest(self._folder())
        return Checkpoint.open(self._folder(), made_by=self._made_by)

    def _folder(self) -> Path:
        """The version to load; without versions the folder itself, a checkpoint that a user copied or named."""
        try:
            return Path(self._get_load_path())
        except VersionNotFoundError:
            folder = Path(self._filepath)
            named = folder.name == REFERENCE_NAME and not folder.exists()  # kedro made the name a path
            return REFERENCE if named else folder

    def save(self, data: dict[str, Any]) -> None:
        if set(data) != {"state_dict", "meta"}:
            raise DatasetError(f"a checkpoint is made of state_dict and meta, got {sorted(data)}")

        def write(folder: Path) -> None:
            folder.mkdir()
            meta = {**data["meta"], "format_version": FORMAT_VERSION}
            (folder / _STATE).write_text(json.dumps(meta, indent=1, default=plain), encoding="utf-8")
            write_tensors(folder / _WEIGHTS, data["state_dict"])

        replace(Path(self._get_save_path()), write)

    def _exists(self) -> bool:
        folder = self._folder()
        return (folder / _WEIGHTS).is_file() and (folder / _STATE).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}


@dataclass(frozen=True)
class TrainingState:
    """Handle on the state of one training: at most one file, replaced as a whole.

    A training may leave its last state here when it ends, so that nothing is lost if its checkpoint cannot be
    written; ``clear`` is for when that is safe.
    """

    path: Path

    def save(self, fingerprint: str, tensors: Mapping[str, Tensor], state: Any) -> None:
        """Replace what is stored, by tensors and anything JSON can hold.

        Raises:
            DatasetError: it could not be written; the previous state is kept.
        """
        content = {"fingerprint": fingerprint, "state": state, "format_version": FORMAT_VERSION}
        replace(self.path, lambda beside: write_tensors(beside, tensors, content))

    def load(self, fingerprint: str) -> tuple[dict[str, Tensor], Any] | None:
        """What was saved last under this fingerprint; None if nothing, or something else, is stored.

        Raises:
            CorruptCheckpointError: the file is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            tensors, content = read_tensors(self.path)
        except CorruptCheckpointError as error:
            raise CorruptCheckpointError(f"{error}; delete it to train from the start") from error
        header = ((content or {}).get("fingerprint"), (content or {}).get("format_version"))
        if header != (fingerprint, FORMAT_VERSION):
            _LOG.warning(
                "%s is of other parameters or data: starting anew, replacing it at a save.", self.path
            )
            return None
        return tensors, content["state"]

    def clear(self) -> None:
        """Forget the state, if there is one."""
        self.path.unlink(missing_ok=True)


class TrainingStateDataset(AbstractDataset[None, TrainingState]):
    """Gives a training node the handle on its state. Only ever an input, so it always "exists".

    Args:
        filepath: folder for the state.
        metadata: for kedro plugins.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> TrainingState:
        return TrainingState(self._filepath / "training.safetensors")

    def save(self, data: None) -> None:
        raise DatasetError("a training state is only loaded; the node saves through the handle it gets")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
