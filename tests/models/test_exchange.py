from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from habitus.errors import CallPending, CallRefused, UserError
from habitus.models import AnswerSchema, Completion, Message, Params, Usage
from habitus.models.exchange import ExchangeModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

POLL = 0.002
SHAPE = AnswerSchema("Verdict", {"type": "object", "properties": {"score": {"type": "integer"}}})


def asks(text: str) -> list[Message]:
    return [{"role": "system", "content": "You are kind."}, {"role": "user", "content": text}]


def batch_line(custom_id: str, text: str, **more: Any) -> str:
    body = {
        "model": "gpt-5-mini-2025-08-07",
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}},
    }
    return json.dumps({"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None, **more})


class Lab:
    """A study's exchange folder, and those who answer in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers = folder / "answers"
        self.opened: list[ExchangeModel] = []

    def model(self, *, export_only: bool = False) -> ExchangeModel:
        """Open the model as a run does; the fixture closes it."""
        self.opened.append(ExchangeModel("exchange/gpt-5-mini", self.folder, export_only=export_only, poll=POLL))
        return self.opened[-1]

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "requests.jsonl").read_text().splitlines()]

    def write(self, text: str | bytes, file: str = "batch.jsonl", mode: str = "ab") -> None:
        self.answers.mkdir(parents=True, exist_ok=True)
        with (self.answers / file).open(mode) as out:
            out.write(text if isinstance(text, bytes) else text.encode())

    async def asked(self, *questions: str) -> list[str]:
        """Write requests down, as `--export` does, and return their ids."""
        model = self.model(export_only=True)
        for question in questions:
            with pytest.raises(CallPending):
                await model.complete(asks(question), Params())
        return [row["custom_id"] for row in self.requests()[-len(questions) :]]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    opened = Lab(tmp_path / "gpt-5-mini")
    yield opened
    for model in opened.opened:
        await model.close()


async def answer_of(model: ExchangeModel, question: str) -> Completion:
    return await model.complete(asks(question), Params())


def said(model: ExchangeModel) -> list[str]:
    return [f"{one.file.name}:{one.line} {one.what}" for one in model.problems]


# asking


async def test_a_request_is_a_line_that_a_batch_job_takes(lab: Lab) -> None:
    model = lab.model(export_only=True)
    params = Params({"temperature": 0.7, "max_tokens": 900}, schema=SHAPE)
    with pytest.raises(CallPending, match="has no answer yet"):
        await model.complete(asks("May I lie to spare her?"), params)
    (row,) = lab.requests()
    assert row["custom_id"].startswith("habitus-")
    assert len(row["custom_id"]) == len("habitus-") + 24
    assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
    assert row["body"] == {
        "model": "gpt-5-mini",
        "messages": asks("May I lie to spare her?"),
        "temperature": 0.7,
        "max_tokens": 900,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "Verdict", "schema": SHAPE.schema, "strict": False},
        },
    }
    assert model.pending == 1


async def test_the_same_request_has_the_same_name_in_every_run_and_is_written_once(lab: Lab) -> None:
    first = await lab.asked("May I lie to spare her?")
    assert await lab.asked("May I lie to spare her?") == first
    assert len(lab.requests()) == 1
    assert lab.model().pending == 1


async def test_every_sample_and_every_setting_is_a_request_of_its_own(lab: Lab) -> None:
    model = lab.model(export_only=True)
    for params in (Params({"seed": 1}), Params({"seed": 1}, sample=1), Params({"temperature": 0}), Params()):
        with pytest.raises(CallPending):
            await model.complete(asks("Tea or coffee?"), params)
    assert len({row["custom_id"] for row in lab.requests()}) == 4
    assert [row["body"].get("seed") for row in lab.requests()] == [1, 2, None, None]


async def test_settings_in_another_order_are_the_same_request(lab: Lab) -> None:
    model = lab.model(export_only=True)
    for settings in ({"top_p": 1, "logit_bias": {11: -5}}, {"logit_bias": {11: -5}, "top_p": 1}):
        with pytest.raises(CallPending):
            await model.complete(asks("Tea or coffee?"), Params(settings))
    assert len(lab.requests()) == 1


async def test_half_a_line_of_an_interrupted_run_is_replaced_and_told(lab: Lab) -> None:
    await lab.asked("Tea or coffee?")
    with (lab.folder / "requests.jsonl").open("ab") as file:
        file.write(b'{"custom_id":"habitus-00')
    model = lab.model(export_only=True)
    assert said(model) == ["requests.jsonl:2 an interrupted run left half a line, which the next request replaces"]
    with pytest.raises(CallPending):
        await model.complete(asks("Milk or lemon?"), Params())
    assert [row["body"]["messages"][1]["content"] for row in lab.requests()] == ["Tea or coffee?", "Milk or lemon?"]


async def test_requests_that_an_editor_left_without_a_last_line_end_are_continued_on_a_new_line(lab: Lab) -> None:
    await lab.asked("Tea or coffee?")
    file = lab.folder / "requests.jsonl"
    file.write_bytes(file.read_bytes().rstrip())
    await lab.asked("Milk or lemon?")
    assert len(lab.requests()) == 2


async def test_a_foreign_line_among_the_requests_is_told_and_left_alone(lab: Lab) -> None:
    lab.folder.mkdir(parents=True)
    (lab.folder / "requests.jsonl").write_text("what is this?\n")
    model = lab.model()
    assert said(model)[0].startswith("requests.jsonl:1 this is no request: not JSON")
    assert model.pending == 0


async def test_a_folder_that_cannot_be_written_is_a_users_mistake(lab: Lab) -> None:
    lab.folder.write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"requests\.jsonl: the request cannot be written"):
        await lab.model().complete(asks("Tea or coffee?"), Params())


# answers


async def test_an_answer_from_a_batch_job_is_taken_with_its_usage(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    lab.write(batch_line(custom_id, "Tea.") + "\n")
    model = lab.model()
    completion = await answer_of(model, "Tea or coffee?")
    assert (completion.text, completion.finish, completion.model) == ("Tea.", "stop", "gpt-5-mini-2025-08-07")
    assert completion.usage == Usage(20, 7, 5)
    assert model.pending == 0
    assert model.problems == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Tea.", "Tea."),
        ({"score": 4}, '{"score":4}'),
        ([{"type": "thinking", "text": "hm"}, {"type": "text", "text": "Tea."}], "Tea."),
        (None, ""),
    ],
)
async def test_a_person_may_answer_in_short(lab: Lab, content: object, text: str) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    lab.write(json.dumps({"custom_id": custom_id, "content": content}))  # and no line end, as editors leave it
    completion = await answer_of(lab.model(), "Tea or coffee?")
    assert (completion.text, completion.finish, completion.usage) == (text, "stop", None)
    assert completion.model == "gpt-5-mini"


async def test_an_answer_cut_off_by_its_limit_says_so(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    lab.write(batch_line(custom_id, "Te").replace('"stop"', '"length"') + "\n")
    assert (await answer_of(lab.model(), "Tea or coffee?")).finish == "length"


async def test_calls_wait_until_their_answers_turn_up_in_any_file_and_order(lab: Lab) -> None:
    model = lab.model()
    questions = [f"What goes with dish {number}?" for number in range(20)]
    calls = [asyncio.create_task(model.complete(asks(question), Params())) for question in questions]
    twin = asyncio.create_task(model.complete(asks(questions[0]), Params()))
    await until(lambda: model.pending == 20)
    ids = [row["custom_id"] for row in lab.requests()]
    for number in reversed(range(20)):
        lab.write(json.dumps({"custom_id": ids[number], "content": f"Wine {number}."}) + "\n", f"b{number % 3}.jsonl")
        await asyncio.sleep(POLL / 2)
    assert [(await call).text for call in calls] == [f"Wine {number}." for number in range(20)]
    assert (await twin).text == "Wine 0."
    assert model.pending == 0


async def test_a_line_that_is_still_being_written_is_left_until_it_is_whole(lab: Lab) -> None:
    first, second = await lab.asked("Tea or coffee?", "Milk or lemon?")
    line = batch_line(second, "Lemon, ünsweetened.").encode()
    lab.write(batch_line(first, "Tea.") + "\n")
    lab.write(line[:40])
    model = lab.model()
    call = asyncio.create_task(model.complete(asks("Milk or lemon?"), Params()))
    assert (await model.complete(asks("Tea or coffee?"), Params())).text == "Tea."
    assert said(model) == ["batch.jsonl:2 the last line is not complete; it is left until it is"]
    for part in (line[40:60], line[60:-10], line[-10:] + b"\n"):
        lab.write(part)
        await asyncio.sleep(3 * POLL)
    assert (await call).text == "Lemon, ünsweetened."
    assert model.problems == []


async def test_a_cancelled_call_leaves_the_others_waiting(lab: Lab) -> None:
    model = lab.model()
    gone = asyncio.create_task(model.complete(asks("Tea or coffee?"), Params()))
    stays = asyncio.create_task(model.complete(asks("Tea or coffee?"), Params()))
    await until(lambda: model.pending == 1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    lab.write(json.dumps({"custom_id": lab.requests()[0]["custom_id"], "content": "Tea."}) + "\n")
    assert (await stays).text == "Tea."


async def test_closing_ends_the_calls_that_wait(lab: Lab) -> None:
    model = lab.model()
    call = asyncio.create_task(model.complete(asks("Tea or coffee?"), Params()))
    await until(lambda: model.pending == 1)
    await model.close()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_what_breaks_the_looking_reaches_the_calls_that_wait(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lab.model()

    def broken() -> bool:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(model._answers, "look", broken)
    with pytest.raises(RuntimeError, match="on fire"):
        await model.complete(asks("Tea or coffee?"), Params())


async def test_a_failed_request_is_refused_with_its_words_and_stays_pending(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    body = {"error": {"message": "The prompt was flagged.", "code": "flagged"}}
    lab.write(json.dumps({"custom_id": custom_id, "response": {"status_code": 400, "body": body}}) + "\n")
    model = lab.model()
    with pytest.raises(CallRefused, match=r"batch\.jsonl:1: HTTP 400: The prompt was flagged\."):
        await answer_of(model, "Tea or coffee?")
    assert model.pending == 1


async def test_an_expired_request_is_refused_until_another_line_answers_it(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    expired = {"custom_id": custom_id, "response": None, "error": {"code": "batch_expired", "message": "Too late."}}
    lab.write(json.dumps(expired) + "\n", "a.jsonl")
    model = lab.model()
    with pytest.raises(CallRefused, match=r"a\.jsonl:1: Too late\."):
        await model.complete(asks("Tea or coffee?"), Params())
    lab.write(batch_line(custom_id, "Tea.") + "\n", "b.jsonl")
    assert (await answer_of(lab.model(), "Tea or coffee?")).text == "Tea."


async def test_a_failed_line_that_is_deleted_is_forgotten_at_the_next_look(lab: Lab) -> None:
    first, second = await lab.asked("Tea or coffee?", "Milk or lemon?")
    lab.write(json.dumps({"custom_id": first, "error": "no"}) + "\n" + batch_line(second, "Lemon.") + "\n")
    model = lab.model()
    with pytest.raises(CallRefused):
        await model.complete(asks("Tea or coffee?"), Params())
    lab.write(batch_line(second, "Lemon.") + "\n", mode="wb")
    call = asyncio.create_task(model.complete(asks("Milk, lemon or nothing?"), Params()))  # so that it looks again
    await until(lambda: first not in model._answers.known)
    lab.write(batch_line(first, "Tea.") + "\n")
    await until(lambda: first in model._answers.known)
    assert (await model.complete(asks("Tea or coffee?"), Params())).text == "Tea."
    call.cancel()


@pytest.mark.parametrize("change", ["same size", "grown", "removed", "replaced"])
async def test_a_file_that_was_edited_is_read_again(lab: Lab, change: str) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    lab.write(batch_line(custom_id, "Tea.") + "\n")
    model = lab.model()
    file = lab.answers / "batch.jsonl"
    if change == "removed":
        file.unlink()
        expected = {}
    else:
        text = {"same size": "Ale!", "grown": "Coffee, of course.", "replaced": "Milk"}[change]
        target = lab.answers / "new.tmp" if change == "replaced" else file
        target.write_text(batch_line(custom_id, text) + "\n")
        os.utime(target, ns=(1, 1))
        target.rename(file)
        expected = {custom_id: text}
    assert model._answers.look()
    assert {key: answer.told.text for key, answer in model._answers.known.items()} == expected
    assert not model._answers.look()


# problems


async def test_the_same_answer_twice_is_noted_and_harmless(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    lab.write(batch_line(custom_id, "Tea.") + "\n", "a.jsonl")
    lab.write(json.dumps({"custom_id": custom_id, "content": "Tea."}) + "\n", "b.jsonl")
    (problem,) = lab.model().problems
    assert str(problem) == f"{lab.answers}/b.jsonl:1: {custom_id} is answered already in a.jsonl:1"
    assert problem.harmless


async def test_of_two_different_answers_the_first_counts_and_the_second_is_told(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    lab.write(batch_line(custom_id, "Tea.") + "\n" + batch_line(custom_id, "Coffee.") + "\n")
    model = lab.model()
    assert (await answer_of(model, "Tea or coffee?")).text == "Tea."
    (problem,) = model.problems
    assert str(problem).endswith(f":2: this differs from the answer to {custom_id} in batch.jsonl:1, which counts")
    assert not problem.harmless


async def test_unknown_malformed_and_foreign_lines_are_told_by_file_and_line(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    lines = [
        b"",
        b'{"custom_id": "habitus-stranger", "content": "Hello."}',
        b'{"custom_id": "' + custom_id.encode() + b'", "response": {"status_code": 200, "body": {}}}',
        b'{"custom_id": "' + custom_id.encode() + b'", "content": [1, 2]}',
        b'{"custom_id": "' + custom_id.encode() + b'"}',
        b'{"content": "To whom?"}',
        b'["not", "an", "object"]',
        b'{"custom_id": "caf\xe9"}',
        b"Tea, I suppose.",
        b"\x00\x00",
        b'\xef\xbb\xbf{"custom_id": "' + custom_id.encode() + b'", "content": "Tea."}\r',
    ]
    lab.write(b"\n".join(lines) + b"\n", "by_hand.jsonl")
    model = lab.model()
    assert (await answer_of(model, "Tea or coffee?")).text == "Tea."
    assert [problem.split(": ")[0] for problem in said(model)] == [
        "by_hand.jsonl:2 no request is called 'habitus-stranger'",
        f"by_hand.jsonl:3 {custom_id} has neither content nor a response with a message",
        f"by_hand.jsonl:4 {custom_id} has neither content nor a response with a message",
        f"by_hand.jsonl:5 {custom_id} has neither content nor a response with a message",
        "by_hand.jsonl:6 no custom_id",
        "by_hand.jsonl:7 no custom_id",
        "by_hand.jsonl:8 not UTF-8 at byte 19 of the line",
        "by_hand.jsonl:9 not JSON",
        "by_hand.jsonl:10 not JSON",
    ]


async def test_an_answer_that_came_before_its_request_is_a_stranger_until_then(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    (lab.folder / "requests.jsonl").unlink()
    lab.write(batch_line(custom_id, "Tea.") + "\n")
    model = lab.model()
    assert len(model.problems) == 1
    assert (await answer_of(model, "Tea or coffee?")).text == "Tea."
    assert model.problems == []


async def test_a_folder_among_the_answers_is_told_and_does_no_harm(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    (lab.answers / "old.jsonl").mkdir()
    lab.write(batch_line(custom_id, "Tea.") + "\n")
    model = lab.model()
    assert (await answer_of(model, "Tea or coffee?")).text == "Tea."
    assert said(model) == ["old.jsonl:1 it cannot be read: Is a directory"]


async def test_an_answer_of_ten_megabytes_is_read(lab: Lab) -> None:
    (custom_id,) = await lab.asked("Tea or coffee?")
    lab.write(batch_line(custom_id, "Tea. " * 2_000_000) + "\n")
    assert len((await answer_of(lab.model(), "Tea or coffee?")).text) == 10_000_000


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until it holds; the test's own time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - files tell of no event
        await asyncio.sleep(POLL)


async def test_two_models_that_share_a_folder_erase_nothing_of_each_other(lab: Lab) -> None:
    auditor, judge = lab.model(export_only=True), lab.model(export_only=True)
    for model, question in (
        (auditor, "Open it."), (judge, "Is it real?"), (auditor, "Go on."), (judge, "Is it real?"), (judge, "And now?"),
    ):  # fmt: skip
        with pytest.raises(CallPending):
            await model.complete(asks(question), Params())
    with pytest.raises(CallPending):
        await auditor.complete(asks("And now?"), Params())

    said = [one["body"]["messages"][-1]["content"] for one in lab.requests()]
    assert said == ["Open it.", "Is it real?", "Go on.", "And now?"]


async def test_half_a_line_that_another_left_since_is_replaced_and_whole_lines_stay(lab: Lab) -> None:
    first, second = lab.model(export_only=True), lab.model(export_only=True)
    for model, question in ((first, "Open it."), (second, "Is it real?")):
        with pytest.raises(CallPending):
            await model.complete(asks(question), Params())
    with (lab.folder / "requests.jsonl").open("a") as file:
        file.write('{"custom_id": "habitus-')
    with pytest.raises(CallPending):
        await first.complete(asks("Go on."), Params())

    said = [one["body"]["messages"][-1]["content"] for one in lab.requests()]
    assert said == ["Open it.", "Is it real?", "Go on."]
