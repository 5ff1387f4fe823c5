"""What is over-represented in a dataset, by counting alone: openings, phrases, frames, formatting, and sameness."""

from __future__ import annotations

import gzip
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from importlib import resources
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import orjson

from habitus.audit.corpus import KEPT, PARTS, frequencies, gather, key_of, sightings
from habitus.audit.counts import Asked, Candidate, Size, home, named_habits, places, tallied, totals
from habitus.audit.diversity import Diversity, Lengths, diversity, figures, lengths
from habitus.audit.prevalence import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from habitus.audit.corpus import Corpus, Ints
    from habitus.audit.counts import Count, Texts, Whole

PRIOR = 100.0
"""Records that the prior of the log-odds is worth."""
LEAST_Z = 3.0
LEAST_SHARE = 0.01
LEAST_RECORDS = 3
ALIKE = 0.8
"""Findings whose records overlap so far (Jaccard) are told once."""
ABSENT = 10.0
"""What a pattern that the shipped profile is silent on is taken to have been counted there."""
NEARLY = 0.9
"""A longer run of words stands for a shorter one where so large a share of the shorter one's records have it."""
BESIDE = 8
"""Tokens between two parts of one stock sentence, at most."""
AT_HOME, MOST_OF_ALL = 0.95, 0.8
"""A pattern lives in one group if so much of it is there, and that group is not nearly everything."""
BEFORE, AFTER = 3, 9
"""Tokens shown around what is less than a sentence."""
PER_LENGTH = frozenset({"phrase", "frame", "name", "wording"})
"""Kinds that a longer text has a greater chance to show."""


@dataclass(frozen=True)
class Finding:
    """One pattern, how often it is there, and whether that is more than elsewhere."""

    kind: str
    pattern: str
    count: int
    """Records that show it."""
    rate: float
    low: float
    high: float
    reference_rate: float | None
    """The rate to be expected of reference texts of this length; None where the profile is silent: it is rare there."""
    z: float | None
    """Of the log-odds with an informative Dirichlet prior; positive where there is more of it here."""
    examples: tuple[tuple[str, str], ...] = ()
    """Record ids, each with the words as they stand there."""
    groups: dict[str, float] = field(default_factory=dict)
    """The one group that holds it and its rate in there; empty where it is spread."""


@dataclass(frozen=True)
class LexicalReport:
    """What the counting found."""

    records: int
    looked_at: int
    """Fewer than `records` where the dataset is so large that patterns were looked for in an even part of it."""
    counted: int
    """Of how many records counts, rates and words are: all, or those that were looked at."""
    words: int
    findings: tuple[Finding, ...]
    """What is over-represented, the most telling first."""
    features: tuple[Finding, ...]
    """Every habit that has a name, also where there is nothing to it."""
    diversity: Diversity
    lengths: Lengths
    reference: str
    version: str
    reference_diversity: Diversity | None
    reference_lengths: Lengths | None
    grammar: float = 0.0
    """Share of the words that are English ones of grammar and conversation: about half in English prose."""

    @property
    def whole(self) -> list[tuple[str, str, str]]:
        """What there is to tell of the dataset as a whole, here and in the reference."""
        return figures((self.diversity, self.lengths), (self.reference_diversity, self.reference_lengths))


@dataclass(frozen=True)
class Reference:
    """Counts to compare with."""

    name: str
    version: str
    records: int
    mean_words: float
    features: Mapping[tuple[str, str], float]
    patterns: Mapping[str, Mapping[int, float]]
    """By kind and key."""
    absent: float
    """What a pattern without a count is taken to have; 0 where every one was counted."""
    diversity: Diversity | None = None
    lengths: Lengths | None = None

    def expected(self, kind: str, count: float | None, mean_words: float) -> float:
        """Return the share of records to be expected of texts of that length."""
        share = (self.absent if count is None else count) / max(self.records, 1)
        if kind not in PER_LENGTH or not self.mean_words or share >= 1:
            return min(share, 1.0)
        times = min(max(mean_words / self.mean_words, 0.1), 10)
        return 1 - (1 - share) ** times


def log_odds(count: float, total: float, other: float, other_total: float) -> tuple[float, float]:
    """Return the difference of log-odds of two shares under a prior at their common one, and its z.

    After Monroe, Colaresi and Quinn, "Fightin' Words" (2008), with records where they count words.
    """
    common = (count + other) / max(count + other + (total - count) + (other_total - other), 1)
    has, lacks = PRIOR * common + 1e-9, PRIOR * (1 - common) + 1e-9
    cells = (count + has, total - count + lacks, other + has, other_total - other + lacks)
    one, two, three, four = cells
    difference = math.log(one / two) - math.log(three / four)
    return difference, difference / math.sqrt(sum(1 / cell for cell in cells))


def surprise(low: float, expected: float) -> float:
    """Return the nats that a record tells on the average, of a share that is at least `low`; 0 if not above."""
    if low <= expected:
        return 0.0
    expected = min(max(expected, 1e-6), 1 - 1e-6)
    rest = (1 - low) * math.log((1 - low) / (1 - expected)) if low < 1 else 0.0
    return low * math.log(low / expected) + rest


