"""What came of evals, read from their logs: a row per sample, and the numbers of an arm."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample_summaries

from habitus.evaluate.statistics import Difference, Estimate, compare, holm, mean, rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ModelUsage

    from habitus.evaluate.measures import Measure

MOST_UNREAD = 0.02
"""The share of samples without a verdict above which a run's numbers are not to be used."""
_APART = frozenset({"habitus", "base", "baseline", "ids", "model", "rejudged"})
"""What may differ between arms that are compared."""
_OF_NO_ACCOUNT = frozenset({"habitus", "rejudged"})
"""What may differ between logs whose samples are taken together."""


@dataclass(frozen=True)
class Row:
    """One sample: its numbers, or why it has none."""

    id: str
    epoch: int
    cluster: str
    values: dict[str, float]
    outcome: str
    """`scored`, `judge_failed`, `client_failed`, `target_failed`, `baseline_failed`, …, `error` or `limit`."""
    metadata: dict[str, Any]
    why: str = ""
    """What was said of it where it has no numbers."""
    uuid: str = ""
    usage: Mapping[str, ModelUsage] = field(default_factory=dict)
    """What each model read and wrote for it."""
    asked_again: Mapping[str, int] = field(default_factory=dict)
    """How many answers of each role could not be used: no JSON, a quote that does not occur, out of role."""
    cut: int = 0
    """How many answers of the model under test the limit on their length cut off."""
    file: str = ""
    """The log that it stands in."""

    @property
    def harness_failed(self) -> bool:
        """Whether it has no numbers by no doing of the models compared: an error, or another role that failed."""
        return self.outcome not in {"scored", "limit", "target_failed", "baseline_failed"}


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
    """Model, input tokens and output tokens of each role, in the newest log."""
    file: str
    """The log that most of its samples stand in."""
    about: dict[str, Any]
    """How it was made: hashes of prompts, items and traits document."""
    fingerprint: str = ""
    """One hash over all that, and over the checkpoint."""

    @cached_property
    def scored(self) -> list[Row]:
        """The samples that have numbers."""
        return [row for row in self.rows if row.outcome == "scored"]

    @property
    def outcomes(self) -> dict[str, int]:
        """How many samples ended how."""
        return dict(Counter(row.outcome for row in self.rows))

    @property
    def asked_again(self) -> dict[str, int]:
        """How many answers of each role could not be used as they came, and were asked for again."""
        return dict(sum((Counter(row.asked_again) for row in self.rows), Counter()))

    @property
    def cut(self) -> int:
        """How many answers of the model under test the limit on their length cut off."""
        return sum(row.cut for row in self.rows)

    @property
    def simulated(self) -> bool:
        """Whether the embedded model plays in it."""
        return any("simulated/" in name for name in (self.model, *self.others.values()))

    @property
    def unread(self) -> list[Row]:
        """The samples that have no verdict by no doing of the model under test."""
        return [row for row in self.rows if row.harness_failed]

    @property
    def unusable(self) -> bool:
        """Whether too many samples have no verdict for the numbers to be used."""
        return len(self.unread) > MOST_UNREAD * len(self.rows)

    def estimate(self, measure: Measure) -> Estimate | None:
        """Return a measure with its interval, or None where no sample has it."""
        rows = [row for row in self.scored if not math.isnan(row.values.get(measure.key, math.nan))]
        if not rows:
            return None
        values, clusters = [row.values[measure.key] for row in rows], [row.cluster for row in rows]
        if measure.kind == "rate":
            return rate(values, clusters)
        return mean(values, clusters, scale=measure.bounds)


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
    return compare(left, right, [row.cluster for row, _ in pairs], scale=measure.bounds)


def corrected(differences: Sequence[Difference]) -> list[float]:
    """Return the p-values of several evals' first measures, corrected for their number."""
    return holm([one.p for one in differences])


