"""Everything that is printed: plan, progress, the tables at the end."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from habitus.models.costs import dollars, dollars_in_all

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from habitus.errors import UserError
    from habitus.forecast import StepEstimate
    from habitus.generate.spread import Spread
    from habitus.generate.survey import PairSurvey, Survey
    from habitus.models.jobs import BatchJob
    from habitus.models.ledger import StepTotal
    from habitus.tally import Progress, Tally
    from habitus.traits.document import TraitsDocument
    from habitus.traits.lint import Finding

NO_TERMINAL = 120
"""Columns where the output goes into a file or a pipe."""

FINDINGS_OF_A_KIND = 3
NARROWEST = 8
NARROWEST_NAME = 32
"""Characters that a column of text, and the first one, keep in any table as long as others can give."""
NARROWEST_FIRST = 20
"""Those that the first one keeps before figures are cut."""


UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What would command the terminal, turn the line round or is half a character; texts of models may have it in them."""
LONGEST_COMPLAINT = 4_000


class _Terminal(Console):
    """A console on which text is text: nothing that is printed commands the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for one in super().render(renderable, options):
            yield one if one.control else one._replace(text=UNPRINTABLE.sub("\ufffd", one.text))


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    wide = NO_TERMINAL if not stream.isatty() and "COLUMNS" not in os.environ else None
    return _Terminal(stderr=stderr, highlight=False, width=wide)


out = _console(stderr=False)
err = _console(stderr=True)
progress_console = _console(stderr=True)
QUIET_LINE_EVERY = 10.0
"""Seconds between progress lines where there is no terminal to draw on."""


def be_quiet(*, quiet: bool) -> None:
    """Leave out, or show, what is going on; results, warnings and errors are printed in any case."""
    progress_console.quiet = quiet


def say(text: str = "") -> None:
    """Print a plain line of result."""
    out.print(text, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """Print a line about what is going on, which --quiet leaves out."""
    progress_console.print(text, markup=False, style="dim", soft_wrap=True)


def warn(text: str) -> None:
    """Print what the user ought to know although nothing stops."""
    err.print(Text.assemble(("warning: ", "yellow"), text), soft_wrap=True)


def complain(error: UserError) -> None:
    """Print a user's mistake: what, where, what to do."""
    err.print(Text.assemble(("error: ", "bold red"), _bounded(error.what)), soft_wrap=True)
    if error.where:
        err.print(Text(f"   at: {_bounded(error.where)}", style="default"), soft_wrap=True)
    if error.todo:
        err.print(Text(f"   do: {_bounded(error.todo)}", style="default"), soft_wrap=True)


def _bounded(text: str) -> str:
    """Return a message that a foreign file has its words in, cut where it would fill the screen."""
    return text if len(text) <= LONGEST_COMPLAINT else f"{text[:LONGEST_COMPLAINT]} …"


def next_command(*commands: str) -> None:
    """Print how to go on."""
    out.print()
    for number, command in enumerate(commands):
        lead = "next: " if number == 0 else "      "
        out.print(Text.assemble((lead, "dim"), (command, "bold")), soft_wrap=True)


def heading(text: str) -> None:
    """Print a heading with air above it."""
    out.print()
    out.print(Text(text, style="bold"))


def simulated_banner() -> None:
    """Say that nothing here comes from a language model."""
    rest = ": the embedded model answers; its texts show how the system works, not how a language model writes."
    out.print(Text.assemble(("simulated", "bold magenta"), rest))


def table(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], *, total: Sequence[str] | None = None
) -> None:
    """Print a table without lines; a column is (name, 'left' | 'right').

    For want of room, as on a terminal, the widest columns of text give, then the first one, and last of all figures,
    which mislead when they are cut.
    """
    cells = [list(row) for row in rows]
    every = [[name for name, _ in columns], *cells, *([] if total is None else [list(total)])]
    widths = [max(len(line[at]) for line in every) for at in range(len(columns))]
    whole, bounded = sum(widths) + 2 * len(widths) + 2, out.is_terminal or "COLUMNS" in os.environ
    over = whole - out.width if bounded else 0
    texts = [at for at, (_, side) in enumerate(columns) if side == "left" and at > 0]
    figures = [at for at, (_, side) in enumerate(columns) if side == "right" and at > 0]
    stages = ((texts, NARROWEST_NAME), ([0], NARROWEST_NAME), (texts, NARROWEST), ([0], NARROWEST_FIRST),
              (figures, NARROWEST))  # fmt: skip
    for giving, narrowest in stages:
        while over > 0 and max((widths[at] for at in giving), default=0) > narrowest:
            widths[max(giving, key=widths.__getitem__)] -= 1
            over -= 1
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for (name, justify), width in zip(columns, widths, strict=True):
        side = "right" if justify == "right" else "left"
        grid.add_column(name, justify=side, overflow="ellipsis", no_wrap=True, width=width)
    for row in cells:
        grid.add_row(*map(escape, row))
    if total is not None:
        grid.add_row(*map(escape, total), style="bold")
    shown, before = Padding(grid, (0, 0, 0, 2), expand=False), out.width
    if bounded:
        out.print(shown)
        return
    out.width = max(before, whole)
    out.print(shown)
    out.width = before