def shipped() -> Reference:
    """Return the profile of ordinary assistants' answers that comes with the package."""
    packed = resources.files("habitus.audit").joinpath("ordinary.json.gz").read_bytes()
    found = orjson.loads(gzip.decompress(packed))
    lengths, diversity = found["lengths"], found["diversity"]
    return Reference(
        name=found["name"],
        version=found["version"],
        records=found["records"],
        mean_words=found["mean_words"],
        features={(kind, name): count for kind, name, count in found["features"]},
        patterns={
            kind: {key_of(text.split(" ")): count for text, count in counts.items()}
            for kind, counts in found["patterns"].items()
        },
        absent=ABSENT,
        diversity=Diversity(**diversity),
        lengths=Lengths(tuple(lengths["words"]), tuple(lengths["paragraphs"]), lengths["empty"]),
    )


def audit_lexical(
    texts: Texts,
    *,
    reference: Texts | Reference | None = None,
    most: int = 60,
    whole: Whole | None = None,
    whole_reference: Whole | None = None,
) -> LexicalReport:
    """Return what is over-represented in texts (id, text, group), against others or the shipped profile.

    Of texts that are too many to be held at once, an even part is looked at. `whole` takes a function to all of them,
    some at a time, and gives back what it returns: then what was found in the part is counted in all of them.
    """
    corpus = gather(texts)
    named = list(named_habits(corpus))
    patterns = list(_patterns(corpus))
    theirs = None
    if reference is None:
        reference = shipped()
    elif not isinstance(reference, Reference):
        theirs = gather(reference)
        reference = counted(theirs, patterns)
    size = Size(corpus.records, corpus.words)
    scored = [(_score(one, len(one.document), size, reference), one) for one in (*named, *patterns)]
    ranked = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], -_length(pair[1])))
    # once more, for a longer run may have taken the place of one of several that it covers
    told = merged(merged((one for _, one in ranked), corpus.records, most=2 * most), corpus.records, most=most)
    asked = [Asked(one.kind, one.name, one.key, home(one, corpus)) for one in (*told, *named)]
    if theirs is not None and theirs.records < theirs.seen and whole_reference:
        reference = _recounted(reference, asked, *totals(whole_reference, asked))
    if corpus.records < corpus.seen and whole:
        size, counts = totals(whole, asked)
    else:
        size, counts = tallied(corpus, asked, [one.document for one in (*told, *named)])
    found = [finding(*pair, corpus, size, reference) for pair in zip((*told, *named), counts, strict=True)]
    # what stands out in a part by chance does not in the whole
    stands = [_score(one, count.records, size, reference) > 0 for one, count in zip(told, counts, strict=False)]
    return LexicalReport(
        records=max(corpus.seen, size.records),
        looked_at=corpus.records,
        counted=size.records,
        words=size.words,
        findings=tuple(compress(found, stands)),
        features=tuple(found[len(told) :]),
        diversity=diversity(corpus),
        lengths=lengths(corpus),
        reference=reference.name,
        version=reference.version,
        reference_diversity=reference.diversity,
        reference_lengths=reference.lengths,
        grammar=float(corpus.table(KEPT)[corpus.tokens[corpus.at]].mean()) if corpus.words else 0.0,
    )


def _recounted(reference: Reference, asked: Sequence[Asked], size: Size, counts: Sequence[Count]) -> Reference:
    """Return a reference with these counts, of all its records."""
    patterns: dict[str, dict[int, float]] = defaultdict(dict)
    for one, count in zip(asked, counts, strict=True):
        if not one.name:
            patterns[one.kind][one.key] = count.records
    return replace(
        reference,
        records=size.records,
        mean_words=size.words / max(size.records, 1),
        features={(one.kind, one.name): count.records for one, count in zip(asked, counts, strict=True) if one.name},
        patterns=patterns,
    )


def _patterns(corpus: Corpus) -> Iterator[Candidate]:
    least = max(LEAST_RECORDS, math.ceil(LEAST_SHARE * corpus.records))
    for kind, length in PARTS:
        found = sightings(corpus, kind, length, least)
        for key, low, high in zip(found.keys, found.first[:-1], found.first[1:], strict=True):
            yield Candidate(kind, "", int(key), found.document[low:high], found.start[low:high], found.stop[low:high])


def counted(corpus: Corpus, patterns: Iterable[Candidate], name: str = "the other file") -> Reference:
    """Return how often another corpus has the named habits and these patterns."""
    wanted: dict[str, list[int]] = defaultdict(list)
    for one in patterns:
        wanted[one.kind].append(one.key)
    counts: dict[str, dict[int, float]] = defaultdict(dict)
    for kind, length in PARTS:
        found = frequencies(corpus, kind, length, np.unique(np.array(wanted[kind], np.uint64)))
        for key, count in found.items():
            counts[kind][key] = counts[kind].get(key, 0) + count
    return Reference(
        name=name,
        version="",
        records=corpus.records,
        mean_words=corpus.words / max(corpus.records, 1),
        features={(one.kind, one.name): len(one.document) for one in named_habits(corpus)},
        patterns=counts,
        absent=0,
        diversity=diversity(corpus),
        lengths=lengths(corpus),
    )


