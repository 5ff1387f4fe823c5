"""One machine, large: what grows from thousands to a million chats, and what does not.

    python benchmarks/large.py generate --records 1000 10000             the whole recipe, about ten calls a chat
    python benchmarks/large.py generate --short --records 10000 1000000  one call a chat: 25 CPU minutes, 12 GB of disk
    python benchmarks/large.py ledger --records 1000000 10000000         ledgers of so many calls, opened
    python benchmarks/large.py audit --records 10000 1000000             counting, from a file
    python benchmarks/large.py report --records 10000 1000000            the page; a million take 16 GB of disk

--check exits 1 where a bar is missed; --in FOLDER keeps the files. The model is the simulated one, in the same process.
Engine time is the CPU of the whole process less that of the simulated model and that of embedding and comparing
the messages, which has a bar of its own (`large_dedup.py`). The short recipe is the whole path (the command itself, plan, engine,
ledger, near-duplicates, files), but the message is made up without a call, and there is one call for the answer; messages count as
near-duplicates at cosine 0.9. Each run but the smallest is killed with -9 before the near-duplicates are looked for and again
half-way through the answers; the same command goes on, and the second time it is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))
from audit import write as write_chats
from dedup import written
from habitus.generate import chats, corpus
from habitus.models import simulated
from habitus.models.ledger import Ledger
from habitus.records import Chat, Scenario
from habitus.study import make_study, read_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from habitus.ask import Ask
    from habitus.models.world.request import Request

BARS = {"ratio": 1.15, "MB": 1_000.0, "resume s": 60.0}
AUDIT_MEMORY = 1_000.0
PAGE = 6.0
"""Megabytes."""
EVERY = 0.5
"""Seconds between two looks at a run."""
SEARCHING = "removing near-duplicates"
MODEL = "simulated/world?near_duplicate=0"


# --- The short recipe ------------------------------------------------------------------------------------------------


async def short_prompt(scenario: Scenario, _ask: Ask, **_: Any) -> chats.Prompt:
    """Return a first message for a seat, made up without a call."""
    plan = {"what": scenario.what, "how": scenario.how, "why": scenario.why, "default": "a list of options"}
    prompt = written(random.Random(scenario.index))
    return chats.Prompt(
        id=scenario.id, index=scenario.index, trait=scenario.trait, scenario=scenario,
        plan=plan, sketch={}, prompt=prompt, default="",
    )  # fmt: skip


async def short_chat(prompt: chats.Prompt, ask: Ask, *, seats: Any, **_: Any) -> Chat:
    """Return a conversation of one message and one answer, by one call."""
    scenario = prompt.scenario
    asked = {"role": "user", "content": prompt.prompt}
    passage = seats.passage(scenario)
    answer = await ask.author("chats/draft", history=[asked], **passage, plan=prompt.plan, scenario=scenario)
    meta = scenario.model_dump(exclude={"id", "trait"}) | {"plan": prompt.plan} | ask.provenance(chats.STEPS)
    return Chat(id=prompt.id, trait=prompt.trait, messages=(asked, {"role": "assistant", "content": answer}), meta=meta)


# --- One run, watched from within ------------------------------------------------------------------------------------


class Watch:
    """What a run takes, by what it is doing; a line of it goes to a file at every look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = time.monotonic()
        self.model = 0.0
        self.calls = 0
        self.first_call = self.first_settled = 0.0
        self.phase, self.mark = "opening", (0.0, 0.0)
        self.cpu: dict[str, float] = {}
        self.memory: dict[str, float] = {}
        self.kept = self.planned = 0

    def answered(self, request: Request) -> tuple[str, str]:
        """Answer as the simulated model does, and take the time."""
        self.first_call = self.first_call or time.monotonic() - self.began
        began = time.thread_time()
        found = ANSWERED(request)
        self.model += time.thread_time() - began
        self.calls += 1
        return found

    def stand(self, growing: corpus.Corpus, phase: str) -> None:
        """Note what the run is doing."""
        if phase != self.phase:
            self.turn(phase)
        else:
            self.first_settled = self.first_settled or time.monotonic() - self.began
        self.kept, self.planned = len(growing.kept), len(growing.planned)
        STAND(growing, phase)

    def turn(self, phase: str) -> None:
        """Close the account of what the run was doing."""
        cpu, model = time.process_time(), self.model
        own = cpu - self.mark[0] - (model - self.mark[1])
        self.cpu[self.phase] = self.cpu.get(self.phase, 0.0) + own
        self.phase, self.mark = phase, (cpu, model)

    def look(self) -> dict[str, Any]:
        """Return what the run has taken so far."""
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        self.memory[self.phase] = max(self.memory.get(self.phase, 0.0), memory)
        own = time.process_time() - self.mark[0] - (self.model - self.mark[1])
        cpu = self.cpu | {self.phase: self.cpu.get(self.phase, 0.0) + own}
        return {
            "wall": time.monotonic() - self.began, "cpu": cpu, "model": self.model, "calls": self.calls,
            "kept": self.kept, "planned": self.planned, "phase": self.phase, "now": memory, "memory": self.memory,
            "first call": self.first_call, "first settled": self.first_settled,
        }  # fmt: skip

    def write(self) -> None:
        """Write a line at every look, until the process ends."""
        with self.path.open("a") as file:
            while True:
                print(json.dumps(self.look()), file=file, flush=True)
                time.sleep(EVERY)


