from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from habitus.errors import UserError
from habitus.models import AnswerSchema, Completion, Message, Params, Usage
from habitus.models.ledger import VERSION, Call, Ledger, StepTotal, call_key, read_totals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEEPER = "You keep the lighthouse, and say how sure you are."
USED = Usage(120, 30, 20)
HARBOUR = AnswerSchema("Watch", {"type": "object", "properties": {"lit": {"type": "boolean"}}})


def asked(question: str, system: str | None = KEEPER) -> list[Message]:
    opening: list[Message] = [{"role": "system", "content": system}] if system is not None else []
    return [*opening, {"role": "user", "content": question}]


def call(
    question: str,
    answer: str = "The lamp is lit.",
    *,
    step: str = "chats/draft",
    model: str = "lab/owl",
    system: str | None = KEEPER,
    params: Params | None = None,
    usage: Usage | None = USED,
    dollars: float | None = 0.25,
) -> Call:
    params = params or Params({"temperature": 0.7})
    messages = asked(question, system)
    completion = Completion(answer, "stop", usage, 1.5, "owl-2026-01")
    return Call(call_key(model, messages, params), step, "chat-0000001", model, messages, params, completion, dollars)


def lamp(number: int) -> Call:
    return call(f"Is lamp {number} lit?", f"Lamp {number} is lit. " * 40)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(path)
    try:
        yield ledger
    finally:
        await ledger.close()


async def written(path: Path, calls: list[Call]) -> None:
    async with opened(path) as ledger:
        await asyncio.gather(*(ledger.add(one) for one in calls))


async def found_again(path: Path, calls: list[Call]) -> None:
    """Hold that the ledger in a file has these calls, and can take more."""
    more = call("Is the fog coming?")
    async with opened(path) as ledger:
        await soon(ledger.add(more))
        for one in [*calls, more]:
            assert ledger.find(one.key) == one.completion
            assert ledger.request(one.key)["messages"] == one.messages


