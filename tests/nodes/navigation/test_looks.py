"""Stored looks: training reads them as if it had looked itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import dialogue_world as world
import numpy as np
import torch

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.datasets.frame_features import Arrays, FeatureStream
from vln_heatmap.nodes.model.assemble import model_from_checkpoint
from vln_heatmap.nodes.model.context.looking import look
from vln_heatmap.nodes.navigation.looks import _fingerprint, looked_at
from vln_heatmap.nodes.navigation.stages import JoinedFeatures
from vln_heatmap.params.navigation_model import ActionModelParams


def test_looks_stand_in_for_frames_and_features() -> None:
    checkpoint = Checkpoint.open("reference")
    eyes = model_from_checkpoint(checkpoint).eval()
    rng, side = np.random.default_rng(0), eyes.params.vggt.resolution
    given = {
        "frames": rng.integers(0, 256, (3, 3, side, side), np.uint8),
        "features": rng.standard_normal((3, len(eyes.feature_mean), 14, 14)).astype(np.float16),
        **{name: rng.random((3, 4)) for name in ("depth", "poses", "hfov", "instance", "moved_ids")},
    }

    def compute(wanted: Iterable[str]) -> Iterator[tuple[str, Arrays]]:
        yield from ((key, given) for key in wanted)

    stream = looked_at(FeatureStream("one", ("a",), compute), checkpoint)
    ((key, arrays),) = stream.compute(["a"])
    assert (key, stream.ids) == ("a", ("a",))
    assert arrays.keys() == {"looks", "depth", "poses", "hfov"}
    with torch.inference_mode():
        seen = look(eyes, torch.from_numpy(given["frames"]), torch.from_numpy(given["features"]))
    np.testing.assert_allclose(arrays["looks"], seen.numpy(), rtol=2e-3, atol=2e-3)
    assert looked_at(FeatureStream("two", ("a",), compute), checkpoint).fingerprint != stream.fingerprint


def test_only_eyes_make_looks_another_kind() -> None:
    model = world.toy_dialogue()
    before = _fingerprint(model)
    with torch.no_grad():
        model.enter_language.weight.add_(1)
        assert _fingerprint(model) == before
        model.fusion.get_parameter(next(name for name, _ in model.fusion.named_parameters())).add_(1)
        assert _fingerprint(model) != before


def test_a_batch_of_looks_has_the_losses_of_its_frames() -> None:
    model = world.toy_dialogue()
    batch = world.batch(model, [*world.expert_dialogues(), world.question()])
    there = batch["frame_mask"]
    with torch.no_grad():
        seen = look(model, batch["frames"][there], batch["features"][there])
        looks = seen.new_zeros(*there.shape, *seen.shape[1:])
        looks[there] = seen
        stored = {name: value for name, value in batch.items() if name not in ("frames", "features")}
        losses = model({**stored, "looks": looks}).losses
        torch.testing.assert_close(losses, model(batch).losses)


def test_looks_are_fixed_only_while_nobody_needs_the_frames() -> None:
    assert ActionModelParams().fixed_looks
    assert not ActionModelParams(tunable_parts=("fusion", "language")).fixed_looks
    assert not ActionModelParams(heatmaps=True).fixed_looks
    assert not ActionModelParams(context={"voxels": {"source": "vggt"}}).fixed_looks
    assert ActionModelParams(context={"voxels": {"source": "given"}}).fixed_looks


def test_joined_features_know_what_all_sources_have() -> None:
    class Source(dict[str, int]):
        fingerprint = "f"
        names = frozenset({"looks", "depth"})

    other, empty = Source(b=1), Source()
    other.names, empty.names = frozenset({"frames", "depth"}), frozenset()
    assert JoinedFeatures(Source(a=1), empty).names == {"looks", "depth"}
    assert JoinedFeatures(Source(a=1), other).names == {"depth"}
