"""The action dialogue: an agent sees what training saw, cached or not, in bounded memory."""

from collections.abc import Iterator
from typing import Any

import dialogue_world as world
import numpy as np
import pytest
import torch

from vln_heatmap.datasets.dialogue_samples import IGNORED, NO_FRAME, Dialogue, Turn
from vln_heatmap.nodes.model.action_dialogue import ActionDialogue
from vln_heatmap.nodes.model.context.learning import batch_rows
from vln_heatmap.nodes.model.context.rows import Row, batched
from vln_heatmap.nodes.model.context.senses import odometry
from vln_heatmap.nodes.model.context.state import DialogueState
from vln_heatmap.nodes.navigation.wording import DialogueWriter

KINDS = {
    "plain": {},
    "max": {"context": {"pool": "max", "fast": 1, "memory_grid": 1}},
    "heatmaps": {"heatmaps": True, "summary": {"keyframes": 2, "grid": 2}},
    "voxels": {"context": {"voxels": {"edge": 2.0}}},
    "deeper": {"extra_layers": 2},
    "depth": {"context": {"ranges": 3}},
    "odometry": {"context": {"odometry": True}},
    "senses": {"context": {"ranges": 3, "odometry": True}},
    "surroundings": {"context": {"surroundings": {"side": 4}, "odometry": True}},
    "value map": {"context": {"value_map": {"sectors": 4, "rings": [1.5]}, "odometry": True}},
    "compact": {
        "dialogue": world.DIALOGUE.model_copy(update={"chat": "compact"}),
        "context": {"fast": 4, "odometry": True},
        "fresh_language": True,
    },
}


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> ActionDialogue:
    return world.toy_dialogue(**KINDS[request.param])


def view(sequence: str, frame: int) -> tuple[Any, ...]:
    arrays = world.SEQUENCES[sequence].arrays
    return arrays["frames"][frame], arrays["features"][frame].astype(np.float32)


def felt(sequence: str, frame: int) -> dict[str, Any]:
    """What is sensed beside the picture."""
    arrays = world.SEQUENCES[sequence].arrays
    return {"depth": arrays["depth"][frame] / np.float32(1000), "track": arrays["poses"][: frame + 1]}


def walk(
    model: ActionDialogue, turns: int, *, cached: bool = True, sequence: str = "one"
) -> tuple[DialogueState, list[list[int]]]:
    """Let the model walk through made-up views; a STOP is followed by more."""
    state, said, frame = model.start(world.INSTRUCTION), [], 0
    for _ in range(turns):
        points = world.SEQUENCES[sequence].arrays["points"][frame % 40]
        model.observe(state, *view(sequence, frame % 40), **felt(sequence, frame % 40), points=points)
        said.append(answer(model, state, frame, cached=cached, sequence=sequence))
        frame += len(said[-1])
    return state, said


def answer(
    model: ActionDialogue, state: DialogueState, frame: int, *, cached: bool = True, sequence: str = "one"
) -> list[int]:
    """The whole reply to a view; what is sensed after each of its actions is told."""
    said = model.act(state, cached=cached)
    while state.open:
        model.sense(state, **felt(sequence, (frame + len(said)) % 40))
        said += model.act(state, cached=cached)
    return said


def test_cached_and_uncached_actions_are_the_same_over_several_windows(model: ActionDialogue) -> None:
    state, said = walk(model, 11)
    again, also = walk(model, 11, cached=False)
    assert said == also
    assert len({tuple(actions) for actions in said}) > 1  # it does not say the same thing whatever it sees
    assert state.row.ids == again.row.ids
    assert len(again.cache) == 0
    assert len(state.cache) == state.read


def test_further_layers_change_nothing_before_they_train() -> None:
    plain, deep = world.toy_dialogue(), world.toy_dialogue(extra_layers=2)
    given = world.batch(plain, world.expert_dialogues())
    assert len(deep.language.model.layers) == len(plain.language.model.layers) + 2
    with torch.no_grad():
        assert torch.equal(deep(given).losses, plain(given).losses)


@pytest.mark.parametrize("words", ["special", "arrows"])
def test_every_action_is_read_off_what_is_sensed_when_it_is_to_be_done(words: Any) -> None:
    """The token before each says what is sensed at its frame, and at no other."""
    params = world.DIALOGUE.model_copy(update={"words": words})
    model = world.toy_dialogue(context={"odometry": True}, dialogue=params)
    data = world.dataset(model, world.expert_dialogues())
    rows, _ = batch_rows(model, data.collate([data[i] for i in range(len(data))]))
    whole = model.feel(torch.from_numpy(odometry(world.SEQUENCES["one"].arrays["poses"])))  # at each frame
    for row, dialogue in zip(rows, data.dialogues, strict=True):
        frame = dialogue.frames[0]
        for word, place in _said_words(model, row):
            assert word == dialogue.actions[frame - dialogue.frames[0]]
            torch.testing.assert_close(row.senses[row.felt[place - 1]], whole[frame])
            frame += 1
        assert frame == dialogue.frames[0] + len(dialogue.actions)
        assert row.felt.count(-1) > len(row) / 3


