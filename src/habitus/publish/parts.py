"""A dataset as a folder of Parquet files, written by all cores or by all machines of a cluster, through Daft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from habitus.errors import UserError
from habitus.publish.export import write_parquet
from habitus.publish.held import flaw, fresh_file
from habitus.shards import open_daft

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from habitus.publish.held import Held

PART = 256 << 20
"""Bytes of rows that go into one file."""


def export_parts(held: Held, to: Path, address: str) -> tuple[Path, int]:
    """Write a dataset's rows, in their order, into files of a new folder; return that and the number of rows.

    With the address of a Ray cluster, its machines write them; they must see the study under the same path.

    Raises:
        UserError: the folder is there already, a row is not of the dataset's shape, or Daft or pyarrow is missing.

    """
    daft = open_daft()
    from daft import DataType, Series, col

    if address:
        daft.set_runner_ray(address, noop_if_initialized=True)
    folder = (to if to.suffix else to / f"{held.slug}-parquet").resolve()
    if folder.exists():
        todo = "Move it away, or name another with --to."
        raise UserError("this folder exists already.", where=str(folder), todo=todo)
    source, shape = held.files.kept.resolve(), held.shape
    starts = stretches(source, PART)

    @daft.func.batch(return_dtype=DataType.int64(), batch_size=1)
    def written(number: Series, start: Series, end: Series) -> list[int]:
        parts = zip(number.to_pylist(), start.to_pylist(), end.to_pylist(), strict=True)
        counts = []
        for at, first, last in parts:
            with fresh_file(folder / f"part-{at:05}.parquet") as fresh:
                counts.append(write_parquet(_rows(source, first, last, shape), shape, fresh))
        return counts

    frame = daft.from_pydict({"number": list(range(len(starts) - 1)), "start": starts[:-1], "end": starts[1:]})
    counts = frame.select(written(col("number"), col("start"), col("end")).alias("rows")).to_pydict()["rows"]
    return folder, sum(counts)


def stretches(path: Path, size: int) -> list[int]:
    """Return where stretches of about so many bytes begin, each with a whole line, and where the last line ends."""
    starts = [0]
    with path.open("rb") as file:
        while True:
            file.seek(starts[-1] + size)
            file.readline()
            if file.tell() >= path.stat().st_size:
                return [*starts, path.stat().st_size]
            starts.append(file.tell())


def _rows(path: Path, start: int, end: int, shape: Any) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        file.seek(start)
        while file.tell() < end and (line := file.readline()).endswith(b"\n"):
            row = orjson.loads(line)
            if problem := flaw(row, shape):
                place = f"{path}, byte {file.tell() - len(line)}"
                raise UserError(problem, where=place, todo="Mend or delete the line.")
            yield row
