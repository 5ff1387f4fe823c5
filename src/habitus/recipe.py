"""Run a recipe over many records: the only engine.

A recipe is an async function of one record that asks models and returns what is kept, or a Drop. The engine opens
many records at once, lets every question wait in one first-in-first-out queue for its model, writes each answer to the
ledger, and settles the records in the order of the plan, so that files do not depend on who answered first.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from habitus.ask import Ask, Dropped, Planned, Step
from habitus.budget import Budget, out_of_money
from habitus.cast import Cast
from habitus.errors import (
    CallExhausted,
    CallFailed,
    CallPending,
    CallRefused,
    ModelUnusable,
    RunStopped,
    UserError,
    nearest,
)
from habitus.models import Completion, Message, Model, Params
from habitus.models.batch import AskLive, BatchModel
from habitus.models.costs import cost
from habitus.models.exchange import ExchangeModel
from habitus.models.http import HttpModel
from habitus.models.jobs import Jobs
from habitus.models.ledger import Call, Ledger, call_key
from habitus.prompts import Prompts
from habitus.records import Drop, Record, Role
from habitus.tally import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from habitus.cast import Bound
    from habitus.config import Config
    from habitus.models import AnswerSchema
    from habitus.shards import Shards
    from habitus.study import Study

OPEN_PER_CALL = 10
"""Records open for each call that may be in flight: enough that the queue never runs dry at the end of a step."""
OPEN_IN_BATCH = 10_000
"""Records open where a step is asked in batch jobs: as many as memory bears, so that a step is few jobs."""
OPENED_AT_ONCE = 50
MOST_UNWRITTEN = 50_000
"""Finished records that may wait for an earlier one before the engine opens no more."""
HARD_ERRORS = 10
"""Refused or exhausted calls in a row after which the model, not the records, is taken to be at fault."""

In = TypeVar("In", bound=Planned)


class Engine:
    """The models, the ledger and the limits of one run.

    Models that are open already may be handed in by name; any other is opened when a step first needs it.
    """

    def __init__(
        self,
        config: Config,
        prompts: Prompts,
        ledger: Ledger,
        *,
        folder: Path,
        export_only: bool = False,
        models: dict[str, Model] | None = None,
    ) -> None:
        self.config, self.prompts, self.ledger = config, prompts, ledger
        self.tally = Tally()
        self.stopped: BaseException | None = None
        self._flying: dict[bytes, asyncio.Future[Completion]] = {}
        self.jobs = Jobs(ledger)
        self.budget = Budget(config.budget, ledger.totals(), self.tally, self.jobs)
        self.cast = Cast(config, self.budget, self.tally, self.jobs, folder=folder, export_only=export_only)
        self.cast.models |= models or {}
        self.shards: Shards | None = None
        """The other machines that records are taken through their recipes on."""
        self.successes = 0
        self._hard_errors = 0

    def bind(self, step: str, role: Role, *, batch: bool | None = None) -> Bound:
        """Return the model, settings and price with which a step is asked, as `Cast.bind` has it."""
        bound = self.cast.bind(step, role, batch=batch)
        if self.shards is not None and isinstance(bound.model, ExchangeModel):
            what, todo = f"{bound.model.name} can't be asked", "files are read and written on one machine."
        elif self.shards is not None and self.config.choice(role, step).batch:
            what, todo = "batch jobs can't be sent", "one machine sends them, and they need no more."
        else:
            return bound
        raise UserError(
            f"{what} from many machines.", where=self.config.place(role, step), todo=f"Leave --ray out: {todo}"
        )

    def endpoint(self, name: str) -> HttpModel:
        """Return an endpoint that gives embeddings, opened once and closed with the engine."""
        return self.cast.endpoint(name)

    @property
    def models(self) -> dict[str, Model]:
        """The models that are open, by name."""
        return self.cast.models

    async def run(
        self,
        recipe: Callable[[In, Ask], Awaitable[Record | Drop]],
        records: Iterable[In],
        settle: Callable[[In, Record | Drop, list[Step]], None],
        *,
        want: int | None = None,
    ) -> None:
        """Take every record through the recipe and settle each, in order.

        With `want`, records are opened only while fewer than that many are kept or may yet be: which are kept is then
        settled by the plan and the answers alone, never by the order in which answers came.

        Raises:
            RunStopped, UserError: the run can't go on; what was settled is settled, what was answered is in the ledger.

        """
        run = _Run(self, recipe, records, settle, want)
        try:
            with _rare_collections():
                while await run.advance():
                    pass
        finally:
            await run.cancel()
            if self.shards is not None:
                await self.shards.gather()
        if self.stopped is not None:
            raise self.stopped
        run.write(final=True)

    async def take(
        self, recipe: Callable[[In, Ask], Awaitable[Record | Drop]], record: In, ask: Ask | None = None
    ) -> Outcome:
        """Take one record through the recipe; `ask` is how it asks, where that is another way than the engine's own."""
        ask = ask or Ask(self, record)
        try:
            return Outcome(await recipe(record, ask), ask.trace)
        except Dropped as end:
            return Outcome(ask.drop(end.step, end.reason, end.raw), ask.trace)
        except CallRefused as error:
            return Outcome(ask.drop(ask.now, str(error), ""), ask.trace, suspect_since=self.successes)
        except CallPending:
            return Outcome(None, ask.trace, put_off=("await their answers", ""))
        except CallExhausted as error:
            return Outcome(None, ask.trace, put_off=("got no answer within the time allowed", str(error)))
        except (asyncio.CancelledError, Unknown):
            raise
        except BaseException as error:  # noqa: BLE001  # it stops the run, which raises it
            if not isinstance(error, _Stopped):
                self.stop(error)
            return Outcome(None, ask.trace, stopped=True)

    def stop(self, reason: BaseException) -> None:
        """Send nothing more; calls in flight may still end and are kept."""
        self.stopped = self.stopped or reason
        self.budget.changed()
        self.cast.hang_up(collect=isinstance(self.stopped, RunStopped))

    async def complete(
        self,
        step: str,
        role: Role,
        record: str,
        messages: list[Message],
        schema: AnswerSchema | None,
        *,
        sample: int = 0,
    ) -> Completion:
        """Return the answer to a question: from the ledger, from a twin in flight, or from the model."""
        bound = self.bind(step, role)
        params = Params(bound.settings, schema, sample)
        key = call_key(bound.model.name, messages, params)
        if (known := self.ledger.find(key)) is not None:
            self.tally.step(step).replayed += 1
            return known
        if (twin := self._flying.get(key)) is not None:
            self.tally.twins += 1
            try:
                return await asyncio.shield(twin)
            finally:
                self.tally.twins -= 1
        flight: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._flying[key] = flight
        try:
            if key in self.jobs:  # also where it was sent before `batch` was taken away
                bound = self.bind(step, role, batch=True)
            try:
                completion, dollars = await self._send(step, bound, key, messages, params)
            except AskLive:
                bound = self.bind(step, role, batch=False)
                completion, dollars = await self._send(step, bound, key, messages, params)
            await self.ledger.add(Call(key, step, record, bound.model.name, messages, params, completion, dollars))
            flight.set_result(completion)
        except BaseException as error:
            flight.set_exception(error)
            flight.exception()  # there may be no twin to look at it
            raise
        finally:
            del self._flying[key]
        return completion

    async def _send(
        self, step: str, bound: Bound, key: bytes, messages: list[Message], params: Params
    ) -> tuple[Completion, float | None]:
        """Return the model's answer and what it cost."""
        tally = self.tally.step(step)
        batch = bound.model if isinstance(bound.model, BatchModel) else None
        async with AsyncExitStack() as place:
            if self.stopped is not None:
                raise _Stopped
            if batch is None:
                await place.enter_async_context(self._admitted(step, bound))
            tally.in_flight += batch is None
            tally.waiting += batch is not None
            try:
                if batch is not None:
                    completion = await batch.ask(key, messages, params, self.budget.mean(step))
                elif isinstance(bound.model, HttpModel):
                    aside = partial(_outside, place, partial(self._admitted, step, bound))
                    completion = await bound.model.complete(messages, params, aside)
                else:
                    completion = await bound.model.complete(messages, params)
            except ModelUnusable as error:
                where = f"models.{bound.role} for step {step} ({self.config.place(bound.role, step)})"
                raise ModelUnusable(error.what, where=where, todo=error.todo) from error
            except CallFailed as error:
                self._note_failure(bound.model.name, error)
                raise
            finally:
                tally.in_flight -= batch is None
                tally.waiting -= batch is not None
        self.successes += 1
        self._hard_errors = 0
        tally.answered += 1
        if completion.usage is not None:
            tally.input_tokens += completion.usage.input_tokens
            tally.output_tokens += completion.usage.output_tokens
        dollars = cost(bound.price, completion.usage)
        self.budget.spent += dollars or 0.0
        tally.dollars += dollars or 0.0
        tally.unpriced += dollars is None
        return completion, dollars

    def _note_failure(self, model: str, error: CallFailed) -> None:
        """Stop the run when calls fail one after the other."""
        if isinstance(error, CallPending):
            return
        self._hard_errors += 1
        if self._hard_errors >= HARD_ERRORS:
            self.stop(
                UserError(
                    f"{HARD_ERRORS} calls in a row failed; the last one said: {error}",
                    where=model,
                    todo="Nothing is lost. Mend the cause and run the same command again.",
                )
            )

    @asynccontextmanager
    async def _admitted(self, step: str, bound: Bound) -> AsyncGenerator[None]:
        """Hold what a live call takes: one of the slots, and its part of the budget."""
        async with bound.gate:
            await self._afford(step)
            if self.stopped is not None:
                raise _Stopped
            self.budget.in_flight[step] += 1
            try:
                yield
            finally:
                self.budget.in_flight[step] -= 1

    async def _afford(self, step: str) -> None:
        """Stop before the call that could pass the budget, or as a shard wait until that is raised."""
        while self.stopped is None and not self.budget.affords(step):
            if self.budget.topped_up is None:
                self.stop(out_of_money(self.config.budget or 0.0, self.budget.spent))
            else:
                await self.budget.wait_for(step)

    @property
    def exchanges(self) -> list[ExchangeModel]:
        """The models whose requests and answers go as files."""
        return [model for model in self.models.values() if isinstance(model, ExchangeModel)]

    async def close(self) -> None:
        """Release the models, then commit the ledger: a batch job that is just being sent still writes its id down."""
        try:
            await self.cast.close()
        finally:
            await self.ledger.close()


