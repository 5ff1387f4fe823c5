"""Every arm of a study through the same code path: shared stages once, each run in its folder, failures left behind."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from habitus.errors import UserError
from habitus.study import encode, read_rows
from habitus.train.job import is_first, processes, together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from habitus.train.job import Job
    from habitus.train.plan import Run

State = Literal["done", "was done", "stale", "failed", "begun", "to do"]
Tell = Callable[[str], None]
RUN, MIXTURE, FAILED, CARD = "run.json", "mixture.jsonl", "failed.txt", "README.md"
FATAL = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})
"""What no other arm would survive either."""
LONGEST_TOLD = 300
"""Letters of a library's complaint; the whole is in failed.txt."""


@dataclass(frozen=True)
class Outcome:
    """How one run ended."""

    run: Run
    folder: Path
    state: State
    why: str = ""
    seconds: float = 0.0

    @property
    def losses(self) -> dict[str, float]:
        """The last loss of its last stage, and the last ones on held-out rows."""
        found: dict[str, float] = {}
        for row in read_rows(self.folder / "metrics.jsonl"):
            told = {name: value for name, value in row.items() if name == "loss" or name.endswith("_loss")}
            found |= {name: float(value) for name, value in told.items()}  # one that is no number is kept as a word
        return found


def carry_out(runs: Sequence[Run], models: Path, tell: Tell, *, redo: bool = False) -> Iterator[Outcome]:
    """Train what is not trained yet, and yield how each run ended; nothing finished is overwritten."""
    for run in runs:
        folder = models / run.arm / f"seed-{run.seed}"
        if redo and (_changes(folder, run, len(run.jobs)) or (folder / FAILED).exists()):
            _set_aside(folder, tell)
        before = standing(run, models)
        if before.state not in {"stale", "was done"}:
            yield _one(run, folder, models, tell)
            continue
        if before.state == "was done" and is_first() and not (folder / CARD).exists():  # it was killed in between
            _describe(run, folder)
        yield before


def standing(run: Run, models: Path) -> Outcome:
    """Return how far a run has come, and why it is to be trained anew if it is; nothing is trained."""
    folder = models / run.arm / f"seed-{run.seed}"
    if changes := _changes(folder, run, len(run.jobs)):
        return Outcome(run, folder, "stale", changes)
    return Outcome(run, folder, *reached(folder))


def reached(folder: Path) -> tuple[State, str]:
    """Return how far the run in a folder has come, whatever it was made with, and why it failed if it did."""
    if (folder / "checkpoint").exists():
        return "was done", ""
    if (folder / FAILED).exists():
        return "failed", (folder / FAILED).read_text(encoding="utf-8").strip().rpartition("\n")[2]
    return ("begun" if (folder / RUN).exists() else "to do"), ""


def _one(run: Run, folder: Path, models: Path, tell: Tell) -> Outcome:
    began = time.monotonic()
    tell(f"{run.arm}, seed {run.seed}")
    try:
        checkpoint = run.start.path
        for number in range(1, len(run.jobs) + 1):
            is_last = number == len(run.jobs)
            kind = run.jobs[number - 1].kind
            place = folder if is_last else models / "shared" / f"{kind}-{run.digest(number)}"
            _stage(run, number, checkpoint, place, tell)
            checkpoint = str(place / "checkpoint")
    except Exception as error:  # one arm's failure does not lose the others
        if processes() > 1 or (isinstance(error, OSError) and error.errno in FATAL):
            raise  # other processes would wait for this one for ever, and a full disk fails every arm
        return _failure(run, folder, error, time.monotonic() - began)
    if is_first():
        (folder / FAILED).unlink(missing_ok=True)
        _describe(run, folder)
    return Outcome(run, folder, "done", seconds=time.monotonic() - began)


def _failure(run: Run, folder: Path, error: Exception, seconds: float) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILED).write_text(traceback.format_exc(), encoding="utf-8")
    if isinstance(error, UserError):
        return Outcome(run, folder, "failed", str(error), seconds)
    told = str(error).strip().partition("\n")[0]
    told = told if len(told) <= LONGEST_TOLD else f"{told[:LONGEST_TOLD]} …"
    return Outcome(run, folder, "failed", f"{type(error).__name__}: {told} (see {folder / FAILED})", seconds)


