"""The lexical audit of 50,000 chats of about 300 words: CPU, wall and memory.

    python benchmarks/audit.py [--check] [--records 50000]

Bars: 60 s wall, 2 GB, reading the file included. The chats are sentences of real answers, drawn anew, where ../shared/data
is beside the checkout, and else of answers of the simulated model.

Beside it, on chats as many as each can take and in a process of its own, the CPU of reading and counting (imports left out) and
the memory of what else there is:

- scikit-learn's CountVectorizer, runs of two to five words in at least 1% of the chats, as tools against over-used phrases
  count them. Bar: we are not slower, with all that we tell besides.
- the package `diversity` (pip install diversity spacy): gzip's compression ratio and self-repetition, two figures for the whole.
  Its time grows with the square of the chats: 10,000 took 296 CPU s, so that it is asked for 2,000.

Not here: slop-forensics is not on the package index; inspect-scout asks a model, and its published cost without one is
36 s CPU for two trivial scanners over 500 rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from habitus.audit.dataset import Reading
from habitus.audit.lexical import audit_lexical
from habitus.models import Params
from habitus.models.simulated import SimulatedModel

if TYPE_CHECKING:
    from collections.abc import Callable

CHATS = Path(__file__).resolve().parents[2] / "shared" / "data" / "chats"
BARS = {"wall s": 60.0, "memory MB": 2_000.0}
WORDS = 300
FEWER = (2_000, 10_000)
MOST = {"diversity": 2_000}


def sentences() -> list[str]:
    """Return sentences to make chats of."""
    if CHATS.is_dir():
        texts = [text.text for path in sorted(CHATS.glob("*.gz")) for text in Reading(str(path))]
    else:
        texts = asyncio.run(simulated())
    return [one for text in texts for one in re.split(r"(?<=[.!?])\s", text) if one]


async def simulated(count: int = 2_000) -> list[str]:
    """Return answers of the simulated model."""
    model = SimulatedModel("simulated/world")
    asked = (
        f"The rota for week {number} leaves the harbour office without Nadia. What do I do?" for number in range(count)
    )
    return [(await model.complete([{"role": "user", "content": one}], Params())).text for one in asked]


def write(path: Path, records: int) -> None:
    """Write the chats."""
    pool, rng = sentences(), random.Random(0)
    with path.open("wb") as file:
        for number in range(records):
            answer, left = [], rng.gauss(WORDS, WORDS / 4)
            while left > 0:
                answer.append(rng.choice(pool))
                left -= len(answer[-1].split())
            messages = [{"role": "user", "content": "And now?"}, {"role": "assistant", "content": " ".join(answer)}]
            file.write(orjson.dumps({"id": f"chat-{number:06}", "messages": messages}) + b"\n")


def texts_of(path: Path) -> list[str]:
    """Return the answers in a file."""
    return [text.text for text in Reading(str(path))]


def counting() -> Callable[[Path], dict[str, Any]]:
    """Return what we do, and what it tells."""

    def count(path: Path) -> dict[str, Any]:
        report = audit_lexical(row for text in Reading(str(path)) for row in text.messages)
        kinds = Counter(one.kind for one in report.findings)
        told = ", ".join(f"{number} × {kind}" for kind, number in kinds.most_common())
        return {
            "words": report.words,
            "findings": len(report.findings),
            "told": f"{len(report.findings)} findings: {told}",
        }

    return count


def vectorizing() -> Callable[[Path], dict[str, Any]]:
    """Return how phrases are counted by scikit-learn."""
    from sklearn.feature_extraction.text import CountVectorizer

    def count(path: Path) -> dict[str, Any]:
        vectors = CountVectorizer(ngram_range=(2, 5), min_df=0.01, binary=True)
        found = vectors.fit_transform(texts_of(path))
        return {"told": f"{found.shape[1]:,} phrases in 1%, unranked"}

    return count


def scoring() -> Callable[[Path], dict[str, Any]]:
    """Return the two scores of `diversity`."""
    from diversity.compression import compression_ratio
    from diversity.self_repetition import self_repetition_score

    def score(path: Path) -> dict[str, Any]:
        texts = texts_of(path)
        repetition = self_repetition_score(texts, verbose=False)
        return {"told": f"compression {compression_ratio(texts):.2f}, self-repetition {repetition:.2f}"}

    return score


WAYS = {
    "habitus": (counting, "rates, intervals, a reference, openings, frames, formatting, quotes, sameness"),
    "CountVectorizer": (vectorizing, "phrases and their rates; no interval, reference, frame, opening, quote"),
    "diversity": (scoring, "two figures for the whole; nothing that is over-represented is named"),
}


def measure(path: Path, way: str) -> None:
    """Read and count in one way and print what it took (in a process of its own)."""
    try:
        count = WAYS[way][0]()
    except ImportError as problem:
        print(json.dumps({"missing": str(problem)}))
        return
    began, cpu = time.monotonic(), time.process_time()
    found = count(path)
    took = {"CPU s": time.process_time() - cpu, "wall s": time.monotonic() - began}
    print(json.dumps({**found, **took, "memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def measured(path: Path, way: str = "habitus") -> dict[str, Any]:
    """Return what `measure` prints."""
    command = [sys.executable, __file__, "--file", str(path), "--way", way]
    # diversity looks for a file on the network when it is imported, and says at length that there is none
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(path: Path, records: int) -> list[str]:
    """Print what the peers take, and return what misses its bar."""
    missed = []
    for fewer in (one for one in FEWER if one <= records):
        part = path.with_name(f"{fewer}.jsonl")
        with path.open("rb") as file:
            part.write_bytes(b"".join(islice(file, fewer)))
        figures = {way: measured(part, way) for way in WAYS if fewer <= MOST.get(way, fewer)}
        print(f"\n{f'{fewer:,} chats':17}{'CPU s':>8}{'ms a chat':>11}{'MB':>8}  what is found")
        for way, row in figures.items():
            if "missing" in row:
                print(f"{way:17}not installed: {row['missing']}")
                continue
            cpu = row["CPU s"]
            print(f"{way:17}{cpu:8.1f}{1_000 * cpu / fewer:11.2f}{row['memory MB']:8,.0f}  {row['told']}")
        ours, theirs = figures["habitus"]["CPU s"], figures["CountVectorizer"].get("CPU s")
        if theirs is None:
            missed.append(f"{fewer:,} chats: nothing to compare with")
        elif ours > theirs:
            missed.append(f"{fewer:,} chats in {ours:.1f} CPU s, CountVectorizer in {theirs:.1f}")
    print("", *(f"{way}: {gives}" for way, (_, gives) in WAYS.items()), sep="\n")
    return missed


def main() -> None:
    """Print the table, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file:
        measure(arguments.file, arguments.way)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.jsonl"
        write(path, arguments.records)
        figures = measured(path)
        size = path.stat().st_size / 1e6
        print(
            f"{arguments.records:,} chats, {figures['words']:,} words, {size:,.0f} MB; {figures['findings']} findings told"
        )
        for name in ("CPU s", *BARS):
            bar = f"  bar {BARS[name]:,.0f}" if name in BARS else ""
            print(f"{name:12}{figures[name]:10,.1f}{bar}", flush=True)
        missed = compare(path, arguments.records)
    missed += [f"{name} {figures[name]:,.1f}, bar {bar:,.0f}" for name, bar in BARS.items() if figures[name] > bar]
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
