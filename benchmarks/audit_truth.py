"""What the audit finds, held against the truth: simulated chats with patterns planted in them at known rates.

    python benchmarks/audit_truth.py [--check] [--runs 10]

Auditor and judge are the embedded model, faults included: this is about the passes and the arithmetic, and says nothing of
what a real model sees or imagines. A full run takes a corpus of its own through all passes: scan, cluster, define, rate, and
rate again.

For the intervals, every text of the first corpus is rated once, and 1,000 samples are drawn from it as runs with as many
seeds would draw them. The truth is what the detectors say of the whole corpus, of which a sample is a twentieth. The same is
done with a judge that errs in one verdict of ten, either way: as it stands, and with the rate corrected by marks on some of
the texts, which are the detectors' here.

Last, the rating pass with a model that takes 0.2 s for a call in the mean, log-normally spread, 64 calls in flight: its wall
against the ideal, which is the latency of all calls over 64, with one call a text and with two. The run with two is also killed
with -9 half-way and run again. What the ledger holds is paid for; `chain.py` counts at the server, with the calls of the last 10 ms.

Bars: every pattern planted at 5% or more is found in every run, once, and the decoy in none; intervals contain the truth in
93 samples of 100 for each pattern, those of the erring judge once they are corrected; wall at most 1.05 × ideal, no call of
the ledger paid again, and after the kill the verdicts of the undisturbed run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from habitus.audit.agree import Mark, agree, to_mark
from habitus.audit.autorate import rate
from habitus.audit.dataset import Reading, Text, drawn
from habitus.audit.passes import Findings, Passes, run_pass
from habitus.audit.prevalence import LEVELS, prevalence
from habitus.config import Config
from habitus.models.ledger import Ledger, StepTotal, read_totals
from habitus.models.simulated import TICS
from habitus.models.world import plain_text
from habitus.models.world.auditor import habits, recognised
from habitus.models.world.facts import facts
from habitus.models.world.tics import drawn as habits_drawn
from habitus.models.world.tics import planted
from habitus.prompts import Prompts
from habitus.recipe import Engine
from habitus.records import Pattern, Rated
from habitus.tally import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from habitus.audit.prevalence import Rate
    from habitus.records import Level

RATES = {
    "bottom_line": 0.52, "validation": 0.26, "turnaround": 0.10, "three_parts": 0.10, "em_dash": 0.10, "triplet": 0.05,
    "bold_lead": 0.05, "epiphany": 0.02, "decoy": 0.0,
}  # fmt: skip
PLANTED = RATES | {"closing_question": RATES["three_parts"]}
"""With what is never drawn by itself: an answer in three parts ends with a question."""
COMMON, COVERED, ERROR = 0.05, 93, 0.1
RECORDS, SAMPLE, DRAWS, MARKED = 8_000, 400, 1_000, 80
LATENCY, CONCURRENCY, CALLS, OVER = 0.2, 64, 5_000, 1.05
KNOWN = {one.name: one for one in habits()}


@dataclass(frozen=True)
class Corpus:
    """Simulated answers by id, and what is true of them."""

    answers: dict[str, str]

    @property
    def texts(self) -> list[Text]:
        """Return them as the audit takes them."""
        return [Text(name, "", (answer,)) for name, answer in self.answers.items()]

    @cached_property
    def levels(self) -> dict[str, dict[str, Level]]:
        """At which level each planted habit shows, by habit and id."""
        found = {name: KNOWN[name].found for name in PLANTED}
        return {name: {key: find(one)[0] for key, one in self.answers.items()} for name, find in found.items()}

    @cached_property
    def truth(self) -> dict[tuple[str, Level], float]:
        """The true rates, by habit and test."""
        passing: dict[Level, set[str]] = {"broad": {"broad", "strict"}, "strict": {"strict"}}
        return {
            (name, level): sum(one in passing[level] for one in self.levels[name].values()) / len(self.answers)
            for name in PLANTED for level in LEVELS
        }  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What all passes found in a corpus, and what that took."""

    corpus: Corpus
    found: Findings
    spent: dict[str, StepTotal]

    def of(self, name: str) -> list[float]:
        """Return the estimated rates of the patterns that are of a habit."""
        ids = {one.id for one in self.found.patterns if habit_of(one) == name}
        return [row.strict.here.rate for row in self.found.prevalence if row.id in ids]