def _stage(run: Run, number: int, checkpoint: str, folder: Path, tell: Tell) -> None:
    """Train one stage, unless it is done: another arm may have, or an earlier try."""
    from habitus.train.fit import fit

    job = run.jobs[number - 1]
    together()
    if (folder / "checkpoint").exists():
        tell(f"{job.kind}: done already, {folder}")
        return
    if changes := _changes(folder, run, number):
        todo = "Delete that folder, or set it aside with --redo."
        raise UserError(f"this run was begun with other settings ({changes}).", where=str(folder), todo=todo)
    together()
    if is_first():
        _begin(run, number, checkpoint, folder)
    together()
    share = f"{job.epochs:.2f} passes over {len(job.mixture.rows):,} rows"
    tell(f"{job.kind}: {job.steps:,} optimiser steps, {share}, {job.tokens:,} tokens")
    began = time.monotonic()
    fit(job, checkpoint, folder, tell)
    if is_first():
        _note(folder, done=True, seconds=round(time.monotonic() - began, 1))


def _begin(run: Run, number: int, checkpoint: str, folder: Path) -> None:
    """Write down what is trained and on what, before the first step."""
    job = run.jobs[number - 1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MIXTURE).write_bytes(b"".join(encode(line) for line in job.mixture.lines))
    fresh = {
        "arm": run.arm,
        "seed": run.seed,
        "stage": job.kind,
        "from": checkpoint,
        "made_with": run.made_with(number),
        "steps": job.steps,
        "tokens": job.tokens,
        "epochs": round(job.epochs, 4),
        "done": False,
    }
    if not (folder / RUN).exists():
        _write(folder / RUN, fresh)


def _note(folder: Path, **known: Any) -> None:
    path = folder / RUN
    _write(path, orjson.loads(path.read_bytes()) | known)


def _write(path: Path, value: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    fresh.replace(path)


def _changes(folder: Path, run: Run, stages: int) -> str:
    """Say in what a folder's run differs from the one that is asked for; nothing where it does not, or is not there."""
    path = folder / RUN
    if not path.exists():
        return ""
    was, now = orjson.loads(path.read_bytes())["made_with"], run.made_with(stages)
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    last = run.jobs[stages - 1]
    told = [
        _other_rows(folder / MIXTURE, last)
        if name == f"{last.kind}.data" and name in was
        else f"{name} was {was.get(name, 'not there')}, is {now.get(name, 'not there')}"
        for name in names[:4]
    ]
    return "; ".join([*told, *([f"and {len(names) - 4} more"] if len(names) > 4 else [])])  # noqa: PLR2004


def _other_rows(mixture: Path, job: Job) -> str:
    """Name the datasets of which a job has other rows than a run was trained on, or the same with other words."""
    was = {(row["source"], row["id"]): row["hash"] for row in read_rows(mixture)}
    now = {(row["source"], row["id"]): row["hash"] for row in job.mixture.lines}
    rewritten = {key[0] for key in was.keys() & now.keys() if was[key] != now[key]}
    others = {key[0] for key in was.keys() ^ now.keys()} - rewritten
    told = [f"{name} changed" for name in sorted(rewritten)] + [f"other rows of {name}" for name in sorted(others)]
    return ", ".join(told) or f"the order of {job.kind} rows changed"


def _set_aside(folder: Path, tell: Tell) -> None:
    """Move an old run into a numbered folder beside it."""
    taken = {path.name for path in folder.parent.glob(f"{folder.name}-old-*")}
    name = next(name for number in range(1, len(taken) + 2) if (name := f"{folder.name}-old-{number}") not in taken)
    if is_first():
        folder.rename(folder.parent / name)
    together()
    tell(f"the old run is in {folder.parent / name}")


def _describe(run: Run, folder: Path) -> None:
    """Draw the curves and write the card."""
    from habitus.train.card import model_card
    from habitus.train.curve import draw

    draw(folder)
    (folder / CARD).write_text(model_card(run, folder), encoding="utf-8")
