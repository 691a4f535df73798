"""What an action of the dialogue costs early and late in an episode, and what pruning by voxel saves.

``pytest benchmarks/test_navigation_speed.py -s`` prints the numbers. The model is the default preset's with
random weights, kept from stopping: time does not depend on what was learned. Times are the processor's, so that
other programs beside this one do not count.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from kedro.config import OmegaConfigLoader

from vln_heatmap.nodes.model.action_dialogue import ActionDialogue
from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.context.state import DialogueState
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.tokenizer import train_tokenizer
from vln_heatmap.params import ModelParams
from vln_heatmap.params.navigation_data import DialogueParams
from vln_heatmap.params.navigation_model import ActionModelParams

ROOT = Path(__file__).parents[1]
INSTRUCTION = "leave the bedroom, go past the red sofa and stop at the kitchen table"
ACTIONS, TURNS = 4, 8  # of a turn, of a window
EARLY, LATE = 20, 200  # steps
GRID = 7  # memory tokens along a side of a view, where they are pruned


def make(**changes: Any) -> ActionDialogue:
    """The navigation stage's model at its default size, which always says whole replies."""
    conf = OmegaConfigLoader(str(ROOT / "conf"), base_env="base", default_run_env="base")
    own = conf["parameters"]["navigation_training"]
    params = ModelParams.model_validate(conf["parameters"]["model"])
    encoder = make_encoder(params.encoder)
    tokenizer = train_tokenizer([INSTRUCTION, "the door to the left"], 320)
    heatmap_model = make_model(params, tokenizer, groups=encoder.groups, extra=encoder.extra)
    action = ActionModelParams.model_validate(own["model"] | changes)
    model = ActionDialogue(heatmap_model, action, DialogueParams(**own["data"]["dialogue"])).eval()
    ends = torch.tensor([model.writer.end_id, *model.writer.actions.ids[0]])
    plain = model.language.logits
    model.language.logits = lambda hidden: plain(hidden).index_fill(-1, ends, -1e9)  # type: ignore[method-assign]
    return model


@pytest.fixture(scope="module")
def model() -> ActionDialogue:
    return make()