def habit_of(pattern: Pattern) -> str:
    """Return the habit that a pattern is of, or the pattern's own name where it is of none."""
    return next((one.name for one in recognised(f"{pattern.name}\n{pattern.definition}")), pattern.name)


def write(path: Path, seed: int) -> Corpus:
    """Write simulated chats with planted patterns, and return what they are."""
    rng, texts = random.Random(seed), list(plain_text(seed, 3 * RECORDS))
    rates, answers = dict.fromkeys(TICS, 0.0) | RATES, {}
    with path.open("wb") as file:
        for number in range(RECORDS):
            asked, *paragraphs = texts[3 * number : 3 * number + 3]
            answer = planted(paragraphs, habits_drawn(rates, rng), partial(facts(asked).values, rng), rng)
            messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            answers[f"chat-{number:05}"] = answer
            file.write(orjson.dumps({"id": f"chat-{number:05}", "messages": messages}) + b"\n")
    return Corpus(answers)


@asynccontextmanager
async def engine(root: Path, name: str, seed: int, error: float = 0.0, latency: float = 0.0) -> AsyncGenerator[Engine]:
    """Open an engine with a ledger of that name and the embedded model for every role."""
    model = f"simulated/world?seed={seed}&judge_error={error}&latency={latency}"
    chosen = {"models": {"default": model}, "seed": seed, "audit": {"sample": SAMPLE}, "concurrency": CONCURRENCY}
    config = Config.model_validate(chosen)
    opened = Engine(config, Prompts(None), Ledger(root / f"{name}.db"), folder=root)
    try:
        yield opened
    finally:
        await opened.close()


async def full_run(root: Path, seed: int) -> Run:
    """Return what all passes find in a corpus of that seed."""
    path = root / f"chats-{seed}.jsonl"
    corpus = write(path, seed)
    async with engine(root, f"run-{seed}", seed) as opened:
        passes = Passes(opened, root / f"found-{seed}", Reading(str(path)), progress=Progress())
        passes.draw()
        return Run(corpus, await passes.run(), {one.step: one for one in opened.ledger.totals()})


async def samples(root: Path, corpus: Corpus, patterns: Sequence[Pattern], error: float) -> list[list[Rated]]:
    """Return what a judge says of many random samples of a corpus; each text is rated once."""
    texts, recipe = corpus.texts, partial(rate, patterns=patterns, per_call=8, kind="assistant")
    async with engine(root, f"judge-{error}", 0, error) as opened:
        done = await run_pass(opened, Progress(), "rating", recipe, texts)
    judged = {one.id: one for one in done if isinstance(one, Rated)}
    draws = (drawn(texts, seed, {"rate": SAMPLE})[0]["rate"] for seed in range(DRAWS))
    return [[judged[text.id] for text in sample if text.id in judged] for sample in draws]


class Coverage:
    """How often intervals contain the truth."""

    def __init__(self, corpus: Corpus, patterns: Sequence[Pattern]) -> None:
        self.truth, self.names = corpus.truth, {one.id: habit_of(one) for one in patterns}
        self.hits = {(name, level): [] for name in self.names.values() for level in LEVELS}
        self.widths = {key: [] for key in self.hits}

    def note(self, rates: Iterable[tuple[str, Level, Rate]]) -> Coverage:
        """Take in the rates of some samples."""
        for pattern, level, one in rates:
            key = self.names[pattern], level
            self.hits[key].append(one.low <= self.truth[key] <= one.high)
            self.widths[key].append(one.high - one.low)
        return self

    def of_100(self, name: str, level: Level) -> float:
        """Return in how many intervals of 100 the truth lay."""
        return 100 * sum(self.hits[name, level]) / len(self.hits[name, level])

    def width(self, name: str, level: Level) -> float:
        """Return how wide the intervals are in the mean."""
        return sum(self.widths[name, level]) / len(self.widths[name, level])


def as_judged(patterns: Sequence[Pattern], drawn_samples: list[list[Rated]]) -> Iterable[tuple[str, Level, Rate]]:
    """Yield every rate of every sample."""
    for sample in drawn_samples:
        for row in prevalence(patterns, sample, facets={}):
            yield row.id, "broad", row.broad.here
            yield row.id, "strict", row.strict.here


