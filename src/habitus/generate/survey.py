"""What a dataset of documents or pairs is like as a whole, held against its plan."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from habitus.generate.documents import SHAPES_OF_FAILURE
from habitus.study import read_ids, read_rows
from habitus.traits.sentences import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from habitus.generate.briefs import Briefs
    from habitus.generate.kinds import Job

BANDS = ((0, 250), (250, 500), (500, 1000), (1000, 10_000))
"""Lengths in words."""
MOST_OFF = 0.4
"""How far the median of written over asked words may be from 1 before it is worth a warning."""
ENOUGH_TO_SKEW = 100
CRITERIA = ("shows", "serves")
"""By which the two answers of a pair are told apart."""
RATED = ("alike", *(f"{answer}_{name}" for answer in ("chosen", "rejected") for name in CRITERIA))
MOST_SKEWED = 0.1
"""Difference between a planned and a kept share, of so many documents, that is worth a warning."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Figures of a dataset of documents; shares are of the documents, from 0 to 1."""

    plan: list[tuple[str, str, float, float]]
    """Property, value, share planned, share kept."""
    lengths: list[tuple[str, int, int]]
    """Band of words, documents asked for in it, documents that have it."""
    over: tuple[float, float, float]
    """Words written over words asked for: 10th percentile, median, 90th percentile."""
    failings: list[tuple[str, float | None, float, float | None]]
    """Known failing, its share in drafts by the critic, in what was kept by the judge, and there by its words."""
    traits: list[tuple[str, int, int]]
    """Trait, documents, tokens (estimated)."""
    records: int

    @property
    def warnings(self) -> list[str]:
        """What a reader ought to know."""
        told = []
        if abs(self.over[1] - 1) > MOST_OFF:
            told.append(f"documents have {self.over[1]:.2f} × the words that were asked for, in the median")
        if self.records >= ENOUGH_TO_SKEW:
            told += [
                f"{what} '{value}' was planned for {planned:.0%} of the documents and is {kept:.0%} of those kept"
                for what, value, planned, kept in self.plan
                if abs(planned - kept) > MOST_SKEWED
            ]
        return told


def surveyed(job: Job) -> Survey:
    """Return the figures of a dataset of documents."""
    briefs: Any = job.seats
    planned = {record for path in (job.dataset.dropped, job.dataset.waiting("written")) for record in read_ids(path)}
    seen = _Seen()
    for row in read_rows(job.dataset.kept):
        seen.add(row, briefs.worn_names)
    ratios = [have / want for have, want in zip(seen.written, seen.asked, strict=True)]
    return Survey(
        plan=_against_plan(briefs, planned, seen),
        lengths=[
            (f"{low:,} to {high:,}", _within(seen.asked, low, high), _within(seen.written, low, high))
            for low, high in BANDS
        ],
        over=_spread_of(ratios),
        failings=_failings(seen),
        traits=sorted((trait, number, seen.tokens[trait]) for trait, number in seen.traits.items()),
        records=len(seen.written),
    )


