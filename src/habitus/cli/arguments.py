"""What commands share: the study they are about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from habitus.study import Study

STUDY = click.argument("study", type=click.Path(path_type=Path))
RAY = click.option(
    "--ray", metavar="[ADDRESS]", is_flag=False, flag_value="",
    help="Work on a Ray cluster: at an address (`auto` finds one), or without one on this machine's CPUs.",
)  # fmt: skip


def open_study(path: Path) -> Study:
    """Return the study in a folder."""
    from habitus.study import Study

    return Study(path)
