"""The command line, in the order of the pipeline."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from habitus import __version__
from habitus.errors import RunStopped, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.recipe import Engine
    from habitus.study import Study

STUDY = click.argument("study", type=click.Path(path_type=Path))
EPILOG = """\b
A first session, offline:
  habitus init advice
  habitus check advice
  habitus generate chats advice --preview 5
  habitus generate chats advice
  habitus export advice chats --format trl
"""


class _InOrder(click.Group):
    """Commands in the order in which they are written, which is that of the pipeline."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(
    cls=_InOrder, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="habitus")
@click.option("--quiet", is_flag=True, help="Print results and errors, and no progress.")
def cli(*, quiet: bool) -> None:
    """Write training data that instils chosen traits in a language model: from a traits document to kept chats."""
    from habitus import show

    show.be_quiet(quiet=quiet)


@cli.command()
@STUDY
def init(study: Path) -> None:
    """Make a study: a config, and a traits document to begin from."""
    from habitus import show
    from habitus.study import make_study

    made = make_study(study)
    show.say(f"made {study}/ with {', '.join(path.name for path in made)}")
    show.say(f"Write your traits into {study}/traits.md; the one there is a complete example.")
    show.next_command(f"habitus check {study}", f"habitus generate chats {study} --preview 5")


@cli.command(short_help="Check traits, config and models; print the plan.")
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
    from habitus.traits.lint import lint

    opened = _open(study)

    async def run() -> None:
        async with _engine(opened) as engine:
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


@cli.group()
def generate() -> None:
    """Write a dataset: chats."""


@generate.command()
@STUDY
@click.option("--count", type=click.IntRange(min=1), help="Chats to keep, in place of the config's.")
@click.option("--preview", type=click.IntRange(min=1), help="Make only so many, print each step of them; they count.")
@click.option("--redo", is_flag=True, help="Settings changed: set the old rows aside and make them anew.")
@click.option("--go-on", is_flag=True, help="Settings changed: keep the old rows and add new ones beside them.")
@click.option("--export-only", is_flag=True, help="With exchange/ models: write the requests and stop.")
def chats(study: Path, *, count: int | None, preview: int | None, redo: bool, go_on: bool, export_only: bool) -> None:
    """Write chats for SFT. Interrupt it at any time; the same command goes on."""
    from habitus import show
    from habitus.generate.dataset import funnel, spread_of

    opened = _open(study)
    want = preview or count or opened.config.chats.count
    command = f"habitus generate chats {study}" + (f" --count {count}" if count else "")
    with opened.lock():
        try:
            is_whole = asyncio.run(_grow(opened, want, redo=redo, go_on=go_on, export_only=export_only))
        except (KeyboardInterrupt, asyncio.CancelledError, RunStopped) as stop:
            message = str(stop) or "Interrupted."
            show.note(f"{message} Everything finished is kept.")
            show.next_command(command)
            raise SystemExit(1 if isinstance(stop, RunStopped) else 130) from stop
    dataset = opened.dataset("chats")
    if preview:
        for record in _first_ids(opened, preview):
            _show_record(opened, record)
    show.heading(f"{study}/chats")
    show.funnel(funnel(dataset))
    if not preview:
        show.spread(spread_of(dataset))
    if opened.manifest["datasets"]["chats"]["simulated"]:
        show.simulated_banner()
    show.say(f"  {dataset.kept}")
    done = f"habitus show {study}"
    show.next_command(done if is_whole and not preview else command, f"habitus export {study} chats --format trl")


@cli.command()
@STUDY
def status(study: Path) -> None:
    """Tell what is done, what is stale and why, and what it cost."""
    from habitus import show
    from habitus.generate.dataset import changes, funnel, made_with
    from habitus.models.ledger import read_totals

    opened = _open(study)
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
        async with _engine(opened) as engine:
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


@cli.command("show", short_help="Print a record with every step, or list them.")
@STUDY
@click.argument("record", required=False)
@click.option("--dropped", is_flag=True, help="List what was dropped, with the reasons.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Rows in a list.")
def show_(study: Path, record: str | None, *, dropped: bool, limit: int) -> None:
    """Print one record with every step that led to it, or list the records."""
    from habitus import show
    from habitus.study import read_rows

    opened = _open(study)
    if record is not None:
        _show_record(opened, record)
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


@cli.command(short_help="Write a dataset in the form that a trainer takes.")
@STUDY
@click.argument("dataset", type=click.Choice(["chats"]))
@click.option(
    "--format", "kind", required=True, type=click.Choice(["trl", "openai", "parquet"]), help="Who will read it."
)
@click.option("--to", type=click.Path(path_type=Path), help="The file to write; by default in STUDY/export/.")
def export(study: Path, dataset: str, *, kind: str, to: Path | None) -> None:
    """Write a dataset's kept rows in the form that a trainer or a service takes."""
    from habitus import show
    from habitus.generate.export import export_chats

    opened = _open(study)
    path, number = export_chats(opened.dataset(dataset), kind, to or study / "export")
    show.say(f"{number:,} chats in {path}")


