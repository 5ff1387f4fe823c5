"""Every finished call of a study, durable: SQLite in WAL mode, one writer, answers committed in groups.

A call is known by the hash of what determines its answer (model, settings, messages, schema, sample). Asking again
for a known call costs a look-up and no money, which is all that resuming is.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from habitus.errors import UserError
from habitus.models import Completion, Message, Params, Usage
from habitus.models.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSION = 1
COMMIT_EVERY = 0.01
"""Seconds between group commits: the most that a power cut can take."""
PATIENCE = 10.0
"""Seconds for which another process is waited for that holds the file."""
INDEXED_AT_ONCE = 10_000
"""Rows after which others get their turn."""
MOST_SYSTEMS = 10_000
"""System messages whose rows are remembered: where each record has one of its own, remembering all is of no use."""

# The keys stand in a plain rowid table: a random primary key costs three times the writes at a million rows.
# System messages repeat over thousands of calls, so each is stored once.
_TABLES = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, step TEXT NOT NULL, record TEXT NOT NULL, model TEXT NOT NULL,
    answered_by TEXT NOT NULL, finish TEXT NOT NULL, input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER,
    dollars REAL, latency REAL NOT NULL, time REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS texts (id INTEGER PRIMARY KEY, request BLOB NOT NULL, answer BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS systems (id INTEGER PRIMARY KEY, text BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One finished call, as it is handed to the ledger."""

    key: bytes
    step: str
    record: str
    model: str
    messages: list[Message]
    params: Params
    completion: Completion
    dollars: float | None
    """What it cost in USD; None where the price is unknown."""


@dataclass(frozen=True, slots=True)
class StepTotal:
    """What the calls of one step by one model add up to."""

    step: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    dollars: float
    unpriced: int
    """Calls whose price is unknown, which `dollars` leaves out."""


def call_key(model: str, messages: list[Message], params: Params) -> bytes:
    """Return the 16 bytes by which a call is known again."""
    schema = params.schema.schema if params.schema else None
    seen = _packed([model, params.settings, messages, schema, params.sample])
    return blake2b(seen, digest_size=16).digest()


