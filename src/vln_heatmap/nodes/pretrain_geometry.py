"""Pretraining of VGGT alone on depth and poses of the simulator, because a random one knows no geometry.

Invariant: what it makes is a VGGT checkpoint in the official layout, so that ``model.vggt.source`` takes it
like any other; the model's other parts are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.datasets.geometry_windows import GeometryWindows
from vln_heatmap.params import GeometryParams, ModelParams, VGGTParams


def pretrain_geometry(
    samples: pd.DataFrame,
    features: Any,
    model: ModelParams,
    params: GeometryParams,
    state: Any,
    tracker: Any,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Train VGGT from scratch at the size of the preset, with the heads that the loss needs.

    Args:
        samples: the sample index, of which the sequences and their splits matter.
        features: ``FrameFeatures``.
        model: of which the sizes of VGGT matter.
        params: windows, loss and training.
        state: ``TrainingState`` handle, from which an interrupted run goes on.
        tracker: ``Tracker`` for live metrics.

    Yields:
        Checkpoint {state_dict, meta} of VGGT and the history of the run.

    Raises:
        ValueError: a split without a sequence.
    """
    import torch

    from vln_heatmap.nodes.losses.geometry import GeometryLoss
    from vln_heatmap.nodes.model.vggt import VGGT
    from vln_heatmap.nodes.training.loop import train
    from vln_heatmap.nodes.training.state import digest

    loss = GeometryLoss(params.loss)
    fresh = {"name": "vggt", "source": None, "frozen": False, "dtype": "float32", "heads": loss.heads}
    sizes = VGGTParams.model_validate(model.vggt.model_dump() | fresh)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.train.seed)
        network = VGGT(sizes)
    windows = {
        split: GeometryWindows(_ids(samples, split), features, params, training=split == "train")
        for split in ("train", "val")
    }
    depends = params.model_dump(mode="json", exclude={"train"})
    result = train(
        network,
        lambda net, batch: loss(*_compared(net, batch, loss.heads)),
        windows["train"],
        params.train,
        state=state,
        tracker=tracker,
        validate=lambda net: geometry_errors(net, windows["val"], params),
        fingerprint=digest(
            {split: window.ids for split, window in windows.items()},
            *(features.fingerprint, sizes.model_dump(mode="json"), depends),
        ),
        name="pretrain_geometry",
    )
    metrics = {"step": result.best.step, **result.best.metrics} if result.best else {}
    meta = {"preset": model.preset, "stage": "pretrain_geometry", "vggt": sizes.model_dump(mode="json")}
    yield {"state_dict": result.state_dict, "meta": {**meta, "metrics": metrics}}, result.history
    state.clear()  # kedro comes back here when both outputs are stored


def _ids(samples: pd.DataFrame, split: str) -> list[str]:
    ids = sorted(samples.loc[samples["split"] == split, "sequence_id"].unique())
    if not ids:
        raise ValueError(f"no samples in the {split} split: collect more scenes, then run normalize again")
    return ids


def _compared(network: Any, batch: Mapping[str, Any], heads: Any) -> tuple[Any, dict[str, Any]]:
    """What the network says of a batch of windows, and the truth."""
    from vln_heatmap.nodes.losses.geometry import geometry_targets

    targets = geometry_targets(batch["depth"], batch["poses"], batch["fov"])
    return network(batch["frames"].float() / 255, heads=heads), targets


def geometry_errors(network: Any, windows: GeometryWindows, params: GeometryParams) -> dict[str, float]:
    """Errors over a fixed set of windows.

    Returns:
        ``depth_error`` (mean |d - t| / t), ``position_error`` (mean distance of camera centres, in mean scene
        distances) and ``turn_error`` (mean angle in degrees), of frames after the first, of the heads in use.
    """
    import torch
    from accelerate.utils import send_to_device

    device, found = next(network.parameters()).device, []
    count, batch_size = params.validation_windows, params.train.batch_size
    for start in range(0, count, batch_size):
        numbers = range(start, min(start + batch_size, count))
        samples = [windows.get(i % len(windows), np.random.default_rng(i)) for i in numbers]
        with torch.inference_mode():
            batch = send_to_device(windows.collate(samples), device)
            output, targets = _compared(network, batch, network.params.heads)
            found.append((len(samples), errors_of(output, targets)))
    return {name: sum(n * errors[name] for n, errors in found) / count for name in found[0][1]}


def errors_of(output: Any, targets: Mapping[str, Any]) -> dict[str, float]:
    """The errors of :func:`geometry_errors` in one batch."""
    import torch

    from vln_heatmap.nodes.model.vggt import decode_cameras
    from vln_heatmap.nodes.model.vggt.points import invert_rigid

    errors = {}
    if output.depth is not None:
        known, truth = targets["valid"], targets["depth"]
        errors["depth_error"] = ((output.depth - truth).abs() / truth)[known].mean().item()
    if output.pose_encodings is not None:
        encodings = (output.pose_encodings[-1], targets["encoding"])
        have, want = (invert_rigid(decode_cameras(e, (2, 2))[0][:, 1:]) for e in encodings)  # [B, T-1, 4, 4]
        errors["position_error"] = (have - want)[..., :3, 3].norm(dim=-1).mean().item()
        trace = (have[..., :3, :3] * want[..., :3, :3]).sum((-2, -1))
        angle = ((trace - 1) / 2).clamp(-1, 1).acos()
        errors["turn_error"] = torch.rad2deg(angle).mean().item()
    return errors
