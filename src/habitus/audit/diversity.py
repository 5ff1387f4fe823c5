"""How long the records of a dataset are, and how much it repeats itself."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from habitus.audit.corpus import POWERS, key_of, keys

if TYPE_CHECKING:
    from habitus.audit.corpus import Corpus, Ints, Keys

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SAMPLE_BYTES, SAMPLE_RECORDS, SAMPLE_WORDS = 1_000_000, 500, 50_000
SHINGLE, HASHES, BAND, NEAR = 5, 32, 4, 0.7
"""Near duplicates: words of a run, hashes of a record, how many must agree for a look, and what share for a verdict."""
Spread = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Diversity:
    """How much a dataset repeats itself."""

    compression: float
    """Bytes before over bytes after zlib, of a sample of a million bytes."""
    self_repetition: float
    """The mean share of a record's runs of four words that another one of 500 has too."""
    distinct_2: float
    distinct_3: float
    """Different runs of two and three words over all of them, in the first 50,000 words of that sample."""
    near_duplicates: float
    """The share of records of which an earlier one has about 80% of the runs of five words, or all."""
    exact_duplicates: float


@dataclass(frozen=True)
class Lengths:
    """How long the records are."""

    words: Spread
    """At 5, 25, 50, 75 and 95%."""
    paragraphs: Spread
    empty: int
    """Records without a word."""


def lengths(corpus: Corpus) -> Lengths:
    """Return how long the records are."""
    words = np.bincount(corpus.document[corpus.at], minlength=corpus.records)
    gap = corpus.that(lambda one: one.count("\n") > 1)[corpus.tokens]
    paragraphs = np.bincount(corpus.document[gap], minlength=corpus.records) + 1

    def spread(values: Ints) -> Spread:
        if not len(values):
            return 0, 0, 0, 0, 0
        low, lower, middle, higher, high = (round(float(one)) for one in np.quantile(values, QUANTILES))
        return low, lower, middle, higher, high

    return Lengths(spread(words), spread(paragraphs), int((words == 0).sum()))


def figures(
    here: tuple[Diversity, Lengths], there: tuple[Diversity | None, Lengths | None]
) -> list[tuple[str, str, str]]:
    """Return what there is to tell of a dataset as a whole: a name, the figure here and the one of the reference."""
    names = {
        "self_repetition": "4-word runs that another record has",
        "distinct_2": "different 2-word runs",
        "distinct_3": "different 3-word runs",
        "near_duplicates": "near-duplicates of an earlier record",
        "exact_duplicates": "the same as an earlier record",
    }
    (sameness, sizes), (other, others) = here, there
    rows = [("compression ratio", f"{sameness.compression:.2f}", f"{other.compression:.2f}" if other else "·")]
    rows += [
        (told, f"{getattr(sameness, name):.1%}", f"{getattr(other, name):.1%}" if other else "·")
        for name, told in names.items()
    ]
    places = ("5%", "25%", "median", "75%", "95%")
    return rows + [
        (f"words, {place}", f"{size:,}", f"{others.words[at]:,}" if others else "·")
        for at, (place, size) in enumerate(zip(places, sizes.words, strict=True))
    ]


def diversity(corpus: Corpus) -> Diversity:
    """Return how much a corpus repeats itself; but for the duplicates, of samples of a fixed size."""
    is_chosen = np.zeros(corpus.records, np.bool_)
    is_chosen[_evenly(corpus.records, SAMPLE_RECORDS)] = True
    at = corpus.at[is_chosen[corpus.document[corpus.at]]] if corpus.records else corpus.at
    raw = _sample(corpus)
    near, exact = _duplicates(corpus)
    return Diversity(
        compression=len(raw) / len(zlib.compress(raw, 6)) if raw else 1.0,
        self_repetition=_shared(*_runs_of(corpus, at, 4), corpus.records),
        distinct_2=_distinct(_runs_of(corpus, at, 2)[0]),
        distinct_3=_distinct(_runs_of(corpus, at, 3)[0]),
        near_duplicates=near,
        exact_duplicates=exact,
    )


def _evenly(total: int, most: int) -> Ints:
    return np.unique(np.linspace(0, total - 1, min(total, most)).astype(np.int64)) if total else np.zeros(0, np.int64)


def _sample(corpus: Corpus) -> bytes:
    """Return a million bytes of records from all over."""
    mean = max(sum(map(len, corpus.texts)) / max(corpus.records, 1), 1)
    chosen = _evenly(corpus.records, math.ceil(SAMPLE_BYTES / mean))
    return "\n".join(corpus.texts[at] for at in chosen).encode("utf-8", "replace")[:SAMPLE_BYTES]


def _runs_of(corpus: Corpus, at: Ints, length: int) -> tuple[Keys, Ints]:
    """Return key and record of every run of so many words of a record, across sentences."""
    document = corpus.document[at]
    key = keys(corpus, at, length)
    is_whole = document[: len(key)] == document[length - 1 :]
    return key[is_whole], document[: len(key)][is_whole]


def _shared(key: Keys, document: Ints, records: int) -> float:
    """Return the mean share of a record's runs that another record has too."""
    if not len(key):
        return 0.0
    _, number = np.unique(key, return_inverse=True)
    pairs = np.unique(number * np.int64(records) + document)
    spread = np.bincount(pairs // records)
    total = np.bincount(document, minlength=records)
    again = np.bincount(document, spread[number] > 1, records)
    return float((again[total > 0] / total[total > 0]).mean())


def _distinct(key: Keys) -> float:
    key = key[:SAMPLE_WORDS]
    return len(np.unique(key)) / len(key) if len(key) else 1.0


def _duplicates(corpus: Corpus) -> tuple[float, float]:
    """Return the shares of records that have an earlier near copy (exact ones among them) and an exact one."""
    if not corpus.records:
        return 0.0, 0.0
    _, first = np.unique(np.fromiter(map(hash, corpus.texts), np.int64), return_index=True)
    is_exact = np.ones(corpus.records, np.bool_)
    is_exact[first] = False
    key, document = _runs_of(corpus, corpus.at, SHINGLE)
    is_near = is_exact.copy()
    if len(key):
        begins = np.flatnonzero(np.append([True], document[1:] != document[:-1]))
        signatures = np.stack([np.minimum.reduceat(_stirred(key, turn), begins) for turn in range(HASHES)])
        is_near[document[begins][_near(signatures)]] = True
    return float(is_near.mean()), float(is_exact.mean())


def _stirred(key: Keys, turn: int) -> Keys:
    """Return the keys in another random order, as 32 bits."""
    return ((key ^ np.uint64(key_of([str(turn)]))) * POWERS[turn + 1] >> np.uint64(32)).astype(np.uint32)


def _near(signatures: Ints) -> Ints:
    """Return the columns that agree in most hashes with an earlier one that shares a band with them."""
    found = np.zeros(signatures.shape[1], np.bool_)
    for top in range(0, HASHES, BAND):
        band = signatures[top : top + BAND]
        order = np.lexsort((np.arange(band.shape[1]), *band))
        same = np.all(band[:, order[1:]] == band[:, order[:-1]], axis=0)
        later, earlier = order[1:][same], order[:-1][same]
        found[later[(signatures[:, later] == signatures[:, earlier]).mean(axis=0) >= NEAR]] = True
    return np.flatnonzero(found)
