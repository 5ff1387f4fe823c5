"""A shard: a part of a run on one machine of a cluster, with the ordinary engine and a ledger of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from habitus.ask import Ask
from habitus.errors import UserError
from habitus.models import Completion, Params
from habitus.models.ledger import Ledger, call_key
from habitus.prompts import Prompts
from habitus.recipe import Engine, Outcome, Unknown
from habitus.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from habitus.ask import Planned
    from habitus.cast import Bound
    from habitus.config import Config
    from habitus.models import AnswerSchema, Message, Model
    from habitus.records import Drop, Record, Role

    Recipe = Callable[[Any, Ask], Awaitable[Record | Drop]]

SHARED = frozenset({"documents/genres"})
"""Steps whose calls any records may have in common: made once, where the command was typed. A plan is common only to
the records of one block, which go to the same shard."""


class View:
    """An engine as one record sees it: answers that came along with the record are not asked for again.

    With `ahead`, only calls that several records share are made; at any other that is not in the ledger the record ends
    with `Unknown`, to be carried on by a shard.
    """

    def __init__(self, engine: Engine, known: dict[bytes, Completion], *, ahead: bool) -> None:
        self.engine, self.known, self.ahead = engine, known, ahead
        self.prompts, self.config = engine.prompts, engine.config
        self.tally = Tally() if ahead else engine.tally

    def bind(self, step: str, role: Role) -> Bound:
        """Return the model, settings and price with which a step is asked."""
        return self.engine.bind(step, role)

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
        """Return the answer to a question."""
        bound = self.engine.bind(step, role)
        key = call_key(bound.model.name, messages, Params(bound.settings, schema, sample))
        if key not in self.known:
            if self.ahead and step not in SHARED and key not in self.engine.ledger:
                raise Unknown
            self.known[key] = await self.engine.complete(step, role, record, messages, schema, sample=sample)
        return self.known[key]


@dataclass(frozen=True)
class Taken:
    """What became of records that travelled together."""

    outcomes: list[Outcome]
    successes: int
    """Calls that succeeded since this was last told."""
    stopped: BaseException | None


@dataclass(frozen=True)
class Standing:
    """What a shard has come to in one run."""

    run: int
    process: str = ""
    """A shard that was begun again counts from nothing."""
    tally: Tally = field(default_factory=Tally)
    committed: float = 0.0
    """USD spent, and to be spent by the calls in flight."""
    needs: float = 0.0
    """USD that it waits for."""


class Shard:
    """A part of a run, on a machine of the cluster."""

    def __init__(self, root: Path, config: Config, number: int) -> None:
        self.root, self.config, self.number = root, config, number
        self.engine: Engine | None = None
        self.run = 0
        self._models: dict[str, Model] = {}
        self._recipes: dict[str, Recipe] = {}
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._told = 0
        gc.set_threshold(50_000, 20, 50)  # as on one machine, where thousands of records are open

    async def take(self, run: int, recipe: list[Any], records: list[tuple[Planned, dict[bytes, Completion]]]) -> Taken:
        """Take records, each with the answers that are known already, through a recipe (a reference in a list)."""
        try:
            engine = self._opened(run)
        except UserError as error:
            return Taken([Outcome(None, [], stopped=True) for _ in records], 0, error)
        name = recipe[0].hex()
        if name not in self._recipes:
            self._recipes = {name: await recipe[0]}
        asks = [(record, ask_through(View(engine, known, ahead=False), record)) for record, known in records]
        tasks = [asyncio.create_task(engine.take(self._recipes[name], *one)) for one in asks]
        self._tasks.update(tasks)
        ended = await asyncio.gather(*tasks, return_exceptions=True)  # `finish` may call them off
        self._tasks.difference_update(tasks)
        outcomes = [one if isinstance(one, Outcome) else Outcome(None, [], stopped=True) for one in ended]
        for outcome in outcomes:
            if outcome.suspect_since is not None and outcome.suspect_since < engine.successes:
                outcome.suspect_since = None
        if engine is not self.engine:  # the run has ended
            return Taken(outcomes, 0, engine.stopped)
        fresh, self._told = engine.successes - self._told, engine.successes
        return Taken(outcomes, fresh, engine.stopped)

    def _opened(self, run: int) -> Engine:
        """Return the engine of a run."""
        if self.engine is None:
            own, ledger = self.root / "prompts", Ledger(self._continued(run), of_shard=True)
            prompts = Prompts(own if own.is_dir() else None)
            self.engine = Engine(self.config, prompts, ledger, folder=self.root, models=self._models)
            self._models = self.engine.models
            self.run, self._told = run, 0
            if self.config.budget is not None:
                self.engine.budget.most, self.engine.budget.topped_up = 0.0, asyncio.Event()
        return self.engine

    def _continued(self, run: int) -> Path:
        """Return where to keep the ledger of a run: where this shard was lost in it, that is a copy of what it had.

        A copy, since the machine that has the file may not be lost, only out of reach, and still write.
        """
        if not (self.root / "config.yaml").is_file():
            todo = "Keep studies in a folder that all machines of the cluster see under the same path."
            raise UserError("a machine of the cluster does not see this study.", where=str(self.root), todo=todo)
        folder, name = self.root / "shards", f"{run:03}-{self.number:03}"
        folder.mkdir(exist_ok=True)
        before = sorted(folder.glob(f"{name}-*.db"))
        path = folder / f"{name}-{len(before):03}.db"
        for ending in ("-wal", "") if before else ():
            if (source := before[-1].with_name(before[-1].name + ending)).exists():
                shutil.copyfile(source, path.with_name(path.name + ending))
        return path

    async def stand(self, run: int, budget: float | None, *, stop: bool) -> Standing:
        """Hear what may be spent and whether to go on, and return what the shard has come to."""
        engine = self.engine
        if engine is None or run != self.run:
            return Standing(run)
        if stop:
            engine.stop(KeyboardInterrupt("The run was stopped."))
        if engine.budget.topped_up is not None:
            engine.budget.most = budget
            engine.budget.changed()
            await asyncio.sleep(0)  # calls that wait look whether it is enough
        return Standing(run, _process(), engine.tally, engine.budget.committed, engine.budget.needs)

    async def finish(self, run: int) -> Standing:
        """End what is open, close the ledger of a run, and return what the shard has come to."""
        if self.engine is None or run != self.run:
            return Standing(run)
        engine, self.engine = self.engine, None  # the next run, which may begin before this ends, opens one of its own
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engine.ledger.close()
        return Standing(run, _process(), engine.tally, engine.budget.committed)


def ask_through(view: View, record: Planned) -> Ask:
    """Return how a record asks through a view, which is all of an engine that it needs."""
    return Ask(cast("Engine", view), record)


def _process() -> str:
    return f"{os.uname().nodename} {os.getpid()}"
