"""The whole policy at toy size: official folders, what it looks at, units, checkpoints, warm starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy_policy import TEXTS, TOKENIZER, sizes, statistics, toy_batch, toy_policy

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset, CheckpointMismatchError
from vln_heatmap.nodes.model.language.paligemma import gemma_config
from vln_heatmap.nodes.model.policy.assemble import (
    external_weights,
    make_policy,
    policy_from_checkpoint,
    policy_meta,
    warm_start,
)
from vln_heatmap.nodes.model.policy.normalisation import StatisticsMismatchError
from vln_heatmap.nodes.model.policy.policy_model import Observation, PolicyModel
from vln_heatmap.nodes.model.tokenizer import load_tokenizer
from vln_heatmap.nodes.policy.objective import observation_of, policy_loss, steps_of


def observation(**changes: Any) -> Observation:
    batch = toy_batch(**changes)
    return observation_of(batch, steps_of(batch))


def noise(count: int = 5, action: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, action, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_everything_that_it_is_given_changes_the_answer_and_nothing_else() -> None:
    policy, seen = toy_policy(), observation()
    chunk = policy(seen, noise())
    assert chunk.shape == (5, 3, 2)
    torch.testing.assert_close(policy(seen, noise()), chunk)
    changed = {
        "images": 255 - seen.images,
        "prompts": TEXTS[::-1] * 2 + TEXTS[:1],
        "state": seen.state + 1,
        "previous": seen.previous + 1,
        "known": ~seen.known,
    }
    for name, value in changed.items():
        assert not torch.allclose(policy(seen._replace(**{name: value}), noise()), chunk, atol=1e-6), name
    assert not torch.allclose(policy(seen, noise() + 1), chunk)
    blind = seen._replace(known=torch.zeros(5, dtype=torch.bool))
    torch.testing.assert_close(
        policy(blind._replace(previous=blind.previous + 9), noise()), policy(blind, noise())
    )


@torch.no_grad()
def test_rows_of_a_batch_do_not_see_each_other() -> None:
    """Prompts of different lengths stand in one batch with padding between them."""
    policy, seen = toy_policy(), observation()
    chunk = policy(seen, noise())
    alone = Observation(*(part[3:4] for part in seen))
    torch.testing.assert_close(policy(alone, noise()[3:4]), chunk[3:4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["flow_matching", "discretised", "regression"])
def test_loss_is_the_same_in_both_modes_and_padding_changes_nothing(name: str) -> None:
    policy, batch = toy_policy(head={"name": name}), toy_batch()
    losses = []
    for mode in (True, False):
        policy.train(mode)
        torch.manual_seed(5)
        losses.append(policy_loss(policy, batch))
    assert losses[0].total.item() == losses[1].total.item()
    torch.testing.assert_close(losses[0].samples.mean(), losses[0].total)
    padded = {**batch, "target": batch["target"].clone(), "images": batch["images"].clone()}
    padded["target"][1, -1], padded["images"][1, -1] = 1e6, 7
    torch.manual_seed(5)
    assert policy_loss(policy, padded).total.item() == losses[0].total.item()


def test_regression_loss_is_the_mean_square_in_normalised_units() -> None:
    policy, batch = toy_policy(head={"name": "regression"}), toy_batch()
    batch["target_mask"][0, 0, 1:] = False
    seen = observation_of(batch, steps_of(batch))
    scale = policy.action_scale
    with torch.no_grad():
        square = scale.normalised(policy(seen)) - scale.normalised(
            batch["target"].flatten(0, 1)[steps_of(batch)]
        )
    square = square.square().mean(-1)  # [5, 3]
    first = torch.cat([square[0, :1], square[1], square[2]]).mean()
    expected = torch.stack([first, square[3:].mean()])
    torch.testing.assert_close(policy_loss(policy, batch).samples.detach(), expected)


def test_answers_are_in_the_units_of_the_data_and_constants_are_kept() -> None:
    stats = statistics()
    for key in ("min", "max", "mean", "q01", "q99"):
        stats["action"][key][1] = 42.0
    stats["action"]["std"][1] = 0.0
    policy = toy_policy(stats)
    with torch.no_grad():
        chunk = policy(observation(), noise())
    assert (chunk[..., 1] == 42).all()
    torch.manual_seed(0)
    assert policy.errors(observation(), torch.full((5, 3, 2), 42.0))[..., 1].abs().max() == 0


def test_cameras_and_dimensions_are_checked() -> None:
    policy = toy_policy(statistics(cameras=2), resampler={"tokens": 1, "attention_heads": 2})
    assert policy(observation(cameras=2), noise()).shape == (5, 3, 2)
    assert policy.read(observation(cameras=2)).tokens.shape[1] == 1 + 2 + toy_prompt_length()
    with pytest.raises(ValueError, match="has 2 cameras, got images of 1"):
        policy(observation())
    with pytest.raises(ValueError, match="actions, 2, got 7"):
        toy_policy(head={"dimension": 7})
    assert toy_policy(head={"dimension": 2, "action_dim": 6}).params.head.action_dim == 6


def toy_prompt_length() -> int:
    """Text tokens of the longer prompt, with <bos> and the line end."""
    tokenizer = load_tokenizer(TOKENIZER, "paligemma")
    return max(len(tokenizer(text + "\n")["input_ids"]) for text in TEXTS) + 1


def save(folder: Path, policy: PolicyModel, stats: dict[str, Any]) -> Checkpoint:
    left_out = external_weights(policy)
    weights = {name: tensor for name, tensor in policy.state_dict().items() if name not in left_out}
    dataset = CheckpointDataset(filepath=str(folder))
    dataset.save({"state_dict": weights, "meta": policy_meta(policy, TOKENIZER, stats)})
    return dataset.load()


@torch.no_grad()
def test_a_checkpoint_alone_gives_the_same_answers(tmp_path: Path) -> None:
    policy, stats = toy_policy(seed=4), statistics()
    again = policy_from_checkpoint(save(tmp_path / "policy", policy, stats), statistics=stats)
    torch.testing.assert_close(again(observation(), noise()), policy(observation(), noise()))
    other = statistics()
    other["state"]["q01"][0] -= 1
    with pytest.raises(StatisticsMismatchError, match=r"state\.q01"):
        policy_from_checkpoint(Checkpoint.open(tmp_path / "policy"), statistics=other)


def test_a_warm_start_makes_a_new_head_for_a_new_robot_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = save(tmp_path / "policy", toy_policy(seed=4), statistics())
    same, other = toy_policy(seed=5), toy_policy(statistics(action=7), seed=5)
    assert warm_start(same, checkpoint) == ()
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    assert warm_start(other, checkpoint) == ("head", "enter_state")
    assert "head, enter_state made anew" in caplog.text
    stored = checkpoint.state_dict()
    for name, tensor in other.state_dict().items():
        anew = name.startswith(("head.", "enter_state."))
        assert torch.equal(tensor, before[name] if anew else stored[name]), name
    with pytest.raises(CheckpointMismatchError, match="cannot start this policy"):
        warm_start(toy_policy(vision={"dim": 32}), checkpoint)


def official_folder(folder: Path) -> Any:
    """A toy PaliGemma with its vision tower and tokenizer, as transformers writes it; returns it."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    tokenizer = load_tokenizer(TOKENIZER, "paligemma")
    params = sizes()
    config = PaliGemmaConfig(
        text_config=gemma_config(params.language, len(tokenizer), tokenizer.pad_token_id).to_dict(),
        vision_config={
            "model_type": "siglip_vision_model",
            "image_size": 28,
            "patch_size": 14,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "vision_use_head": False,
            "projection_dim": params.language.dim,
        },
        projection_dim=params.language.dim,
        hidden_size=params.language.dim,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    whole = PaliGemmaForConditionalGeneration(config).eval()
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return whole


@torch.no_grad()
def test_an_official_folder_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    whole = official_folder(tmp_path / "official")
    source = str(tmp_path / "official")
    params = sizes(vision={"source": source}, language={"source": source}, freeze=["vision", "language"])
    policy = make_policy(params, {}, statistics()).eval()
    seen = Observation(*(part[:1] for part in observation()))
    prompt = policy.language.build_prompt(seen.prompts, 1, policy.vision.grid)
    theirs = whole(
        input_ids=prompt.ids,
        attention_mask=prompt.attention.long(),
        token_type_ids=torch.zeros_like(prompt.ids),
        pixel_values=seen.images[:, 0].float() / 127.5 - 1,
        output_hidden_states=True,
    ).hidden_states[-1]
    torch.testing.assert_close(policy.read(seen).tokens[:, :-1], theirs, atol=1e-5, rtol=0)
    trained = {name.partition(".")[0] for name, p in policy.named_parameters() if p.requires_grad}
    assert trained == {"cameras", "enter_state", "head"}
    checkpoint = save(tmp_path / "policy", policy, statistics())
    assert not {name.partition(".")[0] for name in checkpoint.state_dict()} & {"vision", "language"}
    torch.testing.assert_close(policy_from_checkpoint(checkpoint)(seen, noise(1)), policy(seen, noise(1)))
    half = sizes(
        vision={"source": source, "dtype": "bfloat16"},
        language={"source": source, "dtype": "bfloat16"},
        freeze=["vision", "language"],
    )
    assert make_policy(half, {}, statistics())(seen, noise(1)).dtype == torch.float32
    with pytest.raises(ValueError, match="images of 28 pixels"):
        make_policy(sizes(vision={"source": source, "image_size": 56}), TOKENIZER, statistics())
    with pytest.raises(ValueError, match="add language to freeze"):
        sizes(language={"dtype": "bfloat16"})
