"""Commands that carry datasets out of a study and into it."""

from __future__ import annotations

from pathlib import Path

import click

from habitus.cli.arguments import STUDY, open_study


@click.command(short_help="Write a dataset in the form that a trainer takes.")
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

    opened = open_study(study)
    path, number = export_chats(opened.dataset(dataset), kind, to or study / "export")
    show.say(f"{number:,} chats in {path}")
