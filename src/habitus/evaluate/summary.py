"""What each arm measured, as `results.json` beside its logs: numbers, samples, and the worst conversations."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import orjson
from inspect_ai.log import read_eval_log_sample

from habitus.evaluate.bills import bill
from habitus.evaluate.figure import arms_of
from habitus.evaluate.results import against, differences
from habitus.evaluate.seeds import by_arm, effects, over_seeds
from habitus.evaluate.statistics import holm
from habitus.study import OVER_SEEDS, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.measures import Measure
    from habitus.evaluate.results import Result, Row
    from habitus.evaluate.runs import Order

MOST_WORST = 3
LONGEST = 20_000
"""Characters of a message, or of what a judge said, that are kept."""


def write_all(order: Order, evals: Sequence[Eval]) -> list[Path]:
    """Write `results.json` of every arm that has logs and, for all, `over-seeds.json`; return the arms' files."""
    root = order.study.root / "evals"
    arms = arms_of(root)
    written = []
    for arm, results in arms.items():
        baseline = replace(order, arm=arm).baseline
        whole = summary(arm, results, baseline, arms.get(baseline, {}) if arm != baseline else {}, evals)
        for told in whole["evals"]:
            told["dollars"] = bill(results[told["name"]], order.study)
        path = root / arm / "results.json"
        write_whole(path, orjson.dumps(whole, option=orjson.OPT_INDENT_2))
        written.append(path)
    runs = by_arm(arms)
    found = {"arms": over_seeds(runs, evals), "effects": effects(order.study.config.expect, runs, evals)}
    write_whole(order.study.root / OVER_SEEDS, orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return written


def summary(
    arm: str, results: Mapping[str, Result], baseline: str, theirs: Mapping[str, Result], evals: Sequence[Eval]
) -> dict[str, Any]:
    """Return what an arm measured in every eval that it has a log of, beside its baseline."""
    known = [one for one in evals if one.name in results]
    rows = [_of_eval(one, results[one.name], _comparable(results[one.name], theirs)) for one in known]
    firsts = [row["measures"][0] for row in rows if row["measures"][0]["difference"]]
    for measure, p in zip(firsts, holm([one["difference"]["p"] for one in firsts]), strict=True):
        measure["holm"] = p
    return {"arm": arm, "baseline": baseline, "evals": rows}


def _comparable(ours: Result, theirs: Mapping[str, Result]) -> Result | None:
    """Return the baseline's result of the same eval, where it was measured in the same way."""
    found = theirs.get(ours.name)
    return None if found is None or differences(ours, found) else found


def _of_eval(one: Eval, result: Result, theirs: Result | None) -> dict[str, Any]:
    """Return one eval of one arm."""
    return {
        "name": one.name,
        "about": one.about,
        "model": result.model,
        "others": result.others,
        "simulated": result.simulated,
        "log": result.file.rpartition("/")[2],
        "outcomes": result.outcomes,
        "remarks": one.remarks(result),
        "measures": [
            _of_measure(measure, result, theirs) | {"holm": None}
            for measure in one.all_measures(result)
            if measure.of is None or measure.of[0] == "pattern"
        ],
        "parts": [_of_measure(measure, result, theirs) for measure in one.parts(result)],
        "samples": [_sample(row) for row in result.rows],
        "worst": [_worst(row) for row in _worst_rows(one, result)],
    }


def _of_measure(measure: Measure, result: Result, theirs: Result | None) -> dict[str, Any]:
    """Return what an arm measured, and its difference from the baseline where one of the two is better."""
    found = result.estimate(measure)
    difference = against(result, theirs, measure) if theirs and measure.better else None
    return asdict(measure) | {"estimate": found and asdict(found), "difference": difference and asdict(difference)}


def _sample(row: Row) -> dict[str, Any]:
    """Return the numbers of a sample, or why it has none."""
    return {"id": row.id, "epoch": row.epoch, "cluster": row.cluster, "outcome": row.outcome, "values": row.values}


def _worst_rows(one: Eval, result: Result) -> list[Row]:
    """Return the samples that came out worst by the first measure."""
    first = one.measures[0]
    sign = -1 if first.better == "higher" else 1
    rows = [row for row in result.scored if not math.isnan(row.values.get(first.key, math.nan))]
    return sorted(rows, key=lambda row: (-sign * row.values[first.key], row.id, row.epoch))[:MOST_WORST]


def _worst(row: Row) -> dict[str, Any]:
    """Return a sample as a conversation, with what was judged of it."""
    sample = read_eval_log_sample(row.file, id=row.id, epoch=row.epoch)
    score = next(iter((sample.scores or {}).values()), None)
    messages = [{"role": one.role, "content": _said(one)[:LONGEST]} for one in sample.messages]
    return _sample(row) | {"judged": str((score and score.explanation) or "")[:LONGEST], "messages": messages}


def _said(message: Any) -> str:
    """Return the text of a message, and the calls of tools in it."""
    calls = [f"{call.function}({call.arguments})" for call in getattr(message, "tool_calls", None) or ()]
    return "\n".join([message.text, *calls]).strip()
