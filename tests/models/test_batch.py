"""Calls in batch jobs, against a stand-in of the interface on this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from batches import KEY, Depot, depot
from habitus import show
from habitus.config import Config
from habitus.errors import ModelUnusable, RunStopped, UserError
from habitus.models import batch, batch_interface, is_endpoint
from habitus.models.costs import price_of
from habitus.models.jobs import read_jobs
from habitus.models.ledger import Ledger, read_totals
from habitus.prompts import Prompts
from habitus.recipe import Engine
from habitus.records import Drop, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from habitus.ask import Ask

PRICE = {"input": 2, "output": 4, "batch": 0.5}
EACH = (1000 * 2 + 500 * 4) / 1e6 / 2
"""USD of a call to the stand-in in a job."""


@pytest.fixture(autouse=True)
def _a_key_and_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPOT_KEY", KEY)
    monkeypatch.setattr(batch_interface, "BACKOFF", 0.01)


class Row(Record):
    id: str
    trait: str = "candour"
    number: int = 0
    text: str = ""


async def two_steps(row: Row, ask: Ask) -> Row | Drop:
    first = await ask.author("test/first", row=row, text="")
    return Row(id=row.id, text=await ask.judge("test/second", row=row, text=first))


class Study:
    """A folder with two prompts, in which the same command can be run again and again."""

    def __init__(self, root: Path, station: Depot, **config: Any) -> None:
        self.root, self.station = root, station
        prompts = root / "prompts" / "test"
        prompts.mkdir(parents=True, exist_ok=True)
        for step in ("first", "second"):
            (prompts / f"{step}.md").write_text(
                f"{{% block user %}}{step} {{{{ row.id }}}} {{{{ text }}}}{{% endblock %}}"
            )
        self.config = {
            "providers": {"depot": {"base_url": station.url, "key": "DEPOT_KEY"}},
            "models": {"default": {"model": "depot/world", "price": PRICE, "batch": True}},
            "batch": {"poll": 0.02, "least": 1},
            "total_timeout": 2,
        } | config
        self.settled: dict[str, Record | Drop] = {}
        self.engine: Engine | None = None

    async def run(self, count: int = 20, recipe: Any = two_steps, **config: Any) -> Engine:
        """Run the command once."""
        made = Config.model_validate(self.config | config)
        prompts, ledger = Prompts(self.root / "prompts"), Ledger(self.root / "ledger.db")
        self.engine = Engine(made, prompts, ledger, folder=self.root)
        rows = (Row(id=f"row-{number:03}", number=number) for number in range(count))

        def settle(row: Row, result: Record | Drop, _: Any) -> None:
            self.settled[row.id] = result

        try:
            await self.engine.run(recipe, rows, settle)
        finally:
            await self.engine.close()
        return self.engine

    async def interrupted(self, when: Callable[[], bool], *, hard: bool = False, **config: Any) -> None:
        """Run the command until something has happened; `hard` drops everything, as a kill does."""
        task = asyncio.create_task(self.run(**config))
        await until(when)
        assert self.engine is not None
        if hard:  # nothing of the run is heard of again, as after kill -9
            for model in self.engine.tally.batches:
                if model._worker is not None:
                    model._worker.cancel()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            self.engine.stop(UserError("Interrupted."))  # as Ctrl-C, which would end the tests as well
            with pytest.raises(UserError, match="Interrupted"):
                await task

    @property
    def kept(self) -> list[str]:
        return [row for row, result in self.settled.items() if not isinstance(result, Drop)]

    @property
    def spent(self) -> float:
        return sum(total.dollars for total in read_totals(self.root / "ledger.db"))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def echo(text: str) -> str:
    return f"<{text.strip()}>"


# a run


async def test_every_step_is_one_job_at_half_the_price(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station)
        await study.run()
    assert len(study.kept) == 20
    assert station.sizes == [20, 20]
    assert station.live == 0
    assert set(station.paid.values()) == {1}
    assert study.spent == pytest.approx(40 * EACH)
    assert read_jobs(tmp_path / "ledger.db") == []


async def test_answers_go_to_the_calls_that_asked_for_them_though_they_come_in_another_order(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station)
        await study.run()
    assert study.settled["row-007"].text == "<second row-007 <first row-007>>"


async def test_live_and_batch_roles_mix_in_one_recipe_and_live_calls_are_waited_for(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        live = {"model": "depot/world", "price": PRICE}
        study = Study(tmp_path, station, models={"default": live, "judge": live | {"batch": True}})
        await study.run()
    assert (station.live, station.sizes) == (20, [20])
    assert study.spent == pytest.approx(20 * EACH * 2 + 20 * EACH)


async def test_a_step_may_be_taken_out_of_the_batch(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station, steps={"test/first": {"batch": False}})
        await study.run()
    assert (station.live, station.sizes) == (20, [20])


def test_a_provider_with_another_batch_interface_is_left_to_inspect() -> None:
    config = Config()
    assert is_endpoint("together/model", config)
    assert not is_endpoint("together/model", config, batch=True)
    assert is_endpoint("openai/gpt-5-mini", config, batch=True)


async def test_what_was_answered_live_is_not_asked_again_in_a_job(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station)
        await study.run(models={"default": {"model": "depot/world", "price": PRICE}})
        await study.run()
    assert (station.live, station.sizes) == (40, [])


async def test_a_few_calls_that_nothing_follows_are_asked_live_at_the_live_price(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station, batch={"poll": 0.02, "least": 11})
        await study.run(count=10)
    assert (station.live, station.sizes) == (20, [])
    assert study.spent == pytest.approx(20 * EACH * 2)


async def test_a_few_calls_wait_for_those_that_open_jobs_will_bring(tmp_path: Path) -> None:
    def half_of_it_expires(job: int, line: int) -> str:
        return "500" if job == 0 and line < 5 else "ok"

    async with depot(answer=echo, fate=half_of_it_expires) as station:
        study = Study(tmp_path, station, batch={"poll": 0.02, "least": 6})
        await study.run()
    assert (station.live, station.sizes) == (5, [20, 20])


async def test_a_job_holds_no_more_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_BYTES", 2_000)
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station)
        await study.run()
    assert len(study.kept) == 20
    assert len(station.sizes) > 2
    assert all(len(station.files[job["input_file_id"]]) <= 2_000 for job in station.jobs.values())


async def test_a_call_waits_no_longer_than_told_for_others_that_live_calls_may_bring(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def one_waits(row: Row, ask: Ask) -> Row | Drop:
        if row.number == 0:
            ask.engine.tally.step("elsewhere").in_flight += 1  # a live call that takes long
            await release.wait()
            ask.engine.tally.step("elsewhere").in_flight -= 1
        return await two_steps(row, ask)

    async with depot(answer=echo) as station:
        study = Study(tmp_path, station, batch={"poll": 0.02, "least": 1, "age": 0.15})
        task = asyncio.create_task(study.run(recipe=one_waits))
        await until(lambda: bool(station.sizes))
        release.set()
        await task
    assert station.sizes[0] == 19
    assert len(study.kept) == 20


async def test_how_it_stands_can_be_told_at_any_time(tmp_path: Path) -> None:
    async with depot(answer=echo, delay=0.3) as station:
        study = Study(tmp_path, station)
        task = asyncio.create_task(study.run())
        await until(lambda: bool(station.sizes))
        await asyncio.sleep(0.05)
        assert study.engine is not None
        (model,) = study.engine.tally.batches
        jobs, calls, since = model.standing()
        told = show.batches(study.engine.tally)
        (job,) = read_jobs(tmp_path / "ledger.db")
        await task
    assert (jobs, calls) == (1, 20)
    assert told == ["batch: 1 job, 20 calls waiting, oldest 0 min"]
    assert show.batches(study.engine.tally) == []
    assert (since, job.batch, job.calls, job.model) == (job.began, "batch_0", 20, "depot/world")


# lines that fail


async def test_a_refused_line_ends_its_record_with_the_words_of_the_provider(tmp_path: Path) -> None:
    async with depot(answer=echo, fate=lambda job, line: "400" if (job, line) == (0, 3) else "ok") as station:
        study = Study(tmp_path, station)
        await study.run()
    dropped = study.settled["row-003"]
    assert isinstance(dropped, Drop)
    assert "HTTP 400: line 3 is not to our taste" in dropped.reason
    assert len(study.kept) == 19


@pytest.mark.parametrize("fate", ["expired", "missing", "500", "429", "garbage"])
async def test_a_line_that_was_not_carried_out_goes_into_the_next_job(tmp_path: Path, fate: str) -> None:
    async with depot(answer=echo, fate=lambda job, line: fate if job == 0 and line % 2 else "ok") as station:
        study = Study(tmp_path, station)
        await study.run()
    assert len(study.kept) == 20
    assert station.sizes[0] == 20
    assert sum(station.sizes) == 50
    assert set(station.paid.values()) == {1}


async def test_an_expired_job_is_settled_line_by_line(tmp_path: Path) -> None:
    def second_half_expires(job: int, line: int) -> str:
        return "expired" if job == 0 and line >= 10 else "ok"

    async with depot(
        answer=echo, fate=second_half_expires, end=lambda job: "completed" if job else "expired"
    ) as station:
        study = Study(tmp_path, station)
        await study.run()
    assert len(study.kept) == 20
    assert set(station.paid.values()) == {1}


async def test_a_job_that_was_cancelled_at_the_provider_is_asked_again(tmp_path: Path) -> None:
    async with depot(
        answer=echo, fate=lambda job, _: "ok" if job else "missing", end=lambda job: "completed" if job else "cancelled"
    ) as station:
        study = Study(tmp_path, station)
        await study.run()
    assert len(study.kept) == 20
    assert station.sizes == [20, 20, 20]


async def test_a_line_that_expires_again_and_again_is_left_for_a_later_run(tmp_path: Path) -> None:
    async with depot(answer=echo, fate=lambda _, line: "expired" if line == 0 else "ok") as station:
        study = Study(tmp_path, station)
        engine = await study.run(count=1)
        assert station.sizes == [1, 1, 1]
        assert study.settled == {}
        assert engine.tally.unsettled == {"got no answer within the time allowed": 1}
        station.fate = lambda *_: "ok"
        await study.run(count=1)
    assert study.kept == ["row-000"]


async def test_lines_that_are_odd_are_told_and_lose_nothing(tmp_path: Path) -> None:
    async with depot(answer=echo, fate=lambda job, line: "twice" if (job, line) == (0, 0) else "ok") as station:
        study = Study(tmp_path, station)
        await study.interrupted(lambda: bool(station.jobs))
        await until(lambda: "output_file_id" in station.jobs["batch_0"])
        told = b'{"custom_id": "habitus-00", "response": {}}\n{"custom_id": "mine", "content": "!"}\n{"custom'
        station.files[station.jobs["batch_0"]["output_file_id"]] += told
        engine = await study.run()
    (model,) = engine.tally.batches
    assert [problem.partition(", ")[2].split(":")[0] for problem in model.problems] == [
        "line 21", "line 22", "line 23", "line 24"
    ]  # fmt: skip
    assert "stands there twice" in model.problems[0]
    assert "no call of this job is called 'mine'" in model.problems[2]
    assert len(study.kept) == 20


async def test_answers_that_are_not_all_there_yet_are_looked_for_again(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station)
        await study.interrupted(lambda: bool(station.jobs))
        await until(lambda: "output_file_id" in station.jobs["batch_0"])
        whole = station.files[(file := station.jobs["batch_0"]["output_file_id"])]
        station.files[file] = whole[: whole.index(b"\n") + 1]
        task = asyncio.create_task(study.run())
        await asyncio.sleep(0.1)
        station.files[file] = whole
        await task
    assert len(study.kept) == 20
    assert set(station.paid.values()) == {1}


async def test_answers_that_never_come_stop_the_run_until_somebody_says_that_they_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "LOOKS", 3)
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station)
        await study.interrupted(lambda: bool(station.jobs))
        await until(lambda: "output_file_id" in station.jobs["batch_0"])
        station.files[station.jobs["batch_0"]["output_file_id"]] = b""
        with pytest.raises(ModelUnusable, match="batch_0 has ended with 20 answers, but 0 lines"):
            await study.run()
        assert [job.batch for job in read_jobs(tmp_path / "ledger.db")] == ["batch_0"]
        await study.run(batch={"poll": 0.02, "least": 1, "forget": ["batch_0"]})
    assert len(study.kept) == 20


# jobs that fail


async def test_a_job_too_large_for_the_queue_of_the_provider_is_sent_in_halves_one_after_the_other(
    tmp_path: Path,
) -> None:
    async with depot(answer=echo, end=lambda job: "completed" if job else "failed:token_limit_exceeded") as station:
        study = Study(tmp_path, station)
        await study.run()
    assert station.sizes == [20, 10, 10, 10, 10]
    assert len(study.kept) == 20


async def test_a_job_refused_for_a_line_costs_that_line_alone(tmp_path: Path) -> None:
    error = '[{"code": "invalid_json_line", "line": 3, "message": "line 3 is too long"}]'
    async with depot(answer=echo, end=lambda job: "completed" if job else f"failed:{error}") as station:
        study = Study(tmp_path, station)
        await study.run()
    dropped = study.settled["row-002"]
    assert isinstance(dropped, Drop)
    assert "line 3 is too long" in dropped.reason
    assert len(study.kept) == 19


async def test_a_job_refused_as_a_whole_stops_the_run_and_drops_nothing(tmp_path: Path) -> None:
    async with depot(answer=echo, end=lambda _: "failed:billing_hard_limit_reached") as station:
        study = Study(tmp_path, station)
        with pytest.raises(ModelUnusable, match="no: billing_hard_limit_reached"):
            await study.run()
        assert study.settled == {}
        station.end = lambda _: "completed"
        await study.run()
    assert len(study.kept) == 20


async def test_a_creation_that_is_rejected_blames_no_record(tmp_path: Path) -> None:
    async with depot(answer=echo, at_creation=lambda _: "400") as station:
        study = Study(tmp_path, station)
        with pytest.raises(ModelUnusable, match="a batch job was refused"):
            await study.run()
    assert study.settled == {}
    assert read_jobs(tmp_path / "ledger.db") == []


async def test_an_endpoint_without_a_batch_interface_is_told_in_one_message(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station)
        study.config["providers"] = {"depot": {"base_url": station.url + "/elsewhere", "key": "DEPOT_KEY"}}
        with pytest.raises(ModelUnusable, match="If it has no batch interface, take `batch` away"):
            await study.run()


# a run that ends, and the next one


async def test_after_ctrl_c_the_jobs_go_on_and_the_same_command_collects_them(tmp_path: Path) -> None:
    async with depot(answer=echo, delay=0.3) as station:
        study = Study(tmp_path, station)
        await study.interrupted(lambda: bool(station.sizes))
        assert [job.calls for job in read_jobs(tmp_path / "ledger.db")] == [20]
        await study.run()
    assert len(study.kept) == 20
    assert set(station.paid.values()) == {1}
    assert station.sizes == [20, 20]


async def test_a_job_that_is_just_being_sent_when_the_run_ends_still_gets_its_id(tmp_path: Path) -> None:
    async with depot(answer=echo, delay=0.2) as station:
        study = Study(tmp_path, station)
        await study.interrupted(lambda: "POST files" in station.seen)
        assert [job.batch for job in read_jobs(tmp_path / "ledger.db")] == ["batch_0"]
        await study.run()
    assert station.sizes == [20, 20]


WINDOWS = {
    "uploading": lambda station: "POST files" in station.seen,
    "created": lambda station: "POST batches" in station.seen,
    "watched": lambda station: "GET batches" in station.seen,
    "brought": lambda station: "GET files/content" in station.seen,
    "second step": lambda station: len(station.jobs) == 2,
}


@pytest.mark.parametrize("window", WINDOWS)
async def test_a_kill_at_any_moment_pays_for_no_call_twice(tmp_path: Path, window: str) -> None:
    async with depot(answer=echo, delay=0.05) as station:
        study = Study(tmp_path, station)
        await study.interrupted(lambda: WINDOWS[window](station), hard=True)
        await study.run()
    assert len(study.kept) == 20
    assert len(station.paid) == 40
    assert set(station.paid.values()) == {1}
    assert study.spent == pytest.approx(40 * EACH)


@pytest.mark.parametrize("keep_metadata", [True, False])
async def test_a_job_whose_id_never_came_back_is_found_by_its_name_or_its_file(
    tmp_path: Path, keep_metadata: bool
) -> None:
    async with depot(
        answer=echo, at_creation=lambda job: "ok" if job else "reset", keep_metadata=keep_metadata
    ) as station:
        for number in range(4):  # other people's, so that the list has pages
            station.jobs[f"theirs_{number}"] = {"id": f"theirs_{number}", "status": "completed", "input_file_id": "x"}
        study = Study(tmp_path, station)
        await study.run()
    assert len(study.kept) == 20
    assert set(station.paid.values()) == {1}
    assert station.sizes == [20, 20]


async def test_a_provider_that_lists_nothing_gets_no_second_job_until_somebody_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "LOOKS", 3)
    monkeypatch.setattr(Depot, "_list", lambda *_: web.json_response({"job": {}}))
    async with depot(answer=echo, at_creation=lambda job: "ok" if job else "500") as station:
        study = Study(tmp_path, station, total_timeout=0.05)
        with pytest.raises(ModelUnusable, match="can't be found out"):
            await study.run()
        (job,) = read_jobs(tmp_path / "ledger.db")
        assert station.sizes == []
        await study.run(batch={"poll": 0.02, "least": 1, "forget": [job.name]})
    assert len(study.kept) == 20


async def test_a_job_that_was_never_created_is_sent_again(tmp_path: Path) -> None:
    async with depot(answer=echo, at_creation=lambda job: "ok" if job else "500") as station:
        study = Study(tmp_path, station)
        await study.run()
    assert len(study.kept) == 20
    assert set(station.paid.values()) == {1}


async def test_answers_that_nobody_has_asked_for_yet_lie_in_the_ledger(tmp_path: Path) -> None:
    async with depot(answer=echo, delay=0.05) as station:
        study = Study(tmp_path, station)
        await study.interrupted(lambda: bool(station.sizes))
        await asyncio.sleep(0.1)
        await study.run(count=1)  # opens one record alone, but its job is settled whole
        assert len(study.kept) == 1
        assert station.sizes == [20, 1]
        await study.run()
    assert len(study.kept) == 20
    assert set(station.paid.values()) == {1}
    assert station.sizes == [20, 1, 19]


async def test_calls_in_open_jobs_are_waited_for_though_batch_is_taken_away(tmp_path: Path) -> None:
    async with depot(answer=echo, delay=0.1) as station:
        study = Study(tmp_path, station)
        await study.interrupted(lambda: bool(station.sizes))
        await study.run(models={"default": {"model": "depot/world", "price": PRICE}})
    assert len(study.kept) == 20
    assert (station.sizes, station.live) == ([20], 20)
    assert study.spent == pytest.approx(20 * EACH + 20 * EACH * 2)


async def test_a_provider_out_of_reach_for_a_while_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    real = Depot._state

    def breaks_down(self: Depot, name: str) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if 1 < asked < 8:
            raise RuntimeError("the depot has no light")
        return real(self, name)

    monkeypatch.setattr(Depot, "_state", breaks_down)
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station, total_timeout=0.02)
        await study.run()
    assert len(study.kept) == 20
    assert set(station.paid.values()) == {1}


async def test_a_key_revoked_while_jobs_go_on_stops_the_run_and_shows_in_no_message(tmp_path: Path) -> None:
    async with depot(answer=echo, delay=5) as station:
        study = Study(tmp_path, station)
        task = asyncio.create_task(study.run())
        await until(lambda: bool(station.sizes))
        station.key = "another"
        with pytest.raises(ModelUnusable, match="401") as caught:
            await task
    assert KEY not in str(caught.value)
    assert KEY.encode() not in (tmp_path / "ledger.db").read_bytes()
    assert all(KEY.encode() not in file for file in station.files.values())
    assert len(read_jobs(tmp_path / "ledger.db")) == 1


async def test_a_key_that_a_job_echoes_is_not_kept(tmp_path: Path) -> None:
    async with depot(answer=lambda text: f"{KEY} {text}") as station:
        study = Study(tmp_path, station)
        await study.run(count=3)
    assert all("[key]" in getattr(result, "text", "") for result in study.settled.values())
    assert not any(KEY in str(result) for result in study.settled.values())


# money


async def test_no_job_is_sent_that_the_budget_does_not_allow_whole(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station, budget=0.1)  # a call is first taken to need 0.007, and needs 0.002
        await study.run()
    assert station.sizes[0] == 14
    assert len(study.kept) == 20
    assert study.spent == pytest.approx(0.08)


async def test_no_tiny_jobs_are_made_of_what_a_budget_leaves_for_now(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station, budget=0.2, batch={"poll": 0.02, "least": 5})
        await study.run(count=40)
    assert len(study.kept) == 40
    assert min(station.sizes) >= 5
    assert study.spent < 0.2


async def test_a_budget_that_is_reached_ends_the_run_with_what_was_paid_for_kept(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        study = Study(tmp_path, station, budget=0.05)
        with pytest.raises(RunStopped, match="budget"):
            await study.run()
        assert sum(station.paid.values()) * EACH <= 0.05
        assert study.spent == pytest.approx(sum(station.paid.values()) * EACH)
        await study.run(budget=1.0)
    assert len(study.kept) == 20
    assert set(station.paid.values()) == {1}


async def test_what_an_ended_job_cost_is_counted_before_the_next_one_is_sent(tmp_path: Path) -> None:
    async def one_step(row: Row, ask: Ask) -> Row | Drop:
        return Row(id=row.id, text=await ask.author("test/first", row=row, text=""))

    async with depot(answer=echo) as station:
        study = Study(tmp_path, station)
        await study.run(count=2, recipe=one_step)  # from now on it is known what a call costs
        with pytest.raises(RunStopped, match="budget"):
            await study.run(recipe=one_step, budget=12.5 * EACH)
    assert station.sizes == [2, 10]


async def test_what_open_jobs_reserve_counts_for_the_next_run(tmp_path: Path) -> None:
    async with depot(answer=echo, delay=30) as station:
        study = Study(tmp_path, station, budget=0.15)
        await study.interrupted(lambda: bool(station.sizes))
        live = {"model": "depot/world", "price": PRICE}
        with pytest.raises(RunStopped, match=r"\$0.00 spent"):
            await asyncio.wait_for(
                study.run(
                    models={"default": live}, recipe=lambda row, ask: ask.judge("test/second", row=row, text="?")
                ),
                10,
            )
    assert station.live == 0


def test_half_price_is_never_assumed() -> None:
    declared = {"input": 2.0, "output": 4.0, "cached": None, "batch": None}
    assert price_of("depot/world", declared, batch=True) is None
    halved = price_of("depot/world", declared | {"batch": 0.5}, batch=True)
    assert halved is not None
    assert (halved.input, halved.output, halved.cached) == (1.0, 2.0, 1.0)
    listed, live = price_of("openai/gpt-5-mini", batch=True), price_of("openai/gpt-5-mini")
    assert listed is not None
    assert live is not None
    assert listed.output == live.output / 2
    assert price_of("openrouter/openai/gpt-5-mini", batch=True) is None


async def test_with_a_budget_the_price_of_jobs_must_be_known(tmp_path: Path) -> None:
    async with depot(answer=echo) as station:
        free = {"model": "depot/world", "price": {"input": 2, "output": 4}, "batch": True}
        study = Study(tmp_path, station, budget=1.0, models={"default": free})
        with pytest.raises(UserError, match=r"in batch jobs is unknown.*batch: 0\.5"):
            await study.run()


@pytest.mark.parametrize("name", ["simulated/world", "exchange/folder"])
async def test_models_that_know_no_jobs_say_so(tmp_path: Path, name: str) -> None:
    async with depot() as station:
        study = Study(tmp_path, station, models={"default": {"model": name, "batch": True}})
        with pytest.raises(UserError, match="has no batch interface"):
            await study.run()
