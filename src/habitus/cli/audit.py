"""Commands that look for over-represented patterns in any dataset."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from habitus.errors import UserError

if TYPE_CHECKING:
    from habitus.audit.lexical import Finding, LexicalReport

FILE = click.Path(path_type=Path)
WORDY = frozenset({"phrase", "frame", "name"})
"""Kinds of finding that may be about a dataset's subject and not its manner."""
QUOTED = 8
"""Findings whose words are shown beneath the table."""


@click.command(short_help="Find over-represented patterns in any dataset.")
@click.argument("file", type=FILE)
@click.option("--reference", type=FILE, help="Compare with this dataset, in place of ordinary assistant prose.")
@click.option("--most", default=25, show_default=True, type=click.IntRange(min=1), help="Findings to list.")
@click.option("--json", "to", type=FILE, help="Write everything that was found into this file.")
def audit(file: Path, *, reference: Path | None, most: int, to: Path | None) -> None:
    """Find over-represented openings, phrases, frames and habits in a dataset of chats, documents or pairs.

    By counting alone, without a model: JSON lines (or .gz) with `messages`, `text`, `chosen`, `conversations`, …; of
    chats the assistant's side is read.
    """
    from habitus import show

    try:
        from habitus.audit.lexical import audit_lexical, read_texts
    except ImportError as missing:
        todo = 'Run: pip install "habitus[generate]"'
        raise UserError("the audit needs numpy, which is not installed.", todo=todo) from missing

    if to is not None and to.exists():
        raise UserError("this file exists already.", where=str(to), todo="Move it away, or name another.")
    report = audit_lexical(read_texts(file), reference=read_texts(reference) if reference else None, most=most)
    if not report.records:
        raise UserError("there is no text to look at.", where=str(file), todo="Name a dataset with rows.")
    _print(report, file, reference)
    if to is not None:
        import orjson

        to.write_bytes(orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
        show.say(f"  everything is in {to}")


def _print(report: LexicalReport, file: Path, reference: Path | None) -> None:
    from habitus import show

    against = str(reference) if reference else f"{report.reference} ({report.version})"
    show.heading(f"{file}: {report.records:,} records, {report.words:,} words")
    if report.looked_at < report.records:
        show.say(f"  {report.looked_at:,} of them, evenly spread, were looked at")
    show.say(f"  held against {against}; by counting alone, no model was asked")
    habits = [one for one in report.findings if one.kind not in WORDY]
    phrases = [one for one in report.findings if one.kind in WORDY]
    if not report.findings:
        show.say("  nothing stands out")
    for name, found in (("habits, openings and closings", habits), ("phrases and frames", phrases)):
        if found:
            show.heading(f"{name} that are commoner than there")
            show.table(
                [("pattern", "left"), ("kind", "left"), ("here", "right"), ("95% interval", "right"),
                 ("there", "right"), ("z", "right"), ("lives in", "left")],
                [_row(one) for one in found],
            )  # fmt: skip
    quoted = [one for one in (*habits, *phrases) if one.examples][:QUOTED]
    if quoted:
        show.heading("in its words")
        show.table(
            [("pattern", "left"), ("record", "left"), ("words", "left")],
            [[one.pattern, one.examples[0][0], " ".join(one.examples[0][1].split())] for one in quoted],
        )
    _print_whole(report)


def _row(one: Finding) -> list[str]:
    there = "rare" if one.reference_rate is None else f"{one.reference_rate:.1%}"
    return [
        one.pattern, one.kind, f"{one.rate:.1%}", f"{one.low:.1%} to {one.high:.1%}", there,
        "·" if one.z is None else f"{one.z:.1f}", ", ".join(f"{name} {rate:.0%}" for name, rate in one.groups.items()),
    ]  # fmt: skip


def _print_whole(report: LexicalReport) -> None:
    """Print how long the records are, and how much the dataset repeats itself."""
    from habitus import show

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
    show.heading("as a whole")
    show.table([("", "left"), ("here", "right"), ("there", "right")], rows)
    if lengths.empty:
        show.warn(f"{lengths.empty:,} records have no words")
