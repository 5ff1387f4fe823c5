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
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Intervals = tuple[tuple[float, float], ...]  # of thresholds t with low < t <= high
    Comparison = tuple[np.ndarray, np.ndarray]  # rows, and the rows they are held against, both ascending
    Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # row, an earlier row, score
    Compare = Callable[["_Walk", Iterable[Comparison]], Iterable[Pairs]]

EXACT_ROWS: int = 100_000
REACH = 0.1  # how far below its threshold a result can be cut again
THRESHOLDS = {"hashing": 0.7, "minilm": 0.85}
LONG_THRESHOLDS = {"hashing": 0.5, "minilm": 0.45}
UNMEASURED = 0.9

ROWS, COLUMNS = 1024, 4096  # one block of products: 16 MB
FEWEST = 64  # columns
PAIRS = 1024  # scored at a time
CLOSE = 1e-5  # more than float32 products are off by
DIGITS = 6  # of a score, so that a pair scores the same in whatever block it meets
SAMPLE = 2048  # rows on which shortening is tried
PAIR_COST = 100  # scoring one pair again, in full-length products of a block
CLUSTERS = 1.5  # times the square root of the rows
NEAREST = 64  # clusters that a row is compared within, at most
ENOUGH = 0.997  # of the sampled rows that have a twin, whose most similar one is in a cluster that is looked into
ASKED, FEWEST_TWINS = 4096, 100  # rows of that sample, and how many with a twin it takes to go by them
LITTLE = 16  # clusters looked into where they are fewer: there is little to find, and little to miss
ROUNDS = 3  # of k-means
ALWAYS: Intervals = ((-math.inf, math.inf),)


def default_threshold(embedder: str, *, long: bool = False) -> float:
    """Return the cosine from which rows are duplicates: measured for hashing and minilm, UNMEASURED for the rest.

    `long` is for the rows of `embed_documents`.
    """
    return (LONG_THRESHOLDS if long else THRESHOLDS).get(embedder, UNMEASURED)


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


def deduplicate(
    ids: Sequence[str],
    vectors: np.ndarray,
    *,
    threshold: float,
    floor: float | None = None,
    before: Duplicates | None = None,
    compare: Compare | None = None,
) -> Duplicates:
    """Remove each row whose cosine with an earlier kept row is at or above the threshold.

    `vectors` has one row of length 1 for each id; `floor` is by default REACH below the threshold. `before` is what
    was found of the first of these rows at the same floor: up to EXACT_ROWS rows, they are not compared again.
    `compare` carries the comparisons of a block out elsewhere, as `compare.py` does.

    Raises:
        UserError: the threshold is above 1 or below the floor.

    """
    floor = round(threshold - REACH, DIGITS) if floor is None else floor
    _check(threshold, floor)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    if len(ids) != len(vectors) or not np.allclose(lengths, 1, rtol=0, atol=CLOSE):
        raise ValueError(f"{len(ids)} ids need as many rows of length 1, not an array of shape {vectors.shape}")
    walk = _Walk(floor, vectors)
    if len(ids) > EXACT_ROWS:
        blocks = _within_clusters(vectors, walk.short, threshold)
    else:
        if before is not None:
            if before.floor != floor or before.ids != tuple(ids[: len(before.ids)]):
                raise ValueError("what was found before is of other rows, or at another floor")
            walk.go_on_from(before)
        blocks = _all_pairs(walk.settled, len(ids))
    for end, block in blocks:
        walk.over(end, compare(walk, block) if compare else walk.here(block))
    return Duplicates(threshold, floor, tuple(ids), tuple(walk.spans))


def _check(threshold: float, floor: float) -> None:
    if threshold > 1:
        raise UserError(f"the duplicate threshold {threshold:g} is above 1, the highest that a cosine can be.")
    if threshold < floor:
        raise UserError(
            f"the duplicate threshold {threshold:g} is below {floor:g}, the lowest that this result can be cut at.",
            todo="Deduplicate again at that threshold.",
        )


