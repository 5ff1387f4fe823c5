"""Prevalence: how often each pattern is there, how sure that is, and where it is more frequent than elsewhere."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from habitus.records import Level, Match, Pattern, Rated

Z = 1.959964
"""Standard normal quantile of a 95% interval."""
LEVELS: tuple[Level, ...] = ("broad", "strict")
FEWEST_IN_GROUP = 10
"""Texts of a group from which its rate is compared with the rest."""
NOTABLE = 0.05
"""The corrected p below which a difference is told of."""
AT_HOME, MOST_OF_ALL = 0.9, 0.6
"""A pattern lives in a group that has this share of its texts, and no more than that of all."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95% Wilson interval."""

    count: int
    of: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more frequent a pattern is here than there, with its 95% interval."""

    difference: float
    low: float
    high: float
    p: float
    """Exact, two-sided, corrected for the number of patterns after Holm."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of texts, and how frequent a pattern is in it and in the others."""

    facet: str
    value: str
    here: Rate
    rest: Rate
    p: float
    """Corrected for the number of groups and patterns."""
    is_notable: bool
    """The difference is no accident."""
    is_home: bool
    """Nearly all of the pattern is in it."""

    @property
    def is_more(self) -> bool:
        """Whether the pattern is notably more frequent in it than in the others."""
        return self.is_notable and self.here.rate > self.rest.rate


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two ratings of the same texts agree."""

    of: int
    agreement: float
    kappa: float | None
    """Cohen's; None where both always say the same one thing."""


@dataclass(frozen=True, slots=True)
class LevelRates:
    """One pattern by one of the two tests."""

    here: Rate
    there: Rate | None = None
    """In the reference."""
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Prevalence:
    """All that is known of how often a pattern is there."""

    id: str
    name: str
    broad: LevelRates
    strict: LevelRates
    unsupported: int
    """Verdicts whose quotation does not occur; not counted as positive."""
    groups: tuple[Group, ...]
    """By what is told of the texts; those in which it is notably more frequent come first."""
    repeated: Agreement | None
    """The judge against itself, by the broad test."""


@dataclass(frozen=True, slots=True)
class Together:
    """Two patterns that occur together more often, or less, than chance would have it."""

    one: str
    other: str
    both: int
    expected: float
    phi: float
    p: float


