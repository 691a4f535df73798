"""What a robot sees at one moment, from the files that a user names, and what else a request file says.

Invariant: images come in the order of the cameras, which is that of their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset, DatasetError
from numpy.typing import NDArray

from vln_heatmap.datasets.clip import read_image
from vln_heatmap.params.policy import RequestParams


@dataclass(frozen=True)
class Seen:
    """Images [H, W, 3] uint8 by their files, and the request of the file, if there was one."""

    images: dict[str, NDArray[np.uint8]]
    request: RequestParams


class ObservationDataset(AbstractDataset[None, Seen]):
    """Catalog entry of the moment that a policy is asked about.

    Args:
        images: files, or one text of them, relative to the working directory; they replace those of the request.
        request: JSON or YAML file of ``RequestParams``; its images are relative to it.
        metadata: for kedro plugins.
    """

    def __init__(
        self,
        *,
        images: str | Sequence[str] | None = None,
        request: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._images, self._request, self.metadata = images, request, metadata

    def load(self) -> Seen:
        request = read_request(Path(self._request).expanduser()) if self._request else RequestParams()
        if self._images:
            named = RequestParams.model_validate({"images": self._images})
            request = request.model_copy(update={"images": named.images})
        if not request.images:
            raise DatasetError(
                "name an image of each camera: kedro run --pipelines=act --params=act.images=PATH, or a file "
                "with all that is asked: --params=act.request=PATH"
            )
        return Seen({name: _image(Path(name).expanduser()) for name in request.images}, request)

    def save(self, data: None) -> None:
        raise DatasetError("an observation is only read")

    def _exists(self) -> bool:
        return bool(self._images or self._request)

    def _describe(self) -> dict[str, Any]:
        return {"images": self._images, "request": self._request}


def read_request(path: Path) -> RequestParams:
    """A request file, with the paths of its images made those of the working directory.

    Raises:
        DatasetError: it is not there, no JSON or YAML, or says what no request says.
    """
    import yaml

    if not path.is_file():
        raise DatasetError(f"there is no request file at {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML, too
        request = RequestParams.model_validate(content)
    except (yaml.YAMLError, ValueError) as error:
        raise DatasetError(f"{path} is no request: {error}") from error
    images = request.images and tuple(str(path.parent / Path(name).expanduser()) for name in request.images)
    return request.model_copy(update={"images": images})


def _image(file: Path) -> NDArray[np.uint8]:
    if not file.is_file():
        raise DatasetError(f"there is no image at {file}")
    return read_image(file)
