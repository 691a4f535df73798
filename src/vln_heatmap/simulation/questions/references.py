"""How one thing is described by others: clauses, what they pick, and chains of them.

Invariant: a clause picks from a group all that it is true of; it picks nothing if it is doubtful for a single
one, or if an anchor could itself be meant. So a text made of a group and a clause fits exactly what it picks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vln_heatmap.simulation.nouns import Group, Scope, always_plural
from vln_heatmap.simulation.questions.tape import Question, Tape
from vln_heatmap.simulation.relations import UNSURE, YES, Relation, Thing, in_room

_FIND = ("find {}", "show me {}", "look for {}", "point out {}")
_CHAINS = ("find {}, then find {}", "look for {}, then show me {}", "first find {}, then point out {}")
#: A "what is …?" that means more things than that is no question but a list.
_MOST_WHAT = 4
_CHAINED = 4  # described anchors that are tried


@dataclass(frozen=True)
class Anchor:
    """One thing that a phrase means, and the steps that find it."""

    text: str
    thing: Thing
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Clause:
    """What is said of a thing: "left of {}", with the anchors that fill it, and what it picks of a group."""

    words: str
    anchors: tuple[Anchor, ...]
    pick: Callable[[Sequence[Thing]], list[Thing]]
    what: bool = False  # whether "what is …?" can be asked with it

    @property
    def text(self) -> str:
        return self.words.format(*(anchor.text for anchor in self.anchors))

    @property
    def pronoun(self) -> str:
        """The same after its first anchor was found: "left of it"."""
        if not self.anchors:
            return self.words
        first, *others = self.anchors
        it = "them" if always_plural(first.thing.instance.category) else "it"
        return self.words.format(it, *(anchor.text for anchor in others))


#: Makes the clauses of one sort in a scope, around given anchors.
Clauses = Callable[[Scope, Sequence[Anchor]], Iterable[Clause]]


def anchors(scope: Scope) -> list[Anchor]:
    """The things of a scope that a noun, or a colour and a noun, tells apart."""
    things = {thing.id: thing for thing in scope.things}
    return [Anchor(text, things[i], (f"find {text}",)) for i, text in scope.names.items()]


def relation_clauses(relations: Mapping[str, Relation], *, world: bool, what: bool = True) -> Clauses:
    """Clauses "<words> {}" for relations of the view, or of the world, in which moved things have no place."""

    def clauses(scope: Scope, around: Sequence[Anchor]) -> Iterator[Clause]:
        lost = scope.moved if world else frozenset()
        for anchor in (a for a in around if a.thing.id not in lost):
            for words, relation in relations.items():

                def verdict(thing: Thing, relation: Relation = relation, anchor: Anchor = anchor) -> int:
                    return UNSURE if thing.id in lost else relation(thing, anchor.thing)

                yield Clause(f"{words} {{}}", (anchor,), picking(verdict), what)

    return clauses


def picking(verdict: Callable[[Thing], int]) -> Callable[[Sequence[Thing]], list[Thing]]:
    """All things with the verdict YES; none if one is UNSURE."""

    def pick(things: Sequence[Thing]) -> list[Thing]:
        verdicts = [verdict(thing) for thing in things]
        if UNSURE in verdicts:
            return []
        return [thing for thing, sure in zip(things, verdicts, strict=True) if sure == YES]

    return pick


def picked(scope: Scope, group: Group, clause: Clause) -> list[Thing]:
    """What "the <group> <clause>" means; nothing if it cannot be said."""
    if group.ids & {anchor.thing.id for anchor in clause.anchors}:
        return []
    meant = clause.pick(group.things)
    return meant if scope.sayable(meant) else []


def telling(scope: Scope) -> list[Group]:
    """The groups of a scope without those whose colour tells nothing apart."""
    return [g for g in scope.groups if not g.colour or len(g.things) < len(scope.named(g.noun))]


def described(scope: Scope, clauses: Iterable[Clause]) -> list[Anchor]:
    """Things that only a clause tells apart: "the table next to the bed" where there are several tables."""
    alone = {anchor.thing.id for anchor in anchors(scope)}
    found: dict[int, Anchor] = {}
    for clause in clauses:
        for group in telling(scope):
            meant = picked(scope, group, clause)
            if len(meant) == 1 < len(group.things) and meant[0].id not in alone:
                steps = (*_steps(clause), f"find the {group.said(1)} {clause.pronoun}")
                found.setdefault(meant[0].id, Anchor(f"the {group.said(1)} {clause.text}", meant[0], steps))
    return list(found.values())


def clause_questions(
    tape: Tape,
    scope: Scope,
    kind: Clauses,
    chain: Clauses,
    rng: np.random.Generator,
    *,
    name: str,
    frame: int | None = None,
) -> list[Question]:
    """Questions of levels 2 and 3 with the clauses of one kind.

    Args:
        scope: of the view ``frame``, or of the sequence.
        kind: the clauses that the question is about.
        chain: the clauses that may describe an anchor, for level 3.
        name: of the question type.
    """
    plain = list(kind(scope, anchors(scope)))
    direct = [
        *_group_questions(tape, scope, plain, rng, name=name, frame=frame),
        *_what_questions(tape, scope, plain, name=name, frame=frame),
    ]
    links = described(scope, chain(scope, anchors(scope)))
    links = [links[k] for k in rng.permutation(len(links))[:_CHAINED]]
    alone = anchors(scope)
    chained = [c for link in links for c in kind(scope, [link, *alone]) if c.anchors and c.anchors[0] is link]
    return [*direct, *_group_questions(tape, scope, chained, rng, name=name, frame=frame)]


def room_questions(
    tape: Tape, kind: Clauses, rng: np.random.Generator, *, room: int, where: str, name: str, entered: str
) -> list[Question]:
    """Questions of level 3 about what is in one room, where more things in the house would fit.

    Args:
        room: index of the room.
        where: begins the text: "in the room where you started".
        entered: the step that finds the room.
    """
    scope = room_scope(tape.scope, room)
    found = _group_questions(tape, scope, list(kind(scope, anchors(scope))), rng, name=name, frame=None)
    questions = [_placed(tape, scope, question, where, entered) for question in found]
    return [question for question in questions if question.distractors] or questions


def _placed(tape: Tape, scope: Scope, question: Question, where: str, entered: str) -> Question:
    """A question about a room's things as one about the whole house."""
    things = [thing for thing in scope.things if thing.id in question.instances]
    return replace(
        question,
        text=f"{where}, {question.text}",
        level=3,
        answer=tape.call(things),
        distractors=tape.scope.similar(things),
        steps=(entered, *question.steps),
    )


