"""Commands that look into a study: where it stands, and what is in it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from habitus.cli.arguments import STUDY, open_study
from habitus.errors import UserError, nearest

if TYPE_CHECKING:
    from habitus.generate.kinds import Job
    from habitus.study import Dataset, Study

FOLDER_OF = {"chat": "chats", "doc": "documents", "pair": "preferences"}
"""The dataset whose records have ids that begin so."""


@click.command()
@STUDY
def status(study: Path) -> None:
    """Tell what is done, what is stale and why, and what it cost."""
    from habitus import show
    from habitus.generate.dataset import jobs
    from habitus.models.jobs import read_jobs
    from habitus.models.ledger import read_totals

    opened = open_study(study)
    entries = opened.manifest.get("datasets", {})
    begun = [job for job in jobs(opened) if entries.get(job.dataset.name)]
    audits = opened.manifest.get("audits", {})
    trained, evaluated = any(opened.root.glob("models/**/seed-*")), any(opened.root.glob("evals/**/*.eval"))
    if not (begun or audits or trained or evaluated):
        show.say("nothing made yet")
        show.next_command(f"habitus generate chats {study} --preview 5")
        return
    to_do = [command for job in begun for command in _stand(job, entries[job.dataset.name])]
    to_do += [command for name, entry in audits.items() for command in _audited(opened, name, entry)]
    to_do += _models(opened) if trained else []
    if evaluated:
        _evals(opened)
    if jobs_open := read_jobs(opened.ledger):
        show.open_jobs(jobs_open)
    show.heading("paid for so far")
    show.bill(read_totals(opened.ledger))
    if any(entries[job.dataset.name]["simulated"] for job in begun):
        show.simulated_banner()
    look = [] if audits else [f"habitus run {study}"]
    if begun:
        last = begun[-1].dataset.name
        look = [f"habitus show {study} --dataset {last}", f"habitus export {study} {last} --format trl"]
    show.next_command(*(to_do or look or [f"habitus audit filter {study}/audit/{next(iter(audits))} PATTERN"]))


def _audited(study: Study, name: str, entry: dict[str, Any]) -> list[str]:
    """Print where an audit stands, and return what could be done about it."""
    from habitus import show
    from habitus.sources import file_sha256

    again = [f"habitus audit {study.root} --dataset {name}"] if study.dataset(name).kept.exists() else []
    if "prevalence" not in entry:
        show.heading(f"audit of {name}: begun")
        return again
    show.heading(f"audit of {name}: {len(entry['prevalence'])} patterns in {entry['rated']:,} rated texts")
    for row in entry["prevalence"][:5]:
        strict, broad = row["strict"]["here"]["rate"], row["broad"]["here"]["rate"]
        show.say(f"  {row['name']}: strict {strict:.1%}, broad {broad:.1%}")
    given = Path(entry["dataset"]["given"])
    if given.is_file() and file_sha256(given) != entry["dataset"]["sha256"]:
        show.warn(f"the audit of {name} is stale: the dataset has changed since")
        return again
    return []


def _models(study: Study) -> list[str]:
    """Print which runs are done, to do and to redo and why, and return what could be done about it."""
    from habitus import show
    from habitus.cli.standing import models_of

    try:
        found = models_of(study)
    except UserError as error:
        show.heading("models")
        show.warn(f"whether the models are stale can't be told: {error}")
        return []
    done = sum(one.state == "done" for one in found.values())
    show.heading(f"models: {done:,} of {len(found):,} runs done")
    for name, one in found.items():
        if one.state != "done":
            show.say(f"  {name}: {one.words}")
    commands = {"stale": f"habitus train {study.root} --redo", "to do": f"habitus train {study.root}"}
    there = {("stale" if one.state == "failed" else one.state, "(toy)" in name) for name, one in found.items()}
    return [commands[state] + " --toy" * toy for state, toy in sorted(there) if state in commands]


def _evals(study: Study) -> None:
    """Print which evals every arm has, and which are of a model that is no longer there."""
    from habitus import show
    from habitus.cli.standing import evals_of

    try:
        found = evals_of(study)
    except UserError as error:
        show.warn(f"which evals there are can't be told: {error}")
        return
    show.heading(f"evals of {len(found):,} arms, samples with a number")
    for arm, (standing, told) in found.items():
        show.say(f"  {arm}: {', '.join(told)}" + f"; {standing.words}" * (standing.state != "done"))


def _stand(job: Job, entry: dict[str, Any]) -> list[str]:
    """Print where a dataset stands, and return what could be done about it."""
    from habitus import show
    from habitus.cli.standing import differences
    from habitus.generate.dataset import funnel

    name, steps = job.dataset.name, funnel(job)
    usual = job.usual_count()
    more = f" ({usual:,} in config.yaml)" if usual > entry["want"] else ""
    show.heading(f"{name}: {steps['kept']:,} of {entry['want']:,} kept{more}")
    show.funnel(steps)
    try:
        stale = differences(job)
    except UserError as error:
        show.warn(f"whether {name} are stale can't be told: {error}")
        return []
    for change in stale:
        show.warn(f"{name} are stale: {change}")
    if entry.get("made_with_before"):
        show.warn(f"some of the {name} were made with earlier settings, which the manifest keeps (made_with_before)")
    if stale:
        return [f"{job.command} --redo", f"{job.command} --go-on"]
    reached = steps["planned"] if job.kind.folder == "chats-plain" else steps["kept"]
    if reached < entry["want"]:
        return [job.command + f" --count {entry['want']}" * (entry["want"] != usual)]
    return [job.command] if reached < usual else []


@click.command("show", short_help="Print a record with every step, or list them.")
@STUDY
@click.argument("record", required=False)
@click.option("--dataset", help="Such as documents or chats-plain; by default the one that the record's id tells.")
@click.option("--dropped", is_flag=True, help="List what was dropped, with the reasons.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Rows in a list.")
def show_(study: Path, record: str | None, *, dataset: str | None, dropped: bool, limit: int) -> None:
    """Print one record with every step that led to it, or list the records."""
    from habitus import show
    from habitus.study import read_rows

    found = _dataset(open_study(study), dataset, record)
    if record is not None:
        print_record(found, record)
        return
    path = found.dropped if dropped else found.kept
    rows = list(read_rows(path, "id", "trait"))
    if not rows:
        show.say(f"nothing in {path} yet")
        show.next_command(f"habitus generate {found.name.partition('-')[0]} {study} --preview 5")
        return
    if dropped:
        listed = [[row["id"], row["trait"], row["step"], row["reason"][:90]] for row in rows[:limit]]
        show.table([("id", "left"), ("trait", "left"), ("step", "left"), ("reason", "left")], listed)
    else:
        listed = [[row["id"], row["trait"], _beginning(row)] for row in rows[:limit]]
        show.table([("id", "left"), ("trait", "left"), ("begins", "left")], listed)
    if len(rows) > limit:
        show.say(f"  … and {len(rows) - limit:,} more (--limit)")
    chosen = f" --dataset {dataset}" * bool(dataset)
    show.next_command(f"habitus show {study} {rows[0]['id']}{chosen}")


def _dataset(study: Study, name: str | None, record: str | None) -> Dataset:
    """Return the dataset that is meant."""
    from habitus.generate.dataset import jobs

    known = [job.dataset.name for job in jobs(study)] + list(study.manifest.get("datasets", {}))
    if name is not None:
        if name not in known:
            todo = f"There may be: {', '.join(dict.fromkeys(known))}."
            raise UserError(f"no dataset '{name}'.{nearest(name, known)}", where=str(study.root), todo=todo)
        return study.dataset(name)
    if record is not None:
        return study.dataset(FOLDER_OF.get(record.partition("-")[0], "chats"))
    made = [one for one in FOLDER_OF.values() if study.dataset(one).kept.exists()]
    return study.dataset(made[0] if made else "chats")


def _beginning(row: dict[str, Any]) -> str:
    """Return the first words of a row, on one line."""
    messages = row.get("messages") or row.get("prompt") or ()
    text = row.get("text") or (messages[0]["content"] if messages else "")
    return " ".join(text[:160].split())[:80]


def first_ids(dataset: Dataset, number: int) -> list[str]:
    """Return the ids of the first kept records."""
    from habitus.study import read_ids

    return list(islice(read_ids(dataset.kept), number))


def print_record(dataset: Dataset, record: str) -> None:
    """Print one record with every step that led to it."""
    from habitus import show_record
    from habitus.study import read_ids, read_rows

    # A kill between a trace and its row leaves the trace to be written again: the last of each half counts.
    traces = [row["steps"] for row in read_rows(dataset.traces, "id", "steps") if row["id"] == record and row["steps"]]
    steps = [step for half in {steps[0]["step"]: steps for steps in traces}.values() for step in half]
    kept = next((row for row in read_rows(dataset.kept, "id") if row["id"] == record), None)
    dropped = next((row for row in read_rows(dataset.dropped, "id") if row["id"] == record), None)
    if not steps and kept is None and dropped is None:
        known = list(read_ids(dataset.kept))
        todo = f"List them with `habitus show {dataset.folder.parent} --dataset {dataset.name}`."
        raise UserError(f"no record '{record}'.{nearest(record, known)}", where=str(dataset.folder), todo=todo)
    show_record.record(steps, kept, dropped, record)
