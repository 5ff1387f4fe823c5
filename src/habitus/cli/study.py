"""Commands about a study as a whole: make it, check it, see where it stands, look into it."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from habitus.cli.arguments import STUDY, open_study
from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.study import Study


@click.command()
@STUDY
def init(study: Path) -> None:
    """Make a study: a config, and a traits document to begin from."""
    from habitus import show
    from habitus.study import make_study

    made = make_study(study)
    show.say(f"made {study}/ with {', '.join(path.name for path in made)}")
    show.say(f"Write your traits into {study}/traits.md; the one there is a complete example.")
    show.next_command(f"habitus check {study}", f"habitus generate chats {study} --preview 5")


@click.command(short_help="Check traits, config and models; print the plan.")
@STUDY
@click.option("--count", type=click.IntRange(min=1), help="Chats to keep, in place of the config's.")
@click.option("--offline", is_flag=True, help="Don't try to reach the models.")
def check(study: Path, *, count: int | None, offline: bool) -> None:
    """Check traits, config and models; print the plan with calls, tokens and cost of every step."""
    from habitus import show
    from habitus.generate.corpus import embedder_of
    from habitus.generate.dataset import checked
    from habitus.generate.estimate import estimate
    from habitus.generate.plan import BLOCK, USUAL_SHARE
    from habitus.recipe import open_engine
    from habitus.traits.lint import lint

    opened = open_study(study)

    async def run() -> None:
        async with open_engine(opened) as engine:
            seats = checked(opened)
            embedder_of(opened, engine)
            show.document(seats.document, lint(seats.document), opened.config.chats.chunk_tokens)
            if not seats.context_is_whole:
                show.warn(
                    f"only the first {opened.config.chats.context_tokens:,} tokens of the trade-offs go along "
                    "with each trait; raise chats.context_tokens to show more"
                )
            number = count or opened.config.chats.count
            if (reached := math.ceil(number / USUAL_SHARE**2 / BLOCK)) < len(seats.document.traits):
                enough = math.ceil(len(seats.document.traits) * BLOCK * USUAL_SHARE**2)
                show.warn(
                    f"{number:,} chats reach about {reached:,} of {len(seats.document.traits):,} traits; "
                    f"{enough:,} reach them all"
                )
            show.plan(estimate(opened, engine, seats, number), number)
            for name, model in engine.models.items():
                reach = getattr(model, "check", None)
                if reach is not None and not offline:
                    await reach()
                    show.say(f"  {name} can be reached")
            if any(name.startswith("simulated/") for name in engine.models):
                show.simulated_banner()

    asyncio.run(run())
    show.next_command(f"habitus generate chats {study} --preview 5")


@click.command()
@STUDY
def status(study: Path) -> None:
    """Tell what is done, what is stale and why, and what it cost."""
    from habitus import show
    from habitus.generate.dataset import changes, funnel, made_with
    from habitus.models.ledger import read_totals
    from habitus.recipe import open_engine

    opened = open_study(study)
    dataset = opened.dataset("chats")
    entry = opened.manifest.get("datasets", {}).get("chats")
    if entry is None:
        show.say("chats: nothing made yet")
        show.next_command(f"habitus generate chats {study} --preview 5")
        return
    steps = funnel(dataset)
    show.heading(f"chats: {steps['kept']:,} of {entry['want']:,} kept")
    show.funnel(steps)

    async def differences() -> list[str]:
        async with open_engine(opened) as engine:
            return changes(entry["made_with"], made_with(opened, engine))

    stale = asyncio.run(differences())
    for change in stale:
        show.warn(f"chats are stale: {change}")
    if entry.get("made_with_before"):
        show.warn("some of the chats were made with earlier settings, which the manifest keeps (made_with_before)")
    show.heading("paid for so far")
    show.bill(read_totals(opened.ledger))
    if entry["simulated"]:
        show.simulated_banner()
    if stale:
        show.next_command(f"habitus generate chats {study} --redo", f"habitus generate chats {study} --go-on")
    elif steps["kept"] < opened.config.chats.count:
        show.next_command(f"habitus generate chats {study}")
    else:
        show.next_command(f"habitus show {study}", f"habitus export {study} chats --format trl")


@click.command("show", short_help="Print a record with every step, or list them.")
@STUDY
@click.argument("record", required=False)
@click.option("--dropped", is_flag=True, help="List what was dropped, with the reasons.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Rows in a list.")
def show_(study: Path, record: str | None, *, dropped: bool, limit: int) -> None:
    """Print one record with every step that led to it, or list the records."""
    from habitus import show
    from habitus.study import read_rows

    opened = open_study(study)
    if record is not None:
        show_record(opened, record)
        return
    dataset = opened.dataset("chats")
    path = dataset.dropped if dropped else dataset.kept
    rows = list(read_rows(path))
    if not rows:
        show.say(f"nothing in {path} yet")
        show.next_command(f"habitus generate chats {study} --preview 5")
        return
    if dropped:
        listed = [[row["id"], row["trait"], row["step"], row["reason"][:90]] for row in rows[:limit]]
        show.table([("id", "left"), ("trait", "left"), ("step", "left"), ("reason", "left")], listed)
    else:
        listed = [
            [row["id"], row["trait"], row["messages"][0]["content"][:80].replace("\n", " ")] for row in rows[:limit]
        ]
        show.table([("id", "left"), ("trait", "left"), ("begins", "left")], listed)
    if len(rows) > limit:
        show.say(f"  … and {len(rows) - limit:,} more (--limit)")
    show.next_command(f"habitus show {study} {rows[0]['id']}")


@click.command(short_help="List the prompts with their hashes, or print one.")
@click.argument("study", type=click.Path(path_type=Path), required=False)
@click.argument("name", required=False)
def prompts(study: Path | None, name: str | None) -> None:
    """List the prompts with their hashes, or print one. Copy one into STUDY/prompts/ to change it."""
    from habitus import show
    from habitus.prompts import Prompts

    if study is not None and not study.is_dir() and name is None:
        study, name = None, str(study)
    found = Prompts(open_study(study).prompts if study else None)
    if name is not None:
        digest = found.hash(name)
        show.say(f"{found.path(name)}  {digest}\n")
        show.say(found.path(name).read_text(encoding="utf-8"))
        return
    rows = [[each, found.hash(each), "yours" if found.is_overridden(each) else ""] for each in found.names]
    show.table([("prompt", "left"), ("hash", "left"), ("", "left")], rows)
    show.next_command(f"habitus prompts {study or ''} {found.names[0]}".replace("  ", " "))


@click.command(short_help="Serve the simulated model over HTTP.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--model", default="simulated/world", show_default=True, help="The simulated model and its parameters.")
@click.option("--latency", default="0", show_default=True, help="Seconds an answer takes: 0.2, or lognormal:0.2.")
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME=RATE", help="Misbehave: rate_limited=0.05, reset=0.02, …"
)
def simulate(port: int, model: str, latency: str, faults: Sequence[str]) -> None:
    """Serve the simulated model over HTTP, as an OpenAI-compatible endpoint, with latency and faults."""
    from habitus import show
    from habitus.models.serve import Faults, Latency, run_server
    from habitus.models.simulated import SimulatedModel

    def ready(url: str) -> None:
        show.say(f"serving {model} at {url} (Ctrl-C ends it)")

    asyncio.run(run_server(SimulatedModel(model), port, Latency.parse(latency), Faults.parse(faults), on_ready=ready))


def first_ids(study: Study, number: int) -> list[str]:
    """Return the ids of the first kept records."""
    from habitus.study import read_rows

    return [row["id"] for row, _ in zip(read_rows(study.dataset("chats").kept), range(number), strict=False)]


def show_record(study: Study, record: str) -> None:
    """Print one record with every step that led to it."""
    from habitus import show
    from habitus.errors import nearest
    from habitus.study import read_rows

    dataset = study.dataset("chats")
    # A kill between a trace and its row leaves the trace to be written again: the last of each half counts.
    traces = [row["steps"] for row in read_rows(dataset.traces) if row["id"] == record and row["steps"]]
    steps = [step for half in {steps[0]["step"]: steps for steps in traces}.values() for step in half]
    kept = next((row for row in read_rows(dataset.kept) if row["id"] == record), None)
    dropped = next((row for row in read_rows(dataset.dropped) if row["id"] == record), None)
    if not steps and kept is None and dropped is None:
        known = [row["id"] for row in read_rows(dataset.kept)]
        todo = f"List them with `habitus show {study.root}`."
        raise UserError(f"no record '{record}'.{nearest(record, known)}", where=str(dataset.folder), todo=todo)
    show.record(steps, kept, dropped, record)
