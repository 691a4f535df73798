"""A trained model as one method among others: the one place where evaluation and model meet.

Invariant: it is given what every method is given, a ``Window`` and a map size, and answers with ``Maps``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.baselines import Size, resized
from vln_heatmap.nodes.evaluation_windows import Window
from vln_heatmap.nodes.metrics.heatmap import Maps
from vln_heatmap.params import ModelParams

Source = Literal["geometry", "semantics"]
SOURCES: tuple[Source, ...] = get_args(Source)


class ModelMethod:
    """A model as a method.

    Args:
        predictor: has ``run(inputs [K + 1, 3, S, S] uint8, features [K + 1, C, g, g], instruction)``, which
            gives a ``HeatmapOutput`` of one window with one current view, the last frame.
        groups: channels of the groups of encoder features that the model was trained with.
        origin: what identifies the checkpoint.
        odometry: whether ``run`` takes the frames' poses [K + 1, 4, 4] as well.
        training: what its training took, see ``training_costs``.
    """

    def __init__(
        self,
        predictor: Any,
        groups: tuple[int, ...],
        origin: Mapping[str, str],
        *,
        odometry: bool = False,
        training: Mapping[str, float] | None = None,
    ) -> None:
        self.predictor, self.groups, self.origin = predictor, groups, dict(origin)
        self.odometry, self.training = odometry, dict(training or {})

    def __call__(self, window: Window, size: Size) -> Maps:
        return self._answer(window, window.features, size)

    def _answer(self, window: Window, features: NDArray[np.floating], size: Size) -> Maps:
        poses = (window.poses,) if self.odometry else ()
        output = self.predictor.run(window.inputs, features, window.instruction, *poses)
        where = output.distribution_logits[0, 0].float()  # [K, h, w]
        shares = output.class_logits[0, 0].float().softmax(1).numpy(force=True)  # [K, 3, h, w]
        classes = np.stack([resized(shares[:, c], size) for c in range(3)]).argmax(0)
        return Maps(
            scores=resized(output.mask_logits[0, 0].float().sigmoid().numpy(force=True), size),
            distribution=resized(where.flatten(1).softmax(1).view(where.shape).numpy(force=True), size),
            validity=output.validity_logits[0, 0].float().sigmoid().numpy(force=True),
            classes=classes.astype(np.uint8),
        )

    def without(self, source: Source, window: Window, size: Size) -> Maps:
        """The answer of the same weights when one of the sources that are fused is silent.

        "geometry": every token of VGGT is the mean of the window's tokens of its kind, so that nothing is told of
        frame or place. "semantics": the 2-D encoder's features are the training frames' mean everywhere.
        """
        model = self.predictor.model
        if source == "semantics":
            mean = model.feature_mean.numpy(force=True).astype(window.features.dtype)
            return self._answer(window, mean[:, None, None] + np.zeros_like(window.features), size)
        with _levelled(model.vggt):
            return self._answer(window, window.features, size)


@contextmanager
def _levelled(vggt: Any) -> Iterator[None]:
    """For a while, all tokens of one kind that a geometry model gives for a window are alike."""

    def level(module: Any, inputs: Any, output: Any) -> Any:
        patches, cameras = output.patch_tokens, output.camera_tokens  # [B, T, h*w, 2C], [B, T, 2C]
        return replace(
            output,
            patch_tokens=patches.mean((1, 2), keepdim=True).expand_as(patches),
            camera_tokens=cameras.mean(1, keepdim=True).expand_as(cameras),
        )

    hook = vggt.register_forward_hook(level)
    try:
        yield
    finally:
        hook.remove()


def model_method(checkpoint: Any, model: ModelParams) -> ModelMethod:
    """The model of a ``Checkpoint`` as a method, with its parts where ``model.placement`` wants them."""
    from vln_heatmap.nodes.model.predictor import HeatmapPredictor

    predictor = HeatmapPredictor.from_checkpoint(checkpoint.path, placement=model.placement)
    origin = {"checkpoint": checkpoint.path.parent.name, "preset": checkpoint.preset}
    own = predictor.model
    training = checkpoint.meta.get("training", {})
    return ModelMethod(predictor, own.groups, origin, odometry=own.params.head.odometry, training=training)