class Ledger:
    """The open ledger of one study.

    Only one process may hold it open for writing; the study's lock sees to that. The ledger of a shard numbers system
    messages from a place of its own, drawn by chance, so that `absorb` can take over requests as they are.

    Raises:
        UserError: the file is no ledger, is of a newer version, or the disk is full or read-only.

    """

    def __init__(self, path: Path, *, of_shard: bool = False) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._closed = False
        self._writer = _connect(path, create=True)
        self._reader = _connect(path)
        last = self._reader.execute("SELECT max(id) FROM calls").fetchone()[0] or 0
        self._index = Index(last)
        for row, key in self._reader.execute("SELECT id, key FROM calls ORDER BY id"):
            self._index.add(key, row)
        self._next = 1 + last
        self._systems: dict[bytes, int] = {}
        self._next_system = 1 + (self._reader.execute("SELECT max(id) FROM systems").fetchone()[0] or 0)
        if of_shard:
            self._next_system = random.getrandbits(60)
        self._pending: list[tuple[Call, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        """Held by who gives numbers to new rows, until they are in the index."""

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: bytes) -> bool:
        return self._row("SELECT 1 FROM calls WHERE id = ? AND key = ?", key) is not None

    def read(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a query, for those who keep tables of their own here."""
        return self._reader.execute(query, values).fetchall()

    async def write(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """Carry out a change as one transaction, in turn with the calls; returns when it is on disk."""

        def commit() -> None:
            with self._writer:
                change(self._writer)

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, commit)
        except sqlite3.Error as error:
            raise _storage_error(self.path, error) from error

    def find(self, key: bytes) -> Completion | None:
        """Return the answer to a call made before, or None."""
        found = self._row(
            "SELECT answer, finish, input_tokens, output_tokens, cached_tokens, latency, answered_by"
            " FROM calls JOIN texts USING (id) WHERE id = ? AND key = ?",
            key,
        )
        if found is None:
            return None
        answer, finish, tokens_in, tokens_out, cached, latency, answered_by = found
        usage = None if tokens_in is None else Usage(tokens_in, tokens_out, cached)
        return Completion(zlib.decompress(answer).decode(), finish, usage, latency, answered_by)

    def _row(self, query: str, key: bytes) -> Any:
        """Return what a query gives of the latest row that holds a key, or None."""
        rows = (self._reader.execute(query, (row, key)).fetchone() for row in self._index.rows(key))
        return next((row for row in rows if row is not None), None)

    async def add(self, call: Call) -> None:
        """Write one finished call; returns when it is on disk."""
        if self._closed:
            raise RuntimeError("the ledger is closed")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((call, done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        """Commit what is pending, group after group, until nothing is."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(COMMIT_EVERY)
        while self._pending:
            group, self._pending = self._pending, []
            began = loop.time()
            async with self._turn:
                first = self._next
                self._next += len(group)
                try:
                    await loop.run_in_executor(self._thread, self._commit, first, [call for call, _ in group])
                except Exception as error:  # noqa: BLE001  # whoever waits is told, whatever it was
                    self._systems.clear()  # what this transaction wrote of them is rolled back
                    _refuse(group, _storage_error(self.path, error) if isinstance(error, sqlite3.Error) else error)
                    continue
                for row, (call, done) in enumerate(group, start=first):
                    self._index.add(call.key, row)
                    if not done.done():
                        done.set_result(None)
            await asyncio.sleep(max(0.0, COMMIT_EVERY - (loop.time() - began)))

    def _commit(self, first: int, group: list[Call]) -> None:
        """Write a group in one transaction (in the ledger's thread)."""
        calls, texts = [], []
        now = time.time()
        with self._writer:
            for row, call in enumerate(group, start=first):
                answer, usage = call.completion, call.completion.usage
                tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens) if usage else (None, None, None)
                calls.append((
                    row, call.key, *map(_whole, (call.step, call.record, call.model, answer.model, answer.finish)),
                    *tokens, call.dollars, answer.latency, now,
                ))  # fmt: skip
                texts.append((row, self._request(call), zlib.compress(answer.text.encode("utf-8", "replace"), 1)))
            self._writer.executemany("INSERT INTO calls VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", calls)
            self._writer.executemany("INSERT INTO texts VALUES (?,?,?)", texts)

    def _request(self, call: Call) -> bytes:
        """Return the compressed request, its system message replaced by a reference."""
        messages: list[Any] = [
            {"role": "system", "ref": self._system(message["content"])} if message["role"] == "system" else message
            for message in call.messages
        ]
        schema = call.params.schema.name if call.params.schema else None
        request = {
            "messages": messages,
            "settings": call.params.settings,
            "schema": schema,
            "sample": call.params.sample,
        }
        return zlib.compress(_packed(request), 1)

    def _system(self, text: str) -> int:
        """Return the row of a system message, writing it where this process has not lately met it."""
        data = text.encode("utf-8", "replace")
        known = blake2b(data, digest_size=16).digest()
        row = self._systems.pop(known, 0)
        if not row:
            row, self._next_system = self._next_system, self._next_system + 1
            self._writer.execute("INSERT INTO systems VALUES (?, ?)", (row, zlib.compress(data, 6)))
        self._systems[known] = row  # the last one used stands last
        if len(self._systems) > MOST_SYSTEMS:
            del self._systems[next(iter(self._systems))]
        return row

    def request(self, key: bytes) -> dict[str, Any]:
        """Return what was asked in a call: messages, settings, schema name and sample index."""
        found = self._row("SELECT request FROM calls JOIN texts USING (id) WHERE id = ? AND key = ?", key)
        if found is None:
            raise KeyError(key)
        request = orjson.loads(zlib.decompress(found[0]))
        for message in request["messages"]:
            if "ref" in message:
                found = self._reader.execute("SELECT text FROM systems WHERE id = ?", (message.pop("ref"),)).fetchone()
                message["content"] = zlib.decompress(found[0]).decode()
        return request

    async def absorb(self, other: Path) -> float:
        """Take over the calls of a shard's ledger, but for those known here, remove it, and return what they cost.

        Raises:
            UserError: it is no ledger, a process still has it open, or the disk is full or read-only.

        """
        async with self._turn:
            loop = asyncio.get_running_loop()
            try:
                fresh, dollars = await loop.run_in_executor(self._thread, self._take_over, other)
            except sqlite3.Error as error:
                raise _storage_error(other, error) from error
            for at, key in enumerate(fresh):
                self._index.add(key, self._next + at)
                if at % INDEXED_AT_ONCE == 0:
                    await asyncio.sleep(0)
            self._next += len(fresh)
        for ending in ("", "-wal", "-shm"):
            other.with_name(other.name + ending).unlink(missing_ok=True)
        return dollars

    def _take_over(self, other: Path) -> tuple[list[bytes], float]:
        """Copy the calls that are not known, and return their keys and what they cost (in the ledger's thread)."""
        with closing(_connect(other, create=True)) as left:
            # What a killed process left in its log is brought in; one that still has the file open makes this fail.
            left.execute("PRAGMA journal_mode = DELETE")
        self._writer.execute("ATTACH ? AS other", (str(other),))
        try:
            found = self._writer.execute("SELECT id, key FROM other.calls ORDER BY id").fetchall()
            fresh = [(row, key) for row, key in found if not self._holds(key)]
            with self._writer:
                self._writer.execute(
                    "INSERT INTO systems SELECT * FROM other.systems WHERE true ON CONFLICT DO NOTHING"
                )
                for table in ("calls", "texts"):
                    columns = ", ".join(row[1] for row in self._writer.execute(f"PRAGMA table_info({table})"))
                    rest = columns.removeprefix("id, ")
                    self._writer.executemany(
                        f"INSERT INTO {table} ({columns}) SELECT ?, {rest} FROM other.{table} WHERE id = ?",  # noqa: S608
                        ((row, before) for row, (before, _) in enumerate(fresh, start=self._next)),
                    )
            dollars = self._writer.execute("SELECT coalesce(sum(dollars), 0) FROM calls WHERE id >= ?", (self._next,))
            return [key for _, key in fresh], dollars.fetchone()[0]
        finally:
            self._writer.execute("DETACH other")

    def _holds(self, key: bytes) -> bool:
        """Tell in the ledger's thread what `in` tells on the loop, by this thread's own connection."""
        query = "SELECT 1 FROM calls WHERE id = ? AND key = ?"
        return any(self._writer.execute(query, (row, key)).fetchone() for row in self._index.rows(key))

    def totals(self) -> list[StepTotal]:
        """Return what was spent, by step and model, in the order in which the steps were first taken."""
        return _totals(self._reader)

    async def close(self) -> None:
        """Commit what is left and close the file."""
        self._closed = True
        if self._flusher is not None:
            await self._flusher
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()


def read_totals(path: Path) -> list[StepTotal]:
    """Return `Ledger.totals` of a ledger that another process may be writing; empty where there is none."""
    if not path.exists():
        return []
    with closing(_connect(path)) as reader:
        return _totals(reader) if _version(reader) else []


def _totals(reader: sqlite3.Connection) -> list[StepTotal]:
    rows = reader.execute(
        "SELECT step, model, count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),"
        " coalesce(sum(dollars), 0), sum(dollars IS NULL) FROM calls GROUP BY step, model ORDER BY min(id)"
    )
    return [StepTotal(*row) for row in rows]


def _connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open the file, with `create` make its tables where it is new, and refuse what is not ours."""
    try:
        connection = sqlite3.connect(path, check_same_thread=False, timeout=PATIENCE)
    except sqlite3.Error as error:
        raise _storage_error(path, error) from error
    try:
        _prepare(connection, path, create=create)
    except sqlite3.Error as error:
        connection.close()
        raise _storage_error(path, error) from error
    except UserError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    version = _version(connection)
    if version > VERSION:
        raise UserError(
            f"this ledger has format {version}, and this habitus reads up to {VERSION}.",
            where=str(path),
            todo="Install a newer habitus.",
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and not tables >= {"calls", "texts", "systems"}:
        raise UserError("this database is no ledger.", where=str(path), todo="Move it away, or name another study.")
    if not create:
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _packed(value: Any) -> bytes:
    """Return a value as JSON with its keys in order; half characters are replaced, numbers as keys become text."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8", "replace")


def _whole(text: str) -> str:
    """Return a text without half characters, which SQLite does not take."""
    return text.encode("utf-8", "replace").decode()


def _storage_error(path: Path, error: sqlite3.Error) -> UserError:
    """Say what the disk said, and that nothing is lost."""
    todo = {
        "SQLITE_BUSY": "Another process still has it open. Wait until that has ended and run the same command again.",
        "SQLITE_FULL": "Free some space and run the same command again: every call finished before this is kept.",
        "SQLITE_NOTADB": "It is not a ledger. Move it away, or name another study.",
        "SQLITE_CORRUPT": "Restore it from a copy, or recover it with `sqlite3 ledger.db .recover`.",
    }.get(getattr(error, "sqlite_errorname", ""), "Make the folder writable and run the same command again.")
    return UserError(f"the ledger can't be written or read: {error}.", where=str(path), todo=todo)


def _refuse(group: list[tuple[Call, asyncio.Future[None]]], error: Exception) -> None:
    for _, done in group:
        if not done.done():
            done.set_exception(error)
