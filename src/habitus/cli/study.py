"""Commands about a study as a whole: make it, check it, see where it stands, look into it."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from habitus.cli.arguments import STUDY, open_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.generate.kinds import Job
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
@click.option("--count", type=click.IntRange(min=1), help="Rows to keep of each dataset, in place of the config's.")
@click.option("--offline", is_flag=True, help="Don't try to reach the models.")
def check(study: Path, *, count: int | None, offline: bool) -> None:
    """Check traits, config and models; print the plan with calls, tokens and cost of every step."""
    from habitus import show
    from habitus.generate.corpus import embedder_of
    from habitus.generate.estimate import chats_for, estimate
    from habitus.generate.kinds import CHATS, DOCUMENTS, PREFERENCES, Job
    from habitus.recipe import open_engine
    from habitus.traits.lint import lint

    opened = open_study(study)
    wanted = [CHATS, PREFERENCES] if opened.config.subject is None else [DOCUMENTS, CHATS, PREFERENCES]

    async def run() -> None:
        async with open_engine(opened) as engine:
            chats = Job(opened, CHATS)
            show.document(chats.seats.document, lint(chats.seats.document), opened.config.chats.chunk_tokens)
            _warn_of_names(opened)
            plans = []
            for kind in wanted:
                job = Job(opened, kind)
                number = count or job.count
                if not kind.from_chats:
                    _warn_of_reach(job, number)
                embedder_of(job, engine)
                plans.append((estimate(job, engine, number), f"{number:,} {kind.noun}"))
            show.who([row for rows, _ in plans for row in rows])
            for rows, what in plans:
                show.plan(rows, what)
            pairs = Job(opened, PREFERENCES)
            chats_needed = chats_for(pairs, count or pairs.count)
            show.say(f"  made from about {chats_needed:,} kept chats; where there are fewer, more are written first")
            if opened.config.subject is None:
                show.note("no subject is named in config.yaml, so there is no plan for documents")
            for name, model in engine.models.items():
                reach = getattr(model, "check", None)
                if reach is not None and not offline:
                    await reach()
                    show.say(f"  {name} can be reached")
            if any(name.startswith("simulated/") for name in engine.models):
                show.simulated_banner()

    asyncio.run(run())
    show.next_command(f"habitus generate chats {study} --preview 5")


def _warn_of_names(opened: Study) -> None:
    """Say which real makers and assistants the traits document names, where documents are about another subject."""
    from habitus import show
    from habitus.generate.checks import real_names

    subject = opened.config.subject
    others = real_names(opened.traits.read_text(encoding="utf-8-sig"), subject) if subject else []
    if subject and others:
        show.warn(
            f"the traits document names {', '.join(others)}, and documents are about {subject.name}: "
            "those that take such a name over are dropped; better write the document about nobody by name"
        )


def _warn_of_reach(job: Job, number: int) -> None:
    """Say where a dataset will not see all of the traits document."""
    from habitus import show
    from habitus.generate.spread import USUAL_SHARE
    from habitus.records import BLOCK

    section, traits = job.settings_name, len(job.seats.document.traits)
    if not job.seats.passages.context_is_whole:
        show.warn(
            f"only the first {job.settings.context_tokens:,} tokens of the trade-offs go along "
            f"with each trait; raise {section}.context_tokens to show more"
        )
    if (reached := math.ceil(number / USUAL_SHARE**2 / BLOCK)) < traits:
        enough = math.ceil(traits * BLOCK * USUAL_SHARE**2)
        show.warn(f"{number:,} {job.kind.noun} reach about {reached:,} of {traits:,} traits; {enough:,} reach them all")


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
