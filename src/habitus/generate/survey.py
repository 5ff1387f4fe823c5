"""What a dataset of documents or pairs is like as a whole, held against its plan."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from statistics import mean, median, quantiles
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
    rows = list(read_rows(job.dataset.kept))
    planned = {record for path in (job.dataset.dropped, job.dataset.waiting("written")) for record in read_ids(path)}
    asked = [row["meta"]["words"] for row in rows]
    written = [len(row["text"].split()) for row in rows]
    ratios = [have / want for have, want in zip(written, asked, strict=True)]
    return Survey(
        plan=_against_plan(briefs, planned, rows),
        lengths=[
            (f"{low:,} to {high:,}", _within(asked, low, high), _within(written, low, high)) for low, high in BANDS
        ],
        over=_spread_of(ratios),
        failings=_failings(rows, briefs.worn_names),
        traits=_by_trait(rows),
        records=len(rows),
    )


def _within(lengths: Iterable[int], low: int, high: int) -> int:
    return sum(low <= length < high for length in lengths)


def _spread_of(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:  # noqa: PLR2004
        only = values[0] if values else 1.0
        return only, only, only
    tenths = quantiles(values, n=10, method="inclusive")
    return tenths[0], median(values), tenths[-1]


def _against_plan(briefs: Briefs, planned: set[str], rows: list[dict[str, Any]]) -> list[tuple[str, str, float, float]]:
    """Return the share of each property among the seats as planned now and among the rows as they were made."""
    kept = [_properties(row["meta"]) for row in rows]
    has = {what for pairs in kept for what, _ in pairs}
    seats = [_properties(briefs.seat(int(one.rpartition("-")[2])).model_dump()) for one in planned]
    wanted = Counter(pair for pairs in seats for pair in pairs if pair[0] in has)
    got = Counter(pair for pairs in kept for pair in pairs)
    both = sorted(wanted.keys() | got.keys())
    return [(*pair, wanted[pair] / max(len(seats), 1), got[pair] / max(len(kept), 1)) for pair in both]


def _properties(brief: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a document can be counted by; a flat one has no deed to be counted by."""
    found = [("genre", "built in" if brief["found"] is None else "found for the field")]
    found += [(name, brief[name]) for name in ("why", "stance") if name in brief]
    if "contrast" in brief:
        found.append(("case", "contrast" if brief["contrast"] else "trait shows"))
    return found


def _by_trait(rows: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["trait"], []).append(tokens(row["text"]))
    return sorted((trait, len(sizes), sum(sizes)) for trait, sizes in found.items())


def _failings(
    rows: list[dict[str, Any]], worn_names: Sequence[str]
) -> list[tuple[str, float | None, float, float | None]]:
    drafts = Counter(shape for row in rows for shape in row["meta"]["shapes"].get("draft", ()))
    kept = Counter(shape for row in rows for shape in row["meta"]["shapes"]["kept"])
    seen = Counter(shape for row in rows for shape in shapes_by_words(row["text"], worn_names))
    has_drafts = any("draft" in row["meta"]["shapes"] for row in rows)
    total = max(len(rows), 1)
    by_words = {"surprise", "dash", "names", "statistics", "triplet", "frame", "placeholder"}
    return [
        (
            shape,
            drafts[shape] / total if has_drafts else None,
            kept[shape] / total,
            seen[shape] / total if shape in by_words else None,
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
    rows = [row["meta"] for row in read_rows(job.dataset.kept)]

    def average(name: str) -> float:
        return mean(row["ratings"][name]["score"] for row in rows) if rows else 0.0

    return PairSurvey(
        scores=[(name, average(f"chosen_{name}"), average(f"rejected_{name}")) for name in ("shows", "serves")],
        alike=average("alike"),
        ratio=_spread_of([row["length_ratio"] for row in rows]),
        draws=Counter(row["draw"] for row in rows),
        records=len(rows),
        passed_over=sum(row["meta"]["contrast"] for row in read_rows(job.chats.dataset.kept)),
    )
