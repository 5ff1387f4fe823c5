"""What carries loss, to be looked at before anything is spent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from habitus.train.tokens import MASKED, PairTokens

if TYPE_CHECKING:
    from habitus.train.job import Job
    from habitus.train.mixture import AnyTokens


@dataclass(frozen=True)
class Shown:
    """One row as stretches of text with loss and without."""

    title: str
    stretches: tuple[tuple[str, bool], ...]
    cut: int = 0
    """Tokens that were cut off at its end."""


@dataclass(frozen=True)
class Count:
    """How the tokens of one source are used."""

    source: str
    rows: int
    trained: int
    masked: int
    cut: int


def shown(job: Job, tokenizer: Any, most: int = 3) -> list[Shown]:
    """Return a few rows of a job, of every source one before a second of any."""
    by_source: dict[str, list[AnyTokens]] = {}
    for one in job.mixture.rows:
        by_source.setdefault(one.row.source, []).append(one)
    order = [rows[at] for at in range(most) for rows in by_source.values() if at < len(rows)]
    return [part for one in order[:most] for part in _parts(one, tokenizer)]


def counts(job: Job) -> list[Count]:
    """Return how many tokens of each source carry loss, do not, and were cut off."""
    found: dict[str, Counter[str]] = {}
    for one in job.mixture.rows:
        trained = one.trained
        found.setdefault(one.row.source, Counter()).update(
            rows=1, trained=trained, masked=len(one.ids) - trained, cut=one.cut
        )
    return [Count(name, one["rows"], one["trained"], one["masked"], one["cut"]) for name, one in found.items()]


def _parts(one: AnyTokens, tokenizer: Any) -> list[Shown]:
    """Return a row as it is read; a pair as its two conversations."""
    title = f"{one.row.source} {one.row.id}"
    if isinstance(one, PairTokens):
        prompt = tokenizer.decode(one.prompt)
        sides = {"chosen": one.chosen, "rejected": one.rejected}
        return [
            Shown(f"{title}, {side}", ((prompt, False), (tokenizer.decode(ids), True))) for side, ids in sides.items()
        ]
    flags = groupby(zip(one.ids, one.labels, strict=True), lambda pair: pair[1] != MASKED)
    parts = [([token for token, _ in pairs], has_loss) for has_loss, pairs in flags]
    return [Shown(title, tuple((tokenizer.decode(ids), has_loss) for ids, has_loss in parts), one.cut)]