@cli.command(short_help="List the prompts with their hashes, or print one.")
@click.argument("study", type=click.Path(path_type=Path), required=False)
@click.argument("name", required=False)
def prompts(study: Path | None, name: str | None) -> None:
    """List the prompts with their hashes, or print one. Copy one into STUDY/prompts/ to change it."""
    from habitus import show
    from habitus.prompts import Prompts

    if study is not None and not study.is_dir() and name is None:
        study, name = None, str(study)
    found = Prompts(_open(study).prompts if study else None)
    if name is not None:
        digest = found.hash(name)
        show.say(f"{found.path(name)}  {digest}\n")
        show.say(found.path(name).read_text(encoding="utf-8"))
        return
    rows = [[each, found.hash(each), "yours" if found.is_overridden(each) else ""] for each in found.names]
    show.table([("prompt", "left"), ("hash", "left"), ("", "left")], rows)
    show.next_command(f"habitus prompts {study or ''} {found.names[0]}".replace("  ", " "))


@cli.command(short_help="Serve the simulated model over HTTP.")
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


def _open(path: Path) -> Study:
    from habitus.study import Study

    return Study(path)


def _engine(study: Study, *, export_only: bool = False) -> Any:
    from habitus.recipe import open_engine

    return open_engine(study, export_only=export_only)


async def _grow(study: Study, want: int, *, redo: bool, go_on: bool, export_only: bool) -> bool:
    """Make chats until so many are kept, say what the user ought to know, and tell whether nothing waits."""
    from habitus import show
    from habitus.generate.corpus import Corpus, Progress, embedder_of
    from habitus.generate.dataset import checked, prepare, record_run

    async with _engine(study, export_only=export_only) as engine:
        seats = checked(study)
        embedder = embedder_of(study, engine)
        show.note(f"embedder: {embedder.note}")
        aside = prepare(study, engine, want, redo=redo, go_on=go_on)
        for files in (model.folder for model in engine.exchanges):
            show.note(f"requests go to {files}/requests.jsonl, answers are read from {files}/answers/*.jsonl")
        if aside:
            show.note(f"the old rows are in {aside}; answers that still hold come from the ledger")
        _interruptible(engine)
        state = Progress()
        corpus = Corpus(study, engine, seats, embedder, state)
        try:
            async with show.progress(state, engine.tally):
                await corpus.grow(want)
        finally:
            corpus.close()
            record_run(study, engine, want)
        if state.kept < want and not engine.tally.unsettled:
            show.warn(
                f"{state.kept:,} of {want:,} kept when the bound of {state.most_planned:,} planned scenarios was "
                "reached; raise chats.most_planned, or look at what is dropped"
            )
        for reason, number in engine.tally.unsettled.items():
            example = f" ({engine.tally.examples[reason]})" if engine.tally.examples[reason] else ""
            show.warn(f"{number:,} records {reason}{example}; the same command takes them up again")
        for model in engine.exchanges:
            for problem in model.problems:
                show.warn(str(problem))
            if model.pending:
                files, number = model.folder, model.pending
                show.say(
                    f"{number:,} requests wait in {files}/requests.jsonl; put answers into {files}/answers/*.jsonl"
                )
        return not engine.tally.unsettled


def _interruptible(engine: Engine) -> None:
    """Let the first Ctrl-C end the run once the calls in flight are in, and the second at once."""
    from habitus import show

    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def interrupt() -> None:
        if engine.stopped is None:
            show.note("Ending after the calls in flight; press Ctrl-C again to leave at once.")
            engine.stop(KeyboardInterrupt("Interrupted."))
        elif main is not None:
            main.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)


def _first_ids(study: Study, number: int) -> list[str]:
    from habitus.study import read_rows

    return [row["id"] for row, _ in zip(read_rows(study.dataset("chats").kept), range(number), strict=False)]


def _show_record(study: Study, record: str) -> None:
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with exit code 2 and no traceback."""
    try:
        cli.main(args=list(arguments) if arguments is not None else None, prog_name="habitus")
    except UserError as error:
        from habitus import show

        show.complain(error)
        raise SystemExit(2) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        raise SystemExit(130) from error
    except BrokenPipeError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # nobody reads on
        raise SystemExit(0) from error
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EPERM}:
            raise
        from habitus import show

        place = str(error.filename or "the study")
        todo = "Mend that and run the same command again; nothing finished is lost."
        show.complain(UserError(f"{os.strerror(error.errno)}.", where=place, todo=todo))
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
