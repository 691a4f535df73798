"""Relative motions in closed form, nothing of them without odometry, and a matcher that learns to use them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from vln_heatmap import HeatmapPredictor
from vln_heatmap.nodes.evaluate import ModelMethod
from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.heads import HeatmapOutput
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.matchers import TokenMatcher
from vln_heatmap.nodes.model.odometry import relative_motions
from vln_heatmap.nodes.training.stage import StageData, run_stage
from vln_heatmap.params import HeadParams, ModelParams

ON = ModelParams.model_validate(
    {**synthetic.PARAMS.model_dump(), "head": {**synthetic.PARAMS.head.model_dump(), "odometry": True}}
)
CURRENT, KEYFRAMES = torch.tensor([[3], [2]]), torch.tensor([[[0, 1, 2]], [[0, 1, 3]]])


def pose(position: list[float], turn: float) -> Tensor:
    """camera_to_world of a camera at a position, turned to its left about the world's up axis (degrees)."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("y", turn, degrees=True).as_matrix() @ np.diag([1, -1, -1])
    matrix[:3, 3] = position
    return torch.from_numpy(matrix)


def poses(*, seed: int = 0, frames: int = 4) -> Tensor:
    random = np.random.default_rng(seed)
    matrices = np.tile(np.eye(4), (2, frames, 1, 1))
    matrices[..., :3, :3] = Rotation.random(2 * frames, random).as_matrix().reshape(2, frames, 3, 3)
    matrices[..., :3, 3] = random.normal(size=(2, frames, 3))
    return torch.from_numpy(matrices)


def inputs() -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    return {
        "frames": torch.rand(2, 4, 3, 28, 28, generator=random),
        "features": torch.randn(2, 4, synthetic.CHANNELS, 4, 4, generator=random),
        "instructions": ["", synthetic.PHRASES[0]],
        "current": CURRENT,
        "keyframes": KEYFRAMES,
    }


def toy(params: ModelParams) -> HeatmapModel:
    return synthetic.toy_model(params)


# --- relative motions -------------------------------------------------------------------------------------


def test_a_step_back_and_a_turn_read_as_such_in_the_current_camera() -> None:
    """The robot stood 2 m behind (z) and 1 m to the right (x), looking 90 degrees further to the left."""
    world = torch.stack([pose([1, 1.2, 2], 90), pose([0, 1.2, 0], 0)])[None]
    motion = relative_motions(world, torch.tensor([[1]]), torch.tensor([[[0]]])).flatten()
    torch.testing.assert_close(motion[:3], torch.tensor([1.0, 0.0, -2.0]))
    # what is right of a camera that looks left is ahead of the current one; down stays down
    torch.testing.assert_close(motion[3:], torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0, 0.0]))


def test_a_keyframe_at_the_same_place_has_not_moved() -> None:
    same = torch.tensor([[1], [2]])
    motion = relative_motions(poses(), same, same[..., None])
    wanted = torch.tensor([0.0, 0, 0, 1, 0, 0, 0, 1, 0]).expand(2, 1, 1, 9)
    torch.testing.assert_close(motion, wanted)


def test_the_world_does_not_matter() -> None:
    world, other = poses(), poses(seed=1)[:1, :1]
    torch.testing.assert_close(
        relative_motions(other @ world, CURRENT, KEYFRAMES), relative_motions(world, CURRENT, KEYFRAMES)
    )


def test_motions_are_the_relative_transforms() -> None:
    world = poses()
    motions = relative_motions(world, CURRENT, KEYFRAMES)
    assert motions.dtype == torch.float32
    for b in range(2):
        for k, frame in enumerate(KEYFRAMES[b, 0].tolist()):
            relative = torch.linalg.inv(world[b, CURRENT[b, 0]]) @ world[b, frame]
            wanted = torch.cat([relative[:3, 3], relative[:3, 0], relative[:3, 1]]).float()
            torch.testing.assert_close(motions[b, 0, k], wanted)


def test_poses_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"poses must be \[2, T, 4, 4\], got \[1, 4, 4, 4\]"):
        relative_motions(poses()[:1], CURRENT, KEYFRAMES)


# --- along the road ---------------------------------------------------------------------------------------


def test_training_hands_the_poses_of_its_windows_to_the_model(tmp_path: Path) -> None:
    walks = synthetic.walks()
    samples, features = synthetic.sample_table(walks), synthetic.store_features(tmp_path, walks)
    model = toy(ON)
    before = model.state_dict()["matcher.odometry.0.weight"].clone()
    data = StageData("finetune", samples, features, synthetic.TOKENIZER, {})
    checkpoint = run_stage(model, data, ON, synthetic.STAGE, state=None, tracker=None).checkpoint
    after = checkpoint["state_dict"]["matcher.odometry.0.weight"]
    assert (after.cpu() - before).abs().max() > 1e-4
    assert checkpoint["meta"]["model"]["head"]["odometry"] is True


