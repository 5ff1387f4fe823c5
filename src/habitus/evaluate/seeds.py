"""Over all seeds: what each arm measured, and whether the effects that a study expects show."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from habitus.evaluate.results import against, differences
from habitus.evaluate.statistics import mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
            "evals": [found for one in evals if (found := _of_eval(one, [by[one.name] for by in _having(seeds, one)]))],
        }
        for arm, seeds in arms.items()
    ]


def _having(seeds: Seeds, one: Eval) -> Iterator[Mapping[str, Result]]:
    return (results for results in seeds.values() if one.name in results)


def _of_eval(one: Eval, results: Sequence[Result]) -> dict[str, Any] | None:
    """Return the measures of one eval over the seeds, or None where no seed has it."""
    if not results:
        return None
    rows = []
    for measure in one.all_measures(results[0]):
        values = [found.value for result in results if (found := result.estimate(measure))]
        several = mean(values, scale=measure.bounds) if len(values) > 1 else None
        found = several or next((found for result in results if (found := result.estimate(measure))), None)
        rows.append({**asdict(measure), "estimate": found and asdict(found)})
    return {"name": one.name, "seeds": len(results), "measures": rows}


def effects(expected: Sequence[Expected], arms: Mapping[str, Seeds], evals: Sequence[Eval]) -> list[dict[str, Any]]:
    """Return whether each expected effect shows, with the difference and its interval."""
    return [_effect(one, arms.get(one.higher, {}), arms.get(one.than, {}), evals) for one in expected]


def _effect(expected: Expected, ours: Seeds, theirs: Seeds, evals: Sequence[Eval]) -> dict[str, Any]:
    """Return one effect: the differences of the seeds that both arms have, and what they come to."""
    name, _, key = expected.measure.partition("/")
    pairs = {
        seed: (ours[seed][name], theirs[seed][name])
        for seed in ours.keys() & theirs.keys()
        if name in ours[seed] and name in theirs[seed] and not differences(ours[seed][name], theirs[seed][name])
    }
    one = next((one for one in evals if one.name == name), None)
    known = one.all_measures(next(iter(pairs.values()))[0]) if one and pairs else ()
    measure = next((measure for measure in known if measure.key == key), None)
    gaps = {
        seed: found for seed, pair in sorted(pairs.items()) if measure and (found := _gap(*pair, measure)) is not None
    }
    told = {**expected.model_dump(), "kind": "score", "title": key, "seeds": len(gaps)}
    if measure is None or not gaps:
        return told | {"verdict": MISSING, "difference": None, "by_seed": {}}
    found = _difference(pairs, gaps, measure)
    verdict = SHOWS if found["low"] > 0 else AGAINST if found["high"] < 0 else NOT
    told |= {"kind": measure.kind, "title": measure.title, "by_seed": gaps}
    return told | {"verdict": verdict, "difference": found}


def _gap(ours: Result, theirs: Result, measure: Measure) -> float | None:
    """Return what one run has more than the other, in the mean over the samples that both completed."""
    other = {(row.id, row.epoch): row.values.get(measure.key, math.nan) for row in theirs.scored}
    gaps = [
        row.values.get(measure.key, math.nan) - other[row.id, row.epoch]
        for row in ours.scored
        if (row.id, row.epoch) in other
    ]
    found = [gap for gap in gaps if not math.isnan(gap)]
    return fmean(found) if found else None


def _difference(
    pairs: Mapping[str, tuple[Result, Result]], gaps: Mapping[str, float], measure: Measure
) -> dict[str, Any]:
    """Return the mean of the seeds' differences with Student's interval; of one seed, that over its samples."""
    if len(gaps) == 1:
        found = against(*pairs[next(iter(gaps))], measure)
        assert found is not None
        return {"value": found.value, "low": found.low, "high": found.high, "detectable": found.detectable}
    low, high = measure.bounds or (-math.inf, math.inf)
    over = mean(list(gaps.values()), scale=(low - high, high - low))
    return {"value": over.value, "low": over.low, "high": over.high, "detectable": over.detectable}
