from __future__ import annotations

import asyncio
import pickle
import shutil
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from habitus import shards
from habitus.config import Config
from habitus.errors import ModelUnusable, RunStopped, UserError
from habitus.models import Completion, Params, Usage
from habitus.models.ledger import Call, Ledger, call_key
from habitus.prompts import Prompts
from habitus.recipe import Engine
from habitus.shard import Shard, Standing
from habitus.shards import Shards, _Link
from habitus.study import Study
from studies import calls, habitus, make

if TYPE_CHECKING:
    from pathlib import Path


def call(question: str, system: str = "You keep the lighthouse.") -> Call:
    messages: list[Any] = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    answer = Completion("Lit.", "stop", Usage(10, 5), 0.1, "owl")
    params = Params({"temperature": 0.7})
    return Call(
        call_key("lab/owl", messages, params), "chats/draft", "chat-1", "lab/owl", messages, params, answer, 0.25
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "EVERY", 0.01)


async def write(path: Path, *questions: str, of_shard: bool = False) -> Path:
    path.parent.mkdir(exist_ok=True)
    ledger = Ledger(path, of_shard=of_shard)
    for question in questions:
        await ledger.add(call(question, f"You keep {path.stem}."))
    await ledger.close()
    return path


async def test_a_ledger_takes_over_the_calls_of_others_with_their_requests_and_knows_which_it_had(
    tmp_path: Path,
) -> None:
    await write(tmp_path / "ledger.db", "north lamp")
    shards = [
        await write(tmp_path / "shards" / f"{name}.db", *asked, of_shard=True)
        for name, asked in {"one": ("south lamp", "east lamp"), "two": ("west lamp",)}.items()
    ]
    again = await write(
        tmp_path / "shards" / "three.db", "north lamp"
    )  # the same key only with the same system message
    ledger = Ledger(tmp_path / "ledger.db")
    await ledger.add(call("south lamp", "You keep one."))

    assert [await ledger.absorb(path) for path in (*shards, again)] == [0.25, 0.25, 0.25]
    east = call("east lamp", "You keep one.")
    assert len(ledger) == 5
    assert ledger.request(east.key)["messages"] == east.messages
    assert ledger.find(east.key) == east.completion
    assert not any(shards[0].parent.iterdir())
    await ledger.add(call("a lamp after that"))
    await ledger.close()
    reopened = Ledger(tmp_path / "ledger.db")
    assert reopened.request(call("west lamp", "You keep two.").key)["messages"][0]["content"] == "You keep two."
    await reopened.close()


def test_what_a_killed_run_left_becomes_part_of_the_study(tmp_path: Path) -> None:
    study = make(tmp_path / "advice", chats={"count": 5})
    assert habitus("generate", "chats", study) == 0
    paid = calls(study)
    (study / "shards").mkdir()
    (study / "ledger.db").rename(study / "shards" / "001-000-000.db")
    for name in ("kept", "dropped", "traces", "prompts"):
        (study / "chats" / f"{name}.jsonl").unlink(missing_ok=True)
    assert habitus("generate", "chats", study) == 0

    assert calls(study) == paid
    assert not Study(study).shards


def test_a_command_that_only_looks_leaves_the_ledgers_of_shards_that_may_be_at_work(tmp_path: Path) -> None:
    study = make(tmp_path / "advice", chats={"count": 5})
    assert habitus("generate", "chats", study) == 0
    (study / "shards").mkdir()
    shutil.copyfile(study / "ledger.db", study / "shards" / "001-000-000.db")
    with Study(study).lock():
        assert habitus("check", study, "--offline") == 0

    assert Study(study).shards


def test_errors_travel_between_machines() -> None:
    error = ModelUnusable("no such model.", where="config.yaml:9", todo="Name another.")
    travelled = pickle.loads(pickle.dumps(error))

    assert type(travelled) is ModelUnusable
    assert str(travelled) == str(error)


async def test_a_shard_goes_on_from_a_copy_of_the_ledger_that_it_lost(tmp_path: Path) -> None:
    study = make(tmp_path / "advice")
    config = Config.model_validate({})
    first, second = (Shard(study, config, 3) for _ in range(2))
    await first._opened(1).ledger.add(call("south lamp"))
    ledger = second._opened(1).ledger

    assert ledger.find(call("south lamp").key) is not None
    assert ledger.path.name == "001-003-001.db"
    await second.finish(1)
    await first.finish(1)


