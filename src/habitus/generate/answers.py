"""What answers in JSON have in common, in every recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from habitus.ask import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence


class Score(Answer):
    """A judgement on one criterion, with the words it rests on."""

    reason: str = Field(description="one sentence")
    quote: str = Field(description="up to 30 words copied letter for letter; empty if the score rests on an absence")
    score: int = Field(ge=1, le=5)


class Scores(Answer):
    """Several judgements, one a field."""

    def rows(self) -> list[tuple[str, int, str, str]]:
        """Return (criterion, score, reason, quote) of each."""
        return [(name, found.score, found.reason, found.quote) for name, found in self if isinstance(found, Score)]


def one_each(plans: Sequence[Any], seats: Sequence[Any]) -> str | None:
    """Ask again where a seat got no plan."""
    if len(plans) >= len(seats):
        return None
    return f"there are {len(seats)} seats and only {len(plans)} plans; give one for each seat, in order"
