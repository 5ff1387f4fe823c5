"""The plan: which trait, field, occasion and voice each record gets, balanced before anything is written.

A seat is a pure function of its index, the seed, the traits document and the axes, so a plan needs no file: the
thousandth seat is the same whether or not the others were ever taken.
"""

from __future__ import annotations

import math
import random
import re
from calendar import day_name, month_name
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from habitus.records import Scenario
from habitus.traits.sentences import chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from habitus.config import ChatSettings
    from habitus.traits.document import TraitsDocument

BLOCK = 5
"""Seats planned in one call: seen together, they come out different from each other."""
USUAL_SHARE = 0.9
"""Share of scenarios that become unique messages, and of those that become kept chats, as long as nothing is known."""
_CALENDAR = frozenset([*day_name, *month_name])
GOLDEN = 0.6180339887498949
MOST_DOMAIN, MOST_OPENING, MOST_NAME = 0.05, 0.03, 0.03
"""Shares above which a corpus has collapsed onto a field, an opening or a name."""
ENOUGH_TO_TELL = 100
"""Records from which such a share says something."""


def built_in_axes() -> dict[str, list[str]]:
    """Return the axes that habitus ships."""
    return yaml.safe_load((Path(__file__).parent / "seats.yaml").read_text(encoding="utf-8"))


class Seats:
    """The endless row of seats of one study."""

    def __init__(self, document: TraitsDocument, settings: ChatSettings, *, seed: int) -> None:
        own = {axis: values for axis, values in settings.axes.model_dump().items() if values is not None}
        self.axes: Mapping[str, Sequence[str]] = built_in_axes() | own
        self.document, self.settings, self.seed = document, settings, seed
        shown = bool(document.context and settings.context_tokens)
        fitting = chunks(document.context, settings.context_tokens) if shown else ()
        self.context = fitting[0] if fitting else ""
        self.context_is_whole = len(fitting) <= 1 and bool(fitting) == bool(document.context)
        self._shuffled = lru_cache(maxsize=256)(self._shuffle)

    @property
    def worn_names(self) -> Sequence[str]:
        """Names that language models overuse; nobody in a scenario may bear one."""
        return self.axes["worn_names"]

    def seat(self, index: int) -> Scenario:
        """Return the seat at a position."""
        turn, place = divmod(index // BLOCK, len(self.document.traits))
        order = self._shuffled("trait", turn, len(self.document.traits))
        trait = self.document.traits[order[place]]
        rank = self._contrasts(trait.id, turn * BLOCK + index % BLOCK)
        contrast = self._contrasts(trait.id, turn * BLOCK + index % BLOCK + 1) > rank
        kinds = self.axes["contrast"]
        return Scenario(
            id=f"chat-{index:07d}",
            index=index,
            trait=trait.id,
            chunk=turn % len(trait.chunks),
            domain=self._pick("domain", index),
            form=self._pick("form", index),
            what=kinds[(order[place] + rank) % len(kinds)] if contrast else self._pick("what", index),
            how="a plain and good answer" if contrast else self._pick("how", index),
            why="" if contrast else self._pick("why", index),
            voice=self._pick("voice", index),
            length=self._pick("length", index),
            person=self._pick("person", index),
            turns=self._turns(index),
            contrast=contrast,
        )

    def block(self, scenario: Scenario) -> list[Scenario]:
        """Return the seats that are planned together with this one."""
        first = scenario.index - scenario.index % BLOCK
        return [self.seat(index) for index in range(first, first + BLOCK)]

    def has(self, scenario: Scenario) -> bool:
        """Tell whether the document still has the passage that a scenario is about."""
        chunks_of = {trait.id: len(trait.chunks) for trait in self.document.traits}
        return scenario.chunk < chunks_of.get(scenario.trait, 0)

    def passage(self, scenario: Scenario) -> dict[str, Any]:
        """Return what prompts are shown of the document for a seat: the trait, its chunk, and the trade-offs."""
        trait = self.document.trait(scenario.trait)
        return {"trait": trait, "chunk": trait.chunks[scenario.chunk], "context": self.context}

    def _pick(self, axis: str, index: int) -> str:
        """Deal the axis like a pack of cards: each value once before any comes again."""
        values = self.axes[axis]
        turn, place = divmod(index, len(values))
        return values[self._shuffled(axis, turn, len(values))[place]]

    def _shuffle(self, axis: str, turn: int, size: int) -> list[int]:
        order = list(range(size))
        random.Random(f"{self.seed} {axis} {turn}").shuffle(order)
        return order

    def _contrasts(self, trait: str, position: int) -> int:
        """Return how many of a trait's seats before a position are contrasts."""
        start = random.Random(f"{self.seed} contrast {trait}").random()
        return math.floor(start + position * self.settings.contrast)

    def _share(self, name: str, position: int) -> float:
        """Return a number in [0, 1) from a sequence that fills it evenly, so that shares hold in every stretch."""
        start = random.Random(f"{self.seed} {name}").random()
        return (start + position * GOLDEN) % 1.0

    def _turns(self, index: int) -> int:
        shares = sorted(self.settings.turns.items())
        left = self._share("turns", index) * sum(share for _, share in shares)
        for turns, share in shares:
            left -= share
            if left < 0:
                return turns
        return shares[-1][0]


@dataclass(frozen=True, slots=True)
class Spread:
    """The commonest value of one property over a corpus."""

    what: str
    value: str
    share: float
    most: float
    """The share above which this counts as collapse."""
    records: int

    @property
    def collapsed(self) -> bool:
        """Whether too much of the corpus is alike here; of a few records nothing can be said."""
        return self.share > self.most and self.records >= ENOUGH_TO_TELL


def share(good: int, all_: int) -> float:
    """Return the share of good ones to expect, which the usual share sways while there are few."""
    return (good + 10 * USUAL_SHARE) / (all_ + 10)


def spread(prompts: Iterable[tuple[Scenario, str]]) -> list[Spread]:
    """Return how far first messages spread: the commonest field, opening and name, and the share of each."""
    domains: Counter[str] = Counter()
    openings: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for scenario, text in prompts:
        domains[scenario.domain] += 1
        openings[" ".join(re.findall(r"[\w']+", text.lower())[:3])] += 1
        # A capitalised word that follows a lower-case one is a name more often than not, in most languages.
        words = re.findall(r"(?:(?<=[^\W\d_A-Z] )|(?<=, ))[^\W\d_]{2,}", text)
        names.update({word for word in words if word[0].isupper() and word[1:].islower()} - _CALENDAR)
    total = sum(domains.values())
    rows = (("field", domains, MOST_DOMAIN), ("opening", openings, MOST_OPENING), ("name", names, MOST_NAME))
    return [
        Spread(what, found[0][0], found[0][1] / total, most, total)
        for what, counter, most in rows
        if (found := counter.most_common(1))
    ]
