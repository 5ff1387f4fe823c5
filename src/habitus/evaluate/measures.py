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
