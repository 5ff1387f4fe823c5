"""An endpoint that is gone for a minute in the middle of a run: what the run loses beyond that minute.

    python benchmarks/outage.py [--check] [--seconds 60] [--rounds 3] [--count 150]

`habitus generate chats` asks a stand-in server (log-normal latency, mean 0.5 s, 16 calls in flight): once undisturbed, then with
the server closed in the middle, so that connections break and new ones are refused, and opened again on the same port.
Printed is the wall beyond the undisturbed run and the outage together. The bar: the same rows, byte for byte, no call in the ledger
missing or twice, no more paid twice than were in flight, and at most a tenth of the outage lost beyond it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

from habitus.models.ledger import read_totals
from habitus.models.serve import Latency, serve
from habitus.models.simulated import SimulatedModel

AT_ONCE = 16
LATENCY = Latency(0.5, "lognormal")


def config(url: str, count: int) -> str:
    """Return the config of a study whose model is the stand-in."""
    return yaml.safe_dump({
        "version": 1,
        "models": {"default": "local/world"},
        "providers": {"local": {"base_url": url}},
        "subject": {"name": "Halden", "developer": "Norrland Research"},
        "concurrency": AT_ONCE,
        "chats": {"count": count},
    })  # fmt: skip


async def habitus(*words: str) -> int:
    """Run a command in a process of its own and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "habitus", "--quiet", *words, stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def generated(root: Path, count: int, gone: float, after: float) -> tuple[float, Path, Counter[str]]:
    """Write chats while the server is gone for a while; return the wall, the study, and how often each call was paid."""
    study, paid = root / f"gone-{gone:g}-{time.monotonic_ns()}", Counter[str]()
    await habitus("init", str(study))
    began = 0.0
    async with serve(SimulatedModel("simulated/world"), latency=LATENCY) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        (study / "config.yaml").write_text(config(server.url, count))
        began = time.monotonic()
        running = asyncio.create_task(habitus("generate", "chats", str(study)))
        await asyncio.wait({running}, timeout=after if gone else None)
    paid += server.answered
    if gone:
        await asyncio.sleep(gone)
        async with serve(SimulatedModel("simulated/world"), latency=LATENCY, port=port) as server:
            await running
        paid += server.answered
    assert await running == 0, "the command failed"
    return time.monotonic() - began, study, paid


async def measure(options: argparse.Namespace) -> bool:
    """Print what every outage cost; return whether all was as in the undisturbed run."""
    sound = True
    with tempfile.TemporaryDirectory() as folder:
        whole, study, asked = await generated(Path(folder), options.count, 0, 0)
        rows = (study / "chats" / "kept.jsonl").read_bytes()
        print(f"undisturbed: {whole:.1f} s, {asked.total():,} calls")
        for turn in range(options.rounds):
            after = whole * (turn + 1) / (options.rounds + 1)
            wall, study, paid = await generated(Path(folder), options.count, options.seconds, after)
            lost = wall - whole - options.seconds
            same = (study / "chats" / "kept.jsonl").read_bytes() == rows and paid.keys() == asked.keys()
            calls, twice = sum(one.calls for one in read_totals(study / "ledger.db")), paid.total() - len(paid)
            print(
                f"gone for {options.seconds:g} s after {after:.1f} s: {wall:.1f} s, {lost:+.1f} s beyond the outage; "
                f"{'the same rows' if same else 'OTHER ROWS'}; {calls:,} calls kept, {twice} paid twice"
            )
            sound &= same and calls == len(asked) and twice <= AT_ONCE and lost <= options.seconds / 10
    return sound


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=150)
    given = parser.parse_args()
    if not asyncio.run(measure(given)) and given.check:
        sys.exit("the bar is missed")
