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


def lexical(report: LexicalReport, name: str, against: str, most: int) -> None:
    """Print what counting alone found."""
    heading(f"{name}: {report.records:,} messages or documents, {report.words:,} words")
    if report.looked_at < report.records:
        whole = "; what was found is counted in all" if report.counted == report.records else ""
        say(f"  patterns were looked for in {report.looked_at:,} of them, evenly spread{whole}")
    say(f"  held against {against}; by counting alone, no model was asked")
    told = report.findings[:most]
    habits = [one for one in told if one.kind not in WORDY]
    phrases = [one for one in told if one.kind in WORDY]
    if not report.findings:
        say("  nothing stands out")
    for what, found in (("habits, openings and closings", habits), ("phrases and frames", phrases)):
        if found:
            heading(f"{what} that are commoner than there")
            table(
                [("pattern", "left"), ("kind", "left"), ("here", "right"), ("95% interval", "right"),
                 ("expected", "right"), ("z", "right"), ("lives in", "left")],
                [_counted(one) for one in found],
            )  # fmt: skip
    if told:
        say("  expected: the rate there, at this length; –: not in the profile, so rare there or the way of few models")
    quoted = [one for one in (*habits, *phrases) if one.examples][:QUOTED]
    if quoted:
        heading("in its words")
        table(
            [("pattern", "left"), ("record", "left"), ("words", "left")],
            [[_clipped(one.pattern), one.examples[0][0], " ".join(one.examples[0][1].split())] for one in quoted],
        )
    _whole(report)


def _clipped(text: str, most: int = LONGEST_NAME) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _counted(one: Finding) -> list[str]:
    there = "–" if one.reference_rate is None else f"{one.reference_rate:.1%}"
    return [
        _clipped(one.pattern), one.kind, f"{one.rate:.1%}", f"{one.low:.1%} to {one.high:.1%}", there,
        "·" if one.z is None else f"{one.z:.1f}", ", ".join(f"{name} {rate:.0%}" for name, rate in one.groups.items()),
    ]  # fmt: skip


def _whole(report: LexicalReport) -> None:
    """Print how long the records are, and how much the dataset repeats itself."""
    here, there = report.diversity, report.reference_diversity
    names = {
        "self_repetition": "4-word runs that another record has",
        "distinct_2": "different 2-word runs",
        "distinct_3": "different 3-word runs",
        "near_duplicates": "near-duplicates of an earlier record",
        "exact_duplicates": "the same as an earlier record",
    }
    rows = [("compression ratio", f"{here.compression:.2f}", f"{there.compression:.2f}" if there else "·")]
    rows += [
        (told, f"{getattr(here, name):.1%}", f"{getattr(there, name):.1%}" if there else "·")
        for name, told in names.items()
    ]
    lengths, other = report.lengths, report.reference_lengths
    places = ("5%", "25%", "median", "75%", "95%")
    rows += [
        (f"words, {place}", f"{size:,}", f"{other.words[at]:,}" if other else "·")
        for at, (place, size) in enumerate(zip(places, lengths.words, strict=True))
    ]
    heading("as a whole")
    table([("", "left"), ("here", "right"), ("there", "right")], rows)
    if lengths.empty:
        warn(f"records without words: {lengths.empty:,}")


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
    more = next((group for group in one.groups if group.here.rate > group.rest.rate), None)
    if more is None:
        return None
    return f"{one.name}: {more.here.rate:.0%} in {more.facet} {more.value}, elsewhere {more.rest.rate:.0%}"


def remarks(found: Findings) -> list[str]:
    """Return in words what ought to be known beside the rates."""
    told = []
    if unsupported := sum(one.unsupported for one in found.prevalence):
        told.append(f"{unsupported:,} positive verdicts are not counted: their quotations do not occur in the text")
    kappas = [one.repeated.kappa for one in found.prevalence if one.repeated and one.repeated.kappa is not None]
    if kappas:
        agreed = [one.repeated.agreement for one in found.prevalence if one.repeated]
        told.append(
            f"asked twice about {len(found.repeated):,} texts, the judge agreed with itself on "
            f"{sum(agreed) / len(agreed):.1%} of verdicts (mean kappa {sum(kappas) / len(kappas):.2f})"
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
    rating = next((one for one in rows if one["step"] == "audit/rate"), None)
    per_text = -(-len(summary["prevalence"]) // summary["patterns_per_call"])
    if rating is None or not per_text:
        return
    share = 1_000 * per_text / rating["calls"]
    tokens = [rating[name] * share / 1e6 for name in ("input_tokens", "output_tokens")]
    price = dollars_in_all(rating["calls"], rating["dollars"] * share, rating["unpriced"])
    say(f"  1,000 more texts: {1_000 * per_text:,} calls, {tokens[0]:.1f}M tokens in, {tokens[1]:.2f}M out, {price}")


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
    """Print which patterns are above the bar; a row is (pattern, rate, lower end of its interval)."""
    heading(f"{name}: {len(over)} patterns above {bar:.0%} ({level})" if over else f"{name}: nothing above {bar:.0%}")
    if over:
        rows = [[pattern, f"{rate:.1%}", f"{low:.1%}"] for pattern, rate, low in over]
        table([("pattern", "left"), ("rate", "right"), ("at least", "right")], rows)


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