def as_corrected(
    patterns: Sequence[Pattern], drawn_samples: list[list[Rated]], corpus: Corpus
) -> Iterable[tuple[str, Level, Rate]]:
    """Yield the same rates corrected by the marks of somebody who makes no mistake, drawn and taken as by the CLI."""
    names = {one.id: habit_of(one) for one in patterns}
    for seed, sample in enumerate(drawn_samples):
        rows = to_mark(patterns, sample, corpus.answers, MARKED, seed)["marks"]
        marks = [Mark(row["id"], row["pattern"], corpus.levels[names[row["pattern"]]][row["id"]]) for row in rows]
        for found in agree(patterns, sample, marks):
            yield found.id, found.level, found.corrected


def tell_found(runs: list[Run], covered: Coverage) -> list[str]:
    """Print what was found, and return what misses its bar."""
    missed = []
    print(
        f"{len(runs)} corpora of {RECORDS:,} simulated chats, {SAMPLE} rated of each; {DRAWS:,} samples of the first\n"
    )
    print(f"{'strict test':18}{'planted':>9}{'found in':>10}{'true':>8}{'estimate':>10}{'covered, of 100':>17}")
    for name, planted_at in PLANTED.items():
        found = [run.of(name) for run in runs]
        seen, rates = sum(map(bool, found)), [one for each in found for one in each]
        true = sum(run.corpus.truth[name, "strict"] for run in runs) / len(runs)
        told = f"{sum(rates) / len(rates):10.3f}" if rates else f"{'':10}"
        at = covered.of_100(name, "strict") if name in covered.names.values() else None
        print(
            f"{name:18}{planted_at:9.2f}{f'{seen} of {len(runs)}':>10}{true:8.3f}{told}{'' if at is None else f'{at:17.1f}'}"
        )
        if (planted_at >= COMMON and seen < len(runs)) or (not planted_at and seen):
            missed.append(f"{name} found in {seen} of {len(runs)} runs")
        if len(rates) > seen:
            missed.append(f"{name} told as {len(rates)} patterns in {seen} runs")
        if at is not None and at < COVERED:
            missed.append(f"{name} covered {at:.1f}, bar {COVERED}")
    others = sorted({one.name for run in runs for one in run.found.patterns if habit_of(one) not in PLANTED})
    print(f"other patterns: {', '.join(others) or 'none'}\n")
    return missed + [f"'{name}' was reported and is no habit" for name in others]


def tell_corrected(raw: Coverage, mended: Coverage) -> list[str]:
    """Print what becomes of an erring judge's rates, and return what misses its bar."""
    missed = []
    print(f"a judge that errs in {ERROR:.0%} of its verdicts; {MARKED} marks for each pattern; intervals\n")
    print(
        f"{'pattern':18}{'test':>8}{'true':>8}{'as judged: of 100':>20}{'width':>8}{'corrected: of 100':>20}{'width':>8}"
    )
    for name, level in ((name, level) for name in PLANTED for level in LEVELS if (name, level) in raw.hits):
        shown = "".join(f"{one.of_100(name, level):20.1f}{one.width(name, level):8.3f}" for one in (raw, mended))
        print(f"{name:18}{level:>8}{raw.truth[name, level]:8.3f}{shown}")
        if (at := mended.of_100(name, level)) < COVERED:
            missed.append(f"{name} ({level}) corrected: covered {at:.1f}, bar {COVERED}")
    return missed


def tell_costs(run: Run) -> None:
    """Print what a full run asks of the models before it rates, and what it takes to rate 1,000 records."""
    rating = run.spent["audit/rate"]
    before = [one for one in run.spent.values() if one is not rating]
    share = 1_000 / (len(run.found.rated) + len(run.found.repeated))
    for told, calls, tokens, out in (
        (f"to find and define {len(run.found.patterns)} patterns", sum(one.calls for one in before),
         sum(one.input_tokens for one in before), sum(one.output_tokens for one in before)),
        ("to rate 1,000 records", rating.calls * share, rating.input_tokens * share, rating.output_tokens * share),
    ):  # fmt: skip
        print(f"{told}: {calls:,.0f} calls, {tokens / 1e6:.2f}M tokens in, {out / 1e6:.2f}M out")


