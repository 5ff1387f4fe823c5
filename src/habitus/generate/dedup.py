"""Near-duplicates removed, keeping the first of each: exact up to EXACT_ROWS rows, within clusters above.

A row's fate depends only on the rows before it. So a second round is deduplicated by running again on the first round's
rows followed by the new ones: up to EXACT_ROWS rows the first round's rows come out as they did before.

One run answers for every threshold down to its floor. The walk in row order notes, for each row, at which thresholds it
is removed and for whose sake (`Span`); a threshold then only selects spans.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from habitus.errors import UserError
from habitus.models.embed import np  # numpy on one thread, or the sentence that says how to install it

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Intervals = tuple[tuple[float, float], ...]  # of thresholds t with low < t <= high
    Comparison = tuple[np.ndarray, np.ndarray]  # rows, and the rows they are held against, both ascending
    Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # row, an earlier row, score

EXACT_ROWS = 100_000
REACH = 0.1  # how far below its threshold a result can be cut again
THRESHOLDS = {"hashing": 0.7, "minilm": 0.85}
UNMEASURED = 0.9

ROWS, COLUMNS = 1024, 4096  # one block of products: 16 MB
PAIRS = 1024  # scored at a time
CLOSE = 1e-5  # more than float32 products are off by
DIGITS = 6  # of a score, so that a pair scores the same in whatever block it meets
SAMPLE = 2048  # rows on which shortening is tried
PAIR_COST = 100  # scoring one pair again, in full-length products of a block
CLUSTERS = 3  # times the square root of the rows
NEAREST = 48  # clusters that a row is compared within
ROUNDS = 3  # of k-means
ALWAYS: Intervals = ((-math.inf, math.inf),)


def default_threshold(embedder: str) -> float:
    """Return the cosine from which rows are duplicates: measured for hashing and minilm, UNMEASURED for the rest."""
    return THRESHOLDS.get(embedder, UNMEASURED)


class Twin(NamedTuple):
    """A removed row and the kept row before it that it resembles most (of equals, the earliest)."""

    id: str
    twin: str
    score: float
    """Their cosine, rounded to DIGITS."""


class Span(NamedTuple):
    """One row is removed for the sake of one twin at the thresholds low < t <= high."""

    row: int
    twin: int
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Duplicates:
    """Which rows stay at a threshold, and for each removed row its twin."""

    threshold: float
    floor: float
    """The lowest threshold that `rethreshold` takes."""
    ids: tuple[str, ...] = field(repr=False)
    spans: tuple[Span, ...] = field(repr=False)

    @cached_property
    def removed(self) -> list[Twin]:
        """The removed rows, in order."""
        cut = (span for span in self.spans if span.low < self.threshold <= span.high)
        return [Twin(self.ids[span.row], self.ids[span.twin], span.score) for span in cut]

    @cached_property
    def kept(self) -> list[str]:
        """The ids of the rows that stay, in order."""
        cut = {span.row for span in self.spans if span.low < self.threshold <= span.high}
        return [name for row, name in enumerate(self.ids) if row not in cut]

    @property
    def ratio(self) -> float:
        """The share of the rows that is removed, from 0 to 1."""
        return len(self.removed) / len(self.ids) if self.ids else 0.0

    def rethreshold(self, threshold: float) -> Duplicates:
        """Return what a fresh run at this threshold would, without the vectors.

        Raises:
            UserError: the threshold is above 1 or below the floor of the run.

        """
        _check(threshold, self.floor)
        return replace(self, threshold=threshold)


def deduplicate(ids: Sequence[str], vectors: np.ndarray, *, threshold: float, floor: float | None = None) -> Duplicates:
    """Remove each row whose cosine with an earlier kept row is at or above the threshold.

    `vectors` has one row of length 1 for each id; `floor` is by default REACH below the threshold.

    Raises:
        UserError: the threshold is above 1 or below the floor.

    """
    floor = round(threshold - REACH, DIGITS) if floor is None else floor
    _check(threshold, floor)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if len(ids) != len(vectors) or not np.allclose(np.linalg.norm(vectors, axis=-1), 1, rtol=0, atol=CLOSE):
        raise ValueError(f"{len(ids)} ids need as many rows of length 1, not an array of shape {vectors.shape}")
    blocks = _all_pairs(len(ids)) if len(ids) <= EXACT_ROWS else _within_clusters(vectors)
    walk = _Walk(floor, vectors)
    for block in blocks:
        walk.over(block)
    return Duplicates(threshold, floor, tuple(ids), tuple(walk.spans))


def _check(threshold: float, floor: float) -> None:
    if not floor <= threshold <= 1:
        raise UserError(
            f"the duplicate threshold {threshold:g} is not between {floor:g} and 1.",
            todo="A cosine can be at most 1; for one below the floor, deduplicate again.",
        )


class _Walk:
    """The walk through the rows in order, one block after the other."""

    def __init__(self, floor: float, vectors: np.ndarray) -> None:
        self.floor, self.vectors = floor, vectors
        self.short = _shortened(vectors, floor)
        self.spans: list[Span] = []
        self.kept: dict[int, Intervals] = {}  # at which thresholds a row stays; ALWAYS for those not named
        self.lowest = np.full(len(vectors), -math.inf)  # the lower end of that

    def over(self, block: Iterable[Comparison]) -> None:
        """Settle the rows of one block, of which every earlier row is settled."""
        found = [pairs for rows, others in block for pairs in self.similar(rows, others)]
        if not found:
            return
        rows, twins, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((twins, -scores, rows))
        ranked = zip(rows[order].tolist(), twins[order].tolist(), scores[order].tolist(), strict=True)
        for row, pairs in groupby(ranked, key=lambda pair: pair[0]):
            self.settle(row, pairs)

    def similar(self, rows: np.ndarray, others: np.ndarray) -> Iterator[Pairs]:
        """Yield the pairs at or above the floor, but for those whose earlier row is never kept at their score."""
        others = others[self.lowest[others] < 1]
        queries = self.short[rows]
        for start in range(0, len(others), COLUMNS):
            columns = others[start : start + COLUMNS]
            least = np.maximum(self.lowest[columns], self.floor).astype(np.float32) - np.float32(CLOSE)
            hits = np.flatnonzero(queries @ self.short[columns].T >= least)
            later, earlier = rows[hits // len(columns)], columns[hits % len(columns)]
            later, earlier = later[earlier < later], earlier[earlier < later]
            scores = _scores(self.vectors, later, earlier)
            reached = scores >= self.floor
            yield later[reached], earlier[reached], scores[reached]

    def settle(self, row: int, pairs: Iterable[tuple[int, int, float]]) -> None:
        """Share out the thresholds of a row among its twins, the most similar first."""
        free = ALWAYS
        for _, twin, score in pairs:
            if free[0][0] >= score:
                break
            if self.lowest[twin] >= score:
                continue
            stays = self.kept.get(twin, ALWAYS)
            taken = _overlap(_overlap(free, stays), ((-math.inf, score),))
            self.spans += [Span(row, twin, score, low, high) for low, high in taken]
            free = _without(free, taken)
        self.kept[row] = free
        self.lowest[row] = free[0][0]


def _overlap(first: Intervals, second: Intervals) -> Intervals:
    """Return the thresholds in both, ascending."""
    both = ((max(a, c), min(b, d)) for a, b in first for c, d in second)
    return tuple((low, high) for low, high in both if low < high)


def _without(all_: Intervals, taken: Intervals) -> Intervals:
    """Return the thresholds in the first and not in the second, ascending."""
    edges = (-math.inf, *(edge for interval in taken for edge in interval), math.inf)
    return _overlap(all_, tuple(zip(edges[::2], edges[1::2], strict=True)))


def _scores(vectors: np.ndarray, later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair, summed in float64 and rounded to DIGITS."""
    scores = np.empty(len(later))
    for start in range(0, len(later), PAIRS):
        part = slice(start, start + PAIRS)
        scores[part] = np.einsum("ij,ij->i", vectors[later[part]], vectors[earlier[part]], dtype=np.float64)
    return np.minimum(np.round(scores, DIGITS), 1.0)


