"""Which nouns name which things in a scope, and how they are said.

Invariant: a noun of a scope fits exactly the things that it lists: it is left out wherever a listener could
take it for one more or one fewer. A scope holds all that is seen, however small, but never the building itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vln_heatmap.simulation.relations import Thing

#: Last words of compounds that nobody says alone: a washing machine is not "the machine", a ceiling light not
#: "the light" beside a lamp, a toy car not "the car".
_NEVER_ALONE = frozenset(
    {
        *("machine", "stand", "rack", "board", "set", "unit", "light", "cooker", "holder"),
        *("control", "paper", "horse", "car", "train"),
    }
)
_PLURALS = (
    ("shelving", "shelving"),
    ("paper", "paper"),
    ("shelf", "shelves"),
    ("knife", "knives"),
    *((f"{vowel}y", f"{vowel}ys") for vowel in "aeou"),
    ("y", "ies"),
    *((ending, f"{ending}es") for ending in ("s", "x", "ch", "sh")),
)


def plural(noun: str) -> str:
    """English plural of a noun or of a compound's last word; "stairs" stay "stairs"."""
    if always_plural(noun):
        return noun
    for ending, replacement in _PLURALS:
        if noun.endswith(ending):
            return noun.removesuffix(ending) + replacement
    return f"{noun}s"


def always_plural(noun: str) -> bool:
    """Whether even one of them is "they": stairs, scissors."""
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is", "as"))


def head(category: str) -> str:
    """The word of a category that says what it is: "table" of "coffee table"."""
    return category.rsplit(maxsplit=1)[-1]


@dataclass(frozen=True)
class Group:
    """All things of a scope that a colour (or "") and a noun fit, in the order of their ids."""

    colour: str
    noun: str
    things: tuple[Thing, ...]

    def said(self, count: int) -> str:
        """ "red chair", or "red chairs" for more than one."""
        noun = plural(self.noun) if count > 1 else self.noun
        return f"{self.colour} {noun}" if self.colour else noun

    @cached_property
    def ids(self) -> frozenset[int]:
        return frozenset(thing.id for thing in self.things)


@dataclass(frozen=True)
class Scope:
    """The things of a scope, and the nouns that name them clearly.

    Args:
        things: all that is seen.
        min_pixels: a thing with fewer pixels is seen, but not clearly.
        moved: ids of things that are not where their boxes say; nothing is known of their place.
        doubtful: ids of things that may not belong to the scope; no noun that fits one of them is used.
    """

    things: tuple[Thing, ...]
    min_pixels: int
    moved: frozenset[int] = frozenset()
    doubtful: frozenset[int] = frozenset()
    clear: frozenset[int] = field(init=False)
    groups: tuple[Group, ...] = field(init=False)
    _fitting: Mapping[str, tuple[Thing, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        things = tuple(sorted(self.things, key=lambda thing: thing.id))
        clear = frozenset(thing.id for thing in things if thing.pixels >= self.min_pixels)
        object.__setattr__(self, "things", things)
        object.__setattr__(self, "clear", clear)
        every = tuple(_groups(things))
        object.__setattr__(self, "_fitting", {g.noun: g.things for g in every if not g.colour})
        object.__setattr__(self, "groups", tuple(g for g in every if not g.ids & self.doubtful))

    def named(self, noun: str) -> tuple[Thing, ...]:
        """All things that a noun of the scope fits, whatever their colour, doubtful ones among them."""
        return self._fitting[noun]

    def sayable(self, things: Sequence[Thing]) -> bool:
        """One thing that is seen well, or several of which two are."""
        return sum(thing.id in self.clear for thing in things) >= min(2, len(things)) > 0

    def similar(self, things: Sequence[Thing]) -> tuple[int, ...]:
        """Ids of what else there is of the same sort (the same last word of the category)."""
        heads, meant = {head(thing.instance.category) for thing in things}, {thing.id for thing in things}
        return tuple(t.id for t in self.things if head(t.instance.category) in heads and t.id not in meant)

    def single(self, *, colours: bool = True) -> list[tuple[str, Thing]]:
        """Every phrase ("the red chair") that fits one clearly seen thing alone, with that thing."""
        return [
            (f"the {group.said(1)}", group.things[0])
            for group in self.groups
            if len(group.things) == 1 and group.things[0].id in self.clear and (colours or not group.colour)
        ]

    @cached_property
    def names(self) -> dict[int, str]:
        """The clearest phrase for each thing that a noun, or a colour and a noun, tells apart, by id."""
        phrases = sorted(
            self.single(), key=lambda item: (_coloured(item[0], item[1]), -len(item[0]), item[0])
        )
        found: dict[int, str] = {}
        for text, thing in phrases:
            found.setdefault(thing.id, text)
        return found


def _coloured(text: str, thing: Thing) -> bool:
    colour = thing.instance.colour
    return bool(colour) and text.startswith(f"the {colour} ")


def _groups(things: Sequence[Thing]) -> Iterable[Group]:
    categories = {thing.instance.category for thing in things}
    nouns = sorted(categories | ({head(category) for category in categories} - _NEVER_ALONE))
    # "the chair" would be unfair to an armchair
    for noun in (n for n in nouns if not any(_half_fits(n, category) for category in categories)):
        fitting = tuple(thing for thing in things if _fits(noun, thing.instance.category))
        yield Group("", noun, fitting)
        # a thing without a colour name could be called any colour
        if all(thing.instance.colour for thing in fitting):
            for colour in sorted({thing.instance.colour for thing in fitting}):
                yield Group(colour, noun, tuple(t for t in fitting if t.instance.colour == colour))


def _fits(noun: str, category: str) -> bool:
    """Whether the noun names the category: "table" fits a coffee table."""
    return category == noun or category.endswith(f" {noun}")


def _half_fits(noun: str, category: str) -> bool:
    return category.endswith(noun) and not _fits(noun, category)
