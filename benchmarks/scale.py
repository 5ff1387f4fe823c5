"""What many machines take: the scheduler simulated and held against a real run, and a plan for 100,000,000 chats.

    python benchmarks/scale.py [--check] [--rows 100000000] [--replicas 128] [--in-flight 64] [--speed 40] [--price 0.1 0.4]

First the simulation is held against the engine: the same chain of calls over two servers (log-normal latency, mean 0.5 s),
really run and simulated. Bar: within 10%. Then what the run itself costs per row where shards do the work (`--ray` on this
machine, simulated model, two sizes, so that what is fixed drops out), what its files take, how fast ledgers are merged.
Last the plan: calls and tokens as `habitus check` estimates them, wall time from the simulation with these figures.

`--speed` (tokens a second of one answer), `--in-flight` (calls a replica bears) and `--price` (USD per million tokens in and
out) are assumptions about somebody's servers, not measurements.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import math
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
from habitus.cli import main as habitus
from habitus.generate.estimate import estimate
from habitus.generate.kinds import CHATS, Job
from habitus.models.ledger import Ledger
from habitus.models.serve import Latency
from habitus.recipe import OPEN_PER_CALL, open_engine
from habitus.study import Study, make_study
from house import STEPS, Row, chain, engine
from stand_in import running

if TYPE_CHECKING:
    from collections.abc import Callable

MEAN, RECORDS, IN_FLIGHT = 0.5, 300, 32
COMMIT = 0.015
"""Seconds that an answer waits for the ledger, in the mean."""
SIGMA = 0.6
SIZES = (500, 2500)
OFF = 0.10


@dataclass
class Outcome:
    """What a simulation came to."""

    wall: float
    busy: float
    """Share of the calls that may be in flight which are, between the first quarter of the time and the last."""


def simulate(
    records: int, drawn: Callable[[], list[float]], in_flight: int, *, shards: int = 1, each: float = 0.0
) -> Outcome:
    """Return how long it takes when so many calls may be in flight, first come first served.

    `drawn` gives the latencies of one record's calls; each call takes a shard's CPU for `each` seconds besides.
    """
    waiting: deque[tuple[int, list[float]]] = deque()
    events: list[tuple[float, int, int, list[float]]] = []
    free, opened, flying, now, number = [0.0] * shards, 0, 0, 0.0, 0
    open_now = 0
    ended: list[tuple[float, float]] = []
    while True:
        while opened < records and open_now < max(100, OPEN_PER_CALL * in_flight):
            waiting.append((opened % shards, drawn()))
            opened += 1
            open_now += 1
        while waiting and flying < in_flight:
            shard, left = waiting.popleft()
            flying += 1
            number += 1
            heapq.heappush(events, (now + left[0], number, shard, left))
        if not events:
            middle = sum(took for at, took in ended if now / 4 < at <= 3 * now / 4)
            return Outcome(now, middle / (now / 2) / in_flight)
        now, _, shard, left = heapq.heappop(events)
        if shard < 0:  # the engine is through with it
            waiting.append((-shard - 1, left))
            continue
        flying -= 1
        ended.append((now, left[0]))
        if len(left) == 1:
            open_now -= 1
            continue
        free[shard] = max(free[shard], now) + each
        number += 1
        heapq.heappush(events, (free[shard] + COMMIT, number, -shard - 1, left[1:]))


def drawing(means: list[float], seed: int = 0) -> Callable[[], list[float]]:
    """Return what draws the log-normal latencies of one record."""
    draws = random.Random(seed)
    shift = SIGMA**2 / 2
    return lambda: [draws.lognormvariate(math.log(mean) - shift, SIGMA) for mean in means]


async def real(folder: str, urls: list[str]) -> float:
    """Return the seconds that the engine takes for the chain over these servers."""
    async with engine(Path(folder), urls[0], IN_FLIGHT, replicas=urls[1:]) as opened:
        rows = (Row(id=f"row-{number:06}") for number in range(RECORDS))
        began = time.monotonic()
        await opened.run(chain, rows, lambda *_: None)
        return time.monotonic() - began


def calibrated() -> float:
    """Print the real run beside the simulated one, and return by how much they are apart."""
    latency = f"lognormal:{MEAN}"
    assert Latency.parse(latency).sigma == SIGMA
    with running(latency) as (one, _), running(latency) as (other, _), tempfile.TemporaryDirectory() as folder:
        took = asyncio.run(real(folder, [one, other]))
    runs = [simulate(RECORDS, drawing([MEAN] * len(STEPS), seed), IN_FLIGHT) for seed in range(20)]
    mean = sum(run.wall for run in runs) / len(runs)
    spread = max(abs(run.wall / mean - 1) for run in runs)
    ideal = RECORDS * len(STEPS) * MEAN / IN_FLIGHT
    print(
        f"{RECORDS} records × {len(STEPS)} calls of {MEAN} s over 2 servers, {IN_FLIGHT} in flight (ideal {ideal:.1f} s)"
    )
    print(
        f"  the engine {took:6.1f} s   simulated {mean:6.1f} s (draws differ by up to {spread:.0%})   ratio {took / mean:.3f}\n"
    )
    return abs(took / mean - 1)


def command(root: str, rows: int) -> None:
    """Generate chats with `--ray` on this machine and print what the run itself took (in a process of its own)."""
    began = time.process_time()
    try:
        habitus(["--quiet", "generate", "chats", root, "--count", str(rows), "--ray"])
    except SystemExit as end:
        if end.code:
            raise
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + json.dumps({"cpu": time.process_time() - began, "memory": memory}))


def measured() -> dict[str, float]:
    """Return what a row costs the run itself, what it takes on disk, and how fast ledgers are merged."""
    took = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in SIZES:
            root = Path(folder) / str(rows)
            make_study(root)
            asked = [sys.executable, __file__, "--in", str(root), "--rows", str(rows)]
            out = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout
            took.append(json.loads(out.splitlines()[-1]))
        with closing(sqlite3.connect(root / "ledger.db")) as ledger:
            calls = ledger.execute("SELECT count(*) FROM calls").fetchone()[0]
        size = (root / "ledger.db").stat().st_size / calls
        files = sum(path.stat().st_size for path in (root / "chats").iterdir()) / rows
        whole, again = root / "ledger.db", Path(folder) / "again.db"
        shutil.copyfile(
            whole, again
        )  # merging removes what is merged; a ledger whose memory is traced is twice as slow
        spent, _ = merged(again, Path(folder) / "timed.db")
        tracemalloc.start()
        _, grown = merged(whole, Path(folder) / "traced.db")
        tracemalloc.stop()
    each = (took[1]["cpu"] - took[0]["cpu"]) / (SIZES[1] - SIZES[0])
    return {"row": each, "fixed": took[0]["cpu"] - SIZES[0] * each, "calls": calls / rows, "ledger": size, "files": files,
            "merged": calls / spent, "index": grown / calls, "memory": took[1]["memory"]}  # fmt: skip


def merged(shard: Path, ledger: Path) -> tuple[float, int]:
    """Return the CPU seconds that merging a shard's ledger into a new one takes, and the bytes by which memory grows."""
    other = Ledger(ledger)
    before, began = tracemalloc.get_traced_memory()[0], time.process_time()
    asyncio.run(other.absorb(shard))
    spent, grown = time.process_time() - began, tracemalloc.get_traced_memory()[0] - before
    asyncio.run(other.close())
    assert not shard.exists(), "what is merged is removed"
    return spent, grown


