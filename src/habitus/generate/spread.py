"""How far a dataset spreads: over fields, openings and names, and what a plan may be expected to yield."""

from __future__ import annotations

import re
from calendar import day_name, month_name
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from habitus.generate.kinds import Job

USUAL_SHARE = 0.9
"""Share of seats that become unique texts, and of those that become kept rows, as long as nothing is known."""
_CALENDAR = frozenset([*day_name, *month_name])
MOST_DOMAIN, MOST_OPENING, MOST_NAME = 0.05, 0.03, 0.03
"""Shares above which a corpus has collapsed onto a field (or genre), an opening or a name."""
COMMONEST = 5
ENOUGH_TO_TELL = 100
"""Records from which such a share says something."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The commonest values of one property over a corpus."""

    what: str
    commonest: tuple[tuple[str, float], ...]
    """Each with its share of the records, the commonest first."""
    most: float
    """The share above which this counts as collapse."""
    records: int

    @property
    def value(self) -> str:
        """The commonest value."""
        return self.commonest[0][0]

    @property
    def share(self) -> float:
        """The share of the records that have it."""
        return self.commonest[0][1]

    @property
    def collapsed(self) -> bool:
        """Whether too much of the corpus is alike here; of a few records nothing can be said."""
        return self.share > self.most and self.records >= ENOUGH_TO_TELL


def share(good: int, all_: int) -> float:
    """Return the share of good ones to expect, which the usual share sways while there are few."""
    return (good + 10 * USUAL_SHARE) / (all_ + 10)


def spread(texts: Iterable[tuple[str, ...]]) -> list[Spread]:
    """Return how far (field, text) or (field, text, genre) rows spread: the commonest of each, and their shares."""
    domains: Counter[str] = Counter()
    openings: Counter[str] = Counter()
    names: Counter[str] = Counter()
    genres: Counter[str] = Counter()
    for domain, text, *genre in texts:
        domains[domain] += 1
        genres.update(genre)
        openings[" ".join(re.findall(r"[\w']+", text.lower())[:3])] += 1
        # A capitalised word that follows a lower-case one is a name more often than not, in most languages.
        words = re.findall(r"(?:(?<=[^\W\d_A-Z] )|(?<=, ))[^\W\d_]{2,}", text)
        names.update({word for word in words if word[0].isupper() and word[1:].islower()} - _CALENDAR)
    total = sum(domains.values())
    rows = (
        ("field", domains, MOST_DOMAIN),
        ("genre", genres, MOST_DOMAIN),
        ("opening", openings, MOST_OPENING),
        ("name", names, MOST_NAME),
    )
    return [
        Spread(what, tuple((value, number / total) for value, number in found), most, total)
        for what, counter, most in rows
        if (found := counter.most_common(COMMONEST))
    ]


def spread_of(job: Job) -> list[Spread]:
    """Return how far the first messages of chats, or kept documents, spread over fields, openings and names."""
    if job.kind.is_long:
        names = f"{job.subject.name} {job.subject.developer or ''}".split()
        subject = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
        kept = ((row["meta"], subject.sub("", row["text"])) for row in read_rows(job.dataset.kept))
        rows: Iterable[tuple[str, ...]] = ((meta["domain"], text, meta["genre"]) for meta, text in kept)
    elif job.kind.from_chats:
        kept = ((row["meta"], row.get("messages") or row["prompt"]) for row in read_rows(job.dataset.kept))
        rows = ((meta["domain"], messages[0]["content"]) for meta, messages in kept)
    else:
        rows = ((row["scenario"]["domain"], row["prompt"]) for row in read_rows(job.dataset.waiting(job.kind.waiting)))
    return spread(rows)
