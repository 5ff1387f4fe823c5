"""How a plan is dealt: every value of an axis equally often, every share held in every stretch, all from one seed."""

from __future__ import annotations

import math
import random
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from habitus.traits.sentences import chunks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from habitus.traits.document import TraitsDocument

PARTS = 20
"""In which a share is dealt out."""


class Deck:
    """The choices of a plan, each a pure function of its name, the position and the seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._shuffled = lru_cache(maxsize=256)(self._shuffle)
        self._start = lru_cache(maxsize=4096)(self._drawn)

    def __reduce__(self) -> tuple[type[Deck], tuple[int]]:
        """Let it travel between machines, without what it remembers."""
        return Deck, (self.seed,)

    def pick(self, axis: str, index: int, values: Sequence[Any]) -> Any:
        """Deal an axis like a pack of cards: each value once before any comes again."""
        turn, place = divmod(index, len(values))
        return values[self._shuffled(axis, turn, len(values))[place]]

    def order(self, axis: str, turn: int, size: int) -> list[int]:
        """Return the order of one deal of an axis."""
        return self._shuffled(axis, turn, size)

    def share(self, name: str, position: int) -> float:
        """Return a number in [0, 1): one in each twentieth, in an order of the name's own, before any comes again.

        Shares so hold in every stretch, and what is shared out under two names does not go together.
        """
        turn, place = divmod(position, PARTS)
        return (self._shuffled(name, turn, PARTS)[place] + self._drawn(f"{name} {turn} {place}")) / PARTS

    def by_share(self, name: str, position: int, shares: Mapping[Any, float]) -> Any:
        """Return one of the keys, each in its share of the positions."""
        rows = sorted(shares.items())
        left = self.share(name, position) * sum(share for _, share in rows)
        for value, share in rows:
            left -= share
            if left < 0:
                return value
        return rows[-1][0]

    def rank(self, name: str, position: int, share: float) -> int:
        """Return how many of the positions before this one belong to a share, spread as evenly as they can be."""
        return math.floor(self._start(name) + position * share)

    def _drawn(self, name: str) -> float:
        return random.Random(f"{self.seed} {name}").random()

    def _shuffle(self, axis: str, turn: int, size: int) -> list[int]:
        order = list(range(size))
        random.Random(f"{self.seed} {axis} {turn}").shuffle(order)
        return order


class Passages:
    """What prompts are shown of a traits document."""

    def __init__(self, document: TraitsDocument, context_tokens: int) -> None:
        self.document = document
        shown = bool(document.context and context_tokens)
        fitting = chunks(document.context, context_tokens) if shown else ()
        self.context = fitting[0] if fitting else ""
        self.context_is_whole = len(fitting) <= 1 and bool(fitting) == bool(document.context)

    def has(self, trait: str, chunk: int) -> bool:
        """Tell whether the document has that passage."""
        chunks_of = {one.id: len(one.chunks) for one in self.document.traits}
        return chunk < chunks_of.get(trait, 0)

    def shown(self, trait: str, chunk: int) -> dict[str, Any]:
        """Return a trait, one chunk of it, and the trade-offs."""
        found = self.document.trait(trait)
        return {"trait": found, "chunk": found.chunks[chunk], "context": self.context}