def differences(one: Result, other: Result) -> list[str]:
    """Return what keeps two arms from being compared: the judges, or how the eval was made."""
    roles = sorted(one.others.keys() | other.others.keys())
    found = [role for role in roles if one.others.get(role) != other.others.get(role)]
    return found + [
        key
        for key in sorted((one.about.keys() | other.about.keys()) - _APART)
        if one.about.get(key) != other.about.get(key)
    ]


def headers(folder: Path, name: str = "") -> list[EvalLog]:
    """Return the logs in a folder, or those of one eval, the newest first and without their samples."""
    if not folder.is_dir():
        return []
    found = list_eval_logs(str(folder), descending=True, recursive=False)
    logs = [read_eval_log(info.name, header_only=True) for info in found]
    return [log for log in logs if not name or eval_name(log) == name]


def eval_name(log: EvalLog) -> str:
    """Return the name of the eval that a log is of."""
    return log.eval.task.rpartition("/")[2]


def read_arm(folder: Path, arm: str, model: str | None = None) -> dict[str, Result]:
    """Return the result of every eval that an arm has logs of, of one model where that is named.

    It is that of the newest log with samples, and of all older ones that were made in the same way: a later, smaller
    run takes nothing away.
    """
    found: dict[str, Result | None] = {}
    for header in headers(folder):
        if model in {None, header.eval.model}:
            found[eval_name(header)] = _with(found.get(eval_name(header)), header, arm)
    return {name: one for name, one in found.items() if one}


def beside(ours: Result, folder: Path, arm: str, model: str | None = None) -> tuple[Result | None, list[str]]:
    """Return the result of another arm that ours may be compared with, else what differs in its newest log."""
    theirs: Result | None = None
    told: list[str] = []
    for header in headers(folder, ours.name):
        if model in {None, header.eval.model}:
            apart = differences(ours, read_result(header, arm))
            theirs, told = (theirs, told or apart) if apart else (_with(theirs, header, arm), told)
    return theirs, [] if theirs else told


def gathered(result: Result, folder: Path) -> Result:
    """Return a result with the samples of all logs in a folder that were made in the same way."""
    for header in headers(folder, result.name):
        result = _with(result, header, result.arm) or result
    return result


def _with(found: Result | None, header: EvalLog, arm: str) -> Result | None:
    """Return a result with the samples of an older log that it lacks, if that was made in the same way."""
    if found and _made(found) != _made(read_result(header, arm)):
        return found
    known = {(row.id, row.epoch) for row in found.rows} if found else set()
    if all((str(one.id), one.epoch) in known for one in read_eval_log_sample_summaries(header.location)):
        return found
    older = read_result(read_eval_log(header.location), arm)
    if found is None:
        return older
    rows = (*found.rows, *(row for row in older.rows if (row.id, row.epoch) not in known))
    return replace(found, rows=rows, file=Counter(row.file for row in rows).most_common(1)[0][0])


def _made(result: Result) -> tuple[Any, ...]:
    """Return how a log was made: by which models, prompts, items and traits."""
    about = {key: value for key, value in result.about.items() if key not in _OF_NO_ACCOUNT}
    return result.model, result.others, about


def read_result(log: EvalLog, arm: str) -> Result:
    """Return what a log holds."""
    name = eval_name(log)
    roles = log.eval.model_roles or {}
    others = {role: ", ".join(one.model for one in _several(configs)) for role, configs in roles.items()}
    return Result(
        name=name,
        arm=arm,
        rows=tuple(_row(sample, log.location) for sample in log.samples or []),
        model=log.eval.model,
        others=others,
        tokens=_tokens(log, others),
        file=log.location,
        about=log.eval.metadata or {},
        fingerprint=str(log.eval.task_version),
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


def _row(sample: EvalSample, file: str) -> Row:
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
    cluster, why = str(metadata.get("cluster", sample.id)), sample.error.message if sample.error else ""
    return Row(
        str(sample.id),
        sample.epoch,
        cluster,
        values,
        outcome,
        metadata,
        why or (score.explanation or "" if score and outcome != "scored" else ""),
        sample.uuid or "",
        sample.model_usage,
        sample.store.get("asked_again", {}),
        sample.store.get("cut", 0),
        file,
    )