def _shortened(vectors: np.ndarray, floor: float) -> np.ndarray:
    """Return shorter vectors whose products are never below the cosines, or the vectors where that saves nothing.

    Turned to their principal axes, x·y is the product over the first axes plus that over the rest, which is at most the
    product of the two lengths there: one number a row. Pairs that pass at the floor are scored again in full.
    """
    count, size = vectors.shape
    if count < 2 * SAMPLE:
        return vectors
    axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))[1][:, ::-1].astype(np.float32)
    sample = vectors[:: count // SAMPLE]

    def cost(width: int) -> float:
        short = _bounds(sample, axes, width)
        passing = np.count_nonzero(short @ short.T >= floor) - len(sample)
        return width / size + PAIR_COST * passing / len(sample) ** 2

    best = min((size // 4, 3 * size // 8, size // 2, 5 * size // 8, 3 * size // 4), key=cost)
    return _bounds(vectors, axes, best) if cost(best) < 1 else vectors


def _bounds(vectors: np.ndarray, axes: np.ndarray, width: int) -> np.ndarray:
    """Return each row on the first `width` axes, and the length of the rest of it."""
    short = np.empty((len(vectors), width + 1), dtype=vectors.dtype)
    for start in range(0, len(vectors), COLUMNS):
        turned = vectors[start : start + COLUMNS] @ axes
        short[start : start + COLUMNS, :width] = turned[:, :width]
        short[start : start + COLUMNS, width] = np.linalg.norm(turned[:, width:], axis=1)
    return short


def _all_pairs(count: int) -> Iterator[list[Comparison]]:
    """Yield, block by block, the rows with all that come before."""
    everything = np.arange(count)
    for start in range(0, count, ROWS):
        yield [(everything[start : start + ROWS], everything[: start + ROWS])]


def _within_clusters(vectors: np.ndarray) -> Iterator[Iterator[Comparison]]:
    """Yield, block by block, the rows with the members of the NEAREST clusters of each, each row a member of one.

    The clusters do not depend on the threshold, so cutting again gives what a fresh run does.
    """
    count = len(vectors)
    centres = _centres(vectors, round(CLUSTERS * math.sqrt(count)))
    near = _nearest(vectors, centres)
    homes, members = np.argsort(near[:, 0], kind="stable"), np.arange(len(centres) + 1)
    members = np.split(homes, np.searchsorted(near[homes, 0], members[1:-1]))
    # Few blocks, that each cluster meets many rows at once in a product; several, that the pairs of one fit in memory.
    step = max(ROWS, count // 16)

    def block(start: int) -> Iterator[Comparison]:
        asked = near[start : start + step].ravel()
        order = np.argsort(asked, kind="stable")
        groups = np.split(order // near.shape[1] + start, np.searchsorted(asked[order], np.arange(1, len(centres))))
        for rows, cluster in zip(groups, members, strict=True):
            if len(rows):
                yield rows, cluster[: np.searchsorted(cluster, rows[-1])]

    return (block(start) for start in range(0, count, step))


def _centres(vectors: np.ndarray, clusters: int) -> np.ndarray:
    """Return the centres, of length 1, that k-means finds on a sample in ROUNDS rounds; the same every time."""
    choose = np.random.default_rng(0)
    sample = vectors[np.sort(choose.choice(len(vectors), min(len(vectors), 32 * clusters), replace=False))]
    centres = sample[choose.choice(len(sample), clusters, replace=False)]
    for _ in range(ROUNDS):
        homes = np.concatenate([(part @ centres.T).argmax(1) for part in _parts(sample)])
        order = np.argsort(homes, kind="stable")
        used, starts = np.unique(homes[order], return_index=True)
        sums = np.add.reduceat(sample[order], starts, axis=0)
        centres[used] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return centres


def _nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the NEAREST centres of each row, the very nearest first."""
    near = []
    for part in _parts(vectors):
        products = part @ centres.T
        some = np.argpartition(products, -min(NEAREST, len(centres)), axis=1)[:, -NEAREST:].astype(np.int32)
        first = np.take_along_axis(products, some, axis=1).argmax(1)[:, None]
        home = np.take_along_axis(some, first, axis=1)
        np.put_along_axis(some, first, some[:, :1], axis=1)
        some[:, :1] = home
        near.append(some)
    return np.concatenate(near)


def _parts(vectors: np.ndarray) -> Iterator[np.ndarray]:
    return (vectors[start : start + COLUMNS] for start in range(0, len(vectors), COLUMNS))
