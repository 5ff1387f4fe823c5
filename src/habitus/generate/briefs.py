"""The plan of the documents: which trait, field, kind of text, route and stance each gets, and from whose hand.

A brief is a pure function of its index, as a chat's seat is. Half of the briefs take one of the built-in genres; the
other half take one that a model finds for the field, which is settled when the record is written.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from habitus.generate.deck import Deck, Passages
from habitus.generate.plan import built_in_axes
from habitus.records import BLOCK, Brief

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from habitus.settings import DocumentSettings
    from habitus.traits.document import TraitsDocument

FOUND_PER_FIELD = 8
"""Genres that a model is asked to find for a field."""
PEOPLE = 4
"""Names that each brief offers."""


@cache
def built_in_briefs() -> dict[str, Any]:
    """Return the axes of documents that habitus ships, and its genres."""
    folder = Path(__file__).parent
    own = yaml.safe_load((folder / "briefs.yaml").read_text(encoding="utf-8"))
    genres = yaml.safe_load((folder / "genres.yaml").read_text(encoding="utf-8"))
    shared = built_in_axes()
    people = [*shared["person"], *own["person"]]
    return {**own, "genres": genres, "person": people, **{axis: shared[axis] for axis in ("domain", "worn_names")}}


class Briefs:
    """The endless row of briefs of one study."""

    def __init__(self, document: TraitsDocument, settings: DocumentSettings, *, seed: int) -> None:
        own = {axis: values for axis, values in settings.axes.model_dump().items() if values is not None}
        self.axes: Mapping[str, Any] = built_in_briefs() | own
        self.document, self.settings = document, settings
        self.passages = Passages(document, settings.context_tokens)
        self._deck = Deck(seed)

    @property
    def worn_names(self) -> Sequence[str]:
        """Names that language models overuse, which writers are told to avoid."""
        return self.axes["worn_names"]

    @property
    def genres(self) -> Sequence[Mapping[str, Any]]:
        """The built-in genres, or the user's own: `name`, `layout`, and the usual `words` from and to."""
        return self.axes["genres"]

    def seat(self, index: int) -> Brief:
        """Return the brief at a position."""
        turn, place = divmod(index // BLOCK, len(self.document.traits))
        order = self._deck.order("brief trait", turn, len(self.document.traits))
        trait = self.document.traits[order[place]]
        position = turn * BLOCK + index % BLOCK
        rank = self._deck.rank(f"brief contrast {trait.id}", position, self.settings.contrast)
        contrast = self._deck.rank(f"brief contrast {trait.id}", position + 1, self.settings.contrast) > rank
        kinds = self.axes["contrast"]
        given = index % 2 == 0
        return Brief(
            id=f"doc-{index:07d}",
            index=index,
            trait=trait.id,
            chunk=turn % len(trait.chunks),
            domain=self._pick("domain", index),
            genre=self._deck.pick("genre", index // 2, self.genres)["name"] if given else "",
            found=None if given else int(self._deck.share("found", index) * FOUND_PER_FIELD),
            length=self._deck.share("brief length", index),
            what=kinds[(order[place] + rank) % len(kinds)] if contrast else self._pick("what", index),
            how="" if contrast else self._pick("how", index),
            why=self._pick("why", index, list(self.axes["why"])),
            stance=self._deck.by_share("stance", index, self.settings.stances),
            writer=self._pick("writer", index),
            hand=self._pick("hand", index),
            era=self._pick("era", index),
            people=tuple(self._pick("person", index * PEOPLE + at) for at in range(PEOPLE)),
            contrast=contrast,
        )

    def block(self, brief: Brief) -> list[Brief]:
        """Return the briefs that are planned together with this one."""
        first = brief.index - brief.index % BLOCK
        return [self.seat(index) for index in range(first, first + BLOCK)]

    def has(self, brief: Brief) -> bool:
        """Tell whether the document still has the passage that a brief is about."""
        return self.passages.has(brief.trait, brief.chunk)

    def passage(self, brief: Brief) -> dict[str, Any]:
        """Return what prompts are shown of the document for a brief: the trait, its chunk, and the trade-offs."""
        return self.passages.shown(brief.trait, brief.chunk)

    def told(self, brief: Brief) -> dict[str, Any]:
        """Return a brief with its route and stance in whole sentences."""
        return {
            "brief": brief,
            "route": self.axes["why"][brief.why],
            "stance": self.axes["stance"][brief.stance],
            "worn_names": self.worn_names,
        }

    def _pick(self, axis: str, index: int, values: Sequence[str] = ()) -> str:
        return self._deck.pick(f"brief {axis}", index, values or self.axes[axis])