def document(found: TraitsDocument, findings: Sequence[Finding], budget: int) -> None:
    """Print what was read from the traits document and what lint says of it."""
    chunks = [chunk for trait in found.traits for chunk in trait.chunks]
    longest = max(len(chunk) for chunk in chunks) // 4
    heading(f"{found.path.name}: {found.title}" if found.title else found.path.name)
    say(
        f"  {len(found.traits)} traits in {len(chunks)} chunks (longest {longest:,} tokens, budget {budget:,}); "
        f"{len(found.context) // 4:,} tokens of trade-offs and exceptions"
    )
    shown = found.traits if len(found.traits) <= 12 else found.traits[:8]  # noqa: PLR2004
    table(
        [("line", "right"), ("trait", "left"), ("reasons", "right"), ("id", "left")],
        [[str(trait.line), trait.name[:60], str(len(trait.reasons)), trait.id] for trait in shown],
    )
    if len(shown) < len(found.traits):
        say(f"  … and {len(found.traits) - len(shown)} more")
    if not findings:
        say("  lint: nothing to say")
    shown_of: Counter[str] = Counter()
    for finding in findings:
        shown_of[finding.rule] += 1
        if shown_of[finding.rule] <= FINDINGS_OF_A_KIND:
            warn(f"{found.path.name}:{finding.line}: {finding.message} ({finding.rule})")
    for rule, number in shown_of.items():
        if number > FINDINGS_OF_A_KIND:
            warn(f"… and {number - FINDINGS_OF_A_KIND} more of the kind {rule}")


def who(rows: Iterable[StepEstimate]) -> None:
    """Print who takes which step."""
    heading("who does what")
    table(
        [("step", "left"), ("role", "left"), ("model", "left"), ("set at", "left"), ("prompt", "left")],
        [
            [row.step, row.role, row.model + " in batch jobs" * row.batch, row.place, row.prompt]
            for row in {row.step: row for row in rows}.values()
        ],
    )


def plan(rows: Sequence[StepEstimate], what: str) -> None:
    """Print what a dataset, such as `200 chats`, will take."""
    heading(f"what {what} take")
    known = [row.dollars for row in rows if row.dollars is not None]
    unknown = len(rows) - len(known)
    total = dollars(sum(known)) if known else "unknown"
    used = [(row.calls, row.input_tokens, row.output_tokens) for row in rows]
    table(
        [("step", "left"), ("calls", "right"), ("tokens in", "right"), ("tokens out", "right"), ("cost", "right")],
        [
            [row.step, f"{row.calls:,}", f"{row.input_tokens:,}", f"{row.output_tokens:,}", dollars(row.dollars)]
            for row in rows
        ],
        total=[
            "total",
            *(f"{sum(column):,}" for column in zip(*used, strict=True)),
            f"{total} + unknown" if known and unknown else total,
        ],
    )
    if unknown:
        warn(f"the price of {unknown} step{'s' if unknown > 1 else ''} is unknown; give `price:` beside the model")
    if any(row.measured for row in rows):
        say("  tokens of some steps are means of this study's own calls")