def _said_words(model: ActionDialogue, row: Row) -> Iterator[tuple[int, int]]:
    """Each action that is learned and the place of its first token."""
    words, place = model.writer.actions.ids, 0
    while place < len(row):
        for action, word in enumerate(words):
            if row.labels[place] != IGNORED and tuple(row.ids[place : place + len(word)]) == word:
                yield action, place
                place += len(word) - 1
        place += 1


def test_new_layers_are_those_of_their_seed_and_words_stay() -> None:
    old, new, again = (world.toy_dialogue(sharp=1.0, fresh_language=fresh) for fresh in (False, True, True))
    name = "language.model.layers.0.mlp.down_proj.weight"
    weights = [dict(model.named_parameters())[name] for model in (old, new, again)]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])
    spread = new.language.model.config.initializer_range
    assert weights[1].std().item() == pytest.approx(spread, rel=0.1)
    assert torch.equal(old.language.model.embed_tokens.weight, new.language.model.embed_tokens.weight)
    with pytest.raises(ValueError, match="fresh_language is for"):
        world.toy_dialogue(fresh_language=True, tunable_parts=("context",))


def test_a_current_view_is_read_with_the_place_of_each_token() -> None:
    model = world.toy_dialogue()
    side, width = model.params.language.grid, model.language.width
    same = torch.ones(1, side, side, width).expand(2, -1, -1, -1)  # a view of one colour
    tokens = model.fast(same)
    assert len(torch.unique(tokens[0].flatten(0, 1), dim=0)) == tokens.shape[1] * tokens.shape[2]
    assert torch.equal(tokens[0], tokens[1])


def test_a_reply_is_whole_actions_and_nothing_after_stop(model: ActionDialogue) -> None:
    _, said = walk(model, 8)
    for actions in said:
        assert 1 <= len(actions) <= world.DIALOGUE.actions_per_turn
        assert set(actions) <= {0, 1, 2, 3}
        assert 0 not in actions[:-1]


def test_an_agent_that_does_what_the_expert_did_reads_what_training_read(model: ActionDialogue) -> None:
    """Token by token, place by place, and so its logits are those that training saw."""
    points = world.SEQUENCES["one"].arrays["points"]
    given = world.batch(model, world.expert_dialogues(), "points")
    rows, _ = batch_rows(model, given)
    state, done = model.start(world.INSTRUCTION), None
    for window, dialogue in enumerate(world.expert_dialogues()):
        for turn in dialogue.turns:
            model.observe(
                state,
                *view("one", turn.frame),
                **felt("one", turn.frame),
                points=points[turn.frame],
                done=done,
            )
            done = turn.actions
            if turn.frame % 4 == 0:  # sometimes it plans other things first
                model.act(state)
            for frame in range(turn.frame + 1, turn.frame + len(done)):
                model.sense(state, **felt("one", frame))
        lived, learned = state.row, rows[window]
        end = len(lived) if state.reply is None else state.reply_at
        assert lived.ids[:end] == learned.ids[:end]
        assert lived.block[:end] == learned.block[:end]
        assert lived.places[:end] == learned.places[:end]
        assert lived.felt[:end] == learned.felt[:end]
        count = max(lived.felt[:end]) + 1
        for sense, wanted in zip(lived.senses[:count], learned.senses[:count], strict=True):
            torch.testing.assert_close(sense, wanted, atol=1e-5, rtol=1e-4)
        mine, theirs = torch.cat(lived.tokens), torch.cat(learned.tokens)
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
        left = learned.ids[end:]
        assert left == [*model.writer.reply(dialogue.turns[-1].actions)]


def test_what_was_done_counts_and_not_what_was_planned(model: ActionDialogue) -> None:
    """After a detour the dialogue is that of an agent that had planned the detour."""
    states = []
    for plans in (True, False):
        state = model.start(world.INSTRUCTION)
        model.observe(state, *view("one", 0), **felt("one", 0), points=np.zeros((4, 4, 3)))
        if plans:
            planned = model.act(state)
        model.observe(
            state,
            *view("one", 1),
            **felt("one", 1),
            points=np.zeros((4, 4, 3)),
            done=[3 if planned[0] != 3 else 2],
        )
        states.append(state)
    assert states[0].row.ids == states[1].row.ids
    assert states[0].row.felt == states[1].row.felt
    assert model.act(states[0]) == model.act(states[1])