def views(model: ActionDialogue, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random frames and features."""
    rng, side, grid = np.random.default_rng(0), model.params.vggt.resolution, model.params.encoder.grid
    frames = rng.integers(0, 256, (count, 3, side, side), np.uint8)
    channels = len(model.feature_mean)
    return frames, rng.standard_normal((count, channels, grid, grid), np.float32)


class Episode(NamedTuple):
    """Of each turn: seconds an action, bytes held, tokens of the context, the reply."""

    seconds: list[float]
    held: list[int]
    tokens: list[int]
    said: list[list[int]]


def episode(model: ActionDialogue, turns: int, *, cached: bool = True) -> Episode:
    """An episode without a STOP."""
    frames, features = views(model, 16)
    state: DialogueState = model.start(INSTRUCTION)
    run = Episode([], [], [], [])
    depth = np.random.default_rng(1).uniform(0.3, 5, (128, 128)).astype(np.float32)
    poses = np.tile(np.eye(4), (ACTIONS * turns, 1, 1))  # straight on
    poses[:, 2, 3] = 0.25 * np.arange(ACTIONS * turns)
    for turn in range(turns):
        start = time.process_time()
        step = ACTIONS * turn + 1
        model.observe(state, frames[turn % 16], features[turn % 16], depth=depth, track=poses[:step])
        said = model.act(state, cached=cached)
        while state.open:
            model.sense(state, depth=depth, track=poses[: step + len(said)])
            said += model.act(state, cached=cached)
        run.seconds.append((time.process_time() - start) / len(said))
        run.held.append(state.bytes)
        run.tokens.append(state.tokens)
        run.said.append(said)
    return run


def around(values: list[float], step: int) -> float:
    """Mean over the window of turns that ``step`` lies in: its turns differ, windows do not."""
    first = step // ACTIONS // TURNS * TURNS
    return float(np.mean(values[first : first + TURNS]))


def test_an_action_after_200_steps_costs_at_most_a_fifth_more_than_after_20(
    benchmark, model: ActionDialogue
) -> None:
    """Medians of several episodes; the first window has no memory to read, all others have."""
    turns = LATE // ACTIONS + TURNS
    episode(model, TURNS)
    runs = benchmark.pedantic(lambda: [episode(model, turns) for _ in range(5)], rounds=1, iterations=1)
    early, late = (float(np.median([around(run.seconds, step) for run in runs])) for step in (EARLY, LATE))
    held, tokens = runs[0].held, runs[0].tokens
    plain = float(np.median([around(episode(model, TURNS, cached=False).seconds, EARLY) for _ in range(2)]))
    benchmark.extra_info |= {"ratio": late / early, "uncached": plain / early, "tokens": max(tokens)}
    print(f"\nan action at step {EARLY}: {1000 * early:.1f} ms, at {LATE}: {late / early:.2f} of it")
    print(f"without a cache: {plain / early:.2f} of it; the context has at most {max(tokens)} tokens")
    print(f"held at step {LATE}: {held[-1] / 2**20:.2f} MiB, most so far {max(held) / 2**20:.2f} MiB")
    assert late <= 1.2 * early
    assert max(tokens[LATE // ACTIONS :]) <= max(tokens[: LATE // ACTIONS])


def test_what_an_agent_holds_stops_growing(benchmark, model: ActionDialogue) -> None:
    """Bytes of cache, tokens and remembered views: the second 400 actions hold no more than the first."""
    run = benchmark.pedantic(lambda: episode(model, 200), rounds=1, iterations=1)
    first, second = max(run.held[:100]), max(run.held[100:])
    benchmark.extra_info |= {"bytes": second}
    print(f"\nheld: {first / 2**20:.2f} MiB in the first 400 actions, {second / 2**20:.2f} in the next")
    assert second <= first


def test_actions_are_the_same_with_and_without_a_cache(benchmark) -> None:
    """Through seven windows, by a model whose answers depend on what it sees."""
    model = make()
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("language.model.layers") and weight.dim() > 1:
                weight.mul_(8)
        spoken = [token for word in model.writer.actions.ids for token in word]
        model.language.model.embed_tokens.weight[spoken] = torch.randn(len(spoken), model.language.width) / 4
    turns = LATE // ACTIONS + TURNS
    cached, plain = benchmark.pedantic(
        lambda: [episode(model, turns, cached=kept) for kept in (True, False)], rounds=1, iterations=1
    )
    different = len({tuple(said) for said in cached.said})
    print(f"\n{turns} replies, {different} different ones, all the same without a cache")
    assert different > turns // 4
    assert cached.said == plain.said
    assert cached.tokens == plain.tokens


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_pruning_by_voxel_saves_the_tokens_of_what_was_seen_again(benchmark, share: float) -> None:
    """Views of which a share shows the same places each time: memory tokens and time of a full window.

    Of n tokens that may show one place with probability p, the latest stays: p - (1 - (1 - p)^n) / n are saved.
    """
    whole, pruned = (make(context={"memory_grid": GRID, "voxels": v}) for v in (None, {"edge": 0.1}))
    (all_time, _), (time_left, (left_out, tokens)) = benchmark.pedantic(
        lambda: (second_window(whole, share), second_window(pruned, share)), rounds=1, iterations=1
    )
    saved, ratio = left_out / tokens, time_left / all_time
    benchmark.extra_info |= {"saved": saved, "ratio": ratio}
    print(f"\n{share:.0%} seen again: {saved:.0%} of {tokens} memory tokens saved, time {ratio:.2f}")
    assert abs(saved - (share - (1 - (1 - share) ** TURNS) / TURNS)) < 0.05


def second_window(model: ActionDialogue, share: float) -> tuple[float, tuple[int, int]]:
    """Seconds of the first window with memory, and how many tokens it leaves out of how many."""
    frames, features = views(model, 2 * TURNS)
    rng, shape, seconds = np.random.default_rng(1), (GRID, GRID, 3), []
    same, state = rng.uniform(-5, 5, shape), model.start(INSTRUCTION)
    for turn in range(2 * TURNS):
        own = np.where(rng.random((GRID, GRID, 1)) < share, same, rng.uniform(-500, 500, shape))
        start = time.process_time()
        model.observe(state, frames[turn], features[turn], points=own)
        model.act(state)
        seconds.append(time.process_time() - start)
    return sum(seconds[TURNS:]), state.pruned
