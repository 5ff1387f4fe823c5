"""The evals of a study: every arm's numbers with intervals, beside the baseline, and its worst conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from habitus.study import Study

CERTAIN = 0.05
"""The corrected p-value below which an arm is said to differ."""


def arms(study: Study) -> list[dict[str, Any]]:
    """Return the results of every arm, baselines first."""
    root = study.root / "evals"
    found = [_arm(path) for path in sorted(root.rglob("results.json"))]
    return sorted(found, key=lambda one: (one["arm"] != one["baseline"], one["arm"]))


def over_seeds(study: Study) -> list[dict[str, Any]]:
    """Return what each arm measured over its seeds, baselines first; nothing where no arm has several."""
    found = study.over_seeds["arms"]
    if not any(one["seeds"] > 1 for one in found):
        return []
    baseline, order = study.config.evaluate.baseline, list(study.config.arms)
    places = {name: at for at, name in enumerate(order)}
    return sorted(found, key=lambda one: (one["arm"] != baseline, places.get(one["arm"], len(order)), one["arm"]))


def _arm(path: Path) -> dict[str, Any]:
    return orjson.loads(path.read_bytes())


def by_eval(arms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each eval with its measures, and of each measure what every arm has."""
    names = dict.fromkeys(one["name"] for arm in arms for one in arm["evals"])
    return [_eval(name, arms) for name in names]


def _eval(name: str, arms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one eval over the arms that have it."""
    found = [(arm, one) for arm in arms for one in arm["evals"] if one["name"] == name]
    first = found[0][1]
    measures = {measure["key"]: measure for _, one in found for measure in one["measures"]}
    return {
        "name": name,
        "about": first["about"],
        "simulated": any(one["simulated"] for _, one in found),
        "arms": [one | {"arm": arm["arm"], "is_baseline": arm["arm"] == arm["baseline"]} for arm, one in found],
        "measures": [_measure(measure, found) for measure in measures.values()],
    }


def _measure(measure: dict[str, Any], found: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Return one measure with a row per arm, placed on one scale."""
    rows = [
        {"arm": arm["arm"], "is_baseline": arm["arm"] == arm["baseline"]} | here
        for arm, one in found
        for here in one["measures"]
        if here["key"] == measure["key"] and here["estimate"]
    ]
    low, high = _scale(measure, [row["estimate"] for row in rows])
    for row in rows:
        row["places"] = [_place(row["estimate"][key], low, high) for key in ("low", "value", "high")]
        row["differs"] = differs(row)
    return {key: measure[key] for key in ("key", "title", "kind", "better")} | {"rows": rows, "low": low, "high": high}


def _scale(measure: dict[str, Any], estimates: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the ends of the axis: 0 and 1 for shares, those of a scale that has some, else what the arms span."""
    if measure["kind"] in {"rate", "share"}:
        return 0.0, 1.0
    if (scale := measure.get("scale")) and None not in scale:  # a file has no infinite numbers
        return float(scale[0]), float(scale[1])
    ends = [one[key] for one in estimates for key in ("low", "value", "high") if one[key] is not None] or [0.0]
    return min(*ends, 0.0), max(*ends, 0.0) or 1.0


def _place(value: float | None, low: float, high: float) -> float | None:
    """Return where a value stands on its axis, in percent."""
    return None if value is None else round(100 * (value - low) / ((high - low) or 1.0), 2)


def differs(measure: dict[str, Any]) -> str:
    """Return `better` or `worse` where an arm differs from its baseline, and nothing where that is not shown."""
    found = measure["difference"]
    if not found or measure["holm"] is None or measure["holm"] >= CERTAIN:
        return ""
    return "better" if (found["value"] > 0) == (measure["better"] == "higher") else "worse"
