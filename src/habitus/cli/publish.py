"""Commands that carry datasets and models out of a study, and datasets into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from habitus.cli.arguments import RAY, STUDY, open_study
from habitus.errors import UserError

if TYPE_CHECKING:
    from habitus.publish.export import Form
    from habitus.publish.held import Held
    from habitus.publish.push import Parcel
    from habitus.study import Study

CARDS = Path("report") / "cards"
"""Where the cards of models lie in a study."""


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


@click.command(short_help="Write the card of a dataset or a model, as the Hugging Face hub shows it.")
@STUDY
@click.argument("name")
@click.option(
    "--to", type=click.Path(path_type=Path), help="The file; by default STUDY/DATASET/README.md, or report/cards/."
)
def card(study: Path, name: str, *, to: Path | None) -> None:
    """Write the card of a dataset, or of an arm's model.

    Of a dataset: how it was made, what became of its records, what it covers, and what it cost. Of a model: what it was
    trained on and how long, and what the evals measured. NAME is that of a dataset, of an arm, or ARM/seed-N.
    """
    from habitus import show
    from habitus.publish.card import write_card, write_signed
    from habitus.publish.held import find
    from habitus.publish.model import find_model, model_card

    opened = open_study(study)
    if _is_model(opened, name):
        trained = find_model(opened, name)
        place = to or opened.root / CARDS / f"{trained.name.replace('/', '-')}.md"
        write_signed(place, model_card(trained))
    else:
        held = find(opened, name)
        place = to or held.files.folder / "README.md"
        write_card(held, place)
    show.say(f"the card of {name} is in {place}")
    show.next_command(f"habitus push {study} {name} --to OWNER/NAME --dry-run")


def _is_model(study: Study, name: str) -> bool:
    """Tell whether a name is that of an arm; a dataset of the same name comes first, and `models/ARM` is never one."""
    from habitus.publish.held import names_in

    if name.startswith("models/"):
        return True
    return name not in names_in(study) and (
        name.partition("/")[0] in study.config.arms or (study.root / "models" / name).is_dir()
    )


@click.command(short_help="Send a dataset or a model, with its card, to the Hugging Face hub.")
@STUDY
@click.argument("name")
@click.option("--to", "repository", required=True, metavar="OWNER/NAME", help="The repository; made if there is none.")
@click.option("--private/--public", default=True, show_default=True, help="Who may see it.")
@click.option("--with-dropped", is_flag=True, help="Of a dataset: send what was not kept, too.")
@click.option("--adapter", is_flag=True, help="Of a model: send its adapters alone.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option("--message", help="The commit's message.")
def push(
    study: Path,
    name: str,
    *,
    repository: str,
    private: bool,
    with_dropped: bool,
    adapter: bool,
    dry_run: bool,
    message: str | None,
) -> None:
    """Send a dataset, or an arm's model, and its card to the Hugging Face hub in one commit.

    NAME is that of a dataset, of an arm, or ARM/seed-N. The token is that of `hf auth login`.
    """
    from contextlib import nullcontext

    from habitus import show
    from habitus.publish.push import push as send

    opened = open_study(study)
    with nullcontext() if dry_run else opened.lock():
        parcel = _packed(opened, name, repository, private=private, with_dropped=with_dropped, adapter=adapter)
        show.heading(f"{repository} ({'private' if private else 'public'} {parcel.kind})")
        show.table([("file", "left"), ("bytes", "right")], [[name, f"{size:,}"] for name, size in parcel.sizes.items()])
        if dry_run:
            show.say(f"\n{parcel.card}")
            given = {"--public": not private, "--with-dropped": with_dropped, "--adapter": adapter}
            options = [option for option, is_given in given.items() if is_given]
            show.next_command(" ".join(["habitus", "push", str(study), name, "--to", repository, *options]))
            return
        show.say(send(parcel, message or f"{name} of the study {opened.root.resolve().name}"))


def _packed(study: Study, name: str, repository: str, *, private: bool, with_dropped: bool, adapter: bool) -> Parcel:
    """Return what is to be sent of a dataset or a model.

    Raises:
        UserError: there is no such thing, it is not whole, or an option is the other kind's.

    """
    from habitus.publish.held import find
    from habitus.publish.model import find_model
    from habitus.publish.push import pack, pack_model

    is_model = _is_model(study, name)
    if wrong := "--with-dropped" if is_model and with_dropped else "--adapter" if adapter and not is_model else "":
        kind = "model" if is_model else "dataset"
        raise UserError(f"'{name}' is a {kind}, which has no such part.", where=wrong, todo="Leave that out.")
    if is_model:
        return pack_model(find_model(study, name), repository, is_private=private, adapter=adapter)
    return pack(find(study, name), repository, is_private=private, with_dropped=with_dropped)


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