class _Walk:
    """The walk through the rows in order, one block after the other."""

    def __init__(self, floor: float, vectors: np.ndarray) -> None:
        self.floor, self.vectors = floor, vectors
        self.short = _shortened(vectors, floor)
        self.spans: list[Span] = []
        self.settled = 0
        self.kept: dict[int, Intervals] = {}  # the thresholds at which a row stays; ALWAYS for those not named
        self.lowest = np.full(len(vectors), -math.inf)  # below which it never stays,
        self.solid = np.full(len(vectors), -math.inf)  # and above which it always does

    def go_on_from(self, before: Duplicates) -> None:
        """Settle the first rows as they were settled before."""
        self.spans, self.settled = list(before.spans), len(before.ids)
        for row, spans in groupby(before.spans, key=lambda span: span.row):
            taken = tuple(sorted((span.low, span.high) for span in spans))
            self._stays(row, _without(ALWAYS, taken))

    def here(self, block: Iterable[Comparison]) -> Iterator[Pairs]:
        """Yield the pairs of a block that can matter."""
        return (pairs for rows, others in block for pairs in self.similar(rows, others))

    def over(self, end: int, pairs: Iterable[Pairs]) -> None:
        """Settle the rows up to `end`, with all the pairs that they are in as the later row."""
        found = list(pairs)
        self.settled = end
        if not found:
            return
        rows, twins, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((twins, -scores, rows))
        ranked = zip(rows[order].tolist(), twins[order].tolist(), scores[order].tolist(), strict=True)
        for row, own in groupby(ranked, key=lambda pair: pair[0]):
            self.settle(row, own)

    def similar(self, rows: np.ndarray, others: np.ndarray) -> Iterator[Pairs]:
        """Yield the pairs at or above the floor that can matter.

        A settled row cannot where it never stays at its score, nor where a more similar one stays whenever it does.
        So that crowded rows meet the latter first, they come in the order of `solid`, in pieces that grow.
        """
        old, new = np.split(others, [np.searchsorted(others, self.settled)])
        old = old[self.lowest[old] < 1]
        old = old[np.argsort(self.solid[old], kind="stable")]
        best = np.full(len(rows), -math.inf)
        queries = self.short[rows]
        for columns in (*_growing(old), *_growing(new)):
            products = queries @ self.short[columns].T
            hits = np.flatnonzero(products >= np.maximum(self.lowest[columns], self.floor).astype(np.float32) - CLOSE)
            asking, column = np.divmod(hits, len(columns))
            twins = columns[column]
            matter = (twins < rows[asking]) & (
                (products.ravel()[hits] >= best[asking] - CLOSE)
                | (self.lowest[twins] < self.solid[twins])
                | (twins >= self.settled)
            )
            asking, twins = asking[matter], twins[matter]
            scores = _scores(self.vectors, rows[asking], twins)
            np.maximum.at(best, asking, scores)
            reached = scores >= self.floor
            yield rows[asking[reached]], twins[reached], scores[reached]

    def settle(self, row: int, pairs: Iterable[tuple[int, int, float]]) -> None:
        """Share out the thresholds of a row among its twins, the most similar first."""
        free = ALWAYS
        for _, twin, score in pairs:
            if free[0][0] >= score:
                break
            if self.lowest[twin] >= (score if free[-1][0] < score else min(score, free[-2][1])):
                continue
            stays = self.kept.get(twin, ALWAYS)
            taken = _overlap(_overlap(free, stays), ((-math.inf, score),))
            self.spans += [Span(row, twin, score, low, high) for low, high in taken]
            free = _without(free, taken)
        self._stays(row, free)

    def _stays(self, row: int, free: Intervals) -> None:
        self.kept[row] = free
        self.lowest[row], self.solid[row] = free[0][0], free[-1][0]


