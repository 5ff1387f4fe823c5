"""The engine, with models whose every answer is written in the test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from habitus.config import Config
from habitus.errors import CallExhausted, CallRefused, ModelUnusable, RunStopped, UserError
from habitus.models import Completion, Message, Params, Usage, http
from habitus.models.http import HttpModel
from habitus.models.ledger import Ledger
from habitus.models.serve import Server, serve
from habitus.prompts import Prompts
from habitus.recipe import Engine
from habitus.records import Drop, Record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from habitus.ask import Ask


class Row(Record):
    id: str
    trait: str = "candour"
    number: int = 0
    text: str = ""


class Weather(BaseModel):
    sky: str
    wind: int


@dataclass
class Scripted:
    """A model that answers as the test says, and remembers what it was asked."""

    answer: Callable[[str], str | Exception]
    name: str = "scripted/one"
    delay: Callable[[str], float] = lambda _: 0.0
    finish: str = "stop"
    asked: list[str] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        text = messages[-1]["content"]
        self.asked.append(text)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        await asyncio.sleep(self.delay(text))
        self.in_flight -= 1
        found = self.answer(text)
        if isinstance(found, Exception):
            raise found
        return Completion(found, self.finish, Usage(1_000, 1_000), 0.0, "scripted")

    async def close(self) -> None:
        pass


class House:
    """A folder with prompts, a ledger and an engine."""

    def __init__(self, root: Path, model: Any, **config: Any) -> None:
        prompts = root / "prompts" / "test"
        prompts.mkdir(parents=True, exist_ok=True)
        for step in ("first", "second"):
            source = f"{{% block user %}}{step} {{{{ row.id }}}} {{{{ text }}}}{{% endblock %}}"
            (prompts / f"{step}.md").write_text(source)
        settings = {"models": {"default": {"model": model.name, "price": {"input": 1, "output": 1}}}} | config
        self.root, self.model = root, model
        self.ledger = Ledger(root / "ledger.db")
        self.engine = Engine(
            Config.model_validate(settings),
            Prompts(root / "prompts"),
            self.ledger,
            folder=root,
            models={model.name: model},
        )
        self.settled: list[tuple[str, Record | Drop]] = []

    async def run(self, recipe: Any, count: int = 20, want: int | None = None) -> None:
        rows = (Row(id=f"row-{number:03}", number=number) for number in range(count))
        try:
            await self.engine.run(recipe, rows, lambda row, result, _: self.settled.append((row.id, result)), want=want)
        finally:
            await self.engine.close()

    @property
    def kept(self) -> list[str]:
        return [row for row, result in self.settled if not isinstance(result, Drop)]

    @property
    def dropped(self) -> list[Drop]:
        return [result for _, result in self.settled if isinstance(result, Drop)]


async def two_steps(row: Row, ask: Ask) -> Row | Drop:
    first = await ask.author("test/first", row=row, text="")
    if first == "no":
        return ask.drop("test/first", "it said no", first)
    second = await ask.judge("test/second", row=row, text=first)
    return Row(id=row.id, text=second)


def echo(text: str) -> str:
    return f"<{text.strip()}>"


async def test_records_settle_in_plan_order_however_late_the_answers_come(tmp_path: Path) -> None:
    slow_first = Scripted(echo, delay=lambda text: 0.05 if "row-000" in text else 0.001)
    house = House(tmp_path, slow_first)
    await house.run(two_steps)
    assert [row for row, _ in house.settled] == [f"row-{number:03}" for number in range(20)]


async def test_want_keeps_exactly_that_many_and_always_the_same_ones(tmp_path: Path) -> None:
    def every_third_says_no(text: str) -> str:
        return "no" if text.startswith("first") and int(text.split("-")[1][:3]) % 3 == 0 else "yes"

    seen = []
    for trial, wait in enumerate((lambda _: 0.0, lambda text: (sum(map(ord, text)) % 7) / 1000)):
        (tmp_path / str(trial)).mkdir()
        house = House(tmp_path / str(trial), Scripted(every_third_says_no, delay=wait))
        await house.run(two_steps, count=1_000, want=30)
        assert len(house.kept) == 30
        seen.append(house.settled)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 45


async def test_a_second_run_replays_every_answer_from_the_ledger(tmp_path: Path) -> None:
    first = House(tmp_path, Scripted(echo))
    await first.run(two_steps)
    again = House(tmp_path, Scripted(echo))
    await again.run(two_steps)
    assert again.model.asked == []
    assert again.settled == first.settled
    assert sum(step.replayed for step in again.engine.tally.steps.values()) == 40


async def test_twin_questions_in_flight_are_asked_once(tmp_path: Path) -> None:
    async def same_question(row: Row, ask: Ask) -> Row:
        shared = Row(id="all of them")
        return Row(id=row.id, text=await ask.author("test/first", row=shared, text=""))

    house = House(tmp_path, Scripted(echo, delay=lambda _: 0.01))
    await house.run(same_question)
    assert len(house.kept) == 20
    assert len(house.model.asked) == 1


async def test_calls_in_flight_never_pass_the_limit_and_use_it_up(tmp_path: Path) -> None:
    house = House(tmp_path, Scripted(echo, delay=lambda _: 0.002), concurrency=7)
    await house.run(two_steps, count=100)
    assert house.model.peak == 7


async def test_a_million_planned_records_are_not_opened_at_once(tmp_path: Path) -> None:
    house = House(tmp_path, Scripted(echo, delay=lambda _: 0.001), concurrency=4)
    drawn = 0

    def endless() -> Any:
        nonlocal drawn
        for number in range(1_000_000):
            drawn += 1
            yield Row(id=f"row-{number:07}")

    def stop_after_fifty(row: Row, result: Record | Drop, trace: Any) -> None:
        if row.id == "row-0000050":
            house.engine.stop(RunStopped("enough"))

    with pytest.raises(RunStopped, match="enough"):
        await house.engine.run(two_steps, endless(), stop_after_fifty)
    await house.engine.close()
    assert drawn < 400


async def test_replayed_records_are_written_as_they_come_and_not_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("habitus.recipe.MOST_UNWRITTEN", 200)
    await House(tmp_path, Scripted(echo)).run(two_steps, count=3_000)
    again = House(tmp_path, Scripted(echo))
    ahead: list[int] = []
    drawn = 0

    def counted() -> Any:
        nonlocal drawn
        for number in range(3_000):
            drawn += 1
            yield Row(id=f"row-{number:03}", number=number)

    def settle(row: Row, result: Record | Drop, trace: Any) -> None:
        ahead.append(drawn - row.number)

    await again.engine.run(two_steps, counted(), settle)
    await again.engine.close()
    assert len(ahead) == 3_000
    assert max(ahead) <= 1_000


async def test_a_record_under_suspicion_does_not_end_a_run_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("habitus.recipe.MOST_UNWRITTEN", 50)
    answered = House(tmp_path, Scripted(lambda text: "fine" if "row-000" not in text else "no"))
    await answered.run(two_steps, count=500)
    refusing = Scripted(lambda _: CallRefused("status 400"))
    house = House(tmp_path, refusing)

    async def one_asks_anew(row: Row, ask: Ask) -> Row | Drop:
        if row.number == 0:
            await ask.author("test/first", row=row, text="anew")
        return await two_steps(row, ask)

    await house.run(one_asks_anew, count=500)
    assert len(house.settled) == 499


class TestAnswersThatAreNotRight:
    async def weather(self, row: Row, ask: Ask) -> Row:
        found = await ask.author("test/first", Weather, check=self.calm, row=row, text="")
        return Row(id=row.id, text=found.sky)

    @staticmethod
    def calm(found: Weather) -> str | None:
        return "wind is over 12" if found.wind > 12 else None

    async def test_broken_json_goes_back_once_and_the_second_answer_counts(self, tmp_path: Path) -> None:
        def second_time_right(text: str) -> str:
            return '{"sky": "grey", "wind": 3}' if "first" not in text else "It is rather grey."

        house = House(tmp_path, Scripted(second_time_right))
        await house.run(self.weather, count=1)
        assert house.kept == ["row-000"]
        assert house.engine.tally.step("test/first").repaired == 1

    async def test_the_model_is_told_what_did_not_pass(self, tmp_path: Path) -> None:
        house = House(
            tmp_path, Scripted(lambda text: json.dumps({"sky": "grey", "wind": 30 if "first" in text else 3}))
        )
        await house.run(self.weather, count=1)
        assert house.kept
        assert "wind is over 12" in house.model.asked[-1]

    async def test_nonsense_for_ever_drops_the_record_with_the_raw_text(self, tmp_path: Path) -> None:
        house = House(tmp_path, Scripted(lambda _: "Sunny spells, I should think."))
        await house.run(self.weather, count=3)
        assert not house.kept
        assert [drop.step for drop in house.dropped] == ["test/first"] * 3
        assert house.dropped[0].raw == "Sunny spells, I should think."
        assert len(house.model.asked) == 6

    async def test_a_text_cut_off_is_dropped_and_not_asked_again(self, tmp_path: Path) -> None:
        house = House(tmp_path, Scripted(echo, finish="length"))
        await house.run(two_steps, count=2)
        assert ["cut off" in drop.reason for drop in house.dropped] == [True, True]
        assert len(house.model.asked) == 2

    async def test_an_empty_text_is_dropped(self, tmp_path: Path) -> None:
        house = House(tmp_path, Scripted(lambda _: "  "))
        await house.run(two_steps, count=1)
        assert "empty answer" in house.dropped[0].reason


class TestModelsThatFail:
    async def test_one_refused_call_drops_its_record_and_the_run_goes_on(self, tmp_path: Path) -> None:
        def refuse_one(text: str) -> str | Exception:
            return CallRefused("status 400: too long") if "row-003" in text else "fine"

        house = House(tmp_path, Scripted(refuse_one), concurrency=1)
        await house.run(two_steps)
        assert [drop.id for drop in house.dropped] == ["row-003"]
        assert len(house.kept) == 19

    async def test_ten_refused_calls_in_a_row_stop_the_run_and_use_up_no_record(self, tmp_path: Path) -> None:
        house = House(tmp_path, Scripted(lambda _: CallRefused("status 400: unknown parameter")))
        with pytest.raises(UserError, match=r"10 calls in a row failed.*unknown parameter"):
            await house.run(two_steps, count=50)
        assert house.settled == []

    async def test_when_no_call_ever_succeeds_no_record_is_used_up(self, tmp_path: Path) -> None:
        house = House(tmp_path, Scripted(lambda _: CallRefused("status 400: unknown model option")))
        await house.run(two_steps, count=3)
        assert house.settled == []
        assert house.engine.tally.unsettled.total() == 3
        later = House(tmp_path, Scripted(lambda _: "fine"))
        await later.run(two_steps, count=3)
        assert len(later.kept) == 3

    async def test_an_exhausted_call_leaves_its_record_for_the_next_run(self, tmp_path: Path) -> None:
        def one_never_answers(text: str) -> str | Exception:
            return CallExhausted("no answer for 900 s") if "row-003" in text else "fine"

        house = House(tmp_path, Scripted(one_never_answers))
        await house.run(two_steps)
        assert "row-003" not in {row for row, _ in house.settled}
        assert house.engine.tally.unsettled.total() == 1
        assert list(house.engine.tally.examples.values()) == ["no answer for 900 s"]
        later = House(tmp_path, Scripted(lambda _: "fine"))
        await later.run(two_steps)
        assert len(later.kept) == 20
        assert len(later.model.asked) == 2

    async def test_an_unusable_model_stops_at_once_and_names_role_step_and_place(self, tmp_path: Path) -> None:
        house = House(tmp_path, Scripted(lambda _: ModelUnusable("401 from scripted/one", todo="Set SCRIPTED_KEY.")))
        with pytest.raises(ModelUnusable) as caught:
            await house.run(two_steps)
        assert "models.author" in caught.value.where
        assert "test/first" in caught.value.where
        assert house.settled == []

    async def test_a_defect_in_a_recipe_is_not_swallowed(self, tmp_path: Path) -> None:
        async def broken(row: Row, ask: Ask) -> Row:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await House(tmp_path, Scripted(echo)).run(broken)


async def one_step(row: Row, ask: Ask) -> Row:
    return Row(id=row.id, text=await ask.author("test/first", row=row, text=""))


@asynccontextmanager
async def outage(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Server]:
    """Serve a model that resets the first forty requests, whose next tries come when all of them wait."""
    monkeypatch.setattr(http, "BACKOFF", 0.4)
    fault = Server._fault
    monkeypatch.setattr(Server, "_fault", lambda self: "reset" if self.requests <= 40 else fault(self))
    async with serve(Scripted(echo)) as server:
        yield server


def distant(server: Server) -> HttpModel:
    return HttpModel("harbour/lamp", model="lamp-1", base_url=server.url, key_variable=None, concurrency=2)


class TestBudget:
    async def test_the_run_stops_before_the_cap_and_says_how_to_go_on(self, tmp_path: Path) -> None:
        # Each call costs 1,000 tokens in and 1,000 out at $1 a million: $0.002.
        house = House(tmp_path, Scripted(echo, delay=lambda _: 0.001), budget=0.1, concurrency=5)
        with pytest.raises(RunStopped, match=r"budget of \$0\.10 is reached.*config\.yaml"):
            await house.run(two_steps, count=1_000)
        assert 0.08 <= house.engine.tally.dollars <= 0.1001

    async def test_the_first_wave_of_calls_does_not_pass_the_cap_either(self, tmp_path: Path) -> None:
        house = House(tmp_path, Scripted(echo, delay=lambda _: 0.01), budget=0.02, concurrency=64)
        with pytest.raises(RunStopped):
            await house.run(two_steps, count=1_000)
        assert house.engine.tally.dollars <= 0.0201

    async def test_raising_it_goes_on_without_paying_twice(self, tmp_path: Path) -> None:
        first = House(tmp_path, Scripted(echo), budget=0.02, concurrency=1)
        with pytest.raises(RunStopped):
            await first.run(two_steps, count=20)
        second = House(tmp_path, Scripted(echo), budget=5)
        await second.run(two_steps, count=20)
        assert len(first.model.asked) + len(second.model.asked) == 40

    async def test_calls_that_wait_for_their_next_try_take_nothing_of_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Forty calls of $0.002, each of them reset once; as long as there was no answer, one is taken to cost $0.0055.
        async with outage(monkeypatch) as server:
            house = House(tmp_path, distant(server), budget=0.1, concurrency=2)
            await house.run(one_step, count=40)
        assert server.answered.total() == 40
        assert house.engine.budget.committed == pytest.approx(0.08)

    async def test_a_call_that_is_sent_again_is_held_to_it_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with outage(monkeypatch) as server:
            house = House(tmp_path, distant(server), budget=0.05, concurrency=2)
            with pytest.raises(RunStopped, match="budget"):
                await house.run(one_step, count=40)
        assert 20 <= server.answered.total() <= 25
        assert house.engine.budget.committed == pytest.approx(0.002 * server.answered.total())

    async def test_an_unknown_price_cannot_hold_a_budget(self, tmp_path: Path) -> None:
        house = House(tmp_path, Scripted(echo), budget=1, models={"default": {"model": "scripted/one"}})
        with pytest.raises(UserError, match=r"price of scripted/one is unknown"):
            await house.run(two_steps)


KILLED = """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_recipe import House, Scripted, two_steps
    root = Path({root!r})
    counted = (root / "asked.txt").open("a", buffering=1)

    def answer(text):
        counted.write(text.split()[0] + " " + text.split()[1] + "\\n")
        return "an answer"

    async def main():
        house = House(root, Scripted(answer, delay=lambda _: 0.004), concurrency=8)
        print("ready", flush=True)
        await house.run(two_steps, count=400)
        print("kept", len(house.kept), flush=True)
    asyncio.run(main())
"""


@pytest.mark.parametrize("moment", [0.05, 0.12, 0.25])
def test_after_kill_9_the_same_run_ends_and_pays_only_what_was_in_flight(tmp_path: Path, moment: float) -> None:
    script = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), root=str(tmp_path))
    command = [sys.executable, "-c", script]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(moment)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "kept 400" in done.stdout
    asked = Counter((tmp_path / "asked.txt").read_text().splitlines())
    assert len(asked) == 800
    again = sum(asked.values()) - 800
    # Eight in flight, and those answered within the two commits that the kill may have caught unfinished.
    assert again <= 8 + 8 * 12
