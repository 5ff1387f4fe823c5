from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai.model import ChatMessageTool, ChatMessageUser, GenerateConfig, ModelOutput
from inspect_ai.tool import ToolCallError, ToolInfo, ToolParams
from inspect_ai.util import JSONSchema

from habitus.errors import CallPending, UserError
from habitus.evaluate.provider import HabitusAPI
from habitus.models.exchange import ExchangeModel
from inspections import OF_INSPECT

if TYPE_CHECKING:
    from pathlib import Path

    from inspect_ai.model import ChatMessage

pytestmark = OF_INSPECT
READ = ToolInfo(
    name="read_mail",
    description="Read one mail.",
    parameters=ToolParams(properties={"mail_id": JSONSchema(type="string")}, required=["mail_id"]),
)


class Lab:
    """The model under test as files, and those who answer in its place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = HabitusAPI("exchange/lab")

    async def asked(self, messages: list[ChatMessage]) -> ModelOutput:
        model = self.api._model = ExchangeModel("exchange/lab", self.folder, export_only=True)
        try:
            return await self.api.generate(messages, [READ], "auto", GenerateConfig())
        finally:
            await model.close()

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "requests.jsonl").read_text().splitlines()]

    async def answered(self, messages: list[ChatMessage], **answer: Any) -> ModelOutput:
        """Ask, answer with these parts of a message, and ask again."""
        with pytest.raises(CallPending):
            await self.asked(messages)
        row = {"custom_id": self.requests()[-1]["custom_id"], **answer}
        with (self.folder / "answers" / "by-hand.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return await self.asked(messages)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path / "lab")


async def test_whoever_answers_by_files_is_offered_tools_and_may_call_them(lab: Lab) -> None:
    talk: list[ChatMessage] = [ChatMessageUser(content="There is new mail.")]
    body = {"choices": [{"message": {"content": None, "tool_calls": [
        {"id": "x", "type": "function", "function": {"name": "read_mail", "arguments": '{"mail_id": "m1"}'}},
        {"id": "y", "type": "function", "function": {"name": "read_mail", "arguments": '{"mail_id": '}},
    ]}, "finish_reason": "tool_calls"}]}  # fmt: skip
    first = (await lab.answered(talk, response={"status_code": 200, "body": body})).message
    called = first.tool_calls or []
    talk += [
        first,
        ChatMessageTool(content="Dear Iris, …", tool_call_id=called[0].id),
        ChatMessageTool(content="", tool_call_id=called[1].id, error=ToolCallError("parsing", "no JSON")),
    ]
    second = (await lab.answered(talk, tool_calls=[{"name": "read_mail", "arguments": {"mail_id": "m2"}}])).message
    sent = [request["body"] for request in lab.requests()]

    assert (called[0].function, called[0].arguments, called[0].parse_error) == ("read_mail", {"mail_id": "m1"}, None)
    assert called[1].parse_error
    assert sent[0]["tools"][0]["function"]["name"] == "read_mail"
    assert sent[0]["tools"][0]["function"]["parameters"]["required"] == ["mail_id"]
    assert [one["role"] for one in sent[1]["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [one["id"] for one in sent[1]["messages"][1]["tool_calls"]] == [
        one["tool_call_id"] for one in sent[1]["messages"][2:]
    ]
    assert sent[1]["messages"][3]["content"] == "no JSON"
    assert (second.tool_calls or [])[0].arguments == {"mail_id": "m2"}
    assert not {one.id for one in second.tool_calls or []} & {one.id for one in called}


async def test_an_answer_by_files_without_a_call_is_a_plain_message(lab: Lab) -> None:
    found = await lab.answered([ChatMessageUser(content="There is new mail.")], content="I have read it.")

    assert (found.completion, found.message.tool_calls, found.stop_reason) == ("I have read it.", None, "stop")


async def test_other_models_of_habitus_are_refused_tools_with_one_message(lab: Lab) -> None:
    lab.api._model = object()  # ty: ignore[invalid-assignment]

    with pytest.raises(UserError, match="can't be given tools"):
        await lab.api.generate([ChatMessageUser(content="Hello.")], [READ], "auto", GenerateConfig())
