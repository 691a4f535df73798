"""Which token may come next in a reply of actions, and how what is done is felt.

Invariant: whatever a model prefers, what it says is one to ``limit`` whole actions, and nothing after STOP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vln_heatmap.nodes.model.context.rows import Row
from vln_heatmap.simulation.simulators.base import STOP


def say_actions(
    row: Row,
    words: Sequence[Sequence[int]],
    senses: Sequence[Tensor] | Tensor,
    labels: Sequence[Sequence[int]] | None = None,
) -> None:
    """Add actions to a row.

    Args:
        row: in which a reply is open.
        words: tokens of each action.
        senses: what is felt after each [D], from the last token of its word on; empty = nothing.
        labels: of the words' tokens; None = no loss.
    """
    for number, word in enumerate(words):
        own = None if labels is None else labels[number]
        row.say(word[:-1], None if own is None else own[:-1])
        if len(senses):
            row.feel(senses[number])
        row.say(word[-1:], None if own is None else own[-1:])


@dataclass
class Speaker:
    """A reply of actions that is being said.

    Attributes:
        words: token ids of each action, by its number; none begins with another.
        end: token that ends a reply.
        limit: actions of a reply, at most.
        said: actions so far; begun: tokens of the one that is not whole yet.
        barred: actions that must not be the next one; STOP cannot be.
    """

    words: Sequence[tuple[int, ...]]
    end: int
    limit: int
    said: list[int] = field(default_factory=list)
    begun: tuple[int, ...] = ()
    open: bool = True
    barred: frozenset[int] = frozenset()

    def allowed(self) -> list[int]:
        """Tokens that may come next."""
        place = len(self.begun)
        words = [
            word for action, word in enumerate(self.words) if action == STOP or action not in self.barred
        ]
        following = {word[place] for word in words if word[:place] == self.begun}
        ends = {self.end} if self.said and not self.begun else set()
        return sorted(following | ends)

    def choose(self, logits: Tensor) -> int | None:
        """Say the most probable token that is allowed; None if it ends the reply, which then is closed.

        Args:
            logits: of all tokens [vocabulary].
        """
        allowed = self.allowed()
        token = allowed[int(logits[allowed].argmax())]
        if token == self.end:
            self.open = False
            return None
        self.begun += (token,)
        if self.begun in self.words:
            action = self.words.index(self.begun)
            self.said, self.begun, self.barred = [*self.said, action], (), frozenset()
            self.open = action != STOP and len(self.said) < self.limit
        return token
