"""Four dependent steps × many records over HTTP: wall against the ideal, memory, and what kill -9 half-way costs.

    python benchmarks/chain.py [--check] [--records 10000]

Ideal wall is the summed latency of all calls over the concurrency. Bars (10,000 records, log-normal latency of mean
0.2 s, concurrency 256): wall at most 1.05 × ideal, at most 300 MB, and after kill -9 half-way at most 0.2% of the finished
calls paid again. Published for other engines at 1,000 records: 1.3 to 10 × ideal, 0.3 to 100% paid again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from habitus.models.ledger import read_totals
from habitus.models.serve import Latency
from house import STEPS, Row, chain, engine
from stand_in import running

LATENCY = "lognormal:0.2"
BARS = {"wall": 1.05, "memory": 300.0, "again": 0.2}


async def run(folder: str, url: str, records: int, concurrency: int) -> None:
    """Take the records through the chain and print what it took (in a process of its own)."""
    async with engine(Path(folder), url, concurrency) as opened:
        rows = (Row(id=f"row-{number:06}") for number in range(records))
        kept: list[str] = []
        began = time.monotonic()
        await opened.run(chain, rows, lambda row, _result, _trace: kept.append(row.id))
        wall = time.monotonic() - began
    assert len(kept) == records
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": time.process_time(), "memory": memory}))


def started(folder: str, url: str, arguments: argparse.Namespace) -> subprocess.Popen[str]:
    """Start `run` in another process."""
    command = [sys.executable, __file__, "--records", str(arguments.records), "--concurrency", str(arguments.concurrency),
               "--in", folder, "--url", url]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> dict[str, float]:
    """Wait for `run` and return what it printed."""
    out, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(out)


def calls_in(folder: str) -> int:
    """Return how many calls the ledger of a run holds by now."""
    return sum(total.calls for total in read_totals(Path(folder) / "ledger.db"))


def main() -> None:
    """Print the table, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--in", dest="folder", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        asyncio.run(run(arguments.folder, arguments.url, arguments.records, arguments.concurrency))
        return

    calls = arguments.records * len(STEPS)
    draws, latency = random.Random(0), Latency.parse(LATENCY)
    ideal = sum(latency.draw(draws) for _ in range(calls)) / arguments.concurrency
    print(f"{arguments.records:,} records × {len(STEPS)} steps, latency {LATENCY}, concurrency {arguments.concurrency}")
    with running(LATENCY) as (url, _), tempfile.TemporaryDirectory() as folder:
        whole = finished(started(folder, url, arguments))
    with running(LATENCY) as (url, seen), tempfile.TemporaryDirectory() as folder:
        process = started(folder, url, arguments)
        while not (Path(folder) / "ledger.db").exists() or calls_in(folder) < calls / 2:
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        paid = calls_in(folder)
        rest = finished(started(folder, url, arguments))
    again = 100 * (seen["answered"] - calls) / paid
    figures = {"wall": whole["wall"] / ideal, "memory": max(whole["memory"], rest["memory"]), "again": again}
    print(f"ideal wall           {ideal:8.1f} s")
    print(f"wall                 {whole['wall']:8.1f} s   {figures['wall']:.3f} × ideal, bar {BARS['wall']}")
    print(f"CPU a call           {whole['cpu'] / calls * 1000:8.2f} ms")
    print(f"peak memory          {figures['memory']:8.0f} MB  bar {BARS['memory']:.0f}")
    print(
        f"killed after         {paid:8,} finished calls; {seen['answered'] - calls:,} answered again ({again:.2f}%, bar {BARS['again']}%)"
    )
    missed = [f"{name} {figures[name]:.3f}, bar {bar}" for name, bar in BARS.items() if figures[name] > bar]
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
