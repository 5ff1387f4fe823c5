"""What the audit prints: what was counted, what was found and how often, how far judge and people agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from habitus.models.costs import dollars_in_all
from habitus.show import heading, say, table, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.audit.agree import PatternAgreement
    from habitus.audit.filter import Filtered
    from habitus.audit.lexical import Finding, LexicalReport
    from habitus.audit.passes import Findings
    from habitus.audit.prevalence import LevelRates, Prevalence

WORDY = frozenset({"phrase", "frame", "name"})
"""Kinds of finding that may be about a dataset's subject and not its manner."""
LONGEST_NAME = 44
QUOTED = 8
"""Patterns whose words are shown beneath the table."""
BONDS = 8
"""Groups and pairs of patterns that are told of."""
NOTABLE = 0.05
ON_A_SCREEN = 18
"""Patterns that the table of the gate holds."""


def lexical(report: LexicalReport, name: str, kind: str, most: int) -> None:
    """Print what counting alone found in texts of a kind."""
    what = "documents" if kind == "documents" else "messages"
    heading(f"{name}: {report.records:,} {what}, {report.words:,} words")
    if report.looked_at < report.records:
        whole = "; what was found is counted in all" if report.counted == report.records else ""
        say(f"  patterns were looked for in {report.looked_at:,} of them, evenly spread{whole}")
    profile = f" (profile {report.version})" if report.version else ""
    say(f"  held against {report.reference}{profile}; by counting alone, no model was asked")
    if not report.findings:
        say("  nothing stands out")
    silent = "; –: not in the profile, so rare there or the way of few models" if report.version else ""
    _findings(report.findings[:most], "than there", f"expected: the rate there, at this length{silent}")
    _whole(report)


def avoided(findings: Sequence[Finding], most: int) -> None:
    """Print what the rejected answers of preference pairs have more of."""
    _findings(findings[:most], "in the rejected answers", "training on the pairs leads away from these")


def _findings(told: Sequence[Finding], than: str, remark: str) -> None:
    """Print findings, those that may be about the subject apart, and the words of the first ones."""
    if not told:
        return
    habits = [one for one in told if one.kind not in WORDY]
    phrases = [one for one in told if one.kind in WORDY]
    for what, found in (("habits, openings and closings", habits), ("phrases and frames", phrases)):
        if found:
            heading(f"{what} that are commoner {than}")
            _counts(found)
    say(f"  {remark}")
    quoted = [one for one in (*habits, *phrases) if one.examples][:QUOTED]
    if quoted:
        heading("in its words")
        table(
            [("pattern", "left"), ("record", "left"), ("words", "left")],
            [[_clipped(one.pattern), one.examples[0][0], " ".join(one.examples[0][1].split())] for one in quoted],
        )


def _counts(found: Sequence[Finding]) -> None:
    columns = [("pattern", "left"), ("kind", "left"), ("here", "right"), ("95%", "right"), ("expected", "right"),
               ("z", "right")]  # fmt: skip
    has_home = any(one.groups for one in found)
    table([*columns, *([("lives in", "left")] if has_home else [])], [_counted(one, home=has_home) for one in found])


def _clipped(text: str, most: int = LONGEST_NAME) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _counted(one: Finding, *, home: bool) -> list[str]:
    there = "–" if one.reference_rate is None else f"{one.reference_rate:.1%}"
    cells = [
        _clipped(one.pattern), one.kind, f"{one.rate:.1%}", f"{100 * one.low:.1f} to {100 * one.high:.1f}", there,
        "·" if one.z is None else f"{one.z:.1f}",
    ]  # fmt: skip
    return [*cells, ", ".join(f"{name} {rate:.0%}" for name, rate in one.groups.items())] if home else cells


def _whole(report: LexicalReport) -> None:
    """Print how long the records are, and how much the dataset repeats itself."""
    heading("as a whole")
    table([("", "left"), ("here", "right"), ("there", "right")], report.whole)
    if report.lengths.empty:
        warn(f"records without words: {report.lengths.empty:,}")


def patterns(found: Findings, *, reference: bool) -> None:
    """Print every pattern with its rates, and where it lives."""
    heading(f"patterns in {len(found.rated):,} texts drawn from {found.rows:,}, as a judge found them")
    if not found.prevalence:
        say(
            f"  no pattern was seen in enough of the {len(found.scanned):,} scans"
            if found.scanned
            else "  no scan was made"
        )
        for remark in remarks(found):
            say(f"  {remark}")
        return
    columns = [("pattern", "left"), ("strict", "right"), ("95%", "right"), ("broad", "right")]
    columns += [("there", "right"), ("apart", "right")] if reference else [("95%", "right")]
    table(columns, [_pattern(one, reference=reference) for one in found.prevalence])
    if reference:
        say("  there: the strict rate in the reference; apart: by how many points, with 95% (* p < 0.05, corrected)")
    for remark in remarks(found):
        say(f"  {remark}")


def _pattern(one: Prevalence, *, reference: bool) -> list[str]:
    strict, broad = one.strict.here, one.broad.here
    cells = [_clipped(one.name), f"{strict.rate:.1%}", _span(strict.low, strict.high), f"{broad.rate:.1%}"]
    return [*cells, *(_beside(one.strict) if reference else [_span(broad.low, broad.high)])]


def _span(low: float, high: float) -> str:
    return f"{100 * low:.0f} to {100 * high:.0f}"


def _beside(one: LevelRates) -> list[str]:
    """Return the rate in the reference and the difference in points, with a mark where it is no accident."""
    if one.there is None or one.difference is None:
        return ["·", "·"]
    apart = one.difference
    mark = " *" if apart.p < NOTABLE else "  "
    return [f"{one.there.rate:.1%}", f"{100 * apart.difference:+.0f} ({_span(apart.low, apart.high)}){mark}"]


