"""What came of evals, read from their logs: a row per sample, and the numbers of an arm."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inspect_ai.log import list_eval_logs, read_eval_log

from habitus.evaluate.statistics import Difference, Estimate, compare, holm, mean, rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ModelUsage

    from habitus.evaluate.measures import Measure

MOST_JUDGE_FAILURES = 0.02
"""The share of samples without a verdict above which a run's numbers are not to be used."""


@dataclass(frozen=True)
class Row:
    """One sample: its numbers, or why it has none."""

    id: str
    epoch: int
    cluster: str
    values: dict[str, float]
    outcome: str
    """`scored`, `judge_failed`, `client_failed`, `target_failed`, …, `error` or `limit`."""
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """One eval of one arm."""

    name: str
    arm: str
    rows: tuple[Row, ...]
    model: str
    others: dict[str, str]
    """Who played the other roles."""
    tokens: dict[str, tuple[str, int, int]]
    """Model, input tokens and output tokens of each role."""
    file: str
    about: dict[str, Any]

    @cached_property
    def scored(self) -> list[Row]:
        """The samples that have numbers."""
        return [row for row in self.rows if row.outcome == "scored"]

    @property
    def outcomes(self) -> dict[str, int]:
        """How many samples ended how."""
        return dict(Counter(row.outcome for row in self.rows))

    @property
    def simulated(self) -> bool:
        """Whether the embedded model plays in it."""
        return any("simulated/" in name for name in (self.model, *self.others.values()))

    @property
    def judge_failures(self) -> float:
        """The share of samples that a judge left without a verdict."""
        return self.outcomes.get("judge_failed", 0) / max(len(self.rows), 1)

    def estimate(self, measure: Measure) -> Estimate | None:
        """Return a measure with its interval, or None where no sample has it."""
        rows = [row for row in self.scored if not math.isnan(row.values.get(measure.key, math.nan))]
        if not rows:
            return None
        values, clusters = [row.values[measure.key] for row in rows], [row.cluster for row in rows]
        if measure.kind == "rate":
            return rate(values, clusters)
        found = mean(values, clusters)
        is_share = measure.kind == "share"
        return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0)) if is_share else found


def against(ours: Result, theirs: Result, measure: Measure) -> Difference | None:
    """Return what an arm has more than another on the samples that both completed."""
    other = {(row.id, row.epoch): row for row in theirs.scored}
    pairs = [
        (row, other[row.id, row.epoch])
        for row in ours.scored
        if (row.id, row.epoch) in other
        and not math.isnan(row.values.get(measure.key, math.nan))
        and not math.isnan(other[row.id, row.epoch].values.get(measure.key, math.nan))
    ]
    if not pairs:
        return None
    left, right = ([row.values[measure.key] for row in side] for side in zip(*pairs, strict=True))
    return compare(left, right, [row.cluster for row, _ in pairs])


def corrected(differences: Sequence[Difference]) -> list[float]:
    """Return the p-values of several evals' first measures, corrected for their number."""
    return holm([one.p for one in differences])


def read_arm(folder: Path, arm: str) -> dict[str, Result]:
    """Return the newest result of every eval that an arm has logs of."""
    found: dict[str, Result] = {}
    if not folder.is_dir():
        return found
    for info in list_eval_logs(str(folder), descending=False, recursive=False):
        log = read_eval_log(info.name)
        if log.samples:
            result = read_result(log, arm)
            found[result.name] = result
    return found


def read_result(log: EvalLog, arm: str) -> Result:
    """Return what a log holds."""
    name = log.eval.task.rpartition("/")[2]
    roles = log.eval.model_roles or {}
    others = {role: ", ".join(one.model for one in _several(configs)) for role, configs in roles.items()}
    return Result(
        name=name,
        arm=arm,
        rows=tuple(_row(sample) for sample in log.samples or []),
        model=log.eval.model,
        others=others,
        tokens=_tokens(log, others),
        file=log.location,
        about=log.eval.metadata or {},
    )


def _several(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def _tokens(log: EvalLog, others: dict[str, str]) -> dict[str, tuple[str, int, int]]:
    """Return what each role read and wrote; the model under test is what no role took."""
    used = {role: (others.get(role, ""), *_counts(usage)) for role, usage in (log.stats.role_usage or {}).items()}
    whole = log.stats.model_usage.get(log.eval.model)
    if whole and "target" not in used:
        same = [one for one in used.values() if one[0] == log.eval.model]
        read, written = _counts(whole)
        used["target"] = (
            log.eval.model,
            max(read - sum(one[1] for one in same), 0),
            max(written - sum(one[2] for one in same), 0),
        )
    return used


def _counts(usage: ModelUsage) -> tuple[int, int]:
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return usage.input_tokens + cached, usage.output_tokens


def _row(sample: EvalSample) -> Row:
    score = next(iter((sample.scores or {}).values()), None)
    metadata = (score.metadata or {}) if score else {}
    values: dict[str, float] = {}
    if sample.error:
        outcome = "error"
    elif score is None:
        outcome = "limit" if sample.limit else "error"
    elif isinstance(score.value, dict):
        outcome = "scored"
        values = {key: math.nan if value is None else float(value) for key, value in score.value.items()}
    else:
        outcome = str(score.reason or "unscored")
    if sample.limit and outcome != "scored":
        outcome = "limit"
    return Row(str(sample.id), sample.epoch, str(metadata.get("cluster", sample.id)), values, outcome, metadata)