def wilson(count: int, total: int, z: float = Z) -> tuple[float, float]:
    """Return the interval of a share after Wilson (1927), by default of 95%; (0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    share, weight = count / total, z * z / total
    middle, reach = share + weight / 2, z * math.sqrt(share * (1 - share) / total + weight / total / 4)
    low, high = (middle - reach) / (1 + weight), (middle + reach) / (1 + weight)
    return (0.0 if not count else low), (1.0 if count == total else high)


def rate_of(count: int, of: int) -> Rate:
    """Return a share with its interval."""
    return Rate(count, of, count / of if of else 0.0, *wilson(count, of))


def sample_for(within: float, rate: float = 0.5) -> int:
    """Return how many texts must be rated for a rate to be known to within so much either way."""
    return math.ceil(Z**2 * rate * (1 - rate) / within**2)


def is_there(match: Match | None, level: Level) -> bool:
    """Tell whether a verdict passes a test, with words that occur."""
    passes = {"broad": ("broad", "strict"), "strict": ("strict",), "no": ()}[level]
    return match is not None and match.supported and match.level in passes


def prevalence(
    patterns: Sequence[Pattern],
    rated: Sequence[Rated],
    *,
    facets: Mapping[str, Mapping[str, str]],
    reference: Sequence[Rated] = (),
    repeated: Sequence[Rated] = (),
    paired: bool = False,
) -> list[Prevalence]:
    """Return every pattern's rates, the most frequent first.

    `facets` tells of each text what groups it is in. With `paired`, a text of the reference is compared with the one
    of the same id: chosen and rejected answers.
    """
    differences = {level: _differences(patterns, rated, reference, level, paired=paired) for level in LEVELS}
    groups = _groups(patterns, rated, facets)
    rows = []
    for pattern in patterns:
        levels = {}
        for level in LEVELS:
            there = _rate(pattern.id, reference, level) if reference else None
            levels[level] = LevelRates(_rate(pattern.id, rated, level), there, differences[level].get(pattern.id))
        rows.append(Prevalence(
            id=pattern.id,
            name=pattern.name,
            broad=levels["broad"],
            strict=levels["strict"],
            unsupported=sum(not one.verdicts[pattern.id].supported for one in rated if pattern.id in one.verdicts),
            groups=tuple(groups.get(pattern.id, ())),
            repeated=_repeated(pattern.id, rated, repeated),
        ))  # fmt: skip
    return sorted(rows, key=lambda row: (-row.broad.here.rate, -row.strict.here.rate))


def flags(pattern: str, rated: Sequence[Rated], level: Level) -> dict[str, bool]:
    """Return by text whether a pattern is in it."""
    return {one.id: is_there(one.verdicts.get(pattern), level) for one in rated}


def _rate(pattern: str, rated: Sequence[Rated], level: Level) -> Rate:
    found = flags(pattern, rated, level)
    return rate_of(sum(found.values()), len(found))


def _differences(
    patterns: Sequence[Pattern], rated: Sequence[Rated], reference: Sequence[Rated], level: Level, *, paired: bool
) -> dict[str, Difference]:
    if not reference:
        return {}
    compare = _paired if paired else _apart
    if not rated:
        return {}
    found = {one.id: compare(flags(one.id, rated, level), flags(one.id, reference, level)) for one in patterns}
    corrected = holm([row[3] for row in found.values()])
    return {name: Difference(*row[:3], p) for (name, row), p in zip(found.items(), corrected, strict=True)}


def _apart(here: Mapping[str, bool], there: Mapping[str, bool]) -> tuple[float, float, float, float]:
    """Return the difference of two independent shares, its interval (Newcombe's) and Fisher's p."""
    from scipy.stats import fisher_exact
    from statsmodels.stats.proportion import confint_proportions_2indep

    one, two = sum(here.values()), sum(there.values())
    low, high = confint_proportions_2indep(one, len(here), two, len(there), method="newcomb", compare="diff")
    p = fisher_exact([[one, len(here) - one], [two, len(there) - two]]).pvalue
    return one / len(here) - two / len(there), float(low), float(high), float(p)


def _paired(here: Mapping[str, bool], there: Mapping[str, bool]) -> tuple[float, float, float, float]:
    """Return the difference of two shares of the same texts, its interval (Bonett and Price, 2012), McNemar's p."""
    from scipy.stats import binomtest

    shared = here.keys() & there.keys()
    gained = sum(here[name] and not there[name] for name in shared)
    lost = sum(there[name] and not here[name] for name in shared)
    more, less = (gained + 1) / (len(shared) + 2), (lost + 1) / (len(shared) + 2)
    half = Z * math.sqrt(max(more + less - (more - less) ** 2, 0.0) / (len(shared) + 2))
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    difference = (gained - lost) / max(len(shared), 1)
    return difference, max(more - less - half, -1.0), min(more - less + half, 1.0), float(p)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number."""
    if not values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(values, method="holm")[1]]


def _groups(
    patterns: Sequence[Pattern], rated: Sequence[Rated], facets: Mapping[str, Mapping[str, str]]
) -> dict[str, list[Group]]:
    """Return by pattern the groups of some size, those in which it is notably more frequent than in the rest first."""
    from scipy.stats import fisher_exact

    members: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in rated:
        for facet, value in facets.get(one.id, {}).items():
            members[facet, value].add(one.id)
    everything = frozenset(one.id for one in rated)
    # of a facet with two values, each is the rest of the other: one test, and not two to correct for
    parts = {
        name: frozenset((frozenset(inside), everything - inside))
        for name, inside in members.items()
        if FEWEST_IN_GROUP <= len(inside) <= len(rated) - FEWEST_IN_GROUP
    }
    found: dict[str, list[Group]] = {}
    tests: dict[tuple[str, frozenset[frozenset[str]]], float] = {}
    for pattern in patterns:
        there = flags(pattern.id, rated, "broad")
        total, found[pattern.id] = sum(there.values()), []
        for name, part in parts.items():
            inside = members[name]
            count = sum(there[one] for one in inside)
            here, rest = rate_of(count, len(inside)), rate_of(total - count, len(rated) - len(inside))
            p = fisher_exact([[count, here.of - count], [rest.count, rest.of - rest.count]]).pvalue
            tests[pattern.id, part] = float(p)
            is_home = count >= AT_HOME * total > 0 and len(inside) <= MOST_OF_ALL * len(rated)
            found[pattern.id].append(Group(*name, here, rest, float(p), is_notable=False, is_home=is_home))
    sound = dict(zip(tests, holm(list(tests.values())), strict=True))
    return {
        name: _ranked([_told(group, sound[name, parts[group.facet, group.value]]) for group in groups])
        for name, groups in found.items()
    }


def _told(group: Group, p: float) -> Group:
    """Return a group with its corrected p, and what follows from it."""
    is_notable = p < NOTABLE
    return replace(group, p=p, is_notable=is_notable, is_home=group.is_home and is_notable)


def _ranked(groups: list[Group]) -> list[Group]:
    return sorted(groups, key=lambda one: (not one.is_home, not one.is_more, not one.is_notable, one.p))


def together(patterns: Sequence[Pattern], rated: Sequence[Rated]) -> list[Together]:
    """Return the pairs of patterns that are not independent of each other, the strongest bond first."""
    from scipy.stats import fisher_exact

    there = {one.id: flags(one.id, rated, "broad") for one in patterns}
    total = len(rated)
    found = []
    for one, other in combinations(there, 2):
        first, second = sum(there[one].values()), sum(there[other].values())
        both = sum(there[one][name] and there[other][name] for name in there[one])
        spread = first * (total - first) * second * (total - second)
        if not spread:
            continue
        cells = [[both, first - both], [second - both, total - first - second + both]]
        phi = (both * total - first * second) / math.sqrt(spread)
        p = float(fisher_exact(cells).pvalue)
        found.append(Together(one, other, both, first * second / total, phi, p))
    corrected = zip(found, holm([row.p for row in found]), strict=True)
    told = [Together(row.one, row.other, row.both, row.expected, row.phi, p) for row, p in corrected if p < NOTABLE]
    return sorted(told, key=lambda row: -abs(row.phi))


def _repeated(pattern: str, rated: Sequence[Rated], repeated: Sequence[Rated]) -> Agreement | None:
    again = flags(pattern, repeated, "broad")
    first = {name: there for name, there in flags(pattern, rated, "broad").items() if name in again}
    return agreement([(first[name], again[name]) for name in first]) if first else None


def agreement(pairs: Sequence[tuple[Any, Any]], weights: Sequence[float] | None = None) -> Agreement:
    """Return how far two raters agree who rated the same things, each thing counted by its weight."""
    weights = weights or [1.0] * len(pairs)
    total = sum(weights)
    same = sum(weight for (one, other), weight in zip(pairs, weights, strict=True) if one == other) / total
    ones: Counter[Any] = Counter()
    others: Counter[Any] = Counter()
    for (one, other), weight in zip(pairs, weights, strict=True):
        ones[one] += weight  # ty: ignore[invalid-assignment]
        others[other] += weight  # ty: ignore[invalid-assignment]
    chance = sum(count * others[value] for value, count in ones.items()) / total**2
    return Agreement(len(pairs), same, (same - chance) / (1 - chance) if chance < 1 - 1e-12 else None)


def corrected(judged: Mapping[str, Level], marks: Mapping[str, bool], draws: int = 20_000) -> Rate:
    """Return a rate with the judge's errors taken out by what a person said of some of the texts.

    The texts that were marked may have been chosen by the level that the judge gave them, though not by anything else.
    The shares of the levels, and those of marks within each, have Jeffreys posteriors; what follows for the rate is
    drawn from them.
    """
    import numpy as np

    random = np.random.default_rng(0)
    levels = list(dict.fromkeys(judged.values()))
    sizes = Counter(judged.values())
    shares = random.dirichlet([sizes[level] + 0.5 for level in levels], draws)
    rates = np.zeros(draws)
    for at, level in enumerate(levels):
        said = [mark for name, mark in marks.items() if judged.get(name) == level]
        rates += shares[:, at] * random.beta(sum(said) + 0.5, len(said) - sum(said) + 0.5, draws)
    low, middle, high = (float(one) for one in np.quantile(rates, (0.025, 0.5, 0.975)))
    marked = [mark for name, mark in marks.items() if name in judged]
    return Rate(sum(marked), len(marked), middle, low, high)


def powered(rated: Sequence[bool], predicted: Sequence[float], rest: Sequence[float]) -> Rate:
    """Return the rate over a whole dataset from a judge on some texts and a cheap prediction on those and the rest.

    Prediction-powered inference (Angelopoulos et al., 2023), by the ppi-python package, with the weight of the
    predictions tuned to the data.
    """
    import numpy as np
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    truth, seen, unseen = (np.asarray(one, dtype=float) for one in (rated, predicted, rest))
    middle = float(np.ravel(ppi_mean_pointestimate(truth, seen, unseen))[0])
    low, high = (float(np.ravel(one)[0]) for one in ppi_mean_ci(truth, seen, unseen, alpha=0.05))
    return Rate(int(truth.sum()), len(truth), middle, max(low, 0.0), min(high, 1.0))