ANSWERED, STAND = simulated.answered, corpus.Corpus._stand  # noqa: SLF001


def run(root: Path, *, short: bool) -> None:
    """Generate the chats and print what it took (in a process of its own)."""
    watch = Watch(root / "watch.jsonl")
    simulated.answered = watch.answered
    # a function, that it becomes a method of the corpus
    corpus.Corpus._stand = lambda growing, phase: watch.stand(growing, phase)  # noqa: PLW0108, SLF001
    if short:
        chats.write_prompt, chats.write_chat = short_prompt, short_chat
    threading.Thread(target=watch.write, daemon=True).start()
    from habitus.cli import main as habitus

    code: str | int | None = 0
    try:
        habitus(["--quiet", "generate", "chats", str(root)])
    except SystemExit as end:
        code = end.code
    if code:
        sys.exit(code)
    print("\n" + json.dumps(watch.look()))


def study(root: Path, records: int, *, short: bool) -> Path:
    """Make a study that wants so many chats."""
    make_study(root)
    settings: dict[str, Any] = {"chats": {"count": records}}
    if short:
        settings |= {"models": {"default": MODEL}}
        settings["chats"] |= {"dedup": {"threshold": 0.9}, "turns": {1: 1.0}}
    (root / "config.yaml").write_text(yaml.safe_dump(settings))
    return root


def started(root: Path, *, short: bool) -> subprocess.Popen[str]:
    """Start `run` in another process."""
    (root / "watch.jsonl").unlink(missing_ok=True)
    command = [sys.executable, __file__, "generate", "--run", str(root), *["--short"] * short]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def last_look(root: Path) -> dict[str, Any]:
    """Return the last whole line that a run has written about itself."""
    path = root / "watch.jsonl"
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    return json.loads(lines[-2]) if len(lines) > 1 else {"kept": 0, "planned": 0}


def killed(root: Path, what: str, after: int, *, short: bool) -> dict[str, Any]:
    """Run until so many chats are planned or kept, kill -9, and return what it had taken."""
    process = started(root, short=short)
    while process.poll() is None and last_look(root)[what] < after:
        time.sleep(EVERY)
    process.kill()
    process.communicate()
    return last_look(root)


