"""Kill -9 at random moments of every verb: each time the same command finishes, with the outcome of an undisturbed run.

    python benchmarks/kills.py [--check] [--kills 50] [--seed 0] [--only VERB]

A small study is taken through generate, audit, train, evaluate and report once, undisturbed. Then each verb is begun again
from what stood before it, killed with -9 after a random share of the time that it took, and run again until it ends. What is
compared: the rows that were kept, the audit's verdicts and the weights, byte for byte; which samples of an eval have a
verdict; the page, byte for byte. The bar is that all are equal, and that no finished call is paid again beyond the commit
that the kill caught.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from habitus.models.ledger import read_totals

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = {
    "version": 1,
    "models": {"default": "simulated/world?latency=0.01"},
    "subject": {"name": "Halden", "developer": "Norrland Research"},
    "concurrency": 16,
    "chats": {"count": 60},
    "train": {
        "start": "toy:0.3M", "baseline": "ordinary", "size": 60, "repeat": True, "max_length": 256, "seeds": [1], "save_every": 10,
        "sft": {"batch": 4, "steps": 40},
    },
    "arms": {"sft": {"sft": {"data": "chats", "fraction": 0.5}}},
    "evaluate": {"baseline": "sft", "evals": ["overreach"], "limit": 6},
}  # fmt: skip
VERBS = {
    "generate": ["generate", "chats"],
    "audit": ["audit", "--sample", "40"],
    "train": ["train"],
    "evaluate": ["evaluate", "--arm", "sft", "--eval", "overreach", "--limit", "6"],
    "report": ["report"],
}


def words(verb: str, study: Path) -> list[str]:
    """Return the command line of a verb on a study."""
    command = VERBS[verb]
    at = 2 if verb == "generate" else 1
    return [sys.executable, "-m", "habitus", "--quiet", *command[:at], str(study), *command[at:]]


def digest(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def measured(path: Path) -> list[object]:
    """Return which samples have a verdict; the answers of a model that samples are drawn anew where a kill took them."""
    evals = json.loads(path.read_text())["evals"]
    return [[one["name"], sorted((row["id"], row["epoch"], row["outcome"]) for row in one["samples"])] for one in evals]


OUTCOME: dict[str, Callable[[Path], object]] = {
    "generate": lambda study: digest(study / "chats" / "kept.jsonl"),
    "audit": lambda study: [digest(path) for path in sorted((study / "audit" / "chats").glob("*.jsonl"))],
    "train": lambda study: digest(study / "models" / "sft" / "seed-1" / "checkpoint" / "model.safetensors"),
    "evaluate": lambda study: [measured(path) for path in sorted((study / "evals").rglob("results.json"))],
    "report": lambda study: digest(study / "report" / "index.html"),
}


def calls(study: Path) -> int:
    """Return how many calls a study has paid for."""
    ledger = study / "ledger.db"
    return sum(total.calls for total in read_totals(ledger)) if ledger.exists() else 0


def killed(verb: str, before: Path, study: Path, share: float, seconds: float) -> tuple[float, int]:
    """Begin a verb on a copy, kill it after that share of its time, finish it; return its time and the paid calls.

    Where it had ended by then, it is begun again with the time that it took.
    """
    while True:
        shutil.rmtree(study, ignore_errors=True)
        shutil.copytree(before, study, symlinks=True)
        began = time.monotonic()
        process = subprocess.Popen(
            words(verb, study), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(share * seconds)
            seconds = time.monotonic() - began
            continue
        os.killpg(process.pid, 9)
        process.wait()
        subprocess.run(words(verb, study), check=True, stdout=subprocess.DEVNULL)
        return seconds, calls(study)


def main() -> None:
    """Print the table, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=VERBS)
    arguments = parser.parse_args()
    rng, missed = random.Random(arguments.seed), []
    print(f"{'verb':10}{'undisturbed s':>14}{'killed':>8}{'same outcome':>14}{'calls paid again':>18}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study, work = root / "whole" / "advice", root / "work" / "advice"
        subprocess.run(
            [sys.executable, "-m", "habitus", "--quiet", "init", str(study)], check=True, stdout=subprocess.DEVNULL
        )
        (study / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        for verb in VERBS:
            before = root / "before" / verb / "advice"
            shutil.copytree(study, before, symlinks=True)
            began = time.monotonic()
            subprocess.run(words(verb, study), check=True, stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - began
            expected, paid = OUTCOME[verb](study), calls(study)
            same = again = 0
            kills = arguments.kills // len(VERBS) if arguments.only in (None, verb) else 0
            for _ in range(kills):
                seconds, bill = killed(verb, before, work, rng.uniform(0.02, 0.98), seconds)
                same += OUTCOME[verb](work) == expected
                again += bill - paid
            if kills:
                print(f"{verb:10}{seconds:14.1f}{kills:8}{same:10} of {kills}{again:18}", flush=True)
            if same < kills or again > 0:
                missed.append(f"{verb}: {kills - same} of {kills} outcomes differ, {again} calls paid again")
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
