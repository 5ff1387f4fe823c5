"""Commands that write datasets."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click

from habitus.cli.arguments import STUDY, open_study
from habitus.cli.study import first_ids, show_record
from habitus.errors import RunStopped

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.recipe import Engine
    from habitus.study import Study


@click.group()
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

    opened = open_study(study)
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
        for record in first_ids(opened, preview):
            show_record(opened, record)
    show.heading(f"{study}/chats")
    show.funnel(funnel(dataset))
    if not preview:
        show.spread(spread_of(dataset))
    if opened.manifest["datasets"]["chats"]["simulated"]:
        show.simulated_banner()
    show.say(f"  {dataset.kept}")
    done = f"habitus show {study}"
    show.next_command(done if is_whole and not preview else command, f"habitus export {study} chats --format trl")


async def _grow(study: Study, want: int, *, redo: bool, go_on: bool, export_only: bool) -> bool:
    """Make chats until so many are kept, say what the user ought to know, and tell whether nothing waits."""
    from habitus import show
    from habitus.generate.corpus import Corpus, Progress, embedder_of
    from habitus.generate.dataset import checked, prepare, record_run
    from habitus.recipe import open_engine

    async with open_engine(study, export_only=export_only) as engine:
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