def _growing(columns: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the columns in pieces, each four times as long as the one before, up to COLUMNS."""
    start, size = 0, FEWEST
    while start < len(columns):
        yield columns[start : start + size]
        start, size = start + size, min(4 * size, COLUMNS)


def _overlap(first: Intervals, second: Intervals) -> Intervals:
    """Return the thresholds in both; all intervals are ascending and apart."""
    both, left, right = [], 0, 0
    while left < len(first) and right < len(second):
        (low, high), (other_low, other_high) = first[left], second[right]
        if max(low, other_low) < min(high, other_high):
            both.append((max(low, other_low), min(high, other_high)))
        if high < other_high:
            left += 1
        else:
            right += 1
    return tuple(both)


def _without(free: Intervals, taken: Intervals) -> Intervals:
    """Return the thresholds in the first and not in the second, ascending."""
    edges = (-math.inf, *(edge for interval in taken for edge in interval), math.inf)
    return _overlap(free, tuple(zip(edges[::2], edges[1::2], strict=True)))


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


def _all_pairs(first: int, count: int) -> Iterator[tuple[int, list[Comparison]]]:
    """Yield the end of each block of rows from the first on, and the block with all that come before."""
    everything = np.arange(count)
    for start in range(first, count, ROWS):
        end = min(start + ROWS, count)
        yield end, [(everything[start:end], everything[:end])]


def _within_clusters(
    vectors: np.ndarray, short: np.ndarray, threshold: float
) -> Iterator[tuple[int, Iterator[Comparison]]]:
    """Yield the end of each block of rows, and the rows with the members of the nearest clusters of each.

    Each row is a member of one cluster. The clusters do not depend on the threshold; how many of them are looked into
    does, where there are rows enough to tell.
    """
    count = len(vectors)
    main = short[:, :-1] if short is not vectors else vectors  # the first axes say well enough who is near whom
    centres = _centres(main, min(count, round(CLUSTERS * math.sqrt(count))))
    near = np.concatenate([_nearest(products) for products in _products(main, centres)])
    members = _grouped(near[:, 0], len(centres))
    near = near[:, : _enough(vectors, near, members, threshold)]

    def block(start: int, end: int) -> Iterator[Comparison]:
        for asking, cluster in zip(_grouped(near[start:end].ravel(), len(centres)), members, strict=True):
            if len(asking):
                yield asking // near.shape[1] + start, cluster[: np.searchsorted(cluster, end)]

    # Few blocks, that each cluster meets many rows at once in a product; several, that the pairs of one fit in memory.
    step = max(ROWS, count // 8)
    for start in range(0, count, step):
        end = min(start + step, count)
        yield end, block(start, end)


def _enough(vectors: np.ndarray, near: np.ndarray, members: list[np.ndarray], threshold: float) -> int:
    """Return how many of its nearest clusters a row is to be compared within: a sample tells where the twins are."""
    most = near.shape[1]
    if len(vectors) < 4 * ASKED:
        return most
    rows = np.arange(0, len(vectors), len(vectors) // ASKED)
    best, rank = np.full(len(rows), threshold, dtype=np.float32), np.full(len(rows), -1)
    for cluster, asked in zip(members, _grouped(near[rows].ravel(), len(members)), strict=True):
        if not (len(asked) and len(cluster)):
            continue
        asking, place = np.divmod(asked, most)
        products = vectors[rows[asking]] @ vectors[cluster].T
        products[cluster >= rows[asking, None]] = -1
        highest = products.max(axis=1)
        is_better = highest >= best[asking]
        best[asking[is_better]], rank[asking[is_better]] = highest[is_better], place[is_better]
    ranks = rank[rank >= 0]
    return min(most, LITTLE) if len(ranks) < FEWEST_TWINS else 1 + int(np.quantile(ranks, ENOUGH, method="higher"))


def _grouped(keys: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the positions, ascending, of each key from 0 to count - 1."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.searchsorted(keys[order], np.arange(1, count)))


def _centres(vectors: np.ndarray, clusters: int) -> np.ndarray:
    """Return the centres, of length 1, that k-means finds on a sample in ROUNDS rounds; the same every time."""
    choose = np.random.default_rng(0)
    sample = vectors[np.sort(choose.choice(len(vectors), min(len(vectors), 32 * clusters), replace=False))]
    centres = sample[choose.choice(len(sample), clusters, replace=False)]
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), CLOSE)
    for _ in range(ROUNDS):
        homes = np.concatenate([products.argmax(axis=1) for products in _products(sample, centres)])
        for cluster, members in enumerate(_grouped(homes, clusters)):
            total = sample[members].sum(axis=0)
            # A cluster that lost its members, or whose members cancel out, stays where it was.
            if (length := np.linalg.norm(total)) > CLOSE:
                centres[cluster] = total / length
    return centres


def _products(vectors: np.ndarray, centres: np.ndarray) -> Iterator[np.ndarray]:
    return (vectors[start : start + COLUMNS] @ centres.T for start in range(0, len(vectors), COLUMNS))


def _nearest(products: np.ndarray) -> np.ndarray:
    """Return the NEAREST centres of each row, the nearest first.

    They are among as many groups of four as have the highest best of their four, and those are found sooner.
    """
    count = products.shape[1]
    most, group = min(NEAREST, count), count // 4
    likely = np.broadcast_to(np.arange(count), products.shape)
    if group > most:
        first, second, third, fourth = (products[:, at * group : (at + 1) * group] for at in range(4))
        highest = np.maximum(np.maximum(first, second), np.maximum(third, fourth))
        best = np.argpartition(highest, -most, axis=1)[:, -most:]
        left_over = np.broadcast_to(np.arange(4 * group, count), (len(products), count - 4 * group))
        likely = np.concatenate([*(best + at * group for at in range(4)), left_over], axis=1)
        products = np.take_along_axis(products, likely, axis=1)
    near = np.argpartition(products, -most, axis=1)[:, -most:]
    order = np.argsort(-np.take_along_axis(products, near, axis=1), axis=1, kind="stable")
    return np.take_along_axis(likely, np.take_along_axis(near, order, axis=1), axis=1).astype(np.uint16)
