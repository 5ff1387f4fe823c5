"""How many records show a pattern: of a corpus in memory, or of all texts, some at a time, added up."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from habitus.audit.corpus import PARTS, gather, holders
from habitus.audit.features import Features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from habitus.audit.corpus import Corpus, Ints

    Texts = Iterable[tuple[str, str, str]]
    Tally = list[list[int]]
    Whole = Callable[[Callable[[Texts], Tally]], Iterable[Tally]]
    """Takes a function to all texts, some at a time, and gives back what it returns."""


@dataclass(frozen=True)
class Candidate:
    """What may become a finding: a pattern and one place in every record that has it, in the records' order."""

    kind: str
    name: str
    """Of a habit that has one; else the pattern is read off its first place."""
    key: int
    document: Ints
    start: Ints
    stop: Ints


class Asked(NamedTuple):
    """A pattern that is to be counted."""

    kind: str
    name: str
    """Of a habit that has one."""
    key: int
    """Of a pattern that has none."""
    home: str
    """The group that most of the records are in which have it."""


class Count(NamedTuple):
    """How often a pattern is there."""

    records: int
    """That show it."""
    inside: int
    """Of these, those in its home."""
    size: int
    """Records in its home, whether or not they show it."""


class Size(NamedTuple):
    """How much there is of a dataset."""

    records: int
    words: int


def named_habits(corpus: Corpus) -> Iterator[Candidate]:
    """Yield every habit that has a name, with the first place in each record that shows it."""
    for kind, name, hits in Features(corpus):
        document, first = np.unique(corpus.document[hits], return_index=True)
        start = hits[first]
        yield Candidate(kind, name, 0, document, start, start + 1)


def home(one: Candidate, corpus: Corpus) -> str:
    """Return the group that most records of a pattern are in; an empty text where it has none."""
    groups = Counter(corpus.groups[at] for at in one.document)
    return groups.most_common(1)[0][0] if groups else ""


def tally(texts: Texts, asked: Sequence[Asked]) -> Tally:
    """Return the size of some texts and the count of every pattern in them, as rows of numbers that can be added up."""
    corpus = gather(texts, math.inf)
    size, counts = tallied(corpus, asked, places(corpus, asked))
    return [[*size, 0], *map(list, counts)]


def tallied(corpus: Corpus, asked: Sequence[Asked], places: Iterable[Ints]) -> tuple[Size, list[Count]]:
    """Return the size of a corpus and the counts of patterns that these records show."""
    number = {group: at for at, group in enumerate(dict.fromkeys(corpus.groups))}
    group = np.array([number[one] for one in corpus.groups], np.int32)
    sizes = Counter(corpus.groups)
    counts = [
        Count(len(shown), int((group[shown] == number.get(one.home, -1)).sum()), sizes[one.home])
        for one, shown in zip(asked, places, strict=True)
    ]
    return Size(corpus.records, corpus.words), counts


def totals(whole: Whole, asked: Sequence[Asked]) -> tuple[Size, list[Count]]:
    """Return the size of all texts and the count of every pattern in them."""
    total = sum(np.array(one) for one in whole(partial(tally, asked=asked)))
    (records, words, _), *counts = np.asarray(total).tolist()
    return Size(records, words), [Count(*one) for one in counts]


def places(corpus: Corpus, asked: Sequence[Asked]) -> list[Ints]:
    """Return for each pattern the records that show it, by their place; what is no named habit is known by its key."""
    named = {(one.kind, one.name): one.document for one in named_habits(corpus)}
    shown: dict[tuple[str, int], Ints] = {}
    for kind, length in PARTS:
        wanted = sorted({one.key for one in asked if one.kind == kind and (kind, one.name) not in named})
        for key, records in holders(corpus, kind, length, np.array(wanted, np.uint64)).items():
            if len(records):
                shown[kind, key] = records
    nowhere = np.zeros(0, np.int64)
    return [named.get((one.kind, one.name), shown.get((one.kind, one.key), nowhere)) for one in asked]
