"""A dataset as a folder of Parquet files, written by all cores or by all machines of a cluster, through Daft."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from habitus.errors import UserError
from habitus.publish.export import write_parquet
from habitus.publish.held import flaw, fresh_file
from habitus.shards import open_daft
from habitus.stretches import gone_over

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from habitus.publish.held import Held
    from habitus.shapes import Shape
    from habitus.stretches import Stretch

PART = 256 << 20
"""Bytes of rows that go into one file."""


def export_parts(held: Held, to: Path, address: str) -> tuple[Path, int]:
    """Write a dataset's rows, in their order, into files of a new folder; return that and the number of rows.

    The folder is there once it is whole. With the address of a Ray cluster, its machines write it; they must see the
    study under the same path.

    Raises:
        UserError: the folder is there already, a row is not of the dataset's shape, or Daft or pyarrow is missing.

    """
    open_daft()
    folder = (to if to.suffix else to / f"{held.slug}-parquet").resolve()
    if folder.exists():
        todo = "Move it away, or name another with --to."
        raise UserError("this folder exists already.", where=str(folder), todo=todo)
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    try:
        written = partial(_written, folder=fresh, shape=held.shape)
        rows = sum(gone_over(held.files.kept, PART, written, address))
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder, rows


def _written(stretch: Stretch, folder: Path, shape: Shape) -> int:
    """Write the file of a stretch and return the number of its rows."""
    with fresh_file(folder / f"part-{stretch.number:05}.parquet") as fresh:
        return write_parquet(_rows(stretch, shape), shape, fresh)


def _rows(stretch: Stretch, shape: Shape) -> Iterator[dict[str, Any]]:
    with stretch.path.open("rb") as file:
        file.seek(stretch.start)
        while file.tell() < stretch.end and (line := file.readline()).endswith(b"\n"):
            row = orjson.loads(line)
            if problem := flaw(row, shape):
                place = f"{stretch.path}, byte {file.tell() - len(line)}"
                raise UserError(problem, where=place, todo="Mend or delete the line.")
            yield row
