"""A file of lines, gone over a stretch at a time: here, on all cores, or on all machines of a cluster, through Daft."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import orjson

from habitus.errors import UserError
from habitus.shards import collected, connect, open_daft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")


class Stretch(NamedTuple):
    """Some whole lines of a file; the last one may lack its end."""

    path: Path
    number: int
    """Of the stretch, from 0."""
    start: int
    end: int
    """In bytes."""


def stretches(path: Path, size: int) -> list[Stretch]:
    """Return the stretches of a file, each of about so many bytes, and at least one."""
    starts, whole = [0], path.stat().st_size
    with path.open("rb") as file:
        while True:
            file.seek(starts[-1] + size)
            file.readline()
            if file.tell() >= whole:
                break
            starts.append(file.tell())
    return [Stretch(path, number, *ends) for number, ends in enumerate(pairwise([*starts, whole]))]


def gone_over(path: Path, size: int, work: Callable[[Stretch], T], address: str | None) -> Iterator[T]:
    """Yield what comes of each stretch of a file, in their order, whoever did the work and in whatever order.

    What comes of one are numbers, texts, or lists of them: between machines it travels as JSON.
    Without an address, and where there is one stretch alone, that is this process; with an empty one all cores of this
    machine, and else the machines of that Ray cluster, which must see the file under the same path.

    Raises:
        UserError: the work raised it, Daft is not installed, or there is no such cluster.

    """
    parts = stretches(path.resolve(), size)
    if address is None or len(parts) == 1:
        yield from map(work, parts)
        return
    for found, error in map(orjson.loads, _through_daft(parts, work, address)):
        if error is not None:
            raise UserError(**error)
        yield found


def own_cores(address: str | None) -> str | None:
    """Return the address, or where none is given the one for all cores of this machine, if Daft is installed."""
    return "" if address is None and find_spec("daft") else address


def _through_daft(parts: list[Stretch], work: Callable[[Stretch], Any], address: str) -> list[bytes]:
    daft = open_daft()
    from daft import DataType, Series, col

    if address:
        connect(address)
        daft.set_runner_ray(noop_if_initialized=True)

    # Processes, for threads would take turns: most of the work is Python.
    @daft.func.batch(return_dtype=DataType.binary(), batch_size=1, use_process=True)
    def done(numbers: Series) -> list[bytes]:
        return [orjson.dumps(_ended(work, parts[number])) for number in numbers.to_pylist()]

    frame = daft.from_pydict({"number": list(range(len(parts)))})
    if address:
        frame = frame.into_partitions(len(parts))  # else one machine would get them all
    found = collected(frame.select(col("number"), done(col("number")).alias("found")), len(parts))
    return [packed for _, packed in sorted(zip(found["number"], found["found"], strict=True))]


def _ended(work: Callable[[Stretch], Any], stretch: Stretch) -> tuple[Any, dict[str, str] | None]:
    """Return what comes of a stretch, and a mistake of the user's, which Daft would bury in a traceback."""
    try:
        return work(stretch), None
    except UserError as error:
        return None, {"what": error.what, "where": error.where, "todo": error.todo}