async def stream(root: Path, name: str, calls: int) -> None:
    """Rate texts of the first corpus in so many calls each, and print what it took (in a process of its own)."""
    patterns = [Pattern.model_validate_json(line) for line in (root / "found-1/patterns.jsonl").open()]
    texts = list(islice(Reading(str(root / "chats-1.jsonl")), CALLS // calls))
    recipe = partial(rate, patterns=patterns, per_call=-(-len(patterns) // calls), kind="assistant")
    async with engine(root, name, 0, latency=LATENCY) as opened:
        began, cpu = time.monotonic(), time.process_time()
        done = await run_pass(opened, Progress(), "rating", recipe, texts)
        took = {"wall": time.monotonic() - began, "cpu": time.process_time() - cpu}
        took["replayed"] = opened.tally.step("audit/rate").replayed
    print(json.dumps({**took, "verdicts": sha256("\n".join(map(repr, done)).encode()).hexdigest()}))


def streaming(root: Path, name: str, calls: int) -> subprocess.Popen[str]:
    """Start `stream` in another process."""
    command = [sys.executable, __file__, "--stream", str(root), "--name", name, "--calls", str(calls)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def streamed(root: Path, name: str, calls: int) -> dict[str, Any]:
    """Return what `stream` printed, and what the ledger holds then."""
    process = streaming(root, name, calls)
    out, _ = process.communicate()
    assert process.returncode == 0
    with closing(sqlite3.connect(root / f"{name}.db")) as ledger:
        row = ledger.execute("SELECT count(*), count(*) - count(DISTINCT key), sum(latency) FROM calls").fetchone()
    return {**json.loads(out), "calls": row[0], "again": row[1], "ideal": row[2] / CONCURRENCY}


def calls_in(path: Path) -> int:
    """Return how many calls a ledger holds by now."""
    return sum(one.calls for one in read_totals(path))


def killed(root: Path, calls: int) -> tuple[int, dict[str, Any]]:
    """Return how many calls were paid for when a run was killed half-way, and what it came to when it was run again."""
    process, ledger = streaming(root, "killed", calls), root / "killed.db"
    while not ledger.exists() or calls_in(ledger) < CALLS / 2:
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return calls_in(ledger), streamed(root, "killed", calls)


def tell_streaming(root: Path) -> list[str]:
    """Print what the rating pass takes beside the latency of its calls, and return what misses its bar."""
    missed = []
    print(f"\nthe rating pass, {LATENCY} s a call, {CONCURRENCY} in flight\n")
    print(f"{'':18}{'calls':>8}{'ideal s':>9}{'wall s':>8}{'× ideal':>9}{'CPU ms a call':>15}")
    whole: dict[str, Any] = {}
    for calls in (1, 2):
        whole = streamed(root, f"calls-{calls}", calls)
        over = whole["wall"] / whole["ideal"]
        print(
            f"{f'{calls} a text':18}{whole['calls']:8,}{whole['ideal']:9.1f}{whole['wall']:8.1f}{over:9.3f}"
            f"{1_000 * whole['cpu'] / whole['calls']:15.2f}", flush=True
        )  # fmt: skip
        missed += [f"{calls} calls a text: {over:.3f} × ideal, bar {OVER}"] * (over > OVER)
    paid, rest = killed(root, 2)
    is_same = rest["verdicts"] == whole["verdicts"]
    print(
        f"killed after {paid:,} calls and run again: {rest['replayed']:,} from the ledger, {rest['calls'] - paid:,} asked, "
        f"{rest['again']} paid again; verdicts {'the same' if is_same else 'DIFFER'}"
    )
    missed += [f"{rest['again']} calls paid again"] * (rest["again"] > 0)
    return missed + ["the verdicts differ after a kill"] * (not is_same)


async def measure(root: Path, number: int) -> list[str]:
    """Print the tables and return the figures that miss their bars."""
    runs = [await full_run(root, seed) for seed in range(1, number + 1)]
    corpus = runs[0].corpus
    patterns = [one for one in runs[0].found.patterns if habit_of(one) in PLANTED]
    sound = await samples(root, corpus, patterns, 0.0)
    missed = tell_found(runs, Coverage(corpus, patterns).note(as_judged(patterns, sound)))
    erring = await samples(root, corpus, patterns, ERROR)
    raw = Coverage(corpus, patterns).note(as_judged(patterns, erring))
    missed += tell_corrected(raw, Coverage(corpus, patterns).note(as_corrected(patterns, erring, corpus)))
    print()
    tell_costs(runs[0])
    return missed


def main() -> None:
    """Print the tables, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stream:
        asyncio.run(stream(arguments.stream, arguments.name, arguments.calls))
        return
    with tempfile.TemporaryDirectory() as folder:
        missed = asyncio.run(measure(Path(folder), arguments.runs))
        missed += tell_streaming(Path(folder))
    print(f"{time.process_time():.0f} s CPU")
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
