"""The trained models of a study: what went into each, how long it was trained, and its curves."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from habitus.study import Study

WIDTH, HEIGHT = 560, 170
"""Of a curve, in the units of the drawing."""


def runs(study: Study) -> list[dict[str, Any]]:
    """Return every run that has begun: of arms first, of stages that arms share then."""
    files = sorted(study.root.glob("models/**/run.json"), key=lambda path: ("shared" in path.parts, path))
    return [_run(path.parent, study.root / "models") for path in files if "checkpoint" not in path.parts]


def _run(folder: Path, models: Path) -> dict[str, Any]:
    """Return one run with its mixture and its curves."""
    metrics = list(read_rows(folder / "metrics.jsonl", "step"))
    about = orjson.loads((folder / "run.json").read_bytes())
    return {
        "name": folder.relative_to(models).as_posix(),
        "run": about,
        "toy": folder.relative_to(models).parts[0] == "toy" or _start(about).startswith("toy:"),
        "mixture": _mixture(folder / "mixture.jsonl"),
        "loss": curves(metrics, [name for name in _names(metrics) if name == "loss" or name.endswith("_loss")]),
        "rejected": curves(metrics, [name for name in _names(metrics) if name == "rejected_weight"]),
    }


def _start(about: dict[str, Any]) -> str:
    """Return what a run began with, as far as it says so."""
    return str(about.get("made_with", {}).get("start", ""))


def _names(metrics: Sequence[dict[str, Any]]) -> list[str]:
    return sorted({name for row in metrics for name in row}, key=lambda name: (name != "loss", name))


def _mixture(path: Path) -> list[dict[str, Any]]:
    """Return, by source, the rows and tokens that the run was given."""
    rows, tokens, trained = Counter[str](), Counter[str](), Counter[str]()
    for row in read_rows(path, "source"):
        rows[row["source"]] += 1
        tokens[row["source"]] += row.get("tokens", 0)
        trained[row["source"]] += row.get("trained", 0)
    whole, read = rows.total() or 1, tokens.total() or 1
    return [
        {"source": name, "rows": count, "of_rows": count / whole, "tokens": tokens[name],
         "of_tokens": tokens[name] / read, "trained": trained[name]}
        for name, count in rows.most_common()
    ]  # fmt: skip


def curves(metrics: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any] | None:
    """Return the named values over the steps as lines to draw; None where nothing of the kind was measured."""
    found = {name: [(row["step"], row[name]) for row in metrics if _number(row.get(name))] for name in names}
    found = {name: points for name, points in found.items() if points}
    if not found:
        return None
    values = [value for points in found.values() for _, value in points]
    last = max(step for points in found.values() for step, _ in points) or 1
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    lines = [
        {
            "name": name.removeprefix("eval_"),
            "held_out": name.startswith("eval_"),
            "points": [
                (round(WIDTH * step / last, 1), round(HEIGHT * (1 - (value - low) / spread), 1))
                for step, value in points
            ],
            "last": points[-1][1],
        }
        for name, points in found.items()
    ]
    return {"lines": lines, "low": low, "high": high, "last": last}


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
