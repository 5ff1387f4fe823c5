"""Commands that carry datasets out of a study and into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from habitus.cli.arguments import RAY, STUDY, open_study
from habitus.errors import UserError

if TYPE_CHECKING:
    from habitus.publish.export import Form
    from habitus.publish.held import Held


@click.command(short_help="Write a dataset in the form that a trainer takes.")
@STUDY
@click.argument("dataset")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["trl", "openai", "together", "tinker", "parquet"]),
    help="Who will read it.",
)
@click.option("--to", type=click.Path(path_type=Path), help="The file to write; by default in STUDY/export/.")
@RAY
def export(study: Path, dataset: str, *, form: Form, to: Path | None, ray: str | None) -> None:
    """Write a dataset's kept rows in the form that a trainer or a service takes."""
    from habitus import show
    from habitus.publish.export import OPENAI_FEWEST, export_dataset
    from habitus.publish.held import find

    held = find(open_study(study), dataset)
    if ray is None:
        path, number = export_dataset(held, form, to or study / "export")
    else:
        path, number = _on_machines(held, form, to or study / "export", ray)
    show.say(f"{number:,} {held.shape} in {path}")
    if form == "openai" and number < OPENAI_FEWEST:
        show.warn(f"OpenAI starts no fine-tuning with fewer than {OPENAI_FEWEST} rows")


def _on_machines(held: Held, form: Form, to: Path, address: str) -> tuple[Path, int]:
    from habitus.publish.parts import export_parts

    if form != "parquet":
        todo = "Leave --ray out, or write Parquet."
        raise UserError(f"{form} is one file, which one machine writes.", where="--ray", todo=todo)
    return export_parts(held, to, address)


@click.command(short_help="Write a dataset's card, as the Hugging Face hub shows it.")
@STUDY
@click.argument("dataset")
@click.option("--to", type=click.Path(path_type=Path), help="The file to write; by default STUDY/DATASET/README.md.")
def card(study: Path, dataset: str, *, to: Path | None) -> None:
    """Write what a dataset is, how it was made, what became of its records, what it covers, and what it cost."""
    from habitus import show
    from habitus.publish.card import write_card
    from habitus.publish.held import find

    held = find(open_study(study), dataset)
    place = to or held.files.folder / "README.md"
    write_card(held, place)
    show.say(f"the card of {dataset} is in {place}")
    show.next_command(f"habitus push {study} {dataset} --to OWNER/NAME --dry-run")


@click.command(short_help="Send a dataset and its card to the Hugging Face hub.")
@STUDY
@click.argument("dataset")
@click.option("--to", "repository", required=True, metavar="OWNER/NAME", help="The repository; made if there is none.")
@click.option("--private/--public", default=True, show_default=True, help="Who may see it.")
@click.option("--with-dropped", is_flag=True, help="Send what was not kept, too.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option("--message", help="The commit's message.")
def push(
    study: Path, dataset: str, *, repository: str, private: bool, with_dropped: bool, dry_run: bool, message: str | None
) -> None:
    """Send a dataset and its card to the Hugging Face hub in one commit; the token is that of `hf auth login`."""
    from contextlib import nullcontext

    from habitus import show
    from habitus.publish.held import find
    from habitus.publish.push import pack
    from habitus.publish.push import push as send

    opened = open_study(study)
    with nullcontext() if dry_run else opened.lock():
        parcel = pack(find(opened, dataset), repository, is_private=private, with_dropped=with_dropped)
        show.heading(f"{repository} ({'private' if private else 'public'} dataset)")
        show.table([("file", "left"), ("bytes", "right")], [[name, f"{size:,}"] for name, size in parcel.sizes.items()])
        if dry_run:
            show.say(f"\n{parcel.card}")
            options = [*([] if private else ["--public"]), *(["--with-dropped"] if with_dropped else [])]
            show.next_command(" ".join(["habitus", "push", str(study), dataset, "--to", repository, *options]))
            return
        show.say(send(parcel, message or f"{dataset} of the study {opened.root.resolve().name}"))


@click.command("import", short_help="Bring in a foreign dataset: JSON lines, a JSON array, Parquet, the hub.")
@click.argument("source")
@STUDY
@click.option("--name", help="What to call it; it becomes the dataset imported/NAME.")
@click.option("--split", default="train", show_default=True, help="Of a dataset on the hub.")
@click.option("--limit", type=click.IntRange(min=1), help="Read at most so many rows.")
@click.option(
    "--column", "columns", multiple=True, metavar="OURS=THEIRS", help="Which column is meant, such as text=transcript."
)
@click.option(
    "--allow-bad", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share of rows that may be bad."
)
def import_(
    source: str,
    study: Path,
    *,
    name: str | None,
    split: str,
    limit: int | None,
    columns: tuple[str, ...],
    allow_bad: float,
) -> None:
    """Bring a foreign dataset into a study, in the shape of its own.

    SOURCE is a file, or hf:owner/name[:config] on the Hugging Face hub. ShareGPT, messages, prompt and response,
    Alpaca, text and preference pairs are recognised by their columns.
    """
    from habitus import show
    from habitus.publish.intake import default_name, take_in
    from habitus.sources import open_source

    opened = open_study(study)
    pairs = dict(_pair(one) for one in columns)
    found = open_source(source, split)
    with opened.lock():
        dataset = name or default_name(found)
        done = take_in(opened, found, dataset, columns=pairs, limit=limit, allow_bad=allow_bad)
    show.say(f"{done.kept:,} {done.shape} in {study}/imported/{dataset}/kept.jsonl")
    if done.dropped:
        show.warn(
            f"{done.dropped:,} rows can't be read; dropped.jsonl beside it says why, such as {done.complaints[0]}"
        )
    if done.left_out:
        show.warn(f"columns that hold neither text nor number were left out: {', '.join(done.left_out)}")
    show.next_command(f"habitus card {study} imported/{dataset}")


def _pair(text: str) -> tuple[str, str]:
    ours, _, theirs = text.partition("=")
    if not ours or not theirs:
        raise UserError(f"'{text}' is no pair of columns.", where="--column", todo="Write OURS=THEIRS.")
    return ours, theirs