class _Stopped(Exception):
    """Signal that nothing more is sent."""


class Unknown(Exception):
    """Signal that a record needs an answer that is not in the ledger."""


class _Run(Generic[In]):
    """The records of one `Engine.run`: those open, those finished, and how far they are written."""

    def __init__(
        self,
        engine: Engine,
        recipe: Callable[[In, Ask], Awaitable[Record | Drop]],
        records: Iterable[In],
        settle: Callable[[In, Record | Drop, list[Step]], None],
        want: int | None,
    ) -> None:
        self.engine, self.recipe, self.settle, self.want = engine, recipe, settle, want
        self.records = enumerate(records)
        breadth = engine.shards.concurrency if engine.shards else engine.config.concurrency
        many = OPEN_IN_BATCH if engine.config.in_batch or engine.jobs.open else 100
        self.most_open = max(many, OPEN_PER_CALL * breadth)
        self.tasks: set[asyncio.Task[None]] = set()
        self.finished: asyncio.Queue[tuple[int, In, Outcome]] = asyncio.Queue()
        self.unwritten: dict[int, tuple[In, Outcome]] = {}
        self.head = 0
        self.hopeful = 0
        """Records kept, open, or to be done in a later run."""

    async def advance(self) -> bool:
        """Open what may be opened and take in what has finished; False when there is nothing left to wait for."""
        await self._open()
        if self.tasks or not self.finished.empty():
            self._take_in(*await self.finished.get())
            while not self.finished.empty():
                self._take_in(*self.finished.get_nowait())
            self.write(final=False)
            await asyncio.sleep(0)
            return True
        if self.engine.stopped is None and len(self.unwritten) >= MOST_UNWRITTEN:
            self.write(final=True)  # a record under suspicion has held up all that came after it
            return True
        return False

    async def _open(self) -> None:
        while (
            self.engine.stopped is None
            and len(self.tasks) < self.most_open
            and len(self.unwritten) + self.finished.qsize() < MOST_UNWRITTEN
            and (self.want is None or self.hopeful < self.want)
            and (drawn := next(self.records, None)) is not None
        ):
            task = asyncio.create_task(self._one(*drawn))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            self.engine.tally.opened += 1
            self.hopeful += 1
            if self.engine.tally.opened % OPENED_AT_ONCE == 0:
                await asyncio.sleep(0)  # let their calls go out before more prompts are rendered
                if not self.finished.empty():
                    return

    async def _one(self, index: int, record: In) -> None:
        take = self.engine.shards.take if self.engine.shards else self.engine.take
        self.engine.tally.records += 1
        try:
            outcome = await take(self.recipe, record)
        finally:
            self.engine.tally.records -= 1
        self.finished.put_nowait((index, record, outcome))

    def _take_in(self, index: int, record: In, outcome: Outcome) -> None:
        self.hopeful -= isinstance(outcome.result, Drop)
        if outcome.put_off:
            self.engine.tally.put_off(*outcome.put_off)
        self.unwritten[index] = record, outcome

    def write(self, *, final: bool) -> None:
        """Settle the finished records that no unfinished one precedes.

        A refused call is the record's fault only if another call has succeeded since, or at the end of a run in which
        one did; otherwise the record is left for a later run.
        """
        tally = self.engine.tally
        while self.head in self.unwritten:
            record, outcome = self.unwritten[self.head]
            suspect = outcome.suspect_since == self.engine.successes
            if outcome.stopped or (suspect and not final):
                break
            del self.unwritten[self.head]
            self.head += 1
            if suspect and self.engine.successes == 0 and isinstance(outcome.result, Drop):
                tally.put_off("were refused, and no call has succeeded", outcome.result.reason)
            elif outcome.result is not None:
                self.settle(record, outcome.result, outcome.trace)

    async def cancel(self) -> None:
        """End what is still open."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@asynccontextmanager
async def _outside(
    place: AsyncExitStack, admitted: Callable[[], AbstractAsyncContextManager[None]]
) -> AsyncGenerator[None]:
    """Give what a call takes to others for a while, then have it admitted again."""
    await place.aclose()
    yield
    await place.enter_async_context(admitted())


@contextmanager
def _rare_collections() -> Generator[None]:
    """Let Python look for reference cycles seldom: walking thousands of open records cost a third of a call's CPU."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@asynccontextmanager
