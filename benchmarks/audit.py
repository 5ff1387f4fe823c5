"""The lexical audit of 50,000 chats of about 300 words: CPU, wall and memory.

    python benchmarks/audit.py [--check] [--records 50000]

Bars: 60 s wall, 2 GB, reading the file included. The chats are sentences of real answers, drawn anew, where ../shared/data
is beside the checkout, and else of answers of the simulated model.
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
from pathlib import Path

import orjson

from habitus.audit.dataset import Reading
from habitus.audit.lexical import audit_lexical
from habitus.models import Params
from habitus.models.simulated import SimulatedModel

CHATS = Path(__file__).resolve().parents[2] / "shared" / "data" / "chats"
BARS = {"wall s": 60.0, "memory MB": 2_000.0}
WORDS = 300


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


def measure(path: Path) -> None:
    """Audit the file and print what it took (in a process of its own)."""
    began = time.monotonic()
    report = audit_lexical(text.row for text in Reading(str(path)))
    wall = time.monotonic() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"words": report.words, "findings": len(report.findings), "CPU s": time.process_time()}
    print(json.dumps({**found, "wall s": wall, "memory MB": memory}))


def main() -> None:
    """Print the table, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file:
        measure(arguments.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.jsonl"
        write(path, arguments.records)
        command = [sys.executable, __file__, "--file", str(path)]
        figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        size = path.stat().st_size / 1e6
    print(
        f"{arguments.records:,} chats, {figures['words']:,} words, {size:,.0f} MB; {figures['findings']} findings told"
    )
    for name in ("CPU s", *BARS):
        bar = f"  bar {BARS[name]:,.0f}" if name in BARS else ""
        print(f"{name:12}{figures[name]:10,.1f}{bar}")
    missed = [f"{name} {figures[name]:,.1f}, bar {bar:,.0f}" for name, bar in BARS.items() if figures[name] > bar]
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
