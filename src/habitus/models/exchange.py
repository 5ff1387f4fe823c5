"""Requests and answers as files: a hosted batch job, a machine without network or a person is the model.

    FOLDER/requests.jsonl     what is asked, one OpenAI batch request per line, only ever added to
    FOLDER/answers/*.jsonl    what comes back, in any order and number of files

An answer is a line of OpenAI's batch output or, shorter, `{"custom_id": "habitus-…", "content": "…"}`, where content
may be the JSON object itself if one was asked for; one that calls tools has `tool_calls` beside it or in its place. A
request that failed (`error`, or a status other than 200) may be answered by a further line; deleting the failed line is
not needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass
from io import SEEK_END
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any

import orjson

from habitus.errors import CallPending, CallRefused, UserError
from habitus.models import Completion
from habitus.models.lines import Answer, answer_of, request_body, request_line, row_of

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from habitus.models import Message, Params

_TAIL = 64
"""Bytes before the place up to which a file was read; if they change, the file was rewritten and not continued."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a line of the exchanged files that whoever wrote it should know."""

    file: Path
    line: int
    """From 1."""
    what: str
    harmless: bool = False
    """Nothing is lost by it: the same answer twice, a failed request that was answered elsewhere."""

    def __str__(self) -> str:
        """Return it as compilers do, place first."""
        return f"{self.file}:{self.line}: {self.what}"


@dataclass(frozen=True, slots=True)
class _Answer:
    file: Path
    line: int
    told: Answer

    @property
    def error(self) -> str:
        """Why there is no text, if there is none."""
        return f"HTTP {self.told.status}: {self.told.error}" if self.told.status else self.told.error


