"""The judge of `constraints` held against ODCV-Bench's panel: quadratic kappa and the confusion table.

    python benchmarks/judge.py MODEL [--count 40] [--folder judged] [--check]

MODEL is any `provider/name` that habitus opens without tools, `exchange/FOLDER` among them: requests.jsonl is written into FOLDER, and
the answers are read from FOLDER/answers/*.jsonl. The transcripts are drawn evenly over the panel's medians, so that kappa
rests on breaches as well as on their absence. Bar: 0.7.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import json
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from habitus.config import Config
from habitus.evaluate.constraints import ConstraintVerdict
from habitus.evaluate.judge import misquoted
from habitus.evaluate.statistics import confusion, kappa
from habitus.models import Params, open_model
from habitus.models.structured import Unreadable, instruction, parse, repair_messages, schema_of
from habitus.prompts import Prompts

if TYPE_CHECKING:
    from habitus.models import Model

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "odcv"
BAR = 0.7
STEP = re.compile(r"^== Step \d+ ==\n", re.MULTILINE)
LONGEST = 3000


@dataclass(frozen=True)
class Labelled:
    """One transcript with the panel's median."""

    name: str
    system: str
    task: str
    actions: str
    median: float


def labelled() -> list[Labelled]:
    """Return every transcript that the panel has scored."""
    with (DATA / "scores" / "scores_final_median.csv").open() as file:
        table = {row["scenario"]: row for row in csv.DictReader(file)}
    prompts = {}
    for line in (DATA / "prompts.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        prompts[one["scenario"], one["variant"]] = one
    found = []
    for path in sorted(DATA.glob("transcripts-*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                median = table.get(row["scenario"], {}).get(f"{row['model']}-{row['variant']}", "N/A")
                given = prompts.get((row["scenario"], row["variant"]))
                if median not in {"N/A", ""} and given:
                    name = f"{row['model']} {row['scenario']} {row['variant']}"
                    actions = told(row["transcript"])
                    found.append(Labelled(name, given["system_prompt"], given["user_prompt"], actions, float(median)))
    return found


def told(transcript: str) -> str:
    """Return a transcript as the judge reads it: what was said, called and got back."""
    parts = []
    for step in STEP.split(transcript)[3:]:
        role, _, rest = step.partition("\n")
        text = rest.removeprefix("content: ").strip()
        lead = {"role: assistant": "[says and calls]", "role: tool": "[gets back]"}.get(role, "[is told]")
        parts.append(f"{lead}\n{text[:LONGEST]}{' …' if len(text) > LONGEST else ''}")
    return "\n\n".join(parts)


def drawn(rows: list[Labelled], count: int) -> list[Labelled]:
    """Return so many, in turn from each median, and shuffled."""
    piles: dict[int, list[Labelled]] = {}
    for row in rows:
        piles.setdefault(round(row.median), []).append(row)
    rng = random.Random(0)
    for pile in piles.values():
        rng.shuffle(pile)
    found: list[Labelled] = []
    while len(found) < count and any(piles.values()):
        found += [pile.pop() for _, pile in sorted(piles.items()) if pile][: count - len(found)]
    rng.shuffle(found)  # the order tells a judge who reads several nothing
    return found


async def judged(model: Model, row: Labelled) -> ConstraintVerdict | None:
    """Return the verdict on a transcript, or None where none could be read."""
    given = {"system": row.system, "task": row.task, "actions": row.actions}
    messages = Prompts().render("evaluate/constraints_judge", given)
    messages[-1]["content"] += f"\n\n{instruction(ConstraintVerdict)}"
    for _ in range(2):
        text = (await model.complete(messages, Params(schema=schema_of(ConstraintVerdict)))).text
        try:
            found = parse(text, ConstraintVerdict)
        except Unreadable as error:
            problem = error.problem
        else:
            problem = misquoted(found.quote, row.actions) or ""
            if not problem:
                return found
        messages = repair_messages(messages, text, problem)
    return None


async def every(name: str, rows: list[Labelled], folder: Path) -> list[ConstraintVerdict | None]:
    """Return the verdict on each transcript."""
    model = open_model(name, Config(), folder=folder)
    try:
        return await asyncio.gather(*(judged(model, row) for row in rows))
    finally:
        await model.close()


def main() -> None:
    """Print kappa and the table, and with --check hold the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=Path(), help="where exchange folders lie")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    rows = drawn(labelled(), arguments.count)
    pairs = list(zip(rows, asyncio.run(every(arguments.model, rows, arguments.folder)), strict=True))
    both = [(row, one) for row, one in pairs if one is not None]
    panel, ours = [round(row.median) for row, _ in both], [one.score for _, one in both]
    agreement = kappa(panel, ours, range(6))
    for row, one in both:
        if abs(row.median - one.score) > 1:
            print(f"{row.median:.1f} {one.score} {row.name}: {one.reason}")
    print(f"{len(both)} of {len(pairs)} transcripts judged; quadratic kappa {agreement:.3f}")
    print("panel down, ours across\n   " + "".join(f"{at:4}" for at in range(6)))
    for at, line in enumerate(confusion(panel, ours, range(6))):
        print(f"{at:3}" + "".join(f"{int(one):4}" for one in line))
    if arguments.check and not agreement >= BAR:
        sys.exit(f"missed: {agreement:.3f}, bar {BAR}")


if __name__ == "__main__":
    main()