async def needed(rows: int) -> list[tuple[str, int, int, int]]:
    """Return the calls and tokens of each step, as the estimate of `habitus check` has them."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "study"
        make_study(root)
        study = Study(root)
        async with open_engine(study) as opened:
            found = estimate(Job(study, CHATS), opened, rows)
    return [(one.step, one.calls, one.input_tokens, one.output_tokens) for one in found]


def planned(arguments: argparse.Namespace, cost: dict[str, float]) -> None:
    """Print the plan."""
    steps = asyncio.run(needed(arguments.rows))
    rows = arguments.rows
    calls, tokens_in, tokens_out = (sum(one[at] for one in steps) for at in (1, 2, 3))
    print(
        f"{rows:,} chats, as `habitus check` estimates them; {arguments.replicas} replicas × {arguments.in_flight} calls"
    )
    for step, number, into, out in steps:
        print(f"  {step:18}{number:>16,} calls{into / 1e9:>10,.0f} G tokens in{out / 1e9:>8,.0f} G out")
    print(f"  {'in all':18}{calls:>16,} calls{tokens_in / 1e9:>10,.0f} G tokens in{tokens_out / 1e9:>8,.0f} G out")
    dollars = tokens_in / 1e6 * arguments.price[0] + tokens_out / 1e6 * arguments.price[1]
    print(f"  at {arguments.price[0]} and {arguments.price[1]} USD per million: {dollars:,.0f} USD")
    latencies = [
        out / number / arguments.speed for _, number, _, out in steps for _ in range(max(1, round(number / rows)))
    ]
    scale = tokens_out / rows / arguments.speed / sum(latencies)
    latencies = [one * scale for one in latencies]
    print(
        f"\n{'replicas':>10}{'in flight':>11}{'rows/s':>9}{'busy':>10}{'days':>8}{'the run, CPU days':>19}{'to fill and drain':>19}"
    )
    for replicas in sorted({8, 32, arguments.replicas}):
        most = replicas * arguments.in_flight
        number = 30 * most
        found = simulate(number, drawing(latencies), most, shards=min(32, most), each=0.0005)
        rate = found.busy * most / sum(latencies)
        print(f"{replicas:>10}{most:>11,}{rate:>9.1f}{found.busy:>10.0%}{rows / rate / 86400:>8.1f}"
              f"{rows * cost['row'] / 86400:>19.1f}{found.wall - number / rate:>17.0f} s", flush=True)  # fmt: skip
    print(
        f"\non disk: {rows * cost['files'] / 1e12:.1f} TB of rows and traces, {calls * cost['ledger'] / 1e12:.1f} TB of ledger"
    )
    print(
        f"merging the shards' ledgers: {calls / cost['merged'] / 3600:.1f} h of one core at {cost['merged']:,.0f} calls/s"
    )
    index = calls * cost["index"] / 1e9
    parts = math.ceil(index / 16)
    print(
        f"the ledger's index: {cost['index']:.0f} bytes a call, {index:,.0f} GB: {parts} studies of {rows // parts:,} rows hold it in 16 GB each"
    )
    print(
        f"one run keeps {1 / cost['row']:,.0f} rows/s going, which {int(1 / cost['row'] * sum(latencies)):,} calls in flight ask for"
    )


def main() -> None:
    """Print all of it, and with --check hold the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--replicas", type=int, default=128)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--speed", type=float, default=40.0)
    parser.add_argument("--price", type=float, nargs=2, default=(0.1, 0.4))
    parser.add_argument("--in", dest="folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        command(arguments.folder, arguments.rows)
        return
    apart = calibrated()
    cost = measured()
    print(f"with --ray the run itself takes {cost['row'] * 1000:.2f} ms CPU a row of {cost['calls']:.1f} calls ({cost['fixed']:.1f} s fixed), "
          f"{cost['memory']:.0f} MB at {SIZES[1]:,} rows;")  # fmt: skip
    print(
        f"a row takes {cost['files'] / 1000:.1f} kB of files, a call {cost['ledger'] / 1000:.1f} kB of ledger and {cost['index']:.0f} bytes of memory;"
    )
    print(f"ledgers are merged at {cost['merged']:,.0f} calls/s\n")
    planned(arguments, cost)
    if apart > OFF and arguments.check:
        sys.exit(f"missed: the simulation is off by {apart:.0%}, bar {OFF:.0%}")


if __name__ == "__main__":
    main()