class _Seen:
    """What is counted of kept documents, of which no more than one is in memory."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.written: list[int] = []
        self.properties: Counter[tuple[str, str]] = Counter()
        self.traits: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.drafts: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.by_words: Counter[str] = Counter()
        self.has_drafts = False

    def add(self, row: dict[str, Any], worn_names: Sequence[str]) -> None:
        """Count a document."""
        meta, text = row["meta"], row["text"]
        self.asked.append(meta["words"])
        self.written.append(len(text.split()))
        self.properties.update(_properties(meta))
        self.traits[row["trait"]] += 1
        self.tokens[row["trait"]] += tokens(text)
        self.drafts.update(meta["shapes"].get("draft", ()))
        self.kept.update(meta["shapes"]["kept"])
        self.by_words.update(shapes_by_words(text, worn_names))
        self.has_drafts |= "draft" in meta["shapes"]


def _within(lengths: Iterable[int], low: int, high: int) -> int:
    return sum(low <= length < high for length in lengths)


def _spread_of(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:  # noqa: PLR2004
        only = values[0] if values else 1.0
        return only, only, only
    tenths = quantiles(values, n=10, method="inclusive")
    return tenths[0], median(values), tenths[-1]


def _against_plan(briefs: Briefs, planned: set[str], seen: _Seen) -> list[tuple[str, str, float, float]]:
    """Return the share of each property among the seats as planned now and among the rows as they were made."""
    got, wanted = seen.properties, Counter[tuple[str, str]]()
    has = {what for what, _ in got}
    for one in planned:
        seat = briefs.seat(int(one.rpartition("-")[2])).model_dump()
        wanted.update(pair for pair in _properties(seat) if pair[0] in has)
    both, rows = sorted(wanted.keys() | got.keys()), max(len(seen.written), 1)
    return [(*pair, wanted[pair] / max(len(planned), 1), got[pair] / rows) for pair in both]


def _properties(brief: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a document can be counted by; a flat one has no deed to be counted by."""
    found = [("genre", "built in" if brief["found"] is None else "found for the field")]
    found += [(name, brief[name]) for name in ("why", "stance") if name in brief]
    if "contrast" in brief:
        found.append(("case", "contrast" if brief["contrast"] else "trait shows"))
    return found


def _failings(seen: _Seen) -> list[tuple[str, float | None, float, float | None]]:
    total = max(len(seen.written), 1)
    by_words = {"surprise", "dash", "names", "statistics", "triplet", "frame", "placeholder"}
    return [
        (
            shape,
            seen.drafts[shape] / total if seen.has_drafts else None,
            seen.kept[shape] / total,
            seen.by_words[shape] / total if shape in by_words else None,
        )
        for shape in SHAPES_OF_FAILURE
    ]


_TELLTALE = {
    "surprise": r"\bsurpris|\bstriking(?:ly)?\b|\bstood out\b|\bunexpected",
    "statistics": r"\b\d+(?:\.\d+)?\s?(?:%|per ?cent\b)",
    "frame": r"\b(?:illustrates|demonstrates|showcases|exemplifies)\b",
    "placeholder": r"\[(?:name|date|insert|company|your)\b",
}
_MANY = 3


def shapes_by_words(text: str, worn_names: Sequence[str]) -> set[str]:
    """Return the failings that can be told by a text's words alone."""
    found = {shape for shape, pattern in _TELLTALE.items() if re.search(pattern, text, re.IGNORECASE)}
    if text.count("—") >= _MANY:
        found.add("dash")
    if len(re.findall(r"\b\w+, \w+,? and \w+\b", text)) >= _MANY:
        found.add("triplet")
    if worn_names and re.search(rf"\b(?:{'|'.join(map(re.escape, worn_names))})\b", text):
        found.add("names")
    return found


@dataclass(frozen=True, slots=True)
class PairSurvey:
    """Figures of a dataset of pairs."""

    scores: list[tuple[str, float, float]]
    """Criterion, mean of the chosen answers, mean of the rejected."""
    alike: float
    ratio: tuple[float, float, float]
    """Words of the rejected over the chosen answer: 10th percentile, median, 90th percentile."""
    draws: Counter[int]
    """How many pairs came of the first, second, … draw."""
    records: int
    passed_over: int
    """Contrast chats, which give no pair."""


def paired(job: Job) -> PairSurvey:
    """Return the figures of a dataset of pairs."""
    sums, draws, ratios = Counter[str](), Counter[int](), []
    for row in read_rows(job.dataset.kept):
        meta = row["meta"]
        sums.update({name: meta["ratings"][name]["score"] for name in RATED})
        draws[meta["draw"]] += 1
        ratios.append(meta["length_ratio"])
    mean = {name: total / len(ratios) for name, total in sums.items()}
    return PairSurvey(
        scores=[(name, mean.get(f"chosen_{name}", 0.0), mean.get(f"rejected_{name}", 0.0)) for name in CRITERIA],
        alike=mean.get("alike", 0.0),
        ratio=_spread_of(ratios),
        draws=draws,
        records=len(ratios),
        passed_over=sum(row["meta"]["contrast"] for row in read_rows(job.chats.dataset.kept, "meta")),
    )