def showing(corpus: Corpus, findings: Iterable[Finding]) -> list[Ints]:
    """Return for each finding, of whatever corpus, the records of this one that show it, by their place."""
    return places(corpus, [Asked(one.kind, one.pattern, key_of(one.pattern.split(" ")), "") for one in findings])


def _compared(one: Candidate, count: int, size: Size, reference: Reference) -> tuple[float | None, float, float]:
    """Return the count in the reference (None: silent), the share to be expected from it, and z."""
    if one.name:
        known = reference.features.get((one.kind, one.name))
    else:
        known = reference.patterns.get(one.kind, {}).get(one.key, None if reference.absent else 0)
    expected = reference.expected(one.kind, known, size.words / max(size.records, 1))
    total = reference.records
    return known, expected, log_odds(count, size.records, expected * total, total)[1]


def _score(one: Candidate, count: int, size: Size, reference: Reference) -> float:
    """Return how telling a candidate is; 0 where it is no more than to be expected."""
    _, expected, z = _compared(one, count, size, reference)
    if z < LEAST_Z:
        return 0.0
    return surprise(wilson(count, size.records)[0], expected)


def merged(ranked: Iterable[Candidate], records: int, *, most: int) -> list[Candidate]:
    """Return the first candidates, without patterns that mostly stand where one before them stands."""
    kept: list[tuple[Candidate, Ints, Ints]] = []
    for one in ranked:
        at = None if one.name else next((at for at, each in enumerate(kept) if _is_covered(one, *each)), None)
        if at is not None and not _says_more(one, kept[at][0]):
            continue
        if at is None and len(kept) == most:
            break
        start, stop = np.zeros((2, records), np.int32)
        start[one.document], stop[one.document] = one.start, one.stop
        if at is None:
            kept.append((one, start, stop))
        else:
            kept[at] = (one, start, stop)
    return [one for one, _, _ in kept]


def _is_covered(one: Candidate, other: Candidate, start: Ints, stop: Ints) -> bool:
    """Return whether a pattern stands where another stands, or beside it in the same records.

    A habit with a name covers what is as frequent as itself, another pattern also what is rarer.
    """
    count, before = len(one.document), len(other.document)
    begins, ends = start[one.document], stop[one.document]
    overlap = int(((one.start < ends) & (begins < one.stop)).sum())
    if other.name:
        return overlap >= ALIKE * (count + before - overlap)
    beside = int(((one.start < ends + BESIDE) & (begins < one.stop + BESIDE) & (ends > 0)).sum())
    return overlap >= ALIKE * count or beside >= ALIKE * (count + before - beside)


def _says_more(one: Candidate, other: Candidate) -> bool:
    """Return whether a pattern is a longer run of words that nearly all records of the other have."""
    is_phrase = one.kind == other.kind == "phrase"
    return is_phrase and _length(one) > _length(other) and len(one.document) >= NEARLY * len(other.document)


def _length(one: Candidate) -> float:
    """Return the mean number of its tokens."""
    return float((one.stop - one.start).mean()) if len(one.start) else 0.0


def finding(one: Candidate, count: Count, corpus: Corpus, size: Size, reference: Reference) -> Finding:
    """Return a candidate with its figures, which may be of more records than the corpus, and examples."""
    known, expected, z = _compared(one, count.records, size, reference)
    low, high = wilson(count.records, size.records)
    pattern = one.name or corpus.wording(one.kind, int(one.start[0]), int(one.stop[0]))
    held = len(one.document)
    picked = sorted({0, held // 2, held - 1}) if held else []
    is_home = 0 < count.records * AT_HOME <= count.inside and count.size <= MOST_OF_ALL * size.records
    return Finding(
        kind=one.kind,
        pattern=pattern,
        count=count.records,
        rate=count.records / max(size.records, 1),
        low=low,
        high=high,
        reference_rate=None if known is None else expected,
        z=z if size.records and reference.records else None,
        examples=tuple((corpus.ids[one.document[at]], _shown(one, at, corpus)) for at in picked),
        groups={home(one, corpus): count.inside / count.size} if is_home else {},
    )


def _shown(one: Candidate, at: int, corpus: Corpus) -> str:
    """Return the words at one place, with some around those that are less than a sentence."""
    start, stop = int(one.start[at]), int(one.stop[at])
    if "frame" not in one.kind:
        record = int(one.document[at])
        start, stop = max(start - BEFORE, int(corpus.starts[record])), min(stop + AFTER, int(corpus.starts[record + 1]))
    return corpus.snippet(start, stop).strip().lstrip("!.?,;: ") or corpus.snippet(start, stop)
