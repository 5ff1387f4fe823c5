"""The embeddings of a dataset's rows on disk, so that a text is embedded once, and a threshold can move for nothing.

They stand whole in one `.npz`. While a part is being embedded it lies in a file beside that, to which is only added: a
million rows are so written twice, and not once for every part.
"""

from __future__ import annotations

import os
import zipfile
from typing import IO, TYPE_CHECKING

import orjson

from habitus.generate.dedup import Duplicates, Span
from habitus.models.embed import np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

AT_ONCE = 4096
"""Rows copied at a time."""


class Vectors:
    """Room for the embeddings of so many rows, of which the first `count` are there."""

    def __init__(self, path: Path, embedder: str, total: int) -> None:
        self.path, self.embedder, self.total = path, embedder, total
        self.count = 0
        self.rows = np.zeros((0, 0), dtype=np.float32)
        self._more = path.with_suffix(".npz.more")
        self._load()

    def add(self, fresh: np.ndarray) -> None:
        """Take the embeddings of the next rows, and store them."""
        after = self.count
        self._take(fresh)
        if self.count == self.total:
            self._save()
            return
        is_new = not self._more.exists()
        with self._more.open("ab") as file:
            if is_new:
                file.write(self._head(after, fresh.shape[1]))
            file.write(np.ascontiguousarray(fresh).data)

    def _take(self, fresh: np.ndarray) -> None:
        if not self.count:
            self.rows = np.empty((self.total, fresh.shape[1]), dtype=np.float32)
        self.rows[self.count : self.count + len(fresh)] = fresh
        self.count += len(fresh)

    def _load(self) -> None:
        """Read what is whole, and of this embedder; the rest is made again."""
        try:
            with zipfile.ZipFile(self.path) as whole:
                if str(np.lib.format.read_array(whole.open("embedder.npy"))) == self.embedder:
                    with whole.open("vectors.npy") as file:
                        np.lib.format.read_magic(file)
                        (rows, columns), _, _ = np.lib.format.read_array_header_1_0(file)
                        self._read(file, rows, columns)
        except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError, EOFError):
            self.count = 0
        if self._more.exists():
            self._load_more()

    def _load_more(self) -> None:
        """Read what a killed run had embedded since; a row that it left unfinished is cut off."""
        with self._more.open("rb") as file:
            head = file.readline()
            columns = orjson.loads(head)["columns"] if head.endswith(b"\n") else 0
            after = self.count
            if columns and head == self._head(after, columns):
                self._read(file, self.total - after, columns)
        if self.count > after:
            os.truncate(self._more, len(head) + (self.count - after) * columns * 4)
        else:
            self._more.unlink()

    def _read(self, file: IO[bytes], rows: int, columns: int) -> None:
        """Take whole rows from a file; none of it where it has more than there is room for."""
        if rows > self.total:
            raise ValueError(rows)
        while rows and (part := file.read(min(rows, AT_ONCE) * columns * 4)):
            fresh = np.frombuffer(part[: len(part) - len(part) % (columns * 4)], np.float32).reshape(-1, columns)
            self._take(fresh)
            rows -= len(fresh)

    def _head(self, after: int, columns: int) -> bytes:
        return orjson.dumps({"embedder": self.embedder, "after": after, "columns": columns}) + b"\n"

    def _save(self) -> None:
        """Write all of them, as `np.savez` would, without a copy in memory."""
        fresh = self.path.with_suffix(".npz.new")
        with zipfile.ZipFile(fresh, "w") as whole:
            with whole.open("vectors.npy", "w", force_zip64=True) as file:
                head = {"descr": "<f4", "fortran_order": False, "shape": self.rows.shape}
                np.lib.format.write_array_header_1_0(file, head)
                for start in range(0, self.total, AT_ONCE):
                    file.write(self.rows[start : start + AT_ONCE].data)
            with whole.open("embedder.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.array(self.embedder))
        fresh.replace(self.path)
        self._more.unlink(missing_ok=True)


def write_twins(path: Path, embedder: str, found: Duplicates) -> None:
    """Store which rows resemble which, where finding it took minutes."""
    fresh = path.with_suffix(".npz.new")
    with fresh.open("wb") as file:
        spans = np.array(found.spans, dtype=np.float64).reshape(-1, len(Span._fields))
        np.savez(file, spans=spans, rows=len(found.ids), floor=found.floor, embedder=np.array(embedder))
    fresh.replace(path)


def read_twins(path: Path, embedder: str, ids: Sequence[str], threshold: float) -> Duplicates | None:
    """Return what was stored of just these rows, cut at a threshold; None where it can't be."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            floor = float(stored["floor"])
            if str(stored["embedder"]) != embedder or int(stored["rows"]) != len(ids) or floor > threshold:
                return None
            spans = stored["spans"].tolist()
    except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError, EOFError):
        return None
    found = (Span(int(row), int(twin), *rest) for row, twin, *rest in spans)
    return Duplicates(threshold, floor, tuple(ids), tuple(found))
