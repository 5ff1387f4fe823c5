"""What is printed about evals: the list, the plan, the numbers of an arm and how they compare."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from habitus import show
from habitus.models.costs import dollars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.evaluate.agreement import Agreement
    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.contamination import Overlap
    from habitus.evaluate.results import Result
    from habitus.evaluate.runs import Plan
    from habitus.evaluate.statistics import Difference, Estimate


WIDEST = 12
"""Values up to which a table of them is printed."""


def listed(evals: Sequence[Eval]) -> None:
    """Print which evals there are."""
    rows = [[one.name, ", ".join(one.roles) or "none", one.about] for one in evals]
    show.table([("eval", "left"), ("roles", "left"), ("what", "left")], rows)


def plans(found: Sequence[Plan]) -> None:
    """Print what a run would take."""
    rows = [
        [
            one.name,
            f"{one.samples:,}",
            f"{one.finished:,}",
            ", ".join(f"{role} {math.ceil(calls):,}" for role, calls in one.calls.items()),
            dollars(one.dollars) if one.measured or not one.dollars else f"about {dollars(one.dollars)}",
        ]
        for one in found
    ]
    columns = [("eval", "left"), ("samples", "right"), ("finished", "right"), ("calls", "left"), ("cost", "right")]
    show.table(columns, rows)
    if any(not one.measured and one.dollars for one in found):
        show.say("  without a log of this arm the cost is by other models' tokens: try --limit 5 first, which counts")
    if any(one.dollars is None for one in found):
        show.say("  a cost is unknown where a model's price is: give its `price` in config.yaml")


def numbers(result: Result, measures: Sequence[Eval], spent: float | None) -> None:
    """Print the numbers of one eval of one arm."""
    one = next(found for found in measures if found.name == result.name)
    show.heading(f"{result.name}, arm {result.arm}: {result.model}")
    estimates = [(measure, result.estimate(measure)) for measure in one.all_measures(result)]
    rows = [
        [measure.title, _number(measure.kind, found.value), _interval(measure.kind, found), f"{found.count:,}",
         f"{found.clusters:,}", _number(measure.kind, found.detectable)]
        for measure, found in estimates if found is not None
    ]  # fmt: skip
    if rows:
        columns = [("value", "right"), ("95% interval", "right"), ("samples", "right"), ("clusters", "right")]
        show.table([("measure", "left"), *columns, ("detectable", "right")], rows)
    endings = ", ".join(f"{outcome.replace('_', ' ')} {count:,}" for outcome, count in sorted(result.outcomes.items()))
    show.say(f"  samples: {endings}; cost {dollars(spent)}")
    if result.asked_again:
        again = ", ".join(f"{role} {count:,}" for role, count in sorted(result.asked_again.items()))
        show.say(f"  answers that could not be used as they came, and were asked for again: {again}")
    if result.cut:
        show.say(f"  answers of the model under test that the limit on length cut off: {result.cut:,}")
    if result.unread:
        first = result.unread[0]
        why = " ".join(first.why.split())[:300]
        show.say(f"  first without a verdict: {first.id}, {first.outcome.replace('_', ' ')}: {why}")
    for line in one.remarks(result):
        show.say(f"  {line}")


def comparison(
    arm: str, baseline: str, rows: Sequence[tuple[str, str, str, Difference]], corrected: Sequence[float | None]
) -> None:
    """Print how an arm differs from the baseline; only the first measure of each eval is corrected and tested."""
    show.heading(f"{arm} against {baseline}, on the samples that both completed")
    show.table(
        [("eval", "left"), ("measure", "left"), ("difference", "right"), ("95% interval", "right"), ("pairs", "right"),
         ("p", "right"), ("Holm", "right"), ("detectable", "right")],
        [
            [name, title, _number(kind, one.value, signed=True), _interval(kind, one), f"{one.pairs:,}",
             _chance(one.p), "" if holm is None else _chance(holm), _number(kind, one.detectable)]
            for (name, title, kind, one), holm in zip(rows, corrected, strict=True)
        ],
    )  # fmt: skip
    show.say("  Holm: corrected for the number of evals; detectable: the difference that is found four times in five")


def agreed(found: Sequence[Agreement]) -> None:
    """Print how far verdicts and labels agree, and where they differ."""
    for one in found:
        show.heading(one.title)
        without = f"; {one.unread:,} labelled without a verdict" if one.unread else ""
        show.say(f"  {len(one.pairs):,} samples with both{without}")
        if not one.pairs:
            continue
        show.say(f"  quadratic kappa {_coefficient(one.kappa)}, Krippendorff's alpha {_coefficient(one.alpha)}")
        if len(one.values) <= WIDEST:
            columns: list[Any] = [("label, by verdict", "right"), *((f"{value:g}", "right") for value in one.values)]
            rows = zip(one.values, one.table, strict=True)
            show.table(
                columns, [[f"{value:g}", *(f"{count:,}" if count else "" for count in row)] for value, row in rows]
            )


def _coefficient(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "· (nothing varies)"


def effects(found: Sequence[dict[str, Any]]) -> None:
    """Print whether each effect that the study expects shows."""
    show.heading("expected effects")
    rows = []
    for one in found:
        gap = one["difference"]
        value = _number(one["kind"], gap["value"], signed=True) if gap else "·"
        rows.append([one["says"], value, _ends(one["kind"], gap), f"{one['seeds']:,}", one["verdict"]])
    columns = [("effect", "left"), ("difference", "right"), ("95% interval", "right"), ("seeds", "right"), ("", "left")]
    show.table(columns, rows)
    show.say(
        "  intervals: Student's over the seeds, each arm paired with the other of its seed; of one seed, over samples"
    )
    for one in found:
        for left in one.get("left_out", ()):
            show.say(f"  left out of '{one['says']}': seed {left['seed'] or '·'} ({', '.join(left['why'])})")
        if one["verdict"] in {"does not show", "points the other way"} and one["otherwise"]:
            show.say(f"  {one['verdict']}: {one['says']}. {one['otherwise']}")


def _ends(kind: str, gap: dict[str, Any] | None) -> str:
    """Return the ends of an interval as they are read from a file, which has no infinite numbers."""
    if gap is None or gap["low"] is None or gap["high"] is None:
        return "·"
    return f"{_number(kind, gap['low'], signed=True)} to {_number(kind, gap['high'], signed=True)}"


def contamination(found: Sequence[Overlap]) -> None:
    """Print what of the evals stands in the training data."""
    if not found:
        return
    show.heading("evals in the training data")
    rows = [
        [
            one.name,
            f"{one.texts:,}",
            f"{one.rows:,}",
            f"{len(one.shared):,}",
            f"{one.nearest:.2f}",
            " ".join(one.closest.split())[:60],
        ]
        for one in found
    ]
    show.table(
        [
            ("eval", "left"),
            ("texts", "right"),
            ("looked at", "right"),
            ("share 8 words", "right"),
            ("nearest", "right"),
            ("which", "left"),
        ],
        rows,
    )


def _number(kind: str, value: float, *, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "·"
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}%" if kind in {"rate", "share"} else f"{value:{sign}.2f}"


def _interval(kind: str, found: Estimate | Difference) -> str:
    if not math.isfinite(found.low):
        return "·"
    return f"{_number(kind, found.low)} to {_number(kind, found.high)}"


def _chance(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004  # as p-values are written
