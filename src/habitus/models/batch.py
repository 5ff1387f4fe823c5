"""Calls as jobs on a provider's batch interface: later, and cheaper.

A call waits until nothing else can go on, then goes with all that wait into one file and one job; the job is looked at
now and then, and its lines are settled one by one. What was sent stands in the ledger (`jobs.py`), so that a run may
end at any moment and the next one collects what comes of it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from habitus.errors import CallExhausted, CallPending, CallRefused, ModelUnusable, RunStopped
from habitus.models import Completion
from habitus.models.ledger import call_key
from habitus.models.lines import Answer, answer_of, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from habitus.models import Message, Params
    from habitus.models.batch_interface import BatchInterface
    from habitus.models.jobs import BatchJob, Jobs
    from habitus.settings import BatchSettings

MOST_LINES = 50_000
MOST_BYTES = 100_000_000
"""Half of what OpenAI takes in one file, as it lies in memory while it is sent."""
QUIET = 1.0
"""Seconds without a further call after which all that can be asked is taken to have been asked."""
TRIES = 3
"""Jobs in which a call may come back without an answer before it is left for a later run."""
LOOKS = 20
"""How often an ended job is looked at whose answers are not all there yet."""

_ENDED = {"completed", "failed", "expired", "cancelled"}
_LEFT = "wait in batch jobs at their provider"


class AskLive(Exception):
    """Signal that too few calls wait for a job to be worth its while."""


@dataclass(slots=True)
class _Waiting:
    """A call that has no answer yet."""

    key: bytes
    messages: list[Message]
    params: Params
    dollars: float
    """What it is expected to cost."""
    future: asyncio.Future[Completion]
    tries: int = 0
    since: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Return about how many bytes its line has."""
        return sum(len(message["content"]) for message in self.messages)