def test_dialogues_side_by_side_say_what_each_would_say_alone(model: ActionDialogue) -> None:
    """They are at different turns, so their caches differ in length."""
    alone = [
        walk(model, turns, sequence=name)[1][-1] for turns, name in ((1, "one"), (2, "two"), (5, "three"))
    ]
    states = []
    for turns, name in ((1, "one"), (2, "two"), (5, "three")):
        state, said = walk(model, turns - 1, sequence=name)
        frame = sum(map(len, said))
        points = world.SEQUENCES[name].arrays["points"][frame]
        states.append(model.observe(state, *view(name, frame), **felt(name, frame), points=points))
    first = model.act_all(states)
    assert [said[: len(own)] for said, own in zip(alone, first, strict=True)] == first


def test_the_length_of_a_dialogue_is_that_of_the_row_which_the_model_reads(model: ActionDialogue) -> None:
    """Also where ``max_tokens`` leaves out turns; pruning by voxel alone may make it shorter still."""
    turns = [Turn(7, question="and here?", answer="the door"), Turn(9, question="then?", answer="a wall")]
    remembering = Dialogue(tuple(turns), "look round", (2, 4, 5), "vqa", "one")
    dialogues = [*world.expert_dialogues(), world.question(), remembering]
    data = world.dataset(model, dialogues, "points")
    rows, pruned = batch_rows(model, data.collate([data[i] for i in range(len(data))]))
    lengths = [model.writer.length(model.writer.write(dialogue)) for dialogue in dialogues]
    left_out = round(
        pruned.item() * model.writer.views.remembered * sum(len(d.memory_frames) for d in dialogues)
    )
    assert sum(map(len, rows)) == sum(lengths) - left_out
    if not left_out:
        assert [len(row) for row in rows] == lengths
    room = max(lengths) - 1
    params = model.dialogue.model_copy(update={"max_tokens": room})
    shorter = DialogueWriter(model.language.tokenizer, params, views=model.writer.views)
    cut = shorter.write(dialogues[int(np.argmax(lengths))])
    assert room - max(lengths) // 2 < shorter.length(cut) <= room
    assert (cut.ids == shorter.image_id).sum() == len(cut.dialogue.frames)


def test_context_cache_and_memory_are_bounded() -> None:
    model = world.toy_dialogue(context={"history": 8})
    state, tokens = model.start(world.INSTRUCTION), []
    window, memory, history = world.DIALOGUE.turns, world.DIALOGUE.history, 8
    for turn in range(60):
        model.observe(state, *view("one", turn % 40), **felt("one", turn % 40), done=(1, 1) if turn else None)
        model.act(state)
        tokens.append(state.tokens)
        assert len(state.seen) <= history
        assert len(state.cache) <= state.tokens
        assert all(a.time < b.time for a, b in zip(state.seen, state.seen[1:], strict=False))
        assert state.seen[0].time == 0
        views = (window + memory + history) * state.seen[0].bytes
        width = 4 * model.language.width  # bytes of a token
        spans = sum(block >= 0 for block in state.row.block) * width
        assert state.bytes <= state.tokens * state.cache.bytes / len(state.cache) + spans + views
    assert max(tokens[30:]) <= max(tokens[:30]) + world.DIALOGUE.actions_per_turn  # replies differ in length


def test_the_present_is_never_memory() -> None:
    model = world.toy_dialogue()
    state = model.start(world.INSTRUCTION)
    for turn in range(12):
        model.observe(state, *view("one", turn), **felt("one", turn))
        assert all(seen.time < state.window[0].time for seen in state.memory)
        assert len(state.memory) <= world.DIALOGUE.history
        assert bool(state.memory) == (turn >= 3)
        model.act(state)


def test_views_of_a_turn_see_each_other_and_text_sees_what_is_before_it() -> None:
    """A change of one token is felt by the tokens that may see it, and by no other."""
    model = world.toy_dialogue()
    dialogue = world.expert_dialogues()[1]
    with torch.no_grad():
        (row,), _ = batch_rows(model, world.batch(model, [dialogue]))
        whole = batched([row], [0])
        before = model.hidden(whole)[0]
        first = int(whole.visual[0].nonzero()[-1])  # the last token of the last view
        last_view = (whole.block[0] == whole.block[0, first]).nonzero()[:, 0]
        assert whole.tokens is not None
        whole.tokens[-1] += 1.0
        felt = ((model.hidden(whole)[0] - before).abs().amax(-1) > 1e-6).nonzero()[:, 0]
    expected = sorted({*last_view.tolist(), *range(first, len(before))})
    assert felt.tolist() == expected