async def test_a_shard_lost_after_its_last_record_leaves_its_answers_to_the_run_all_the_same(tmp_path: Path) -> None:
    lent = Lent(tmp_path, 1.0, 0)
    (tmp_path / "shards").mkdir()
    for number in (0, 1):
        left = Ledger(tmp_path / "shards" / f"001-{number:03}-000.db", of_shard=True)
        await left.add(call(f"lamp {number}"))
        await left.close()

    async def begun_again(run: int) -> Standing:
        return Standing(run)

    async def lost(run: int) -> Standing:
        raise RuntimeError(run)

    lent.shards.root, lent.shards.run = tmp_path, 1
    lent.shards.links = [
        _Link(lent.shards, SimpleNamespace(finish=SimpleNamespace(remote=one))) for one in (begun_again, lost)
    ]
    await lent.shards.gather()

    assert lent.shards.engine.budget.spent == 0.25
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["001-001-000.db"]
    await lent.shards.engine.close()


async def test_a_shard_that_closes_its_ledger_late_is_counted_meanwhile_and_taken_over_as_the_next_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PATIENCE", 0.01)
    lent, closed = Lent(tmp_path, 1.0, 0), asyncio.Event()
    await write(tmp_path / "shards" / "001-000-000.db", "south lamp", of_shard=True)

    async def late(run: int) -> Standing:
        await closed.wait()
        return Standing(run)

    lent.shards.root, lent.shards.run = tmp_path, 1
    lent.shards.links = [_Link(lent.shards, SimpleNamespace(finish=SimpleNamespace(remote=late)))]
    lent.shards.links[0].standing = Standing(1, "first", committed=0.4)
    await lent.shards.gather()
    budget = lent.shards.engine.budget
    assert (budget.spent, len(lent.shards.engine.ledger)) == (0.4, 0)

    closed.set()
    await lent.shards.gather()
    assert (budget.spent, len(lent.shards.engine.ledger)) == (0.25, 1)
    await lent.shards.engine.close()


async def test_a_run_that_begins_before_a_shard_has_closed_its_ledger_has_one_of_its_own(tmp_path: Path) -> None:
    shard = Shard(make(tmp_path / "advice"), Config.model_validate({}), 0)
    slow, closed = shard._opened(1).ledger, asyncio.Event()
    close = slow.close

    async def late() -> None:
        await closed.wait()
        await close()

    slow.close = late  # ty: ignore[invalid-assignment]
    finishing = asyncio.create_task(shard.finish(1))
    await asyncio.sleep(0)
    assert shard._opened(2).ledger.path.name == "002-000-000.db"
    assert (await shard.stand(2, None, stop=False)).process
    closed.set()
    await finishing
    await shard.finish(2)


async def test_a_ledger_that_a_shard_still_has_open_is_not_taken_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("habitus.models.ledger.PATIENCE", 0.1)
    path = tmp_path / "shards" / "001-000-000.db"
    path.parent.mkdir()
    ledger, working = Ledger(tmp_path / "ledger.db"), Ledger(path, of_shard=True)
    await working.add(call("south lamp"))
    with pytest.raises(UserError, match="still has it open"):
        await ledger.absorb(path)

    await working.add(call("east lamp"))
    await working.close()
    assert await ledger.absorb(path) == 0.5
    await ledger.close()


async def test_the_loop_goes_on_while_a_ledger_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await write(tmp_path / "shards" / "001-000-000.db", "south lamp", of_shard=True)
    ledger, released = Ledger(tmp_path / "ledger.db"), threading.Event()
    take_over = ledger._take_over

    def slowly(other: Path) -> tuple[list[bytes], float]:
        assert released.wait(10), "the loop was held"
        return take_over(other)

    monkeypatch.setattr(ledger, "_take_over", slowly)
    absorbing = asyncio.create_task(ledger.absorb(path))
    await asyncio.sleep(0.01)
    adding = asyncio.create_task(ledger.add(call("a lamp in between")))
    await asyncio.sleep(0.05)
    assert not ledger.find(call("a lamp in between").key)
    released.set()
    assert await absorbing == 0.25
    await adding
    assert [
        bool(ledger.find(call(*one).key)) for one in (("a lamp in between",), ("south lamp", "You keep 001-000-000."))
    ]
    assert len(ledger) == 2
    await ledger.close()


