"""What an eval measures: the names of its numbers, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """One number that every sample of an eval has, or lacks for a reason."""

    key: str
    title: str
    kind: Literal["rate", "share", "score"]
    """Yes or no of every sample, a share of something within it, or a number."""
    better: Literal["higher", "lower"] | None = None
    """Which way is better, or neither."""
    scale: tuple[float, float] | None = None
    """Between what a number lies, where that is bounded."""
    of: tuple[Literal["trait", "pattern"], str] | None = None
    """What of the study it is about, by kind and id, where it is about a single trait or audited pattern."""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and the most that it can be, or None where nothing bounds it."""
        return self.scale if self.kind == "score" else (0.0, 1.0)