async def soon(work: Any) -> Any:
    """Await with an end, so that what would wait for ever fails."""
    return await asyncio.wait_for(work, 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


class TestKeys:
    def test_the_same_call_has_the_same_key_whatever_the_order_of_its_settings(self) -> None:
        one = Params({"temperature": 0.7, "top_p": 1, "stop": {"a": 1, "b": 2}})
        other = Params({"stop": {"b": 2, "a": 1}, "top_p": 1, "temperature": 0.7})

        assert call_key("lab/owl", asked("Lit?"), one) == call_key("lab/owl", asked("Lit?"), other)
        assert len(call_key("lab/owl", asked("Lit?"), one)) == 16

    def test_whatever_decides_the_answer_decides_the_key(self) -> None:
        keys = [
            call_key("lab/owl", asked("Lit?"), Params()),
            call_key("lab/raven", asked("Lit?"), Params()),
            call_key("lab/owl", asked("Lit ?"), Params()),
            call_key("lab/owl", asked("Lit?", None), Params()),
            call_key("lab/owl", [{"role": "assistant", "content": "Lit?"}], Params()),
            call_key("lab/owl", asked("Lit?"), Params({"temperature": 0})),
            call_key("lab/owl", asked("Lit?"), Params(schema=HARBOUR)),
            call_key("lab/owl", asked("Lit?"), Params(sample=1)),
        ]

        assert len(set(keys)) == len(keys)

    def test_the_key_is_the_same_in_every_process_and_version(self) -> None:
        key = call_key("lab/owl", asked("Lit?"), Params({"temperature": 0.7}, HARBOUR, 2))

        assert key.hex() == "dc739ef785bf225076c4f1fc70cb0782"

    @pytest.mark.parametrize("text", ["half a smile: \ud83d", "\udcff", "Grażyna 愛 😀", "\0"])
    def test_any_text_has_a_key(self, text: str) -> None:
        assert len(call_key("lab/owl", asked(text, text), Params({"stop": text}))) == 16

    def test_texts_that_differ_in_a_half_character_alone_may_share_a_key_but_not_with_the_rest(self) -> None:
        assert call_key("lab/owl", asked("\ud83d"), Params()) != call_key("lab/owl", asked(""), Params())

    def test_settings_with_numbers_for_keys_have_a_key(self) -> None:
        """As in `logit_bias: {50256: -100}`, which YAML reads with a number for a key."""
        one = call_key("lab/owl", asked("Lit?"), Params({"logit_bias": {50256: -100}}))
        other = call_key("lab/owl", asked("Lit?"), Params({"logit_bias": {50257: -100}}))

        assert one != other


class TestRoundTrip:
    async def test_what_was_added_is_found(self, path: Path) -> None:
        async with opened(path) as ledger:
            made = call("Is the lamp lit?")
            assert ledger.find(made.key) is None
            await ledger.add(made)

            assert ledger.find(made.key) == made.completion
            assert len(ledger) == 1

    async def test_a_call_without_usage_or_price_comes_back_without(self, path: Path) -> None:
        async with opened(path) as ledger:
            made = call("Is the lamp lit?", usage=None, dollars=None)
            await ledger.add(made)

            assert ledger.find(made.key) == made.completion

    async def test_a_new_process_finds_what_the_last_one_added(self, path: Path) -> None:
        calls = [call(f"Is lamp {number} lit?", f"Lamp {number} is.") for number in range(50)]
        async with opened(path) as ledger:
            await asyncio.gather(*(ledger.add(one) for one in calls))
        async with opened(path) as ledger:
            assert len(ledger) == 50
            assert [ledger.find(one.key) for one in calls] == [one.completion for one in calls]
            assert ledger.request(calls[7].key)["messages"] == calls[7].messages

            later = call("Is lamp 50 lit?")
            await ledger.add(later)
            assert ledger.find(later.key) == later.completion
            assert ledger.find(calls[0].key) == calls[0].completion
        async with opened(path) as ledger:
            assert len(ledger) == 51

    async def test_the_row_is_in_the_file_when_add_returns(self, path: Path) -> None:
        async with opened(path) as ledger:
            for number in range(5):
                made = call(f"Is lamp {number} lit?")
                await ledger.add(made)
                with closing(sqlite3.connect(path)) as other:
                    assert other.execute("SELECT count(*) FROM calls WHERE key = ?", (made.key,)).fetchone() == (1,)
                    assert other.execute("SELECT count(*) FROM texts").fetchone() == (number + 1,)

    async def test_calls_made_at_once_are_committed_together_and_all_found(self, path: Path) -> None:
        async with opened(path) as ledger:
            calls = [call(f"Is lamp {number} lit?", f"Lamp {number}.") for number in range(700)]
            await asyncio.gather(*(ledger.add(one) for one in calls))

            assert len(ledger) == 700
            assert all(ledger.find(one.key) == one.completion for one in calls)

    async def test_calls_that_come_while_others_are_being_written_are_written_too(self, path: Path) -> None:
        async with opened(path) as ledger:

            async def later(number: int) -> None:
                await asyncio.sleep(number / 2000)
                await ledger.add(call(f"Is lamp {number} lit?"))

            await soon(asyncio.gather(*(later(number) for number in range(200))))

            assert len(ledger) == 200

    async def test_a_second_answer_to_the_same_question_counts_as_paid_and_is_the_one_found(self, path: Path) -> None:
        async with opened(path) as ledger:
            await ledger.add(call("Is the lamp lit?", "Yes."))
            again = call("Is the lamp lit?", "No.")
            await ledger.add(again)

            assert ledger.find(again.key) == again.completion
            assert ledger.totals()[0].calls == 2
        async with opened(path) as ledger:
            assert ledger.find(again.key) == again.completion

    async def test_closing_commits_what_was_not_yet_written(self, path: Path) -> None:
        ledger = Ledger(path)
        adding = asyncio.create_task(ledger.add(call("Is the lamp lit?")))
        await asyncio.sleep(0)
        await ledger.close()
        await soon(adding)

        async with opened(path) as again:
            assert len(again) == 1

    async def test_a_caller_that_was_cancelled_does_not_take_its_answer_along(self, path: Path) -> None:
        """The money is spent: the answer is kept."""
        async with opened(path) as ledger:
            made = call("Is the lamp lit?")
            adding = asyncio.create_task(ledger.add(made))
            beside = asyncio.create_task(ledger.add(call("Is the horn loud?")))
            await asyncio.sleep(0)
            adding.cancel()
            await soon(beside)

            assert ledger.find(made.key) == made.completion


class TestRequests:
    async def test_a_request_comes_back_with_all_that_was_asked(self, path: Path) -> None:
        params = Params({"temperature": 0.7, "stop": ["END"]}, HARBOUR, 3)
        made = call("Is the lamp lit?", params=params)
        async with opened(path) as ledger:
            await ledger.add(made)
            request = ledger.request(made.key)

        assert request == {
            "messages": asked("Is the lamp lit?"),
            "settings": {"temperature": 0.7, "stop": ["END"]},
            "schema": "Watch",
            "sample": 3,
        }

    async def test_a_request_without_a_schema_says_so(self, path: Path) -> None:
        made = call("Is the lamp lit?", system=None)
        async with opened(path) as ledger:
            await ledger.add(made)

            assert ledger.request(made.key)["schema"] is None
            assert ledger.request(made.key)["messages"] == asked("Is the lamp lit?", None)

    async def test_a_system_message_is_stored_once(self, path: Path) -> None:
        calls = [call(f"Is lamp {number} lit?", system=KEEPER * 200) for number in range(60)]
        other = call("Is the horn loud?", system="You keep the horn.")
        async with opened(path) as ledger:
            await asyncio.gather(*(ledger.add(one) for one in calls[:30]))
            await asyncio.gather(*(ledger.add(one) for one in [*calls[30:], other]))

            assert [ledger.request(one.key)["messages"][0]["content"] for one in calls] == [KEEPER * 200] * 60
            assert ledger.request(other.key)["messages"][0]["content"] == "You keep the horn."
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("SELECT count(*) FROM systems").fetchone() == (2,)

    async def test_a_system_message_that_was_forgotten_is_stored_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("habitus.models.ledger.MOST_SYSTEMS", 2)
        calls = [call(f"Question {number}?", system=f"You are keeper {number % 3}.") for number in range(6)]
        async with opened(path) as ledger:
            for one in calls:
                await ledger.add(one)
            for one in calls:
                assert ledger.request(one.key)["messages"][0]["content"] == one.messages[0]["content"]
            assert len(ledger._systems) == 2

    async def test_a_system_message_of_a_later_process_does_not_take_the_place_of_another(self, path: Path) -> None:
        calls = [call(f"Is lamp {number} lit?", system=f"You keep lamp {number}.") for number in range(4)]
        for one in calls:
            async with opened(path) as ledger:
                await ledger.add(one)
        async with opened(path) as ledger:
            assert [ledger.request(one.key)["messages"] for one in calls] == [one.messages for one in calls]

    async def test_settings_with_numbers_for_keys_are_kept(self, path: Path) -> None:
        async with opened(path) as ledger:
            made = call("Is the lamp lit?", params=Params({"logit_bias": {50256: -100}}))
            await soon(ledger.add(made))

            assert ledger.request(made.key)["settings"] == {"logit_bias": {"50256": -100}}


class TestTexts:
    @pytest.mark.parametrize("text", ["", "Grażyna 愛 😀", "a\0b", "\u2028\r\n", "lit " * 200_000])
    async def test_any_text_comes_back_the_same(self, path: Path, text: str) -> None:
        made = call(text, text, system=text)
        async with opened(path) as ledger:
            await soon(ledger.add(made))
        async with opened(path) as ledger:
            assert ledger.find(made.key) == made.completion
            assert ledger.request(made.key)["messages"] == made.messages

    @pytest.mark.parametrize("where", ["question", "answer", "system", "step", "finish"])
    async def test_half_characters_are_replaced_and_nothing_else_is_lost(self, path: Path, where: str) -> None:
        texts = {"question": "Lit?", "answer": "Yes.", "system": KEEPER, "step": "chats/draft", "finish": "stop"}
        texts[where] += " \ud83d"
        messages = asked(texts["question"], texts["system"])
        made = Call(
            b"k" * 16, texts["step"], "chat-1", "lab/owl", messages, Params(),
            Completion(texts["answer"], texts["finish"], None, 1.0, "owl"), None,
        )  # fmt: skip
        async with opened(path) as ledger:
            beside = asyncio.create_task(ledger.add(call("Is the horn loud?")))
            await soon(ledger.add(made))
            await soon(beside)

            found = ledger.find(made.key)
            assert found is not None
            assert found.text.startswith("Yes.")
            assert [message["content"][:4] for message in ledger.request(made.key)["messages"]] == ["You ", "Lit?"]


class TestTotals:
    async def test_totals_add_up_by_step_and_model_in_the_order_of_the_steps(self, path: Path) -> None:
        async with opened(path) as ledger:
            for number in range(3):
                await ledger.add(call(f"Plan {number}", step="chats/plan", dollars=0.5))
            await ledger.add(call("Draft", step="chats/draft", model="lab/raven", dollars=None))
            await ledger.add(call("Draft", step="chats/draft", usage=None, dollars=0.125))
            await ledger.add(call("Plan 4", step="chats/plan", dollars=None))

            assert ledger.totals() == [
                StepTotal("chats/plan", "lab/owl", 4, 480, 120, 1.5, 1),
                StepTotal("chats/draft", "lab/raven", 1, 120, 30, 0.0, 1),
                StepTotal("chats/draft", "lab/owl", 1, 0, 0, 0.125, 0),
            ]

    async def test_totals_can_be_read_while_the_ledger_is_open_for_writing(self, path: Path) -> None:
        async with opened(path) as ledger:
            await ledger.add(call("Is the lamp lit?"))

            assert read_totals(path) == ledger.totals()
            adding = asyncio.create_task(ledger.add(call("Is the horn loud?")))
            await asyncio.sleep(0)
            assert read_totals(path)[0].calls in (1, 2)
            await soon(adding)
            assert read_totals(path)[0].calls == 2
        assert read_totals(path)[0].calls == 2

    def test_there_are_no_totals_where_there_is_no_ledger(self, path: Path) -> None:
        assert read_totals(path) == []
        assert not path.exists()

    def test_reading_totals_changes_no_byte(self, path: Path) -> None:
        asyncio.run(written(path, [call("Is the lamp lit?")]))
        before = path.read_bytes()

        read_totals(path)

        assert path.read_bytes() == before

    def test_a_file_that_a_crash_left_empty_has_no_totals(self, path: Path) -> None:
        path.touch()

        assert read_totals(path) == []

    def test_a_process_that_reads_while_another_opens_a_new_ledger_is_not_in_its_way(self, path: Path) -> None:
        failures: list[UserError] = []
        for number in range(5):
            here = path.with_name(f"ledger-{number}.db")
            here.touch()
            with ThreadPoolExecutor(3) as readers:
                found = readers.map(_reads, [here] * 3)
                ledger = Ledger(here)
                failures += chain.from_iterable(found)
            asyncio.run(ledger.close())

        assert failures == []


def _reads(path: Path) -> list[UserError]:
    try:
        for _ in range(5):
            read_totals(path)
    except UserError as error:
        return [error]
    return []


KEEPS_ADDING = """
import asyncio, itertools, pathlib, sys
sys.path.insert(0, sys.argv[2])
from test_ledger import lamp
from habitus.models.ledger import Ledger

async def one(ledger, number):
    await ledger.add(lamp(number))
    print(number, flush=True)

async def main():
    ledger = Ledger(pathlib.Path(sys.argv[1]))
    for first in itertools.count(step=37):
        await asyncio.gather(*(one(ledger, first + offset) for offset in range(37)))

asyncio.run(main())
"""


class TestCrashes:
    @pytest.mark.parametrize("lines", [1, 40, 300])
    def test_nothing_that_add_returned_for_is_lost_when_the_process_is_killed(
        self, path: Path, lines: int, request: pytest.FixtureRequest
    ) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", KEEPS_ADDING, path, request.path.parent], stdout=subprocess.PIPE, text=True
        ) as adding:
            assert adding.stdout is not None
            seen = [adding.stdout.readline() for _ in range(lines)]
            adding.kill()
            seen += adding.stdout.readlines()
        acknowledged = [int(line) for line in seen if line.endswith("\n")]

        assert len(acknowledged) >= lines
        asyncio.run(found_again(path, [lamp(number) for number in acknowledged]))

    async def test_a_full_disk_is_told_to_every_waiting_caller_and_what_was_kept_stays(self, path: Path) -> None:
        async with opened(path) as ledger:
            kept = call("Is the lamp lit?")
            await ledger.add(kept)
            pages = ledger._writer.execute("PRAGMA page_count").fetchone()[0]
            ledger._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
            large = [call(f"Is lamp {number} lit?", "".join(map(str, range(9000)))) for number in range(20)]

            ends = await soon(asyncio.gather(*(ledger.add(one) for one in large), return_exceptions=True))

            assert {type(end) for end in ends} == {UserError}
            assert "full" in str(ends[0])
            assert "Free some space" in str(ends[0])
            assert ledger.find(kept.key) == kept.completion
            assert all(ledger.find(one.key) is None for one in large)

            ledger._writer.execute("PRAGMA max_page_count = 1000000")
            await soon(ledger.add(large[0]))
            assert ledger.request(large[0].key)["messages"] == large[0].messages
        async with opened(path) as ledger:
            assert len(ledger) == 2

    async def test_a_file_that_became_read_only_is_told_to_every_waiting_caller(self, path: Path) -> None:
        async with opened(path) as ledger:
            ledger._writer.execute("PRAGMA query_only = ON")

            ends = await soon(
                asyncio.gather(
                    *(ledger.add(call(f"Is lamp {number} lit?")) for number in range(5)), return_exceptions=True
                )
            )

            assert {type(end) for end in ends} == {UserError}
            assert "Make the folder writable" in str(ends[0])
            assert str(path) in str(ends[0])

    async def test_who_comes_while_a_commit_is_failing_is_answered_too(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with opened(path) as ledger:
            begun, may_fail = threading.Event(), threading.Event()

            def failing(*_: Any) -> None:
                begun.set()
                may_fail.wait(20)
                raise sqlite3.OperationalError("database or disk is full")

            monkeypatch.setattr(ledger, "_commit", failing)
            first = asyncio.create_task(ledger.add(call("Is the lamp lit?")))
            await asyncio.to_thread(begun.wait, 20)
            second = asyncio.create_task(ledger.add(call("Is the horn loud?")))
            await asyncio.sleep(0)
            may_fail.set()

            ends = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 5)

            assert [type(end) for end in ends] == [UserError, UserError]

    @pytest.mark.parametrize("defect", [TypeError("no such thing"), OverflowError("int too large"), MemoryError()])
    async def test_a_defect_while_writing_leaves_nobody_waiting(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, defect: Exception
    ) -> None:
        async with opened(path) as ledger:

            def failing(*_: Any) -> None:
                raise defect

            with monkeypatch.context() as patched:
                patched.setattr(ledger, "_commit", failing)
                ends = await asyncio.wait_for(
                    asyncio.gather(*(ledger.add(call(f"Lamp {n}?")) for n in range(3)), return_exceptions=True), 5
                )

            assert all(isinstance(end, type(defect) | UserError) for end in ends)
            made = call("Is the horn loud?")
            await soon(ledger.add(made))
            assert ledger.find(made.key) == made.completion

    async def test_a_count_that_no_database_holds_leaves_nobody_waiting(self, path: Path) -> None:
        async with opened(path) as ledger:
            ends = await asyncio.wait_for(
                asyncio.gather(
                    ledger.add(call("Is the lamp lit?", usage=Usage(2**70, 1))),
                    ledger.add(call("Is the horn loud?")),
                    return_exceptions=True,
                ),
                5,
            )

            assert all(end is None or isinstance(end, Exception) for end in ends)
            request_of_the_next = call("Is the bell heavy?")
            await soon(ledger.add(request_of_the_next))
            assert ledger.request(request_of_the_next.key)["messages"] == request_of_the_next.messages

    async def test_adding_to_a_closed_ledger_is_an_error_and_no_endless_wait(self, path: Path) -> None:
        ledger = Ledger(path)
        await ledger.close()

        with pytest.raises(Exception, match=r"clos|shutdown"):
            await asyncio.wait_for(ledger.add(call("Is the lamp lit?")), 5)


