"""One set of statistics for every eval: rates and means with intervals, arms compared on the same items."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import binomtest, t
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

LEVEL = 0.95
POWER_Z = 0.8416
"""Standard errors beyond the critical value at which a difference is found four times in five."""
FLIPS = 10_000
EXACT = 14
"""Clusters up to which every way of flipping signs is counted."""


@dataclass(frozen=True)
class Estimate:
    """A mean or a rate with its interval."""

    value: float
    low: float
    high: float
    count: int
    clusters: int
    detectable: float
    """The smallest difference from another arm of the same size and spread that is found four times in five."""


@dataclass(frozen=True)
class Difference:
    """What an arm has more than another on the same items."""

    value: float
    low: float
    high: float
    p: float
    pairs: int
    clusters: int
    detectable: float
    test: str
    """`McNemar` or `permutation`."""


def rate(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Estimate:
    """Return a rate of yes (1) and no (0) with Wilson's interval, the count reduced by what the clusters cost."""
    found = np.asarray(values, float)
    value, error, groups = _clustered(found, clusters)
    size = float(groups) if groups == len(found) or not error else _independent(value, error, len(found), groups)
    low, high = proportion_confint(value * size, size, alpha=1 - LEVEL, method="wilson")
    shrunk = (value * size + 2) / (size + 4)
    spread = error or math.sqrt(shrunk * (1 - shrunk) / size)
    detectable = _detectable(spread * math.sqrt(2), groups, most=1.0)
    return Estimate(value, float(low), float(high), len(found), groups, detectable)


def _independent(value: float, error: float, count: int, groups: int) -> float:
    """Return the count of independent samples that would have this error, less what few clusters leave unknown of it.

    The second is Korn and Graubard's: without it, the interval of three clusters holds the truth in 86% of runs.
    """
    size = min(count, value * (1 - value) / error**2)
    unsure = float(t.ppf(0.5 + LEVEL / 2, count - 1) / t.ppf(0.5 + LEVEL / 2, groups - 1))
    return max(size * unsure**2, min(size, groups), 1.0)


def mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    scale: tuple[float, float] | None = None,
) -> Estimate:
    """Return a mean with an interval from the spread between clusters, by Student's t; none where nothing varies."""
    found = np.asarray(values, float)
    value, error, groups = _clustered(found, clusters)
    low, high = _interval(value, error, groups, *(scale or (-math.inf, math.inf)))
    most = scale[1] - scale[0] if scale else math.inf
    return Estimate(value, low, high, len(found), groups, _detectable(error * math.sqrt(2), groups, most=most))


def compare(
    ours: Sequence[float],
    theirs: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    scale: tuple[float, float] | None = None,
    seed: int = 0,
) -> Difference:
    """Return what `ours` has more than `theirs`, pair by pair.

    Yes and no on unclustered pairs go through McNemar's exact test, all else through a permutation that flips the
    signs of whole clusters. For the interval of yes and no two pairs are added, one each way, in the
    manner of Agresti and Min: no difference seen is not none there.
    """
    one, other = np.asarray(ours, float), np.asarray(theirs, float)
    apart = one - other
    value, error, groups = _clustered(apart, clusters)
    binary = set(np.unique(np.concatenate([one, other]))) <= {0.0, 1.0}
    most = 1.0 if binary else scale[1] - scale[0] if scale else math.inf
    centre = value
    if binary:
        centre, error = _shrunk(value, float(np.abs(apart).mean()), error, groups)
    low, high = _interval(centre, error, groups, -most, most)
    if binary and groups == len(apart):
        p, test = mcnemar(int((apart > 0).sum()), int((apart < 0).sum())), "McNemar"
    else:
        p, test = permuted(_sums(apart, clusters), seed=seed), "permutation"
    return Difference(value, low, high, p, len(apart), groups, _detectable(error, groups, most=most), test)


def _shrunk(value: float, differing: float, error: float, groups: int) -> tuple[float, float]:
    """Return a difference of yes and no and its error as if one pair more differed each way, of as many as clusters."""
    size = groups + 2
    spread = math.sqrt(differing * groups + 2 - (value * groups) ** 2 / size) / size
    return value * groups / size, max(spread, error)


def _interval(centre: float, error: float, groups: int, least: float, most: float) -> tuple[float, float]:
    """Return the interval by Student's t within its bounds; none where nothing varies or one cluster is all."""
    if groups < 2 or not error:  # noqa: PLR2004  # one cluster tells nothing of the spread between clusters
        return -math.inf, math.inf
    half = float(t.ppf(0.5 + LEVEL / 2, groups - 1)) * error
    return max(centre - half, least), min(centre + half, most)


