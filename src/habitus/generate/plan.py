"""The plan of the chats: which trait, field, occasion and voice each gets, balanced before anything is written.

A seat is a pure function of its index, the seed, the traits document and the axes, so a plan needs no file: the
thousandth seat is the same whether or not the others were ever taken.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from habitus.generate.deck import Deck, Passages
from habitus.records import BLOCK, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from habitus.settings import ChatSettings
    from habitus.traits.document import TraitsDocument


@cache
def built_in_axes() -> dict[str, list[str]]:
    """Return the axes that habitus ships."""
    return yaml.safe_load((Path(__file__).parent / "seats.yaml").read_text(encoding="utf-8"))


class Seats:
    """The endless row of seats of one study."""

    def __init__(self, document: TraitsDocument, settings: ChatSettings, *, seed: int) -> None:
        own = {axis: values for axis, values in settings.axes.model_dump().items() if values is not None}
        self.axes: Mapping[str, Sequence[str]] = built_in_axes() | own
        self.document, self.settings = document, settings
        self.passages = Passages(document, settings.context_tokens)
        self._deck = Deck(seed)

    @property
    def worn_names(self) -> Sequence[str]:
        """Names that language models overuse; nobody in a scenario may bear one."""
        return self.axes["worn_names"]

    def seat(self, index: int) -> Scenario:
        """Return the seat at a position."""
        turn, place = divmod(index // BLOCK, len(self.document.traits))
        order = self._deck.order("trait", turn, len(self.document.traits))
        trait = self.document.traits[order[place]]
        position = turn * BLOCK + index % BLOCK
        rank = self._deck.rank(f"contrast {trait.id}", position, self.settings.contrast)
        contrast = self._deck.rank(f"contrast {trait.id}", position + 1, self.settings.contrast) > rank
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
            turns=self._deck.by_share("turns", index, self.settings.turns),
            contrast=contrast,
        )

    def block(self, scenario: Scenario) -> list[Scenario]:
        """Return the seats that are planned together with this one."""
        first = scenario.index - scenario.index % BLOCK
        return [self.seat(index) for index in range(first, first + BLOCK)]

    def has(self, scenario: Scenario) -> bool:
        """Tell whether the document still has the passage that a scenario is about."""
        return self.passages.has(scenario.trait, scenario.chunk)

    def passage(self, scenario: Scenario) -> dict[str, Any]:
        """Return what prompts are shown of the document for a seat: the trait, its chunk, and the trade-offs."""
        return self.passages.shown(scenario.trait, scenario.chunk)

    def _pick(self, axis: str, index: int) -> str:
        return self._deck.pick(axis, index, self.axes[axis])
