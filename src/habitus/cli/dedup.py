"""The command that takes near-duplicates out of any dataset."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from habitus.cli.arguments import RAY
from habitus.errors import CallFailed, UserError

if TYPE_CHECKING:
    from habitus.generate.foreign import Foreign, Sifting
    from habitus.generate.vectors import Vectors
    from habitus.models.embed import Embedder
    from habitus.study import Study


@click.command(short_help="Take near-duplicates out of any dataset.")
@click.argument("data")
@click.option("--split", default="train", show_default=True, help="Of a dataset on the hub.")
@click.option("--compare", "part", type=click.Choice(["rows", "messages"]), default="rows", show_default=True,
              help="Whole rows, or the first message of the user alone.")  # fmt: skip
@click.option("--embedder", default="hashing", show_default=True,
              help="hashing (spelling), minilm, local/PATH, or provider/name of an endpoint.")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(0, 1, min_open=True),
              help="Cosine from which the later row goes.  [default: measured]")  # fmt: skip
@click.option("--into", type=click.Path(path_type=Path),
              help="Folder for embeddings, kept and removed rows.  [default: NAME.dedup]")  # fmt: skip
@RAY
def dedup(data: str, **options: Any) -> None:
    """Take near-duplicates out of DATA: a file (JSON, JSON lines, Parquet) or hf:owner/name; DATA is left as it is.

    Of rows that say nearly the same, the first stays. Each removed one names the row that it resembles most, and their
    cosine.
    """
    from habitus import show
    from habitus.generate.foreign import Foreign
    from habitus.sources import open_source

    found = Foreign(open_source(data, options["split"]), options["part"])
    try:
        done = asyncio.run(_sifted(found, options["into"] or Path(f"{found.source.stem}.dedup"), options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        show.warn("Interrupted. What is embedded is kept; the same command goes on.")
        raise SystemExit(130) from None
    _tell(done)


async def _sifted(found: Foreign, folder: Path, options: dict[str, Any]) -> Sifting:
    """Return the dataset once what stays of it and what goes is on disk."""
    from habitus import show
    from habitus.generate.foreign import Sifting
    from habitus.tally import Progress, Tally

    embedder, model = _embedder(options["embedder"], folder)
    sifting = Sifting(found, embedder, folder, options["threshold"])
    _refuse_twice(sifting)
    show.note(f"embedder: {embedder.note}")
    state = Progress(phase="reading", done="rows embedded")
    try:
        async with show.progress(state, Tally()):
            found.look()
            with _home(folder).lock():
                _refuse_twice(sifting)  # another command may have been quicker
                state.phase = "embedding"
                vectors = await sifting.embeddings(state)
                state.phase = "comparing"
                _compare(sifting, vectors, options["ray"])
    except CallFailed as error:
        todo = "Mend the cause and run the same command again."
        raise UserError(f"the embedder {embedder.name} failed: {error}", todo=todo) from error
    finally:
        if model is not None:
            await model.close()
    return sifting


def _refuse_twice(sifting: Sifting) -> None:
    if sifting.outcome.exists():
        todo = "Move it away, or name another folder with --into."
        raise UserError("this folder exists already.", where=str(sifting.outcome), todo=todo)


def _home(folder: Path) -> Study:
    """Return the folder of embeddings and rows, which one command at a time works on."""
    from habitus.study import Study

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        todo = "Name a folder that can be made with --into."
        raise UserError(f"this folder can't be made: {error.strerror}.", where=str(folder), todo=todo) from error
    return Study(folder)


def _embedder(name: str, folder: Path) -> tuple[Embedder, Any]:
    """Return an embedder, and the endpoint behind it if there is one; its config may lie in the folder."""
    from habitus.config import Config, load_config
    from habitus.models import is_endpoint, open_model
    from habitus.models.embed import open_embedder

    own = folder / "config.yaml"
    settings = load_config(own) if own.is_file() else Config()
    model: Any = open_model(name, settings, folder=folder) if is_endpoint(name, settings) else None
    return open_embedder(name, http=model), model


def _compare(sifting: Sifting, vectors: Vectors, ray: str | None) -> None:
    """Compare all rows, on all cores or all machines where that is wanted and there are rows enough."""
    from habitus import show
    from habitus.generate.compare import FEWEST_ROWS, Compared

    if ray is None or vectors.total < FEWEST_ROWS:
        if ray is not None:
            show.note(f"fewer than {FEWEST_ROWS:,} rows: they are compared here")
        sifting.write(vectors)
        return
    from habitus.shards import connect

    cluster = connect(ray) if ray else None
    elsewhere = Compared(sifting.folder.resolve() / "compared", ray)
    try:
        sifting.write(vectors, elsewhere)
    finally:
        elsewhere.close()
        if cluster is not None:
            cluster.shutdown()


def _tell(done: Sifting) -> None:
    """Print what stays and what went."""
    from habitus import show

    data = done.data
    total = done.kept + done.removed + data.unread
    rows = [("kept", done.kept), ("removed", done.removed), ("  the same in all that is compared", done.same)]
    rows += [("could not be read", data.unread)] * bool(data.unread)
    show.heading(str(done.outcome))
    columns = [(f"{data.shape} of {data.source.name}", "left"), ("rows", "right"), ("share", "right")]
    show.table(columns, [[name, f"{number:,}", f"{number / total:.1%}"] for name, number in rows])
    what = "first messages" if data.part == "messages" else "whole rows"
    show.say(f"  {what} by {done.embedder.name}, at a cosine of {done.cut:g} and above")
    if data.unread:
        show.warn(f"{data.unread:,} of {total:,} rows can't be read; the first: {data.complaint}")
    show.say(f"  {done.outcome}/kept.jsonl")
    show.next_command(f"habitus audit {done.outcome}/kept.jsonl")