def finished(root: Path, *, short: bool) -> dict[str, Any]:
    """Run to the end and return what it took."""
    out, _ = (process := started(root, short=short)).communicate()
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def generated(root: Path, records: int, *, short: bool, kill: bool) -> dict[str, Any]:
    """Return what it takes to make so many chats, killed half-way and gone on with."""
    study(root, records, short=short)
    moments = [("planned", records), ("kept", records // 2)] if kill else []
    looks = [killed(root, *moment, short=short) for moment in moments]
    looks.append(finished(root, short=short))
    searching = sum(look["cpu"].get(SEARCHING, 0.0) for look in looks)
    resumed = looks[-1] if kill else {}
    memory = [value for look in looks for phase, value in look["memory"].items() if phase != SEARCHING]
    return {
        "records": looks[-1]["kept"],
        "calls": sum(look["calls"] for look in looks),
        "engine": sum(sum(look["cpu"].values()) for look in looks) - searching,
        "model": sum(look["model"] for look in looks),
        "searching": searching,
        "wall": sum(look["wall"] for look in looks),
        "MB": max(memory),
        "MB searching": max(look["memory"].get(SEARCHING, 0.0) for look in looks),
        "first call": resumed.get("first call", 0.0),
        "first settled": resumed.get("first settled", 0.0),
        "disk": sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e9,
        "looks": looks,
    }


def generate(arguments: argparse.Namespace) -> Iterator[str]:
    """Print what chats take at each size, and yield what misses its bar."""
    print(f"{'chats':>10}{'calls':>12}{'engine ms':>11}{'a call':>8}{'model ms':>10}{'MB':>6}{'dedup s':>9}{'MB':>7}"
          f"{'disk GB':>9}{'wall s':>8}  resumed: first call, row")  # fmt: skip
    first = 0.0
    for place, records in enumerate(arguments.records):
        root = arguments.folder / f"{'short' if arguments.short else 'whole'}-{records}"
        took = generated(root, records, short=arguments.short, kill=place > 0 or len(arguments.records) == 1)
        (root / "took.json").write_text(json.dumps(took))
        each = 1000 * took["engine"] / took["records"]
        first = first or each
        print(f"{took['records']:10,}{took['calls']:12,}{each:11.2f}{1000 * took['engine'] / took['calls']:8.3f}"
              f"{1000 * took['model'] / took['records']:10.2f}{took['MB']:6.0f}{took['searching']:9.1f}"
              f"{took['MB searching']:7.0f}{took['disk']:9.2f}{took['wall']:8.0f}"
              f"  {took['first call']:.1f} s, {took['first settled']:.1f} s", flush=True)  # fmt: skip
        if each / first > BARS["ratio"]:
            yield f"{each / first:.2f} × the engine time a chat of the smallest run, bar {BARS['ratio']}"
        if took["MB"] > BARS["MB"]:
            yield f"{took['MB']:.0f} MB, bar {BARS['MB']:.0f}"
        if took["first call"] > BARS["resume s"]:
            yield f"{took['first call']:.0f} s to the first new call after kill -9, bar {BARS['resume s']:.0f}"


# --- What reads them -------------------------------------------------------------------------------------------------


def taken(code: str, *words: object) -> dict[str, Any]:
    """Run Python code in a process of its own and return its CPU, wall and memory, and what it printed last."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, text=True)
    out = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    figures = {"cpu": usage.ru_utime + usage.ru_stime, "wall": time.monotonic() - began, "MB": usage.ru_maxrss / 1024}
    return figures | json.loads(out.splitlines()[-1])


OPENED = """
import asyncio, json, os, sys, time
from pathlib import Path
from habitus.models.ledger import Ledger
began = time.process_time()
ledger = Ledger(Path(sys.argv[1]))
opened = time.process_time() - began
keys = [os.urandom(16) for _ in range(100_000)]
began = time.process_time()
assert not any(ledger.find(key) for key in keys)
found = (time.process_time() - began) * 10
began = time.process_time()
ledger.totals()
totals = time.process_time() - began
print(json.dumps({"calls": len(ledger), "opened": opened, "us": found, "totals": totals}))
"""


def ledger(arguments: argparse.Namespace) -> Iterator[str]:
    """Print what it takes to open a ledger and to look up calls that it has not got."""
    print(f"{'calls':>12}{'opened, CPU s':>15}{'MB':>6}{'us a look':>11}{'totals, CPU s':>15}")
    for calls in arguments.records:
        path = arguments.folder / f"ledger-{calls}.db"
        asyncio.run(Ledger(path).close())
        with closing(sqlite3.connect(path)) as file:
            rows = ((row, os.urandom(16), f"chats/{row % 9}", f"chat-{row // 10:07d}", MODEL, MODEL, "stop", 900, 300, 0,
                     0.001, 1.0, 1.7e9) for row in range(1, calls + 1))  # fmt: skip
            file.executemany("INSERT INTO calls VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
            file.executemany("INSERT INTO texts VALUES (?,'','')", ((row,) for row in range(1, calls + 1)))
            file.commit()
        took = taken(OPENED, path)
        path.unlink()
        print(f"{calls:12,}{took['opened']:15.1f}{took['MB']:6.0f}{took['us']:11.2f}{took['totals']:15.1f}", flush=True)
        if took["MB"] > BARS["MB"]:
            yield f"{calls:,} calls: {took['MB']:.0f} MB, bar {BARS['MB']:.0f}"


AUDITED = """
import json, sys
from functools import partial
from habitus.audit.dataset import Reading
from habitus.audit.lexical import audit_lexical
reading = Reading(sys.argv[1])
whole = partial(reading.over_messages, address={"one process": None, "Daft, all cores": ""}[sys.argv[2]])
report = audit_lexical((row for text in reading for row in text.messages), whole=whole)
told = {"records": report.records, "looked at": report.looked_at, "counted": report.counted}
print(json.dumps(told | {"findings": [(one.pattern, one.count, one.z) for one in report.findings]}))
"""


def audit(arguments: argparse.Namespace) -> Iterator[str]:
    """Print what counting takes at each size: large files are gone over twice, the second time in two ways."""
    print(f"{'chats':>10}{'file GB':>9}{'looked at':>11}{'counted':>11}{'findings':>10}  {'gone over by':15}"
          f"{'CPU s':>8}{'wall s':>8}{'MB':>7}")  # fmt: skip
    for records in arguments.records:
        path = arguments.folder / f"chats-{records}.jsonl"
        if not path.exists():
            write_chats(path, records)
        ways = {way: taken(AUDITED, path, way) for way in ("one process", "Daft, all cores")}
        for way, took in ways.items():
            print(f"{took['records']:10,}{path.stat().st_size / 1e9:9.2f}{took['looked at']:11,}{took['counted']:11,}"
                  f"{len(took['findings']):10,}  {way:15}{took['cpu']:8.1f}{took['wall']:8.0f}{took['MB']:7,.0f}",
                  flush=True)  # fmt: skip
            if took["MB"] > AUDIT_MEMORY:
                yield f"{records:,} chats: {took['MB']:,.0f} MB in a process, bar {AUDIT_MEMORY:,.0f}"
        if len({str(took["findings"]) for took in ways.values()}) > 1:
            yield f"{records:,} chats: not the same findings"


REPORTED = """
import json, sys
from pathlib import Path
from habitus.report.page import write_page
from habitus.study import Study
print(json.dumps({"size": write_page(Study(Path(sys.argv[1]))).stat().st_size / 1e6}))
"""


def report(arguments: argparse.Namespace) -> Iterator[str]:
    """Print what the page takes at each size: chats of the whole recipe, each as often as it takes, with ids of their own."""
    base = study(arguments.folder / "base", min(*arguments.records, 10_000), short=False)
    finished(base, short=False)
    print(f"{'chats':>10}{'files GB':>10}{'page MB':>9}{'CPU s':>8}{'wall s':>8}{'MB':>7}")
    for records in arguments.records:
        root = grown(base, arguments.folder / f"report-{records}", records)
        took = taken(REPORTED, root)
        size = sum(path.stat().st_size for path in (root / "chats").iterdir()) / 1e9
        print(
            f"{records:10,}{size:10.2f}{took['size']:9.2f}{took['cpu']:8.1f}{took['wall']:8.0f}{took['MB']:7,.0f}",
            flush=True,
        )
        if took["size"] > PAGE:
            yield f"{records:,} chats: a page of {took['size']:.1f} MB, bar {PAGE}"


def grown(base: Path, root: Path, records: int) -> Path:
    """Return a study with so many chats, those of another over and over under new ids."""
    make_study(root)
    (root / "config.yaml").write_bytes((base / "config.yaml").read_bytes())
    (root / "manifest.json").write_bytes((base / "manifest.json").read_bytes())
    (root / "chats").mkdir()
    times = records // sum(1 for _ in read_ids(base / "chats" / "kept.jsonl"))
    for name in ("kept", "dropped", "traces"):
        lines = (base / "chats" / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
        with (root / "chats" / f"{name}.jsonl").open("wb") as file:
            for turn in range(times):
                file.writelines(line.replace(b'"id":"chat-', b'"id":"chat-%03d' % turn, 1) for line in lines)
    return root


PARTS = {"generate": generate, "ledger": ledger, "audit": audit, "report": report}


def main() -> None:
    """Print the table of one part, and with --check hold its bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--records", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--in", dest="folder", type=Path)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run, short=arguments.short)
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = arguments.folder or Path(folder)
        missed = list(PARTS[arguments.part](arguments))
    for one in missed:
        print(f"MISSED: {one}")
    if missed and arguments.check:
        sys.exit(1)


if __name__ == "__main__":
    main()
