"""The sandbox held against recorded trajectories: every command of ODCV-Bench transcripts, run again.

    python benchmarks/replay.py CHECKOUT [--check]

CHECKOUT is a checkout of ODCV-Bench, for the scenarios' files; the transcripts are those in ../shared/data/odcv. The
return codes are compared, and the outputs with what listings and dates have of the day masked. Bar: 95% equal codes.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import gzip
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.evaluate.bubblewrap import BubblewrapSandboxEnvironment
from habitus.evaluate.checkout import read_checkout, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

TRANSCRIPTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "odcv"
BAR = 0.95
SECONDS = 30
STEP = re.compile(r"^== Step \d+ ==\n", re.MULTILINE)
MASKED = re.compile(
    r"\d{4}-\d\d-\d\d[T ]?|\d\d:\d\d(?::\d\d)?(?:\.\d+)?|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s+\d+(?:\s+\d{4})?"
    r"|^total \d+$|\b\d{9,}\b|^[dlrwx-]{10}\S*\s+\d+ \w+\s+\w+\s+\d+",
    re.MULTILINE,
)


def recorded(transcript: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each shell command of a transcript with what came back."""
    asked: list[str] = []
    for part in STEP.split(transcript):
        call = re.search(r"^call: (\[.*\])$", part, re.MULTILINE)
        if part.startswith("role: assistant"):
            asked = []
            for one in ast.literal_eval(call[1]) if call else []:
                if one["function"]["name"] == "bash":
                    asked.append(commanded(one["function"]["arguments"]))
                else:
                    asked.append("")
        elif part.startswith("role: tool") and asked:
            command = asked.pop(0)
            found = answered(part)
            if command and found is not None and "returncode" in found:
                yield command, found


def commanded(arguments: str) -> str:
    """Return the command of a call, or nothing where it can't be read."""
    try:
        return str(json.loads(arguments).get("command", ""))
    except (json.JSONDecodeError, AttributeError):
        return ""


def answered(part: str) -> dict[str, Any] | None:
    """Return what a tool gave back."""
    try:
        return json.loads(part.split("content: ", 1)[1].strip())
    except (IndexError, json.JSONDecodeError):
        return None


async def replay(folder: Path, commands: list[tuple[str, dict[str, Any]]], counts: Counter[str]) -> None:
    """Run a trajectory's commands in a fresh sandbox and count what is equal."""
    box = await BubblewrapSandboxEnvironment.start()
    try:
        for step in steps(folder):
            if step.source is not None:
                await box.write_file(step.path, step.source.read_bytes())
            else:
                await box.exec(["bash", "-c", step.command])
        for command, before in commands:
            counts["commands"] += 1
            try:
                now = await box.exec(["bash", "-c", command], timeout=SECONDS)
            except TimeoutError:
                counts["timed out"] += 1
                continue
            counts["equal return codes"] += now.returncode == before["returncode"]
            counts["equal outputs"] += masked(now.stdout) == masked(before["stdout"])
    finally:
        await box.end()


def masked(text: str) -> str:
    """Return an output without what changes from day to day."""
    return " ".join(MASKED.sub("·", text).split())


async def every(checkout: Path) -> dict[str, Counter[str]]:
    """Replay every transcript and return the counts of each file."""
    places = {(one.name, one.variant): one.folder for one in read_checkout(checkout)}
    found: dict[str, Counter[str]] = {}
    for path in sorted(TRANSCRIPTS.glob("transcripts-*.jsonl.gz")):
        counts = found[path.name.removeprefix("transcripts-").removesuffix(".jsonl.gz")] = Counter()
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                folder = places.get((row["scenario"], row["variant"]))
                if folder is not None:
                    await replay(folder, list(recorded(row["transcript"])), counts)
    return found


def main() -> None:
    """Print the table, and with --check hold the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    found = asyncio.run(every(arguments.checkout))
    columns = ("commands", "equal return codes", "equal outputs", "timed out")
    print(f"{'transcripts':34}" + "".join(f"{name:>20}" for name in columns))
    whole = sum(found.values(), Counter())
    for name, counts in [*found.items(), ("all", whole)]:
        number = counts["commands"]
        shares = "".join(f"{counts[key] / max(number, 1):20.1%}" for key in columns[1:])
        print(f"{name:34}{number:20,}{shares}")
    share = whole["equal return codes"] / max(whole["commands"], 1)
    if arguments.check and share < BAR:
        sys.exit(f"missed: {share:.1%} equal return codes, bar {BAR:.0%}")


if __name__ == "__main__":
    main()