def bill(totals: Sequence[StepTotal]) -> None:
    """Print what the ledger holds, by step and model."""
    rows = [
        [one.step, one.model, f"{one.calls:,}", _tokens(one.input_tokens), _tokens(one.output_tokens),
         dollars_in_all(one.calls, one.dollars, one.unpriced)]
        for one in totals
    ]  # fmt: skip
    used = [(one.calls, one.input_tokens, one.output_tokens) for one in totals]
    calls, tokens_in, tokens_out = (sum(column) for column in zip(*used, strict=True)) if used else (0, 0, 0)
    price = dollars_in_all(calls, sum(one.dollars for one in totals), sum(one.unpriced for one in totals))
    table(
        [("step", "left"), ("model", "left"), ("calls", "right"), ("tokens in", "right"), ("tokens out", "right"),
         ("cost", "right")],
        rows,
        total=["total", "", f"{calls:,}", f"{tokens_in:,}", f"{tokens_out:,}", price],
    )  # fmt: skip


def _tokens(number: int) -> str:
    """Return a number of tokens; no call has none, so none is none that were told."""
    return f"{number:,}" if number else "unknown"


def funnel(steps: dict[str, int]) -> None:
    """Print how many records were planned, lost at each step, and kept, with a bar for what is left."""
    planned = max(steps.get("planned", 0), 1)
    left = steps.get("planned", 0)
    rows = []
    for name, number in steps.items():
        left = number if name in {"planned", "kept"} else left - number
        shown = f"{number:,}" if name in {"planned", "kept"} else f"-{number:,}"
        rows.append([name, shown, "━" * round(30 * left / planned)])
    table([("", "left"), ("records", "right"), ("", "left")], rows)


def spread(found: Sequence[Spread]) -> None:
    """Print the commonest fields, openings and names, and warn where a dataset collapsed onto one."""
    for one in found:
        often = [(value, share) for value, share in one.commonest if share * one.records > 1 + 1e-9]
        told = ", ".join(f"{value} {share:.1%}" for value, share in often) or "none comes twice"
        out.print(Text.assemble((f"  commonest {one.what}s  ", "dim"), told), soft_wrap=True)
    for one in found:
        if one.collapsed:
            warn(f"{one.share:.1%} share the {one.what} '{one.value}' (above {one.most:.0%} is collapse)")


def survey(found: Survey) -> None:
    """Print what a dataset of documents is like, held against its plan."""
    heading("against the plan")
    rows = [[what, value, f"{planned:.0%}", f"{kept:.0%}"] for what, value, planned, kept in found.plan]
    total = max(found.records, 1)
    rows += [["words", band, f"{asked / total:.0%}", f"{has / total:.0%}"] for band, asked, has in found.lengths]
    table([("", "left"), ("", "left"), ("planned", "right"), ("kept", "right")], rows)
    low, middle, high = found.over
    say(f"  words written over words asked for: {middle:.2f} in the median, {low:.2f} to {high:.2f} for 8 in 10")
    heading("known failings, share of the kept documents")
    table(
        [("", "left"), ("draft", "right"), ("kept", "right"), ("kept, by words", "right")],
        [[name, *("·" if share is None else f"{share:.1%}" for share in shares)] for name, *shares in found.failings],
    )
    heading("by trait")
    table(
        [("trait", "left"), ("documents", "right"), ("tokens, about", "right")],
        [[trait, f"{number:,}", f"{size:,}"] for trait, number, size in found.traits],
        total=["total", f"{found.records:,}", f"{sum(size for _, _, size in found.traits):,}"],
    )
    for warning in found.warnings:
        warn(warning)


def pairs(found: PairSurvey) -> None:
    """Print what a dataset of pairs is like."""
    heading("the two answers")
    low, middle, high = found.ratio
    rows = [[name, f"{chosen:.2f}", f"{rejected:.2f}"] for name, chosen, rejected in found.scores]
    table([("mean score", "left"), ("chosen", "right"), ("rejected", "right")], rows)
    say(f"  alike in everything else: {found.alike:.2f} of 5")
    say(f"  words of the rejected over the chosen: {middle:.2f} in the median, {low:.2f} to {high:.2f} for 8 in 10")
    told = ", ".join(f"{number:,} from draw {draw}" for draw, number in sorted(found.draws.items()))
    say(f"  {told}")
    if found.passed_over:
        say(f"  {found.passed_over:,} contrast chats give no pair: there the answer without the trait is the right one")