def mcnemar(more: int, fewer: int) -> float:
    """Return the exact two-sided probability of so unequal a split of the pairs that differ."""
    return float(binomtest(more, more + fewer, 0.5).pvalue) if more + fewer else 1.0


def permuted(sums: Sequence[float], *, seed: int = 0) -> float:
    """Return how often a sum at least as far from 0 comes about when each cluster's sign is a coin's."""
    totals = np.asarray([one for one in sums if one], float)
    if not len(totals):
        return 1.0
    if len(totals) <= EXACT:
        signs = 1 - 2 * ((np.arange(2 ** len(totals))[:, None] >> np.arange(len(totals))) & 1)
        return float(np.mean(np.abs(signs @ totals) >= abs(totals.sum()) - 1e-9))
    signs = np.random.default_rng(seed).choice([-1, 1], size=(FLIPS, len(totals)))
    hits = int((np.abs(signs @ totals) >= abs(totals.sum()) - 1e-9).sum())
    return (hits + 1) / (FLIPS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return probabilities corrected for having looked at several evals."""
    return [float(one) for one in multipletests(p_values, method="holm")[1]] if len(p_values) else []


def bootstrap(
    statistic: Callable[[np.ndarray], float], clusters: Sequence[Hashable], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the interval of a statistic of row numbers, whole clusters drawn with replacement."""
    groups = list(_rows(clusters).values())
    random = np.random.default_rng(seed)
    found = [
        statistic(np.concatenate([groups[at] for at in random.integers(0, len(groups), len(groups))]))
        for _ in range(draws)
    ]
    low, high = np.nanpercentile(found, [50 - 50 * LEVEL, 50 + 50 * LEVEL])
    return float(low), float(high)


def alpha(ratings: Sequence[Sequence[float]], level: Literal["nominal", "ordinal", "interval"] = "ordinal") -> float:
    """Return Krippendorff's alpha of raters by items, NaN where a rater gave none; NaN where nothing varies."""
    import krippendorff

    table = np.asarray(ratings, float)
    if len(np.unique(table[~np.isnan(table)])) < 2:  # noqa: PLR2004  # one value everywhere: nothing to agree about
        return math.nan
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement=level))


def kappa(one: Sequence[float], other: Sequence[float], categories: Sequence[float]) -> float:
    """Return Cohen's kappa of two raters with quadratic weights."""
    seen = confusion(one, other, categories) / len(one)
    apart = np.subtract.outer(categories, categories).astype(float) ** 2
    chance = np.outer(seen.sum(1), seen.sum(0))
    expected = float((apart * chance).sum())
    return 1 - float((apart * seen).sum()) / expected if expected else math.nan


def confusion(one: Sequence[float], other: Sequence[float], categories: Sequence[float]) -> np.ndarray:
    """Return how often two raters gave each pair of scores, the first rater's down."""
    place = {category: at for at, category in enumerate(categories)}
    table = np.zeros((len(place), len(place)))
    for left, right in zip(one, other, strict=True):
        table[place[left], place[right]] += 1
    return table


def _rows(clusters: Sequence[Hashable]) -> dict[Hashable, np.ndarray]:
    """Return the row numbers of each cluster."""
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for at, cluster in enumerate(clusters):
        rows[cluster].append(at)
    return {cluster: np.asarray(numbers) for cluster, numbers in rows.items()}


def _sums(values: np.ndarray, clusters: Sequence[Hashable] | None) -> list[float]:
    """Return the sum of each cluster."""
    if clusters is None:
        return list(values)
    return [float(values[rows].sum()) for rows in _rows(clusters).values()]


def _clustered(values: np.ndarray, clusters: Sequence[Hashable] | None) -> tuple[float, float, int]:
    """Return a mean, its standard error from the sums of the clusters' residuals, and the number of clusters."""
    centre = float(values.mean())
    sums = np.asarray(_sums(values - centre, clusters))
    groups = len(sums)
    if groups < 2:  # noqa: PLR2004  # one cluster tells nothing of the spread between clusters
        return centre, 0.0, groups
    error = math.sqrt(groups / (groups - 1) * float((sums**2).sum())) / len(values)
    return centre, error if error > 1e-12 else 0.0, groups  # noqa: PLR2004  # rounding


def _detectable(error: float, groups: int, most: float = math.inf) -> float:
    """Return the difference that is found four times in five, given its standard error; infinite beyond the scale."""
    if groups < 2 or not error:  # noqa: PLR2004
        return math.inf
    found = (float(t.ppf(0.5 + LEVEL / 2, groups - 1)) + POWER_Z) * error
    return found if found <= most else math.inf
