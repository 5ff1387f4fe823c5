"""Many machines: records are taken through their recipes by shards on a Ray cluster, each with a ledger of its own.

The run stays where the command was typed: it opens records, settles them in the order of the plan and stands at the
barriers, as on one machine. Only what happens to one record between its opening and its end happens elsewhere. When a
run ends, the shards' ledgers become part of the study's. A shard that is lost is begun again on another machine, with
its ledger; what the records in it had been answered is not asked again.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from habitus.budget import out_of_money
from habitus.errors import UserError
from habitus.recipe import OPEN_PER_CALL, Engine, Outcome, Unknown
from habitus.records import BLOCK
from habitus.shard import Shard, Standing, Taken, View, ask_through

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.ask import Planned
    from habitus.models import Completion
    from habitus.shard import Recipe

MOST_SHARDS = 32
"""One engine makes thousands of calls a second, and as many as this keep the run itself busy."""
OWN_SHARE = 8
"""The run's own calls may take one of so many parts of the concurrency."""
TOGETHER, SOON = 20, 0.01
"""Records that travel together, and the seconds that the first waits for the last."""
EVERY = 0.2
"""Seconds between two looks at a shard, at which it also learns what it may spend."""
PATIENCE = 30.0
"""Seconds in which a shard must have closed its ledger; if not, that is taken over as a later run ends, or by the next
command."""


