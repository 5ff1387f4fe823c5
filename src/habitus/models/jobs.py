"""Batch jobs in the ledger: which calls ride on which job, and the answers that came back.

A job is written down before it is sent, with its calls; then the id of its file; then its own. Whatever moment a run
ends at, the next one knows what may be under way. Answers are written in the transaction that ends their job, and lie
here until the calls that they answer are asked again and stand in the ledger like any other.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from contextlib import closing
from dataclasses import asdict, astuple, dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from habitus.models import Completion, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from habitus.models.ledger import Ledger

# An ended job keeps its row, as the answer to "what was that?"; its calls and answers go as soon as they are taken in.
_TABLES = """
CREATE TABLE IF NOT EXISTS batch_jobs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, model TEXT NOT NULL, calls INTEGER NOT NULL, dollars REAL NOT NULL,
    began REAL NOT NULL, file TEXT NOT NULL, batch TEXT NOT NULL, ended TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS batch_calls (job INTEGER NOT NULL, key BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS batch_calls_of ON batch_calls (job);
CREATE TABLE IF NOT EXISTS batch_answers (id INTEGER PRIMARY KEY, key BLOB NOT NULL, answer BLOB NOT NULL);
"""
_OPEN = "SELECT id, name, model, calls, dollars, began, file, batch FROM batch_jobs WHERE ended = ''"
_NEW = "INSERT INTO batch_jobs (id, name, model, calls, dollars, began, file, batch) VALUES (?,?,?,?,?,?,?,?)"


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A job that was sent, or was about to be."""

    row: int
    name: str
    """What it is called at its provider, in its metadata: found again by it if its id never arrived."""
    model: str
    calls: int
    dollars: float
    """What it is expected to cost, as long as nobody knows better; 0 where the price is unknown."""
    began: float
    """Unix seconds."""
    file: str = ""
    """The provider's id of the uploaded requests."""
    batch: str = ""
    """The provider's id of the job; empty as long as it is not known to exist."""


class Jobs:
    """The open jobs of a ledger, the calls that ride on them, and the answers that nobody has taken yet."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._is_new = not ledger.read("SELECT 1 FROM sqlite_master WHERE name = 'batch_jobs'")
        self.open: dict[int, BatchJob] = {}
        self._last = 0
        self.riding: dict[bytes, int] = {}
        """The row of the job on which each call rides."""
        self._answers: dict[bytes, int] = {}
        if self._is_new:
            return
        self.open = {row[0]: BatchJob(*row) for row in ledger.read(_OPEN)}
        self._last = ledger.read("SELECT coalesce(max(id), 0) FROM batch_jobs")[0][0]
        self.riding = {key: job for job, key in ledger.read("SELECT job, key FROM batch_calls")}
        self._answers = {key: row for row, key in ledger.read("SELECT id, key FROM batch_answers") if key not in ledger}

    def __contains__(self, key: bytes) -> bool:
        return key in self.riding or key in self._answers

    @property
    def reserved(self) -> float:
        """What the open jobs are expected to cost, in USD."""
        return sum(job.dollars for job in self.open.values())

    def answer(self, key: bytes) -> Completion | None:
        """Return the answer to a call that came back in a job and was not taken yet, or None."""
        if key not in self._answers:
            return None
        (packed,) = self._ledger.read("SELECT answer FROM batch_answers WHERE id = ?", self._answers[key])[0]
        told: dict[str, Any] = orjson.loads(zlib.decompress(packed))
        told["usage"] = Usage(**told["usage"]) if told["usage"] else None
        return Completion(**told)

    def keys(self, job: BatchJob) -> list[bytes]:
        """Return the calls of an open job, in the order of its lines."""
        found = self._ledger.read("SELECT key FROM batch_calls WHERE job = ? ORDER BY rowid", job.row)
        return [key for (key,) in found]

    async def begin(self, model: str, keys: Sequence[bytes], dollars: float) -> BatchJob:
        """Write a job down that is about to be sent."""
        self._last += 1
        job = BatchJob(self._last, f"habitus-{uuid4().hex}", model, len(keys), dollars, time.time())
        is_new, self._is_new = self._is_new, False
        self._answers = {key: row for key, row in self._answers.items() if key not in self._ledger}

        def change(writer: sqlite3.Connection) -> None:
            for table in _TABLES.split(";") if is_new else ():
                writer.execute(table)
            stale = "DELETE FROM batch_answers WHERE id NOT IN (SELECT value FROM json_each(?))"
            writer.execute(stale, (orjson.dumps(list(self._answers.values())).decode(),))
            writer.execute(_NEW, astuple(job))
            writer.executemany("INSERT INTO batch_calls VALUES (?,?)", [(job.row, key) for key in keys])

        await self._ledger.write(change)
        self.open[job.row] = job
        self.riding |= dict.fromkeys(keys, job.row)
        return job

    async def note(self, job: BatchJob, **ids: str) -> BatchJob:
        """Write down what the provider calls a job (`batch`) or its requests (`file`)."""
        known = replace(job, **ids)
        values = (known.file, known.batch, known.row)
        await self._ledger.write(
            lambda writer: writer.execute("UPDATE batch_jobs SET file = ?, batch = ? WHERE id = ?", values)
        )
        self.open[job.row] = known
        return known

    async def end(self, job: BatchJob, how: str, answers: Mapping[bytes, Completion]) -> None:
        """End a job with the answers that it brought; its other calls are free to be asked anew."""
        packed = {key: zlib.compress(orjson.dumps(asdict(one)), 1) for key, one in answers.items()}

        def change(writer: sqlite3.Connection) -> None:
            writer.executemany("INSERT INTO batch_answers (key, answer) VALUES (?,?)", packed.items())
            writer.execute("DELETE FROM batch_calls WHERE job = ?", (job.row,))
            writer.execute("UPDATE batch_jobs SET ended = ? WHERE id = ?", (how, job.row))

        await self._ledger.write(change)
        del self.open[job.row]
        self.riding = {key: row for key, row in self.riding.items() if row != job.row}
        query = "SELECT id, key FROM batch_answers ORDER BY id DESC LIMIT ?"
        self._answers |= {key: row for row, key in self._ledger.read(query, len(packed))}


def read_jobs(path: Path) -> list[BatchJob]:
    """Return the open jobs of a ledger that another process may be writing; none where there is no ledger."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=10)) as reader:
        if not reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'batch_jobs'").fetchone():
            return []
        return [BatchJob(*row) for row in reader.execute(_OPEN)]