def room_scope(scope: Scope, room: int) -> Scope:
    """What of a sequence's things is in one room; nothing is said of nouns that fit a thing of unknown room."""
    doubtful = frozenset(t.id for t in scope.things if in_room(t, room) == UNSURE or t.id in scope.moved)
    things = tuple(t for t in scope.things if t.instance.room == room or t.id in doubtful)
    return Scope(things, scope.min_pixels, scope.moved | doubtful, doubtful)


def room_clauses(rooms: Mapping[int, str]) -> Clauses:
    """ "in the kitchen" and "outside the kitchen", for rooms that are the only ones of their name."""

    def clauses(scope: Scope, _: Sequence[Anchor]) -> Iterator[Clause]:
        for index, name in rooms.items():
            for words, inside in (("in", True), ("outside", False)):

                def verdict(thing: Thing, index: int = index, inside: bool = inside) -> int:
                    if thing.id in scope.moved:
                        return UNSURE
                    return in_room(thing, index) * (1 if inside else -1)

                yield Clause(f"{words} the {name}", (), picking(verdict))

    return clauses


def _group_questions(
    tape: Tape,
    scope: Scope,
    clauses: Sequence[Clause],
    rng: np.random.Generator,
    *,
    name: str,
    frame: int | None,
) -> list[Question]:
    """ "the <group> <clause>": those that only the clause tells apart, if there are any, else all."""
    found: list[tuple[bool, Question]] = []
    for clause in clauses:
        for group in telling(scope):
            meant = picked(scope, group, clause)
            if not meant:
                continue
            last = f"the {group.said(len(meant))} {clause.pronoun}"
            chained = bool(clause.anchors) and len(clause.anchors[0].steps) > 1
            text = str(rng.choice(_CHAINS if chained else _FIND))
            if chained:
                text = text.format(clause.anchors[0].text, last)
            else:
                text = text.format(f"the {group.said(len(meant))} {clause.text}")
            question = Question(
                name,
                text,
                tuple(thing.id for thing in meant),
                tape.call(meant),
                3 if chained else 2,
                frame=frame,
                distractors=scope.similar(meant),
                steps=(*_steps(clause), f"find {last}"),
            )
            found.append((len(meant) < len(group.things), question))
    needed = [question for told_apart, question in found if told_apart]
    return needed or [question for _, question in found]


def _what_questions(
    tape: Tape, scope: Scope, clauses: Sequence[Clause], *, name: str, frame: int | None
) -> list[Question]:
    """ "what is on the table?": everything in the scope that the clause is true of."""
    found = []
    for clause in (clause for clause in clauses if clause.what):
        own = {anchor.thing.id for anchor in clause.anchors}
        meant = clause.pick([thing for thing in scope.things if thing.id not in own])
        if 0 < len(meant) <= _MOST_WHAT and all(thing.id in scope.clear for thing in meant):
            found.append(
                Question(
                    name,
                    f"what is {clause.text}?",
                    tuple(thing.id for thing in meant),
                    tape.call(meant),
                    2,
                    frame=frame,
                    distractors=scope.similar(meant),
                    steps=(*_steps(clause), f"find what is {clause.pronoun}"),
                )
            )
    return found


def _steps(clause: Clause) -> tuple[str, ...]:
    return tuple(step for anchor in clause.anchors for step in anchor.steps)
