"""Over all seeds: what each arm measured, and whether the effects that a study expects show."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import asdict, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from habitus.evaluate.results import differences
from habitus.evaluate.statistics import compare, mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.measures import Measure
    from habitus.evaluate.results import Result
    from habitus.settings import Expected

    Seeds = Mapping[str, Mapping[str, Result]]
    """The results of one arm, by seed and eval."""

SHOWS, NOT, AGAINST, MISSING = "shows", "does not show", "points the other way", "not measured"
_SEED = re.compile(r"^(.+)/seed-(\d+)$")


def by_arm(logs: Mapping[str, Mapping[str, Result]]) -> dict[str, dict[str, Mapping[str, Result]]]:
    """Return the results of all runs by arm and seed; a run without a seed in its name is the arm's only one."""
    found: dict[str, dict[str, Mapping[str, Result]]] = defaultdict(dict)
    for name, results in logs.items():
        match = _SEED.match(name)
        found[match[1] if match else name][match[2] if match else ""] = results
    return dict(found)


def over_seeds(arms: Mapping[str, Seeds], evals: Sequence[Eval]) -> list[dict[str, Any]]:
    """Return the measures of each arm: their mean over the seeds, with Student's interval over these."""
    return [
        {
            "arm": arm,
            "seeds": len(seeds),
            "evals": [_of_eval(one, found) for one in evals if (found := _having(seeds, one.name))],
        }
        for arm, seeds in arms.items()
    ]


def _having(seeds: Seeds, name: str) -> dict[str, Result]:
    return {seed: results[name] for seed, results in sorted(seeds.items()) if name in results}


def _of_eval(one: Eval, seeds: Mapping[str, Result]) -> dict[str, Any]:
    """Return the measures of one eval over the seeds that it was run on in the same way."""
    rows, (same, left_out) = [], _alike(seeds)
    results = [seeds[seed] for seed in same]
    for measure in one.all_measures(results[0]):
        values = [found.value for result in results if (found := result.estimate(measure))]
        several = mean(values, scale=measure.bounds) if len(values) > 1 else None
        found = several or next((found for result in results if (found := result.estimate(measure))), None)
        rows.append({**asdict(measure), "estimate": found and asdict(found)})
    return {"name": one.name, "seeds": len(results), "left_out": left_out, "measures": rows}


def _alike(seeds: Mapping[str, Result]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return most of the seeds, which are the same measurement, and of each other one what is another there."""
    groups: list[list[str]] = []
    for seed, result in seeds.items():
        home = next((group for group in groups if not _apart(seeds[group[0]], result)), None)
        if home is None:
            groups.append(home := [])
        home.append(seed)
    most = max(groups, key=len, default=[])
    return most, [{"seed": seed, "why": _apart(seeds[most[0]], seeds[seed])} for seed in seeds if seed not in most]


def _apart(one: Result, other: Result) -> list[str]:
    """Return what keeps two seeds from being one measurement: judges, how the eval was made, or which samples."""
    return differences(one, other) + ["samples"] * (_samples(one) != _samples(other))


def _samples(result: Result) -> set[tuple[str, int]]:
    return {(row.id, row.epoch) for row in result.rows}


def effects(expected: Sequence[Expected], arms: Mapping[str, Seeds], evals: Sequence[Eval]) -> list[dict[str, Any]]:
    """Return whether each expected effect shows, with the difference and its interval."""
    return [_effect(one, arms.get(one.higher, {}), arms.get(one.than, {}), evals) for one in expected]


def _effect(expected: Expected, ours: Seeds, theirs: Seeds, evals: Sequence[Eval]) -> dict[str, Any]:
    """Return one effect: the differences of the seeds that both arms have, and what they come to."""
    name, _, key = expected.measure.partition("/")
    pairs, left_out = _pairs(_having(ours, name), _having(theirs, name), expected)
    one = next((one for one in evals if one.name == name), None)
    known = one.all_measures(next(iter(pairs.values()))[0]) if one and pairs else ()
    measure = next((measure for measure in known if measure.key == key), None)
    by_seed = {seed: _paired(*pair, measure) for seed, pair in pairs.items()} if measure else {}
    rows = {seed: found for seed, found in by_seed.items() if found}
    told = {**expected.model_dump(), "kind": "score", "title": key, "seeds": len(rows), "left_out": left_out}
    if measure is None or not rows:
        return told | {"verdict": MISSING, "difference": None}
    found = _difference(list(rows.values()), measure)
    verdict = SHOWS if found["low"] > 0 else AGAINST if found["high"] < 0 else NOT
    return told | {"kind": measure.kind, "title": measure.title, "verdict": verdict, "difference": found}


def _pairs(
    ours: Mapping[str, Result], theirs: Mapping[str, Result], expected: Expected
) -> tuple[dict[str, tuple[Result, Result]], list[dict[str, Any]]]:
    """Return the seeds at which both arms were measured, all in the same way, and why the others are left out."""
    both = sorted(ours.keys() & theirs.keys())
    left_out = [{"seed": seed, "why": [f"only {expected.higher}"]} for seed in sorted(ours.keys() - theirs.keys())]
    left_out += [{"seed": seed, "why": [f"only {expected.than}"]} for seed in sorted(theirs.keys() - ours.keys())]
    left_out += [{"seed": seed, "why": why} for seed in both if (why := differences(ours[seed], theirs[seed]))]
    left = {one["seed"] for one in left_out}
    shared = {seed: _shared(ours[seed], theirs[seed]) for seed in both if seed not in left}
    same, others = _alike(shared)
    return {seed: (shared[seed], theirs[seed]) for seed in same}, [*left_out, *others]


def _shared(ours: Result, theirs: Result) -> Result:
    """Return a result with the samples alone that the other one has too."""
    known = _samples(theirs)
    return replace(ours, rows=tuple(row for row in ours.rows if (row.id, row.epoch) in known))


def _paired(ours: Result, theirs: Result, measure: Measure) -> list[tuple[str, float, float]]:
    """Return the samples that both runs have a number of, with their two numbers."""
    other = {(row.id, row.epoch): row.values.get(measure.key, math.nan) for row in theirs.scored}
    found = [
        (row.id, row.values.get(measure.key, math.nan), other[row.id, row.epoch])
        for row in ours.scored
        if (row.id, row.epoch) in other
    ]
    return [one for one in found if not math.isnan(one[1] + one[2])]


def _difference(pairs: Sequence[list[tuple[str, float, float]]], measure: Measure) -> dict[str, Any]:
    """Return the mean of the seeds' differences with Student's interval over the seeds.

    Where there is one seed, or the seeds are all alike, the interval is over samples, those of one message together.
    """
    low, high = measure.bounds or (-math.inf, math.inf)
    gaps = [fmean(ours - theirs for _, ours, theirs in rows) for rows in pairs]
    found = mean(gaps, scale=(low - high, high - low))
    if not math.isfinite(found.low):
        names, ours, theirs = zip(*(one for rows in pairs for one in rows), strict=True)
        found = compare(ours, theirs, names, scale=measure.bounds)
    return {"value": found.value, "low": found.low, "high": found.high, "detectable": found.detectable}