def test_replies_alone_carry_loss_and_text_answers_too() -> None:
    model = world.toy_dialogue()
    given = world.batch(model, [world.expert_dialogues()[0], world.question()])
    reading = model(given)
    words = model.language.tokenizer
    assert len(reading.losses) == int((given["labels"] != IGNORED).sum())
    acted = reading.targets[reading.rows == 0].tolist()
    assert model.writer.actions.decode(t for t in acted if t != model.writer.end_id) == list(
        world.expert_dialogues()[0].actions
    )
    assert words.decode(reading.targets[reading.rows == 1][:-1]) == "the door"


def test_rows_of_a_batch_do_not_feel_each_other() -> None:
    model = world.toy_dialogue()
    dialogues = [*world.expert_dialogues(), world.question()]
    together = model(world.batch(model, dialogues))
    for number, dialogue in enumerate(dialogues):
        alone = model(world.batch(model, [dialogue]))
        torch.testing.assert_close(
            together.losses[together.rows == number], alone.losses, atol=1e-4, rtol=1e-4
        )


def test_questions_alone_sense_nothing() -> None:
    """A batch without a walk, as evaluation makes them, and one with."""
    model = world.toy_dialogue(context={"ranges": 3, "surroundings": {"side": 4}})
    alone = model(world.batch(model, [world.question()]))
    beside = model(world.batch(model, [world.question(), world.expert_dialogues()[0]]))
    torch.testing.assert_close(beside.losses[beside.rows == 0], alone.losses, atol=1e-4, rtol=1e-4)


def test_text_alone_can_be_learned_too() -> None:
    model = world.toy_dialogue()
    spoken = Dialogue((Turn(NO_FRAME, question="where?", answer="here"),), "", (), "conversation", "one")
    assert torch.isfinite(model(world.batch(model, [spoken])).losses).all()


@pytest.mark.parametrize("words", ["special", "arrows"])
def test_actions_may_be_words_of_several_tokens(words: Any) -> None:
    params = world.DIALOGUE.model_copy(update={"words": words})
    model = world.toy_dialogue(dialogue=params)
    assert walk(model, 5)[1] == walk(model, 5, cached=False)[1]


def test_paligemma_speaks_too() -> None:
    model = world.toy_dialogue({"language": {"kind": "paligemma"}})
    assert walk(model, 7)[1] == walk(model, 7, cached=False)[1]


def test_acting_needs_a_view_and_observing_needs_an_action() -> None:
    model = world.toy_dialogue()
    state = model.start(world.INSTRUCTION)
    with pytest.raises(ValueError, match="observe before"):
        model.act(state)
    model.observe(state, *view("one", 0), **felt("one", 0))
    with pytest.raises(ValueError, match="act first"):
        model.observe(state, *view("one", 1), **felt("one", 1))
    model.act(state)
    with pytest.raises(ValueError, match="observe before"):
        model.act(state)


def test_a_reply_goes_on_when_it_is_told_what_is_sensed() -> None:
    """One view, and an action for each time that something is sensed; other senses, other actions."""
    model = world.toy_dialogue(context={"ranges": 3, "odometry": True})
    with torch.no_grad():
        model.context.senses.read[-1].weight.mul_(50)  # so that they are heard
    replies = set()
    for steps in (1, 5, 9, 13, 17, 21):
        state = model.start(world.INSTRUCTION)
        model.observe(state, *view("one", 0), **felt("one", 0))
        said = model.act(state)
        assert len(said) == 1
        if state.open:
            with pytest.raises(ValueError, match="sense before each act"):
                model.act(state)
            model.sense(state, **felt("one", steps))
            said += model.act(state)
        replies.add(tuple(said))
    assert len(replies) > 1


def test_a_view_after_actions_without_senses_is_refused() -> None:
    model = world.toy_dialogue(context={"odometry": True})
    state = model.start(world.INSTRUCTION)
    model.observe(state, *view("one", 0), **felt("one", 0))
    with pytest.raises(ValueError, match="2 were done, 1 told"):
        model.observe(state, *view("one", 2), **felt("one", 2), done=[1, 1])


@pytest.mark.parametrize(
    ("heatmap", "changes", "message"),
    [
        ({"language": {"kind": "none"}}, {}, "needs a language model"),
        ({}, {"context": {"memory_grid": 3}}, "at most language.grid"),
        ({}, {"context": {"voxels": {"source": "vggt"}}}, "head points"),
        ({"head": {"odometry": True}}, {"heatmaps": True}, "odometry"),
        ({}, {"tunable_parts": ("lora",)}, "no adapters"),
        ({"vggt": {"frozen": True}}, {"tunable_parts": ("vggt",)}, "vggt.frozen"),
    ],
)
def test_what_a_model_cannot_do_is_refused(heatmap: Any, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        world.toy_dialogue(heatmap, **changes)