class BatchModel:
    """A model that is asked in jobs.

    `room` tells how many dollars may still be reserved, `busy` whether records are under way that may ask more.
    """

    def __init__(
        self,
        provider: BatchInterface,
        jobs: Jobs,
        settings: BatchSettings,
        *,
        room: Callable[[], float],
        busy: Callable[[], bool],
    ) -> None:
        self.name = provider.name
        self.problems: list[str] = []
        """What is wrong with lines that came back, for whoever runs this."""
        self._provider, self._jobs, self._settings = provider, jobs, settings
        self._room, self._busy = room, busy
        self._quiet = min(QUIET, settings.poll)
        self._calls: dict[bytes, _Waiting] = {}
        self._queue: list[_Waiting] = []
        self._added = 0.0
        self._most_lines = MOST_LINES
        self._looks: dict[int, int] = {}
        self._missed: set[int] = set()
        self._next_look = 0.0
        self._sending = self._hung_up = False
        self._worker: asyncio.Task[None] | None = None

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        """Return the next message once a job has brought it; raises what `ask` raises."""
        return await self.ask(call_key(self.name, messages, params), messages, params)

    async def ask(self, key: bytes, messages: list[Message], params: Params, dollars: float = 0.0) -> Completion:
        """Return the answer to a call, for which `dollars` are reserved when it is sent.

        Raises:
            AskLive: it is one of few that wait, and had better be asked at once.
            ModelUnusable: the provider refuses us, has no batch interface, or refuses a whole job.
            CallRefused: the provider rejects this request.
            CallExhausted: several jobs brought no answer.
            CallPending: the run ended first; what was sent goes on.
            RunStopped: the budget allows no further job.

        """
        if (known := self._jobs.answer(key)) is not None:
            return known
        if self._hung_up:
            raise CallPending(_LEFT)
        waiting = _Waiting(key, messages, params, dollars, asyncio.get_running_loop().create_future())
        self._calls[key] = waiting
        if key not in self._jobs.riding:
            self._put(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
            self._worker.add_done_callback(self._stopped)
        try:
            return await waiting.future
        finally:
            del self._calls[key]

    def standing(self) -> tuple[int, int, float | None]:
        """Return how many jobs are open, how many calls wait, and since when (Unix seconds) the oldest job is."""
        mine = self._mine()
        return len(mine), len(self._calls), min((job.began for job in mine), default=None)

    async def check(self) -> None:
        """Raise ModelUnusable where there is no batch interface."""
        await self._provider.check()

    def hang_up(self, *, collect: bool = False) -> None:
        """Send no further job; calls end in CallPending, with `collect` only those that were not sent."""
        self._hung_up = True
        self._queue.clear()
        for waiting in self._calls.values():
            if not (collect and waiting.key in self._jobs.riding) and not waiting.future.done():
                waiting.future.set_exception(CallPending(_LEFT))

    async def close(self) -> None:
        """Let a job that is just being sent get its id, and stop looking."""
        self.hang_up()
        if self._worker is not None:
            if not self._sending:
                self._worker.cancel()
            self._provider.hang_up()
            await asyncio.gather(self._worker, return_exceptions=True)
        await self._provider.close()

    def _mine(self) -> list[BatchJob]:
        return [job for job in self._jobs.open.values() if job.model == self.name]

    def _put(self, waiting: _Waiting) -> None:
        self._added = waiting.since = time.monotonic()
        self._queue.append(waiting)

    def _stopped(self, worker: asyncio.Task[None]) -> None:
        """Pass on what ended the work, so that no call waits for ever."""
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._queue.clear()
            for waiting in self._calls.values():
                if not waiting.future.done():
                    waiting.future.set_exception(error)

    async def _work(self) -> None:
        """Send what is due and look at what was sent, as long as a call waits."""
        while self._calls:
            if self._mine() and time.monotonic() >= self._next_look:
                for job in self._mine():
                    await (self._look(job) if job.batch else self._trace(job))
                self._next_look = time.monotonic() + self._settings.poll
                await asyncio.sleep(0)  # those who were answered count what they paid, and ask more
            while self._is_due():
                if len(self._queue) < self._settings.least:
                    self._wave_off()
                    continue
                load = self._load()
                if len(load) < self._settings.least and (self._jobs.open or self._busy()):
                    break  # what is under way may cost less than was reserved for it
                if not load:
                    raise RunStopped("The budget allows no further batch job. Raise `budget` in config.yaml to go on.")
                del self._queue[: len(load)]
                await self._send(load)
            await asyncio.sleep(self._quiet / 2)

    def _is_due(self) -> bool:
        """Tell whether what waits is to be sent now."""
        self._queue = [waiting for waiting in self._queue if not waiting.future.done()]
        if not self._queue or self._hung_up or (self._most_lines < MOST_LINES and self._mine()):
            return False
        now = time.monotonic()
        if len(self._queue) >= MOST_LINES or now - self._queue[0].since >= self._settings.age:
            return True
        if len(self._queue) < self._settings.least and self._mine():
            return False  # what its jobs bring may lead to more
        if now - self._added >= self._quiet and not self._busy():
            return True
        return sum(waiting.size for waiting in self._queue) >= MOST_BYTES

    def _load(self) -> list[tuple[_Waiting, bytes]]:
        """Return the front of the queue, as much as one job may hold and the budget allows."""
        room, size, taken = self._room(), 0, list[tuple[_Waiting, bytes]]()
        for waiting in self._queue[: self._most_lines]:
            line = self._provider.line(_id_of(waiting.key), waiting.messages, waiting.params)
            room, size = room - waiting.dollars, size + len(line)
            if room < 0 or (taken and size > MOST_BYTES):
                break
            taken.append((waiting, line))
        return taken

    def _wave_off(self) -> None:
        """Send those who wait to the live interface."""
        for waiting in self._queue:
            waiting.future.set_exception(AskLive())
        self._queue.clear()

    async def _send(self, load: list[tuple[_Waiting, bytes]]) -> None:
        """Send a job; one whose id does not come back stays open without, and is traced later."""
        dollars = sum(waiting.dollars for waiting, _ in load)
        job = await self._jobs.begin(self.name, [waiting.key for waiting, _ in load], dollars)
        self._sending = True
        try:
            file = await self._provider.upload(job, b"".join(line for _, line in load))
            job = await self._jobs.note(job, file=file)
            await self._jobs.note(job, batch=await self._provider.create(job))
        except CallExhausted as error:
            self.problems.append(str(error))
        except CallRefused as error:  # of the whole job, for which no record is to blame
            await self._jobs.end(job, "refused", {})
            raise ModelUnusable(f"a batch job was refused: {error}") from None
        except ModelUnusable:
            await self._jobs.end(job, "refused", {})
            raise
        finally:
            self._sending = False

    async def _trace(self, job: BatchJob) -> None:
        """Find out whether a job was created whose id never came back; if not, its calls are free again."""
        if not job.file or job.name in self._settings.forget:
            await self._end(job, "never sent")
            return
        try:
            known = await self._provider.find(job)
        except CallExhausted as error:
            if self._looked(job) < LOOKS:
                return
            raise ModelUnusable(
                f"{self.name}: whether job {job.name} was created can't be found out: {error}",
                todo="Run the same command later. If there is no such job: `batch: {forget: [its name]}`.",
            ) from None
        if known is not None:
            await self._jobs.note(job, batch=known)
            self._next_look = 0.0
        elif job.row in self._missed:
            await self._end(job, "never created")
        else:  # it may only just be coming into being
            self._missed.add(job.row)

    async def _look(self, job: BatchJob) -> None:
        """Collect a job if it has ended; a provider that can't be reached for a while is asked again later."""
        if job.batch in self._settings.forget:
            await self._end(job, "forgotten")
            return
        try:
            state = await self._provider.state(job)
            status = state["status"]
            lines = await self._provider.lines(state) if status in _ENDED else []
        except CallExhausted:
            return
        if status not in _ENDED or not self._is_whole(job, state, len(lines)):
            return
        if status == "failed" and not lines:
            await self._refused(job, state)
        else:
            await self._end(job, status, self._read(job, lines))

    def _looked(self, job: BatchJob) -> int:
        """Count a look at a job that told less than it should, and return the number."""
        self._looks[job.row] = self._looks.get(job.row, 0) + 1
        return self._looks[job.row]

    def _is_whole(self, job: BatchJob, state: dict[str, Any], lines: int) -> bool:
        """Tell whether all lines are there that the provider counts; not for ever, as some count otherwise."""
        counts = state.get("request_counts") or {}
        done, completed = counts.get("completed") or 0, state["status"] == "completed"
        if lines >= max(done + (counts.get("failed") or 0), job.calls if completed else 0):
            return True
        if self._looked(job) < LOOKS:
            return False
        if lines < max(done, completed):
            raise ModelUnusable(
                f"{self.name}: job {job.batch} has ended with {done:,} answers, but {lines:,} lines can be read.",
                todo="Run the same command later. If the rest is lost, name the job: `batch: {forget: [ID]}`.",
            )
        return True

    def _read(self, job: BatchJob, lines: list[bytes]) -> dict[bytes, Answer]:
        """Return what the lines say of each call of the job, the first good answer; note what is odd."""
        keys, found = set(self._jobs.keys(job)), dict[bytes, Answer]()
        for number, raw in enumerate(lines, start=1):
            problem = ""
            try:
                custom_id, row = row_of(raw)
                key, answer = _key_of(custom_id), answer_of(row)
            except ValueError as error:
                problem = str(error)
            else:
                if key not in keys:
                    problem = f"no call of this job is called {custom_id!r}"
                elif key in found and (answer.error or not found[key].error):
                    problem = f"{custom_id} stands there twice; the first answer counts"
                else:
                    found[key] = answer
            if problem:
                self.problems.append(f"job {job.batch}, line {number}: {self._provider.redacted(problem)}")
        return found

    async def _refused(self, job: BatchJob, state: dict[str, Any]) -> None:
        """Settle a job that was refused as a whole: for lines that are named, for its size, or for good."""
        errors = (state.get("errors") or {}).get("data") or []
        told = self._provider.redacted("; ".join(str(one.get("message")) for one in errors[:3])) or "no reason given"
        if any(one.get("code") == "token_limit_exceeded" for one in errors) and job.calls > 1:
            self._most_lines = max(1, job.calls // 2)  # and only once the jobs before have ended
            await self._end(job, "too large", counts=False)
            return
        keys = self._jobs.keys(job)
        named = {keys[one["line"] - 1]: one for one in errors if 0 < (one.get("line") or 0) <= len(keys)}
        if not named:
            await self._jobs.end(job, "failed", {})
            raise ModelUnusable(f"{self.name}: the batch job {job.batch} was refused: {told}")
        refused = {key: Answer(error=str(one.get("message")), status=400) for key, one in named.items()}
        await self._end(job, "failed", refused, counts=False)

    async def _end(self, job: BatchJob, how: str, found: Mapping[bytes, Answer] = {}, *, counts: bool = True) -> None:
        """Write down what a job has come to, then tell each call that waits, in the order of the lines.

        Calls without an answer stand in the queue again; with `counts`, no more often than `TRIES`.
        """
        keys, seconds = self._jobs.keys(job), time.time() - job.began
        good = {
            key: Completion(one.text, one.finish, one.usage, seconds, one.model or self._provider.model)
            for key, one in found.items()
            if not one.error
        }
        await self._jobs.end(job, how, good)
        for key in keys:
            waiting = self._calls.get(key)
            if waiting is None or waiting.future.done():
                continue
            if key in good:
                waiting.future.set_result(good[key])
            else:
                waiting.tries += counts
                self._fail(waiting, found.get(key), f"job {job.batch or job.name} ended without it ({how})")

    def _fail(self, waiting: _Waiting, answer: Answer | None, why: str) -> None:
        """End a call that has no answer, or let it stand in the queue again."""
        failure = self._provider.failure(answer) if answer else None
        if failure is None and self._hung_up:
            failure = CallPending(_LEFT)
        if failure is None and waiting.tries >= TRIES:
            last = self._provider.redacted(answer.error) if answer else why
            failure = CallExhausted(f"{self.name}: {TRIES} batch jobs brought no answer; the last: {last}")
        if failure is None:
            self._put(waiting)
        else:
            waiting.future.set_exception(failure)


def _id_of(key: bytes) -> str:
    return f"habitus-{key.hex()}"


def _key_of(custom_id: str) -> bytes:
    """Return the call that an id stands for; empty where it is none of ours."""
    try:
        return bytes.fromhex(custom_id.removeprefix("habitus-"))
    except ValueError:
        return b""
