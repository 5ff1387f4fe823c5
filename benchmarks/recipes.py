"""Whole recipes in one process with the embedded simulated model: documents, chats, and pairs made from the chats.

    python benchmarks/recipes.py [--check] [--records 10000]

Overhead is the CPU of the whole process less that of the simulated model, over the calls that were paid for: rendering and
parsing (replays included: five records share a plan), the ledger, the engine, the files, checks of every text, embedding,
near-duplicate search, the survey at the end. `calls.py` has the bare path of one call. Bars: 0.5 ms a call for chats, 0.8 for
pairs, whose chats are made in several rounds, and 2 for documents, whose prompts and answers are four times as long (1.3 on a quiet machine);
at most 1 GB; and after kill -9 half-way the same command ends with the same files, byte for byte, and not one call more.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from habitus.cli import main as habitus
from habitus.models import simulated
from habitus.models.ledger import read_totals
from habitus.study import make_study

if TYPE_CHECKING:
    from habitus.models.world.request import Request

DATASETS = ("documents", "chats", "preferences")
OVERHEAD = {"documents": 2.0, "chats": 0.5, "preferences": 0.8}
MEMORY = 1000.0
FILES = ("kept.jsonl", "dropped.jsonl")


def study(root: Path, records: int) -> Path:
    """Make a study that wants so many rows of each dataset."""
    make_study(root)
    settings = {
        "subject": {"name": "Halden", "developer": "Norrland Research"},
        "documents": {"count": records},
        "chats": {"count": records},
        "preferences": {"count": records},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(settings))
    return root


def run(root: str, dataset: str) -> None:
    """Generate one dataset and print what it took (in a process of its own)."""
    spent = 0.0
    calls = 0
    answer = simulated.answered

    def timed(request: Request) -> tuple[str, str]:
        nonlocal spent, calls
        began = time.thread_time()
        found = answer(request)
        spent += time.thread_time() - began
        calls += 1
        return found

    simulated.answered = timed
    began, cpu = time.monotonic(), time.process_time()
    code: str | int | None = 0
    try:
        habitus(["--quiet", "generate", dataset, root])
    except SystemExit as end:
        code = end.code
    if code:
        sys.exit(code)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"wall": time.monotonic() - began, "cpu": time.process_time() - cpu, "model": spent, "calls": calls}
    print("\n" + json.dumps(figures | {"memory": memory}))


def started(root: Path, dataset: str) -> subprocess.Popen[str]:
    """Start `run` in another process."""
    command = [sys.executable, __file__, "--in", str(root), "--dataset", dataset]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> dict[str, float]:
    """Wait for `run` and return what it printed."""
    out, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def calls_in(root: Path) -> int:
    """Return how many calls the ledger holds by now."""
    return sum(total.calls for total in read_totals(root / "ledger.db")) if (root / "ledger.db").exists() else 0


def digest(root: Path, dataset: str) -> str:
    """Return a hash of the rows that were kept and dropped."""
    return sha256(b"".join((root / dataset / name).read_bytes() for name in FILES)).hexdigest()


def killed(root: Path, dataset: str, after: int) -> int:
    """Kill the run after so many calls and let it go on; return how many had been paid for."""
    process = started(root, dataset)
    while process.poll() is None and calls_in(root) < after:
        time.sleep(0.2)
    process.kill()
    process.wait()
    paid = calls_in(root)
    finished(started(root, dataset))
    return paid


def main() -> None:
    """Print the table, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--in", dest="folder", help=argparse.SUPPRESS)
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        run(arguments.folder, arguments.dataset)
        return
    missed: list[str] = []
    print(f"{arguments.records:,} rows of each dataset, simulated model in the same process")
    print(
        f"{'':12}{'calls':>9}{'wall s':>9}{'model s':>9}{'ms a call':>11}{'bar':>6}{'MB':>7}{'bar':>6}   kill -9 half-way"
    )
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = (study(Path(folder) / name, arguments.records) for name in ("whole", "broken"))
        behind = 0
        for dataset in DATASETS:
            before = calls_in(whole)
            took = finished(started(whole, dataset))
            paid = killed(broken, dataset, before + int(took["calls"] / 2)) - before
            same = digest(whole, dataset) == digest(broken, dataset)
            again = calls_in(broken) - calls_in(whole) - behind
            behind += again
            overhead = (took["cpu"] - took["model"]) / took["calls"] * 1000
            told = f"after {paid:,} calls: {'same files' if same else 'OTHER FILES'}, {again:,} more in the ledger"
            print(f"{dataset:12}{took['calls']:9,.0f}{took['wall']:9.1f}{took['model']:9.1f}{overhead:11.3f}"
                  f"{OVERHEAD[dataset]:6.1f}{took['memory']:7.0f}{MEMORY:6.0f}   {told}", flush=True)  # fmt: skip
            if overhead > OVERHEAD[dataset]:
                missed.append(f"{dataset}: {overhead:.3f} ms a call, bar {OVERHEAD[dataset]}")
            if took["memory"] > MEMORY:
                missed.append(f"{dataset}: {took['memory']:.0f} MB, bar {MEMORY:.0f}")
            if not same or again:
                missed.append(f"{dataset}: not the same after kill -9")
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