class _Link:
    """The run's end of one shard."""

    def __init__(self, shards: Shards, actor: Any) -> None:
        self.shards, self.actor = shards, actor
        self.meant = self.open = 0
        """Records that are for it, and those that it has in hand."""
        self.claim = 0.0
        """USD that it may spend or has spent in this run."""
        self.standing = Standing(0)
        self._waiting: list[tuple[Planned, dict[bytes, Completion], asyncio.Future[Outcome]]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._closing: dict[int, tuple[asyncio.Future[Standing], float]] = {}
        """Runs whose ledgers are not taken over yet, with the USD that are counted for them meanwhile."""

    @property
    def slack(self) -> float:
        """USD that it may spend and has not."""
        return self.claim - self.standing.committed

    async def take(self, record: Planned, known: dict[bytes, Completion]) -> Outcome:
        """Have a record carried on, together with those that come at the same time."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((record, known, done))
        self.open += 1
        if len(self._waiting) == TOGETHER:
            self._send()
        elif len(self._waiting) == 1:
            loop.call_later(SOON, self._send)
        try:
            return await done
        finally:
            self.open -= 1

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        if batch:
            task = asyncio.create_task(self._carried(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _carried(self, batch: list[tuple[Planned, dict[bytes, Completion], asyncio.Future[Outcome]]]) -> None:
        engine = self.shards.engine
        records = [(record, known) for record, known, _ in batch]
        try:
            taken: Taken = await self.actor.take.remote(self.shards.run, [self.shards.recipe], records)
        except Exception as error:  # noqa: BLE001  # the run is told, whatever it was
            taken = Taken([Outcome(None, [], stopped=True) for _ in batch], 0, _lost(error))
        if taken.stopped is not None and not isinstance(taken.stopped, KeyboardInterrupt):
            engine.stop(taken.stopped)
        engine.successes += taken.successes
        for (_, _, done), outcome in zip(batch, taken.outcomes, strict=True):
            if outcome.suspect_since is not None:
                outcome.suspect_since = engine.successes
            if not done.done():
                done.set_result(outcome)

    async def watch(self) -> None:
        """Look at the shard now and then, and tell it what it may spend."""
        shards = self.shards
        while True:
            run, budget = shards.run, shards.allowed(self)
            self.claim = max(self.claim, budget or 0.0)
            shards.share_out()  # before it can spend that, nobody else may
            try:
                standing = await self.actor.stand.remote(run, budget, stop=shards.engine.stopped is not None)
            except Exception as error:  # noqa: BLE001  # the run is told, whatever it was
                shards.engine.stop(_lost(error))
                return
            if run == shards.run:
                if standing.process:  # one that was just begun again does not know yet what it has spent
                    self.note(standing)
                self.claim = max(self.standing.committed, budget or 0.0)
                shards.share_out()
            await asyncio.sleep(EVERY)

    def note(self, standing: Standing) -> None:
        """Bring the run's tally up to date."""
        before, self.standing = self.standing, standing
        tally = self.shards.engine.tally
        if (before.run, before.process) == (standing.run, standing.process):
            tally.add(before.tally, times=-1)
        else:  # what it counted stays counted, but nothing of that is in flight any more
            for name, step in before.tally.steps.items():
                tally.step(name).in_flight -= step.in_flight
        tally.add(standing.tally)

    async def finish(self) -> dict[int, float]:
        """Have the ledger of this run closed; return the runs whose ledgers now are, and what was counted for each."""
        run, counted = self.shards.run, 0.0
        closing = asyncio.ensure_future(self.actor.finish.remote(run))
        await asyncio.wait({closing}, timeout=PATIENCE)
        if _is_closed(closing):
            self.note(closing.result())
        else:
            counted = self.standing.committed
            self.shards.engine.budget.spent += counted
        self.note(Standing(0))
        self.claim = 0.0
        self._closing[run] = closing, counted
        closed = {run: counted for run, (closing, counted) in self._closing.items() if _is_closed(closing)}
        self._closing = {run: one for run, one in self._closing.items() if run not in closed}
        return closed

    def leave(self) -> None:
        """Wait for nothing more; what is not taken over is left to the next command."""
        for closing, _ in self._closing.values():
            closing.cancel()


class Shards:
    """The shards of one command.

    Limits hold because they are shared out, never because somebody counts in time. Concurrency is parted among the
    shards and the run itself. A budget is lent out in slices: what a shard may spend, or has spent, is claimed; what
    nobody claims is lent on, in smaller slices the less is left. The run ends when all who have work wait for more than
    there is.
    """

    def __init__(self, engine: Engine, root: Path, actor: Any, number: int, *, address: str) -> None:
        self.address, config = address, engine.config
        self.engine, self.root, self.concurrency = engine, root.resolve(), config.concurrency
        own = max(1, config.concurrency // OWN_SHARE)
        number = min(number, config.concurrency - own)
        share, rest = divmod(config.concurrency - own, number)
        self.links = [
            _Link(self, actor.remote(self.root, config.model_copy(update={"concurrency": share + (one < rest)}), one))
            for one in range(number)
        ]
        engine.config = config.model_copy(update={"concurrency": own})
        if engine.budget.most is not None:
            engine.budget.topped_up = asyncio.Event()
        self.run = 1
        self.recipe: Any = None
        self._given: Recipe | None = None
        self._fruitless = 0
        """Records in a row, by now, of which the ledger knew nothing."""
        self._last: tuple[int, _Link] | None = None
        self._watches = [asyncio.create_task(link.watch()) for link in self.links]

    async def take(self, recipe: Recipe, record: Any) -> Outcome:
        """Take one record through the recipe: as far as the ledger and shared calls go here, and then in a shard."""
        link = self._home(record)
        link.meant += 1
        try:
            return await self._taken(recipe, record, link)
        finally:
            link.meant -= 1

    async def _taken(self, recipe: Recipe, record: Any, link: _Link) -> Outcome:
        known: dict[bytes, Completion] = {}
        if self._fruitless <= max(100, OPEN_PER_CALL * self.concurrency):
            view = View(self.engine, known, ahead=True)
            try:
                outcome = await self.engine.take(recipe, record, ask_through(view, record))
            except Unknown:
                # Records of a run that was killed lie closer together than so many are open.
                self._fruitless = 0 if known else self._fruitless + 1
            else:
                self.engine.tally.add(view.tally)
                return outcome
        if self.engine.stopped is not None:
            return Outcome(None, [], stopped=True)
        try:
            self._sent(recipe)
        except Exception as error:  # noqa: BLE001  # the run is told, whatever it was
            self.engine.stop(_lost(error))
            return Outcome(None, [], stopped=True)
        return await link.take(record, known)

    def _home(self, record: Any) -> _Link:
        """Return the shard with the least in hand, or that of the record before where both are of one block."""
        block = getattr(record, "index", -1) // BLOCK
        if self._last is None or block < 0 or self._last[0] != block:
            self._last = block, min(self.links, key=lambda link: link.meant)
        return self._last[1]

    def _sent(self, recipe: Recipe) -> None:
        """Bring a recipe to where shards find it."""
        import ray

        if recipe is not self._given:
            self._given, self.recipe = recipe, ray.put(recipe)

    def allowed(self, link: _Link) -> float | None:
        """Return the USD that a shard may have spent in this run, all in all; None without a budget."""
        if self.engine.config.budget is None:
            return None
        standing, left = link.standing, self._left - sum(one.slack for one in self.links if one is not link)
        part = left / (len(self.links) + 1)
        if standing.needs > part:  # less than it waits for would be of no use to it, and to others it might
            part = standing.needs if standing.needs <= left else 0.0
        return standing.committed + (max(part, 0.0) if link.open else 0.0)

    @property
    def _left(self) -> float:
        """What is left of the budget when all calls in flight have ended."""
        committed = sum(link.standing.committed for link in self.links)
        return (self.engine.config.budget or 0.0) - self.engine.budget.committed - committed

    def share_out(self) -> None:
        """Let the run's own calls have what no shard claims, and stop where nobody can go on."""
        engine = self.engine
        if engine.budget.topped_up is None or engine.config.budget is None or engine.stopped is not None:
            return
        engine.budget.most = engine.config.budget - sum(link.claim for link in self.links)
        engine.budget.changed()
        waiting = [link.standing.needs for link in self.links if link.open] or [engine.budget.needs]
        if min(waiting) > self._left * (1 + 1e-9):
            spent = engine.budget.spent + sum(link.standing.tally.dollars for link in self.links)
            engine.stop(out_of_money(engine.config.budget, spent))

    async def gather(self) -> None:
        """Make the shards' ledgers of a run part of the study's."""
        ended = await asyncio.gather(*(link.finish() for link in self.links))
        self.run += 1
        self._fruitless, self._last = 0, None
        for number, closed in enumerate(ended):
            for run, counted in closed.items():
                self.engine.budget.spent -= counted
                for path in sorted((self.root / "shards").glob(f"{run:03}-{number:03}-*.db")):
                    with suppress(
                        UserError
                    ):  # a lost machine that is only out of reach writes: left to the next command
                        self.engine.budget.spent += await self.engine.ledger.absorb(path)
        self.engine.budget.most = self.engine.config.budget

    def close(self) -> None:
        """Leave the cluster."""
        import ray

        for watch in self._watches:
            watch.cancel()
        for link in self.links:
            link.leave()
        ray.shutdown()


async def open_shards(engine: Engine, root: Path, address: str) -> Shards:
    """Return the shards of a run, one for each CPU of a Ray cluster; without an address, of one on this machine.

    Raises:
        UserError: Ray is not installed, there is no cluster at the address, or one call at a time is allowed.

    """
    if engine.config.concurrency == 1:
        raise UserError(
            "with one call at a time, one machine is enough.", todo="Raise concurrency, or leave --ray out."
        )
    ray = connect(address)
    number = min(MOST_SHARDS, max(1, int(ray.cluster_resources().get("CPU", 1))))
    actor = ray.remote(Shard).options(
        num_cpus=0,  # they wait more than they work, and the last machine left takes them all
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=10_000,
        scheduling_strategy="SPREAD",
    )
    return Shards(engine, root, actor, number, address=address)


def connect(address: str) -> Any:
    """Return Ray, connected to the cluster at an address; without one, to its own on this machine.

    Raises:
        UserError: it is not installed, or there is no cluster at the address.

    """
    alone = {} if address else {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # it then listens on loopback alone
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **alone} | os.environ
    try:
        import ray
    except ImportError as error:
        todo = 'Run: pip install "habitus[cluster]"'
        raise UserError("many machines need ray, which is not installed.", where="--ray", todo=todo) from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    where: dict[str, Any] = {"address": address} if address else {"address": "local", "include_dashboard": False}
    try:
        if not ray.is_initialized():
            ray.init(**where, **quiet)
    except (ConnectionError, ValueError) as error:
        todo = "Start it with `ray start --head`, give its address as host:port, or leave the address out."
        raise UserError(f"there is no Ray cluster: {error}", where=f"--ray {address}", todo=todo) from error
    return ray


def open_daft() -> Any:
    """Return Daft, which counts nobody's runs and draws no progress here.

    Raises:
        UserError: it is not installed.

    """
    os.environ |= {"DO_NOT_TRACK": "true", "DAFT_PROGRESS_BAR": "0"} | os.environ
    try:
        import daft
    except ImportError as error:
        todo = 'Run: pip install "habitus[cluster]"'
        raise UserError("many machines need daft, which is not installed.", where="--ray", todo=todo) from error
    return daft


def _is_closed(closing: asyncio.Future[Standing]) -> bool:
    """Tell whether a shard has said that its ledger is closed, and was not lost."""
    return closing.done() and not closing.cancelled() and closing.exception() is None


def collected(frame: Any, rows: int) -> dict[str, list[Any]]:
    """Return the columns of a frame of Daft's that is to have so many rows.

    Raises:
        KeyboardInterrupt: it has fewer; Daft takes a Ctrl-C for itself and gives back what there is.

    """
    found = frame.collect()
    if len(found) < rows:
        raise KeyboardInterrupt
    return found.to_pydict()


def _lost(error: Exception) -> BaseException:
    """Return what is told where Ray gave up on a shard; a defect of habitus keeps its traceback."""
    from ray.exceptions import RayError, RayTaskError

    if isinstance(error, RayTaskError) or not isinstance(error, RayError):
        return error
    todo = "Everything finished is kept. Look at the cluster (`ray status`) and run the same command again."
    return UserError(f"the cluster is lost: {type(error).__name__}.", todo=todo)