@asynccontextmanager
async def progress(state: Progress, tally: Tally) -> AsyncGenerator[None]:
    """Show a run while it goes on: a live table on a terminal, a line now and then elsewhere."""
    began = time.monotonic()
    start = state.kept
    if progress_console.quiet:
        yield
        return
    if progress_console.is_terminal:
        with Live(
            console=progress_console,
            get_renderable=lambda: _live(state, tally, began, start),
            refresh_per_second=4,
            transient=True,
        ):
            yield
        note(_headline(state, tally, began, start))
        return

    async def lines() -> None:
        while True:
            await asyncio.sleep(QUIET_LINE_EVERY)
            note(_headline(state, tally, began, start))

    task = asyncio.create_task(lines())
    try:
        yield
    finally:
        task.cancel()
        if state.want:
            note(_headline(state, tally, began, start))


def _headline(state: Progress, tally: Tally, began: float, start: int) -> str:
    """One line: where the run stands, how fast, how long, how much."""
    elapsed = time.monotonic() - began
    made = state.kept - start
    # Records under way are half done on the average; in batch jobs nearly all are, when the first is kept.
    reached = made + min(tally.records, max(0, state.want - state.kept)) / 2 if made else 0.0
    rate = reached / elapsed if elapsed else 0.0
    answered = sum(step.answered for step in tally.steps.values())
    replayed = sum(step.replayed for step in tally.steps.values())
    parts = [f"{state.phase}: {state.kept:,} of {state.want:,} {state.done}"]
    if state.planned:
        parts.append(f"{state.planned:,} planned")
    if state.duplicates:
        parts.append(f"{state.duplicates:,} near-duplicates")
    if tally.steps:
        parts.append(f"{answered:,} calls" + (f" and {replayed:,} from the ledger" if replayed else ""))
    if answered and elapsed >= 1:
        parts.append(f"{answered / elapsed:,.0f} calls/s")
    parts.append(clock(elapsed))
    if rate and state.kept < state.want:
        parts.append(f"about {clock((state.want - start - reached) / rate)} to go")
    parts += batches(tally)
    unpriced = sum(step.unpriced for step in tally.steps.values())
    if tally.dollars or unpriced:
        spent = dollars(tally.dollars) if tally.dollars else "unknown cost"
        projected = (
            f", about {dollars(tally.dollars / reached * (state.want - start))} in the end"
            if reached and tally.dollars
            else ""
        )
        parts.append(
            spent + projected + (f" ({unpriced:,} calls of unknown price)" if unpriced and tally.dollars else "")
        )
    return " · ".join(parts)


def batches(tally: Tally) -> list[str]:
    """Return one line about what waits in batch jobs, if anything does."""
    standings = [model.standing() for model in tally.batches]
    jobs, calls = (sum(column) for column in list(zip(*standings, strict=True))[:2]) if standings else (0, 0)
    if not (jobs or calls):
        return []
    since = min((since for _, _, since in standings if since is not None), default=None)
    oldest = "" if since is None else f", oldest {max(0, time.time() - since) / 60:,.0f} min"
    return [f"batch: {jobs:,} job{'s' * (jobs != 1)}, {calls:,} calls waiting{oldest}"]


def open_jobs(jobs: Sequence[BatchJob]) -> None:
    """Print the batch jobs that go on at their providers."""
    heading("batch jobs that go on at their provider")
    columns = [("job", "left"), ("model", "left"), ("calls", "right"), ("sent", "right"), ("reserved", "right")]
    rows = [
        [job.batch or f"{job.name} (its id never came back)", job.model, f"{job.calls:,}",
         f"{max(0, time.time() - job.began) / 60:,.0f} min ago", dollars(job.dollars) if job.dollars else "unknown"]
        for job in jobs
    ]  # fmt: skip
    table(columns, rows)


def _live(state: Progress, tally: Tally, began: float, start: int) -> Group:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("step", "in flight", "answered", "from ledger", "repaired", "dropped", "tokens out", "cost"):
        grid.add_column(name, justify="left" if name == "step" else "right")
    for name, step in tally.steps.items():
        price = "unknown" if step.unpriced and not step.dollars else dollars(step.dollars)
        cells = (
            step.in_flight + step.waiting,
            step.answered,
            step.replayed,
            step.repaired,
            step.dropped,
            step.output_tokens,
        )
        grid.add_row(name, *(f"{cell:,}" if cell else "·" for cell in cells), price)
    return Group(Text(_headline(state, tally, began, start), style="bold"), Padding(grid, (0, 0, 0, 2)))


def clock(seconds: float) -> str:
    """Return a duration as 0:07, 12:30 or 3:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