def _where(one: Prevalence) -> str | None:
    """Return the group in which a pattern lives, or is most notable."""
    home = next((group for group in one.groups if group.is_home), None)
    if home is not None:
        return f"{one.name}: nearly all in {home.facet} {home.value} ({home.here.rate:.0%} of it)"
    more = next((group for group in one.groups if group.is_more), None)
    if more is None:
        return None
    return f"{one.name}: {more.here.rate:.0%} in {more.facet} {more.value}, elsewhere {more.rest.rate:.0%}"


def remarks(found: Findings) -> list[str]:
    """Return in words what ought to be known beside the rates."""
    told = []
    if unsupported := sum(one.unsupported for one in found.prevalence):
        told.append(f"positive verdicts not counted, since their quotations do not occur in the text: {unsupported:,}")
    if agreed := [one.repeated for one in found.prevalence if one.repeated]:
        kappas = [one.kappa for one in agreed if one.kappa is not None]
        kappa = f" (mean kappa {sum(kappas) / len(kappas):.2f})" if kappas else ""
        told.append(
            f"asked twice about {len(found.repeated):,} texts, the judge agreed with itself on "
            f"{sum(one.agreement for one in agreed) / len(agreed):.1%} of verdicts{kappa}"
        )
    told += [place for one in found.prevalence if (place := _where(one))][:BONDS]
    names = {one.id: one.name for one in found.patterns}
    told += [f"together: {names[one.one]} + {names[one.other]} ({one.both:,} texts, {one.expected:.0f} by chance)"
             for one in found.together[:BONDS] if one.phi > 0]  # fmt: skip
    if found.drops:
        told.append(f"in dropped.jsonl, with the reasons: {len(found.drops):,} that came to nothing")
    return told


def spent(summary: dict[str, Any]) -> None:
    """Print what the passes have cost so far, and what rating a thousand more texts would."""
    rows = summary["cost"]
    calls, unpriced = sum(one["calls"] for one in rows), sum(one["unpriced"] for one in rows)
    say(f"  {calls:,} calls so far, {dollars_in_all(calls, sum(one['dollars'] for one in rows), unpriced)}")
    if more := summary["per_1000"]:
        tokens = [more[name] / 1e6 for name in ("input_tokens", "output_tokens")]
        price = dollars_in_all(more["calls"], more["dollars"], more["unpriced"])
        say(f"  1,000 more texts: {more['calls']:,} calls, {tokens[0]:.1f}M tokens in, {tokens[1]:.2f}M out, {price}")


def quotes(found: Findings) -> None:
    """Print the words of the most frequent patterns."""
    rows = []
    for one in found.prevalence[:QUOTED]:
        for text in found.rated:
            match = text.verdicts.get(one.id)
            if match is not None and match.supported and match.level == "strict":
                rows.append([_clipped(one.name), text.id, " ".join(match.quote.split())])
                break
    if rows:
        heading("in their words")
        table([("pattern", "left"), ("record", "left"), ("words", "left")], rows)


def gate(name: str, over: Sequence[tuple[str, float, float]], bar: float, level: str) -> None:
    """Print which patterns are above the bar, as many as a screen holds; a row is (pattern, rate, lower end of it)."""
    number = "1 pattern" if len(over) == 1 else f"{len(over):,} patterns"
    heading(f"{name}: {number if over else 'nothing'} above {bar:.0%} ({level})")
    if over:
        ranked = sorted(over, key=lambda row: -row[1])[:ON_A_SCREEN]
        rows = [[_clipped(pattern), f"{rate:.1%}", f"{low:.1%}"] for pattern, rate, low in ranked]
        table([("pattern", "left"), ("rate", "right"), ("at least", "right")], rows)
    if len(over) > ON_A_SCREEN:
        say(f"  and {len(over) - ON_A_SCREEN:,} more")


def agreed(found: Sequence[PatternAgreement]) -> None:
    """Print how far the judge and a person agree, pattern by pattern."""
    heading("judge and marks")
    rates, cells = [], []
    for one in found:
        kappa = "·" if one.agreement.kappa is None else f"{one.agreement.kappa:.2f}"
        rates.append([
            _clipped(one.name, 32), one.level, f"{one.agreement.of:,}", f"{one.agreement.agreement:.1%}", kappa,
            f"{one.judged.rate:.1%}", f"{one.corrected.rate:.1%} ({_span(one.corrected.low, one.corrected.high)})",
        ])  # fmt: skip
        cells.append([_clipped(one.name, 32), one.level, *(f"{number:,}" for number in one.confusion.values())])
    names = ("marks", "agree", "kappa", "by judge", "corrected")
    table([("pattern", "left"), ("test", "left"), *((name, "right") for name in names)], rates)
    heading("who finds it")
    confusion = ("both", "judge alone", "person alone", "neither")
    table([("pattern", "left"), ("test", "left"), *((name, "right") for name in confusion)], cells)


def filtered(found: Filtered) -> None:
    """Print what a filter did."""
    heading(f"{found.pattern}: {found.how}")
    table(
        [("", "left"), ("rows", "right"), ("with the pattern", "right"), ("rate", "right")],
        [
            ["before", f"{found.before.of:,}", f"{found.before.count:,}", f"{found.before.rate:.1%}"],
            ["after", f"{found.after.of:,}", f"{found.after.count:,}", f"{found.after.rate:.1%}"],
        ],
    )
    for remark in found.remarks:
        say(f"  {remark}")
