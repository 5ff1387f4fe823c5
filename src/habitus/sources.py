"""Foreign datasets, read a row at a time: JSON lines, JSON arrays, Parquet, and what the `datasets` library loads."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import orjson

from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

HUB = "hf:"
CHUNK = 1 << 20
"""Characters of a JSON array that are read at a time."""
LONGEST = 1 << 26
"""Bytes that one row may have, unpacked: a small packed file can hold a line without an end."""
LONGEST_NAME = 255
SHOWN = 10_000
"""Characters of a row that can't be read which are kept with the reason."""
BETWEEN = re.compile(r"[\s,]*")
BATCH = 1_000
"""Rows of a Parquet file that are read at a time."""


@dataclass(frozen=True)
class Broken:
    """A row that could not even be read."""

    reason: str
    raw: str


@dataclass(frozen=True)
class Source:
    """A foreign dataset that was found and opened."""

    given: str
    """As the user named it."""
    name: str
    """What rows and cards call it: the file's name, without the folders it lies in."""
    format: str
    stem: str
    """What an import is called that was given no name."""
    sha256: str | None
    """Of the file, compressed as it is; None for what lies on a hub."""
    rows: Callable[[], Iterator[Any]]
    """Yields the rows; for one that could not be read, what is known of it."""
    file: Path | None = None
    """Where the rows are lines that stand in a file as they are, so that it can be read from the middle."""

    def at(self, number: int) -> str:
        """Return where a row stands, counted from 1."""
        return f"{self.given}:{number}" if self.format == "json lines" else f"{self.given}, row {number}"


def open_source(source: str, split: str) -> Source:
    """Find out what a source is and return it.

    Raises:
        UserError: it is not there, or is nothing of the kind.

    """
    if source.startswith(HUB) and not source.removeprefix(HUB).strip("/: "):
        raise UserError("no dataset is named.", where=source, todo=f"Write {HUB}owner/name.")
    if source.startswith(HUB):
        return _on_hub(source, split)
    path = Path(source)
    if len(path.name) > LONGEST_NAME:
        raise UserError("this name is too long.", where=source[:LONGEST_NAME], todo="Name a file.")
    if path.is_dir():
        raise UserError("this is a folder.", where=source, todo=f"Name a file, or write {HUB}{source}.")
    if not path.is_file():
        hub = f" For the Hugging Face hub, write {HUB}{source}." if source.count("/") == 1 else ""
        raise UserError("there is no such file.", where=source, todo=f"Look at the path.{hub}")
    with path.open("rb") as file:
        if not file.peek(1):
            raise UserError("this file is empty.", where=source, todo="Name another.")
    digest = file_sha256(path)
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    with _opened(path) as file:
        head, is_packed = file.read(4096), isinstance(file, gzip.GzipFile)
    if head.startswith(b"PAR1"):
        return Source(source, path.name, "parquet", stem, digest, lambda: _parquet(path))
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return Source(source, path.name, "json array", stem, digest, lambda: _array(path))
    plain = None if is_packed else path
    return Source(source, path.name, "json lines", stem, digest, lambda: lines(path), plain)


def file_sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    """Open a file, unpacked if it is packed."""
    with path.open("rb") as plain:
        is_packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        try:
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=plain)) if is_packed else plain
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            todo = "Fetch it again."
            raise UserError(f"this file can't be unpacked ({error}).", where=str(path), todo=todo) from error


def lines(path: Path, start: int = 0, end: int | None = None) -> Iterator[Any]:
    """Yield the rows of a file of JSON lines, or of those that begin between two bytes of it, an empty line as None."""
    with _opened(path) as file:
        file.seek(start)
        number = 0
        while (end is None or file.tell() < end) and (line := file.readline(LONGEST + 1)):
            number += 1
            if len(line) > LONGEST:
                raise UserError(
                    f"this line is longer than {LONGEST >> 20} MB.",
                    where=f"{path}:{number}",
                    todo="Name a file of JSON lines, a JSON array or Parquet.",
                )
            text = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 and not start else line).strip()
            yield _row(text) if text else None


def _row(text: bytes | str) -> Any:
    """Return the row that a text holds, by the one set of rules for lines and arrays."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        shown = text if isinstance(text, str) else text[: 4 * SHOWN].decode("utf-8", "replace")
        return Broken(f"not JSON ({error})", shown[:SHOWN].encode("utf-8", "replace").decode())


def _array(path: Path) -> Iterator[Any]:
    """Yield the rows of a JSON array.

    Raises:
        UserError: it is damaged; nothing after that could be read.

    """
    # Numbers are read by _row; here they need only an end, and Python refuses those of thousands of digits.
    decode = json.JSONDecoder(parse_int=len).raw_decode
    with _opened(path) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace")
        buffer, at, number = file.read(CHUNK), 0, 1
        at = buffer.index("[") + 1
        while True:
            between = BETWEEN.match(buffer, at)
            at = between.end() if between else at
            if buffer.startswith("]", at):
                return
            try:
                _, end = decode(buffer, at)
            except RecursionError as error:
                what = f"row {number} of the array is nested too deeply."
                raise UserError(what, where=str(path), todo="Take it out, or write it as JSON lines.") from error
            except json.JSONDecodeError as error:
                more = file.read(max(CHUNK, len(buffer) - at))  # doubling keeps long rows linear
                if not more or len(buffer) - at > LONGEST:
                    what = f"the array is no JSON from row {number} on ({error.msg})."
                    raise UserError(what, where=str(path), todo="Mend it, or write it as JSON lines.") from error
                buffer, at = buffer[at:] + more, 0
                continue
            number += 1
            yield _row(buffer[at:end])
            at = end


def _parquet(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UserError("Parquet needs pyarrow.", todo='Run: pip install "habitus[parquet]"') from error
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=BATCH):
            yield from batch.to_pylist()
    except (ArrowException, OSError, ValueError, OverflowError) as error:  # ValueError: text that is not UTF-8
        raise UserError(f"this Parquet file is damaged ({error}).", where=str(path), todo="Fetch it again.") from error


def _on_hub(source: str, split: str) -> Source:
    name, _, config = source.removeprefix(HUB).partition(":")
    stem = Path(name).name + (f"-{config}" if config else "")
    told = f"{HUB}{Path(name).name}" if Path(name).is_dir() else source
    return Source(source, told, "hub", stem, None, lambda: _loaded(name, config or None, split, source))


def _loaded(name: str, config: str | None, split: str, source: str) -> Iterator[Any]:
    """Yield the rows of a dataset on the hub, or of a folder like one."""
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise UserError(f"{HUB} needs the datasets library.", todo='Run: pip install "habitus[hub]"') from error
    try:
        yield from datasets.load_dataset(name, config, split=split, streaming=True)
    except (DatasetsError, OSError, ValueError) as error:
        told = str(error).strip().partition("\n")[0].rstrip(".")
        todo = "Look at the name, the configuration (hf:owner/name:config), --split, and whether you are logged in."
        raise UserError(f"this can't be loaded ({type(error).__name__}: {told}).", where=source, todo=todo) from error