async def test_a_machine_that_does_not_see_the_study_says_so(tmp_path: Path) -> None:
    taken = await Shard(tmp_path / "nowhere", Config.model_validate({}), 0).take(1, [], [])

    assert isinstance(taken.stopped, UserError)
    assert "does not see this study" in str(taken.stopped)


class Lent:
    """Shards with so much lent to them, none of which runs."""

    def __init__(self, root: Path, budget: float, number: int) -> None:
        config = Config.model_validate({"budget": budget, "concurrency": 64})
        engine = Engine(config, Prompts(), Ledger(root / "ledger.db"), folder=root)
        self.shards = Shards.__new__(Shards)
        self.shards.engine = engine
        self.shards.links = [
            SimpleNamespace(claim=0.0, open=5, standing=Standing(1), slack=0.0)  # ty: ignore[invalid-assignment]
            for _ in range(number)
        ]

    def look(self, at: int, *, committed: float, needs: float = 0.0) -> float:
        """Let one shard tell where it stands, and return what it may spend from now on."""
        link: Any = self.shards.links[at]
        link.standing = Standing(1, committed=committed, needs=needs)
        link.slack = link.claim - committed
        budget = self.shards.allowed(link)
        assert budget is not None
        link.claim = max(budget, committed)
        link.slack = link.claim - committed
        return budget

    @property
    def claimed(self) -> float:
        return sum(link.claim for link in self.shards.links)


def test_what_is_lent_to_shards_never_passes_the_budget_however_unevenly_they_spend(tmp_path: Path) -> None:
    lent = Lent(tmp_path, 10.0, 3)
    spent = [0.0, 0.0, 0.0]
    for turn in range(60):
        for shard in range(3):
            spent[shard] = min(lent.shards.links[shard].claim, spent[shard] + (0.0, 0.02, 0.9)[shard])
            lent.look(shard, committed=spent[shard], needs=0.05 if turn > 3 else 0.0)
            assert lent.claimed <= 10.0 + 1e-9

    assert sum(spent) > 9.9


def test_the_last_of_a_budget_goes_to_who_can_use_it(tmp_path: Path) -> None:
    lent = Lent(tmp_path, 1.5, 2)
    assert lent.look(0, committed=0.0, needs=1.0) == 1.0
    assert lent.look(1, committed=0.0, needs=1.0) == 0.0
    assert lent.look(0, committed=0.2) == pytest.approx(0.2 + 1.3 / 3)


def test_the_run_ends_when_all_who_have_work_wait_for_more_than_there_is(tmp_path: Path) -> None:
    lent = Lent(tmp_path, 1.0, 2)
    engine = lent.shards.engine
    engine.budget.topped_up = asyncio.Event()
    lent.look(0, committed=0.7, needs=0.2)
    lent.look(1, committed=0.0)
    lent.shards.share_out()
    assert engine.stopped is None
    lent.look(1, committed=0.25, needs=0.2)
    lent.look(0, committed=0.7, needs=0.2)
    lent.shards.share_out()

    assert isinstance(engine.stopped, RunStopped)


async def test_a_shard_that_was_just_begun_again_is_still_held_to_what_it_had_spent(tmp_path: Path) -> None:
    told = iter([Standing(1, "first", committed=0.6), Standing(1), Standing(1, "second", committed=0.7)])
    lent = Lent(tmp_path, 1.0, 0)
    held: list[float] = []
    seen = asyncio.Event()

    async def stand(run: int, budget: float, *, stop: bool) -> Standing:
        held.append(lent.shards.links[0].standing.committed)
        if len(held) == 3:
            seen.set()
        return next(told)

    lent.shards.run = 1
    link = _Link(lent.shards, SimpleNamespace(stand=SimpleNamespace(remote=stand)))
    lent.shards.links = [link]
    watch = asyncio.create_task(link.watch())
    await seen.wait()
    watch.cancel()

    assert held == [0.0, 0.6, 0.6]


def test_one_call_at_a_time_needs_no_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make(tmp_path / "advice", concurrency=1)

    assert habitus("generate", "chats", study, "--ray") == 2
    assert "one machine is enough" in capsys.readouterr().err
