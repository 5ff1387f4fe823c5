"""Commands that write datasets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from habitus.cli.arguments import RAY, STUDY, open_study
from habitus.cli.look import first_ids, print_record
from habitus.cli.running import interruptible, tell_exchanges, tell_jobs, tell_waiting
from habitus.errors import RunStopped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from habitus.generate.kinds import Job
    from habitus.recipe import Engine


@click.group()
def generate() -> None:
    """Write a dataset: documents, chats or preference pairs, or a control for one."""


def _options(command: Callable[..., bool]) -> Callable[..., bool]:
    """Give a command the options that every dataset has."""
    options = (
        STUDY,
        click.option("--count", type=click.IntRange(min=1), help="Rows to keep, in place of the config's."),
        click.option(
            "--preview", type=click.IntRange(min=1), help="Make only so many, print each step of them; they count."
        ),
        click.option("--redo", is_flag=True, help="Settings changed: set the old rows aside and make them anew."),
        click.option("--go-on", is_flag=True, help="Settings changed: keep the old rows and add new ones beside them."),
        click.option("--export-only", is_flag=True, help="With exchange/ models: write the requests and stop."),
        RAY,
    )
    for option in reversed(options):
        command = option(command)
    return command


@generate.command()
@_options
@click.option(
    "--control",
    type=click.Choice(["flat", "placebo"]),
    help="flat: documents that state the trait, without how and why. placebo: of an irrelevant traits document.",
)
def documents(study: Path, *, control: str | None, **options: Any) -> bool:
    """Write documents for midtraining. Interrupt it at any time; the same command goes on."""
    from habitus.generate.kinds import DOCUMENTS, FLAT, Job

    kind = FLAT if control == "flat" else DOCUMENTS
    return _make(Job(open_study(study), kind, placebo=control == "placebo"), **options)


@generate.command()
@_options
@click.option(
    "--control",
    type=click.Choice(["plain", "placebo"]),
    help="plain: the messages of the kept chats, answered without the trait. placebo: of an irrelevant document.",
)
def chats(study: Path, *, control: str | None, **options: Any) -> bool:
    """Write chats for SFT. Interrupt it at any time; the same command goes on."""
    from habitus.generate.kinds import CHATS, PLAIN, Job

    kind = PLAIN if control == "plain" else CHATS
    return _make(Job(open_study(study), kind, placebo=control == "placebo"), **options)


@generate.command()
@_options
@click.option(
    "--control", type=click.Choice(["placebo"]), help="placebo: from the chats of an irrelevant traits document."
)
def preferences(study: Path, *, control: str | None, **options: Any) -> bool:
    """Write preference pairs for BDPO, from the kept chats; where they run out, more chats are written first."""
    from habitus.generate.kinds import PREFERENCES, Job

    return _make(Job(open_study(study), PREFERENCES, placebo=control == "placebo"), **options)


def _make(
    job: Job,
    *,
    count: int | None,
    preview: int | None,
    redo: bool,
    go_on: bool,
    export_only: bool,
    ray: str | None,
) -> bool:
    """Make a dataset, print what it has come to, and tell whether nothing of it waits for answers."""
    from habitus import show
    from habitus.generate.dataset import funnel

    study = job.study
    if job.kind.is_long:
        job.subject  # noqa: B018  # the mistake of naming none is told before anything is opened
    command = job.command + f" --count {count}" * bool(count) + (f" --ray {ray}".rstrip() if ray is not None else "")
    with study.lock():
        try:
            want = preview or count or job.usual_count()
            is_whole = asyncio.run(_grow(job, want, redo=redo, go_on=go_on, export_only=export_only, ray=ray))
        except (KeyboardInterrupt, asyncio.CancelledError, RunStopped) as stop:
            message = str(stop) or "Interrupted."
            show.warn(f"{message} Everything finished is kept.")
            tell_jobs(study)
            show.next_command(command)
            raise SystemExit(1 if isinstance(stop, RunStopped) else 130) from stop
    name = job.dataset.name
    if preview:
        for record in first_ids(job.dataset, preview):
            print_record(job.dataset, record)
    show.heading(f"{study.root}/{name}")
    steps = funnel(job)
    show.funnel(steps)
    if not preview and steps["kept"]:
        _describe(job)
    if study.manifest["datasets"][name]["simulated"]:
        show.simulated_banner()
    show.say(f"  {job.dataset.kept}")
    done = f"habitus show {study.root}" + f" --dataset {name}" * (name != "chats")
    follows = [f"habitus export {study.root} {name} --format trl"] if steps["kept"] else []
    show.next_command(done if is_whole and not preview else command, *follows)
    return is_whole


def _describe(job: Job) -> None:
    """Print what a whole dataset is like."""
    from habitus import show
    from habitus.generate.spread import spread_of
    from habitus.generate.survey import paired, surveyed

    show.spread(spread_of(job))
    if job.kind.is_long:
        show.survey(surveyed(job))
    elif job.kind.folder == "preferences":
        show.pairs(paired(job))


async def _grow(job: Job, want: int, *, redo: bool, go_on: bool, export_only: bool, ray: str | None) -> bool:
    """Make rows until so many are kept, say what the user ought to know, and tell whether nothing waits."""
    from habitus import show
    from habitus.generate.corpus import Corpus, embedder_of
    from habitus.generate.dataset import prepare, record_run
    from habitus.generate.derived import Derived
    from habitus.recipe import open_engine
    from habitus.tally import Progress

    async with open_engine(job.study, export_only=export_only, ray=ray) as engine:
        state = Progress()
        embedder = None if job.kind.from_chats else embedder_of(job, engine)
        if embedder is not None:
            show.note(f"embedder: {embedder.note}")
        aside = prepare(job, engine, want, redo=redo, go_on=go_on)
        growing = Derived(job, engine, state) if embedder is None else Corpus(job, engine, embedder, state)
        tell_exchanges(engine)
        if aside:
            show.note(f"the old rows are in {aside}; answers that still hold come from the ledger")
        interruptible(engine)
        try:
            async with show.progress(state, engine.tally):
                await growing.grow(want)
        finally:
            growing.close()
            record_run(job, engine, want)
        _report(job, engine, state, want)
        return not engine.tally.unsettled


def _report(job: Job, engine: Engine, state: Any, want: int) -> None:
    """Say what is missing, and what it waits for."""
    from habitus import show

    if state.kept < want and not engine.tally.unsettled:
        tried = "tried chats" if job.kind.from_chats else f"planned {'scenarios' if job.kind.late else job.kind.noun}"
        section = "preferences" if job.kind.from_chats else job.settings_name
        at_bound = 0 < state.most_planned <= state.planned
        bound = f" when the bound of {state.most_planned:,} {tried} was reached" if at_bound else ""
        raise_it = f"raise {section}.most_planned, or " if at_bound else ""
        show.warn(f"{state.kept:,} of {want:,} kept{bound}; {raise_it}look at what is dropped")
    tell_waiting(engine)
