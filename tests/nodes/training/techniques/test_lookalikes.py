"""Look-alike keyframes: of another scene, the most similar ones, with targets that say that nothing is seen."""

from __future__ import annotations

import pytest
import synthetic
import torch
from technique_batches import KEYFRAMES, random_batch

from vln_heatmap.nodes.losses.weighting import window_mean
from vln_heatmap.nodes.training.stage import predict
from vln_heatmap.nodes.training.techniques.lookalikes import lookalikes, replaceable, with_lookalikes


def test_the_most_similar_frame_of_another_scene_is_found() -> None:
    """The current view of window 0 (frame 3) is planted in window 1 and, more exactly, in its own scene."""
    batch = random_batch()
    features, scene = batch["features"], torch.tensor([5, 9, 5])
    features[1, 2] = features[0, 3] + 0.01
    features[2, 1] = features[0, 3]
    window, frame, possible = lookalikes(features, batch["current"], scene)
    assert (window[0], frame[0]) == (1, 2)
    assert window[2] == 1  # the only other scene
    assert possible.all()
    assert not lookalikes(features, batch["current"], torch.ones(3))[2].any()


def test_only_keyframes_that_are_no_current_view_may_go() -> None:
    """Current views are the frames 3 and 0; frame 2 is a real keyframe of the second only."""
    assert replaceable(random_batch())[0].tolist() == [False, True, True, False]


def test_a_replaced_keyframe_is_outside_in_every_view_and_all_else_stays() -> None:
    torch.manual_seed(0)
    batch = random_batch()
    before = {name: value.clone() for name, value in batch.items() if torch.is_tensor(value)}
    changed = with_lookalikes(batch, 1.0)
    assert all(
        torch.equal(batch[name], value) for name, value in before.items()
    )  # the given one is not touched
    put = (changed["frames"] != batch["frames"]).flatten(2).any(2)  # [B, T]
    assert put.sum(1).tolist() == [1, 1, 1]
    assert torch.equal(put, (changed["features"] != batch["features"]).flatten(2).any(2))
    for b in range(len(put)):
        frame = int(put[b].nonzero())
        source = [
            (w, f)
            for w in range(3)
            for f in range(4)
            if torch.equal(batch["frames"][w, f], changed["frames"][b, frame])
        ]
        assert len(source) == 1
        assert source[0][0] != b
        hit = batch["keyframes"][b] == frame  # [N, K]
        assert hit.any()
        assert changed["mask"][b][hit].abs().max() == changed["distribution"][b][hit].abs().max() == 0
        assert not changed["valid"][b][hit].any()
        assert (changed["classes"][b][hit][:, 2] == 1).all()
        assert (changed["classes"][b][hit][:, :2] == 0).all()
        for name in ("mask", "distribution", "valid", "classes"):
            assert torch.equal(changed[name][b][~hit], batch[name][b][~hit])


def test_the_share_is_that_of_the_windows() -> None:
    torch.manual_seed(1)
    batch = random_batch(windows=8)
    batch["scene"] = torch.arange(8)
    replaced = sum(
        int((with_lookalikes(batch, 0.3)["frames"] != batch["frames"]).flatten(1).any(1).sum())
        for _ in range(100)
    )
    assert 200 < replaced < 280  # of 800, four standard deviations of 0.3
    assert torch.equal(with_lookalikes(batch, 0.0)["frames"], batch["frames"])


def test_a_batch_of_one_scene_stays_as_it_is() -> None:
    batch = random_batch() | {"scene": torch.zeros(3)}
    changed = with_lookalikes(batch, 1.0)
    assert all(torch.equal(changed[n], v) for n, v in batch.items() if torch.is_tensor(v))


def test_what_the_seed_says_happens_again() -> None:
    batch = random_batch()
    torch.manual_seed(3)
    first = with_lookalikes(batch, 0.5)["frames"]
    torch.manual_seed(3)
    assert torch.equal(first, with_lookalikes(batch, 0.5)["frames"])


def test_without_scenes_nobody_knows_what_is_another_place() -> None:
    batch = random_batch()
    del batch["scene"]
    with pytest.raises(KeyError, match="scene of each window"):
        with_lookalikes(batch, 1.0)


def test_the_model_takes_such_a_batch() -> None:
    torch.manual_seed(0)
    batch = with_lookalikes(random_batch(), 1.0)
    output = predict(synthetic.toy_model(), batch)
    assert output.mask_logits.shape[2] == KEYFRAMES
    assert window_mean(output.mask_logits, batch["keyframe_mask"][..., None, None]).isfinite()