class TestOpening:
    def test_a_ledger_of_a_newer_version_is_refused_and_left_as_it_is(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as file:
            file.execute(f"PRAGMA user_version = {VERSION + 1}")
        before = path.read_bytes()

        with pytest.raises(UserError, match=f"format {VERSION + 1}.*newer habitus"):
            Ledger(path)
        with pytest.raises(UserError, match="newer habitus"):
            read_totals(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("content", [b"call, answer\n" * 200, b"SQLite format 3\0" + b"\xff" * 5000])
    def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)

        with pytest.raises(UserError, match=r"ledger\.db"):
            Ledger(path)
        with pytest.raises(UserError, match=r"ledger\.db"):
            read_totals(path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("version", [0, VERSION])
    def test_another_programs_database_is_refused_and_left_as_it_is(self, path: Path, version: int) -> None:
        with closing(sqlite3.connect(path)) as file:
            file.executescript(f"CREATE TABLE bookmarks (url TEXT); PRAGMA user_version = {version};")
        before = path.read_bytes()

        with pytest.raises(UserError, match=r"ledger\.db"):
            Ledger(path)
        with pytest.raises(UserError, match=r"ledger\.db"):
            read_totals(path)
        assert path.read_bytes() == before

    def test_a_ledger_that_was_cut_short_is_refused(self, path: Path) -> None:
        calls = [call(f"Is lamp {number} lit?", "".join(map(str, range(2000)))) for number in range(30)]
        asyncio.run(written(path, calls))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 3])

        with pytest.raises(UserError, match=r"ledger\.db"):
            asyncio.run(found_again(path, calls))

    @pytest.mark.parametrize("content", [b"call, answer\n" * 200, None])
    def test_a_ledger_that_is_refused_is_closed_again(
        self, path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if content is None:
            with closing(sqlite3.connect(path)) as file:
                file.execute(f"PRAGMA user_version = {VERSION + 1}")
        else:
            path.write_bytes(content)
        made: list[sqlite3.Connection] = []
        real = sqlite3.connect

        def remembered(*arguments: Any, **options: Any) -> sqlite3.Connection:
            made.append(real(*arguments, **options))
            return made[-1]

        monkeypatch.setattr(sqlite3, "connect", remembered)
        with pytest.raises(UserError):
            Ledger(path)

        assert made
        for connection in made:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("SELECT 1")

    def test_a_folder_that_is_not_there_is_the_users_mistake(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"ledger\.db"):
            Ledger(tmp_path / "nowhere" / "ledger.db")

    def test_a_folder_in_its_place_is_the_users_mistake(self, path: Path) -> None:
        path.mkdir()

        with pytest.raises(UserError, match=r"ledger\.db"):
            Ledger(path)

    def test_a_folder_that_cannot_be_written_is_the_users_mistake(self, tmp_path: Path, path: Path) -> None:
        """As another user, since root may write everywhere."""
        script = """
import os, pathlib, sys
from habitus.errors import UserError
from habitus.models.ledger import Ledger
if os.getuid() == 0:
    os.setuid(65534)
try:
    Ledger(pathlib.Path(sys.argv[1]))
except UserError as error:
    print("refused:", error)
"""
        tmp_path.chmod(0o555)
        try:
            found = subprocess.run(
                [sys.executable, "-c", script, path], capture_output=True, text=True, check=False, timeout=60
            )
        finally:
            tmp_path.chmod(0o755)

        assert found.stdout.startswith("refused:"), found.stderr
        assert "Make the folder writable" in found.stdout