async def open_engine(
    study: Study, *, config: Config | None = None, export_only: bool = False, ray: str | None = None
) -> AsyncGenerator[Engine]:
    """Open a study's prompts, ledger and models, and close them however the run ends.

    With `ray`, the address of a cluster, or nothing for one on this machine, records are taken through recipes there.
    """
    config = config or study.config
    prompts = Prompts(study.prompts if study.prompts.is_dir() else None)
    prompts.check_overrides()
    for step in config.steps:
        if step not in prompts.names:
            hint = nearest(step, prompts.names)
            raise UserError(f"there is no step '{step}'.{hint}", where=str(study.root / "config.yaml"))
    ledger = Ledger(study.ledger)
    try:
        for left in study.shards if study.is_locked else ():  # a run on many machines was killed, and does not go on
            await ledger.absorb(left)
    except BaseException:
        await ledger.close()
        raise
    engine = Engine(config, prompts, ledger, folder=study.root, export_only=export_only)
    try:
        if ray is not None:
            from habitus.shards import open_shards

            engine.shards = await open_shards(engine, study.root, ray)
        yield engine
    finally:
        if engine.shards is not None:
            engine.shards.close()
        await engine.close()


@dataclass(slots=True)
class Outcome:
    """What became of one record."""

    result: Record | Drop | None
    """None: to be done in a later run."""
    trace: list[Step]
    suspect_since: int | None = None
    """A refused call: the count of successes by then. Until there is another, the model may be at fault."""
    stopped: bool = False
    put_off: tuple[str, str] | None = None
    """Why it is left for a later run, and what was said."""