class ExchangeModel:
    """The model `exchange/FOLDER`: it asks by `requests.jsonl` and is answered by `answers/*.jsonl`.

    Each call waits for its answer; the files are looked at every `poll` seconds, by one task for all calls. With
    `export_only` no call waits: it raises `CallPending` once its request is written.
    """

    def __init__(self, name: str, folder: Path, *, export_only: bool = False, poll: float = 1.0) -> None:
        self.name = name
        self.folder = folder
        self._export_only = export_only
        self._poll = poll
        self._requests = _Requests(folder / "requests.jsonl")
        self._answers = _Answers(folder / "answers")
        self._answers.look()
        self._met: set[str] = set()
        """What this run asked for, though an answer may have been there before it was written down."""
        self._waiting: dict[str, list[asyncio.Future[_Answer]]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        """Return the answer from the files, once there is one.

        Raises:
            CallPending, CallRefused, UserError: as `perform` has them.

        """
        return (await self.perform(messages, params))[0]

    async def perform(self, messages: list[Message], params: Params) -> tuple[Completion, tuple[tuple[str, str], ...]]:
        """Return the answer from the files, and the tools that are called with it; `tools` in the settings are offered.

        Raises:
            CallPending: the request is written, and nobody is to wait for its answer.
            CallRefused: the only line about this request tells of an error.
            UserError: the request cannot be written.

        """
        began = time.monotonic()
        body = request_body(self.folder.name, messages, params)
        custom_id = _id_of(body, params.sample)
        self._met.add(custom_id)
        answer = self._answers.known.get(custom_id)
        if answer is None:
            self._requests.add(custom_id, body)
            if self._export_only:
                raise CallPending(f"{custom_id} in {self._requests.path} has no answer yet")
            answer = await self._wait(custom_id)
        if answer.error:
            raise CallRefused(f"{answer.file}:{answer.line}: {answer.error}")
        latency = time.monotonic() - began
        told = answer.told
        found = Completion(told.text, told.finish, told.usage, latency, told.model or self.folder.name)
        return found, told.calls

    def hang_up(self) -> None:
        """Wait no longer: calls without an answer end in CallPending."""
        self._export_only = True
        for future in self._futures():
            if not future.done():
                future.set_exception(CallPending("the run has ended"))

    async def close(self) -> None:
        """Stop looking for answers; calls that still wait are cancelled."""
        if self._poller is not None:
            self._poller.cancel()
        for future in self._futures():
            future.cancel()
        self._requests.close()

    @property
    def pending(self) -> int:
        """How many requests have no answer, those that failed among them."""
        answered = {custom_id for custom_id, answer in self._answers.known.items() if not answer.error}
        return len(self._requests.ids - answered)

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with the files as they stand, in the order of files and lines."""
        unknown = [
            Problem(answer.file, answer.line, f"no request is called {custom_id!r}")
            for custom_id, answer in self._answers.known.items()
            if custom_id not in self._requests.ids and custom_id not in self._met
        ]
        found = [*self._requests.problems, *self._answers.problems, *self._answers.complaints(), *unknown]
        return sorted(found, key=lambda problem: (problem.file, problem.line))

    async def _wait(self, custom_id: str) -> _Answer:
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(custom_id, []).append(future)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._keep_looking())
            self._poller.add_done_callback(self._stopped)
        try:
            return await future
        finally:
            self._waiting[custom_id].remove(future)
            if not self._waiting[custom_id]:
                del self._waiting[custom_id]

    async def _keep_looking(self) -> None:
        while self._waiting:
            if self._answers.look():
                for custom_id in self._waiting.keys() & self._answers.known.keys():
                    for future in self._waiting[custom_id]:
                        if not future.done():
                            future.set_result(self._answers.known[custom_id])
            await asyncio.sleep(self._poll)

    def _stopped(self, poller: asyncio.Task[None]) -> None:
        """Pass on what ended the looking, so that no call waits for ever."""
        if not poller.cancelled() and (error := poller.exception()) is not None:
            for future in self._futures():
                if not future.done():
                    future.set_exception(error)

    def _futures(self) -> list[asyncio.Future[_Answer]]:
        return [future for futures in self._waiting.values() for future in futures]


def _id_of(body: dict[str, Any], sample: int) -> str:
    """Return the name of a request: the same in every run for the same request."""
    canonical = orjson.dumps({"body": body, "sample": sample}, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return f"habitus-{hashlib.blake2b(canonical, digest_size=12).hexdigest()}"


class _Requests:
    """The file of requests: this run's, earlier ones', and those of others who write to it at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids: set[str] = set()
        self.problems: list[Problem] = []
        self._sound = self._lines = 0
        """Bytes and line ends up to the last line that was written whole."""
        self._ended = True
        self._file: FileIO | None = None
        if path.exists():
            self._read()

    def add(self, custom_id: str, body: dict[str, Any]) -> None:
        """Write a request down unless it is there already."""
        if custom_id in self.ids:
            return
        line = request_line(custom_id, body)
        try:
            if self._file is None:
                self._file = self._opened()
            self._read()
            if custom_id not in self.ids:
                self._mend(self._file)
                self._file.write(line)
        except OSError as error:
            raise UserError(f"the request cannot be written: {error.strerror}.", where=str(self.path)) from error
        self.ids.add(custom_id)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> None:
        """Take in what was written since, by whom ever."""
        try:
            with self.path.open("rb") as lines:
                lines.seek(self._sound)
                for raw in lines:
                    self._take(self._lines + 1, raw)
        except OSError as error:
            raise UserError(f"the requests cannot be read: {error.strerror}.", where=str(self.path)) from error

    def _take(self, number: int, raw: bytes) -> None:
        self._ended = raw.endswith(b"\n")
        try:
            custom_id, _ = row_of(raw)
        except ValueError as error:
            if not self._ended:
                what = "an interrupted run left half a line, which the next request replaces"
                half = Problem(self.path, number, what, harmless=True)
                self.problems += [] if half in self.problems else [half]
                self._ended = True
                return
            if raw.strip():
                self.problems.append(Problem(self.path, number, f"this is no request: {error}"))
        else:
            self.ids.add(custom_id)
        self._sound += len(raw)
        self._lines += self._ended

    def _opened(self) -> FileIO:
        (self.path.parent / "answers").mkdir(parents=True, exist_ok=True)
        return self.path.open("ab", buffering=0)

    def _mend(self, file: FileIO) -> None:
        """Take away half a line at the end, and end a whole one that lacks its end; nobody's whole line is touched."""
        if file.seek(0, SEEK_END) > self._sound:
            file.truncate(self._sound)
        if not self._ended:
            file.write(b"\n")


@dataclass(slots=True)
class _Source:
    """How far a file of answers was read."""

    stamp: tuple[int, int, int] | None = None
    """Its inode, size and time of change just before it was read; None if it never could be."""
    offset: int = 0
    ends: int = 0
    """Line ends before `offset`."""
    tail: bytes = b""
    """The last bytes before `offset`."""
    complaint: str = ""
    """Why it was not read to its end."""


class _Answers:
    """All answers in a folder of JSONL files, which may grow, appear, vanish and be edited at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, _Answer] = {}
        self.problems: list[Problem] = []
        self._sources: dict[Path, _Source] = {}

    def complaints(self) -> list[Problem]:
        """Return the places beyond which files cannot be read, for now."""
        return [
            Problem(file, source.ends + 1, source.complaint)
            for file, source in self._sources.items()
            if source.complaint
        ]

    def look(self) -> bool:
        """Read what is new and say whether anything is; if a file was not merely continued, all are read again."""
        stamps = self._stamps()
        changed = [file for file, stamp in stamps.items() if self._source(file).stamp != stamp]
        gone = self._sources.keys() - stamps.keys()
        if gone or any(self._rewritten(file, stamps[file]) for file in changed):
            self.known, self.problems, self._sources = {}, [], {}
            changed = list(stamps)
        for file in changed:
            self._read_on(file, stamps[file])
        return bool(gone or changed)

    def _stamps(self) -> dict[Path, tuple[int, int, int]]:
        stamps = {}
        for file in sorted(self.folder.glob("*.jsonl")):
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                at = file.stat()
                if not S_ISREG(at.st_mode) and not S_ISDIR(at.st_mode):  # a pipe would hold everything up
                    raise UserError("this is no regular file.", where=str(file), todo="Put a file there.")
                stamps[file] = (at.st_ino, at.st_size, at.st_mtime_ns)
        return stamps

    def _source(self, file: Path) -> _Source:
        return self._sources.setdefault(file, _Source())

    def _rewritten(self, file: Path, stamp: tuple[int, int, int]) -> bool:
        source = self._source(file)
        if source.stamp is None:
            return False
        if stamp[0] != source.stamp[0] or stamp[1] <= source.stamp[1]:
            return True
        try:
            with file.open("rb") as data:
                data.seek(source.offset - len(source.tail))
                return data.read(len(source.tail)) != source.tail
        except OSError:
            return False  # reading it will say so

    def _read_on(self, file: Path, stamp: tuple[int, int, int]) -> None:
        source = self._source(file)
        source.complaint = ""
        try:
            with file.open("rb") as data:
                data.seek(source.offset)
                for raw in data:
                    if not self._take(file, source, raw):
                        break
        except OSError as error:
            source.complaint = f"it cannot be read: {error.strerror}"
        else:
            source.stamp = stamp

    def _take(self, file: Path, source: _Source, raw: bytes) -> bool:
        """Take in one line; False if it is still being written."""
        ended = raw.endswith(b"\n")
        try:
            if raw.strip():
                custom_id, row = row_of(raw)
                self._add(custom_id, _Answer(file, source.ends + 1, answer_of(row)))
        except ValueError as error:
            # a last line may lack its end, as editors leave it, if it is an answer all the same
            if not ended:
                source.complaint = "the last line is not complete; it is left until it is"
                return False
            self.problems.append(Problem(file, source.ends + 1, str(error)))
        source.offset += len(raw)
        source.ends += ended
        source.tail = (source.tail + raw[-_TAIL:])[-_TAIL:]
        return True

    def _add(self, custom_id: str, answer: _Answer) -> None:
        """Keep the first answer to a request; one that failed gives way to any that did not."""
        first = self.known.setdefault(custom_id, answer)
        if first is answer:
            return
        if first.error and not answer.error:
            self.known[custom_id] = answer
        elif answer.error or (answer.told.text, answer.told.calls) == (first.told.text, first.told.calls):
            what = f"{custom_id} is answered already in {first.file.name}:{first.line}"
            self.problems.append(Problem(answer.file, answer.line, what, harmless=True))
        else:
            what = f"this differs from the answer to {custom_id} in {first.file.name}:{first.line}, which counts"
            self.problems.append(Problem(answer.file, answer.line, what))