def test_prediction_needs_and_uses_the_poses_of_the_frames_it_chose() -> None:
    encoder = make_encoder(ON.encoder)
    made = make_model(ON, synthetic.TOKENIZER, groups=encoder.groups, extra=encoder.extra)
    predictor = HeatmapPredictor(made)
    frames = np.random.default_rng(0).integers(0, 255, (4, 24, 32, 3), np.uint8)
    given = poses()[0].numpy()
    with pytest.raises(ValueError, match="odometry is on"):
        predictor.predict(frames, keyframes=[0, 1])
    plain = predictor.predict(frames, keyframes=[0, 1], poses=given)
    for frame, counts in ((0, True), (2, False), (3, True)):  # 2 is neither keyframe nor current view
        moved = given.copy()
        moved[frame, :3, 3] += 1
        other = predictor.predict(frames, keyframes=[0, 1], poses=moved)
        assert bool(np.abs(other.heatmaps - plain.heatmaps).max() > 1e-6) is counts


@pytest.mark.parametrize("odometry", [True, False])
def test_evaluation_hands_a_window_s_poses_to_models_that_take_them(odometry: bool) -> None:
    asked: list[Any] = []

    def run(*arguments: Any) -> Any:
        asked.extend(arguments)
        maps = torch.zeros(1, 1, 2, 7, 7)
        classes = torch.zeros(1, 1, 2, 3, 7, 7)
        return HeatmapOutput(maps, maps, maps[..., 0, 0], classes, maps[:, :, 0])

    window: Any = SimpleNamespace(inputs=1, features=2, instruction="3", poses=4)
    ModelMethod(SimpleNamespace(run=run), (1,), {}, odometry=odometry)(window, (7, 7))
    assert asked == ([1, 2, "3", 4] if odometry else [1, 2, "3"])


# --- in the model -----------------------------------------------------------------------------------------


def test_without_odometry_poses_are_not_looked_at() -> None:
    model = toy(synthetic.PARAMS)
    assert not [name for name in model.state_dict() if "odometry" in name]
    with torch.no_grad():
        assert torch.equal(model(**inputs()).mask_logits, model(**inputs(), poses=poses()).mask_logits)


def test_with_odometry_every_keyframe_s_motion_counts_and_is_needed() -> None:
    model = toy(ON)
    with torch.no_grad():
        plain = model(**inputs(), poses=poses()).mask_logits
        moved = poses()
        moved[0, 1, :3, 3] += 1  # a keyframe of the first window
        apart = (model(**inputs(), poses=moved).mask_logits - plain).abs().amax((-2, -1))
        torch.testing.assert_close(
            model(**inputs(), poses=poses(seed=1)[:1, :1] @ poses()).mask_logits, plain
        )
    assert apart[0, 0, 1] > 1e-5
    assert apart[1].max() == 0
    with pytest.raises(ValueError, match=r"odometry is on: poses \[B, T, 4, 4\] are needed"):
        model(**inputs())


def test_a_matcher_learns_what_only_the_motion_tells() -> None:
    """Tokens are noise; was the keyframe's camera to the left of the current one? With odometry it is known."""
    scores = {odometry: learned(odometry) for odometry in (True, False)}
    assert scores[True] > 0.95
    assert scores[False] < 0.75


def learned(odometry: bool) -> float:
    """Share of right answers on new data after a short training."""
    torch.manual_seed(0)
    params = HeadParams(embed=4, width=16, blocks=1, odometry=odometry)
    matcher, out = TokenMatcher(6, 4, 1, params), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*matcher.parameters(), *out.parameters()], lr=0.02)

    def answer() -> tuple[Tensor, Tensor]:
        given = {"tokens": torch.randn(32, 2, 4, 6), "camera": torch.randn(32, 2, 4)}
        world = torch.eye(4).repeat(32, 2, 1, 1)
        world[..., :3, 3] = torch.randn(32, 2, 3)
        frozen = [nn.functional.normalize(torch.randn(32, 2, 4, 3), dim=-1)]
        roles = torch.ones(32, 1, dtype=torch.long), torch.zeros(32, 1, 1, dtype=torch.long)
        maps = matcher(**given, frozen=frozen, current=roles[0], keyframes=roles[1], poses=world)
        left = (world[:, 0, 0, 3] < world[:, 1, 0, 3]).float()
        return out(maps.mean((-2, -1)))[:, 0, 0, 0], left

    for _ in range(60):
        logits, left = answer()
        loss = nn.functional.binary_cross_entropy_with_logits(logits, left)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits, left = (torch.cat(parts) for parts in zip(*(answer() for _ in range(8)), strict=True))
    return ((logits > 0) == left.bool()).float().mean().item()
