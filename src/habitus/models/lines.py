"""Lines of OpenAI's batch format, shared by files (`exchange/`) and batch jobs: what is asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import orjson

from habitus.models import text_or, usage_of

if TYPE_CHECKING:
    from habitus.models import Message, Params, Usage

ResponseFormat = Literal["json_schema", "json_object", "none"]

_SHOWN = 300
"""Characters of an endpoint's own words that go into a message."""
_MARK = b"\xef\xbb\xbf"
"""What some editors put at the start of a UTF-8 file."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a line says of one request: a message, or why there is none."""

    text: str = ""
    finish: str = "stop"
    usage: Usage | None = None
    model: str = ""
    error: str = ""
    """Why there is no text, if there is none, in the endpoint's words."""
    status: int = 0
    """The HTTP status that the error came with; 0 where the request was never carried out."""
    calls: tuple[tuple[str, str], ...] = ()
    """The tools that are called, each with its arguments as JSON."""


def request_body(
    model: str, messages: list[Message], params: Params, response_format: ResponseFormat = "json_schema"
) -> dict[str, Any]:
    """Return the body of a request for a chat completion."""
    body: dict[str, Any] = {**params.settings, "model": model, "messages": messages}
    if params.sample and "seed" in body:
        body["seed"] += params.sample
    if params.schema is not None and response_format == "json_schema":
        schema = {"name": params.schema.name, "schema": params.schema.schema, "strict": False}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif params.schema is not None and response_format == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def request_line(custom_id: str, body: dict[str, Any]) -> bytes:
    """Return the line that asks for a chat completion."""
    request = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def row_of(raw: bytes) -> tuple[str, dict[str, Any]]:
    """Return a line's id and the whole line; ValueError says what is wrong with it."""
    try:
        row = orjson.loads(raw.removeprefix(_MARK))
    except orjson.JSONDecodeError as error:
        try:
            raw.decode()
        except UnicodeDecodeError as mistake:
            raise ValueError(f"not UTF-8 at byte {mistake.start + 1} of the line") from error
        raise ValueError(f"not JSON: {error}") from error
    custom_id = row.get("custom_id") if isinstance(row, dict) else None
    if not custom_id or type(custom_id) is not str:
        raise ValueError("no custom_id")
    return custom_id, row


def answer_of(row: dict[str, Any]) -> Answer:
    """Return what a line answers, in OpenAI's form or in the short one; ValueError says that there is nothing."""
    try:
        if "content" in row or "tool_calls" in row:
            return Answer(_text_of(row.get("content")), calls=_calls_of(row))
        response = row.get("response") or {}
        status = int(response.get("status_code") or HTTPStatus.OK)
        if row.get("error"):
            return Answer(error=said(row["error"]), status=status if status != HTTPStatus.OK else 0)
        body = response["body"]
        if status != HTTPStatus.OK:
            return Answer(error=said(body), status=status)
        choice = body["choices"][0]
        calls = _calls_of(choice["message"])
        text = _text_of(choice["message"].get("content") if calls else choice["message"]["content"])
        ended, model = text_or(choice.get("finish_reason"), "stop"), text_or(body.get("model"), "")
        return Answer(text, ended, usage_of(body.get("usage")), model, calls=calls)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{row['custom_id']} has neither content nor a response with a message") from error


def _calls_of(message: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the tools that a message calls, in the long form or by name and arguments alone."""
    called = [one.get("function") or one for one in message.get("tool_calls") or []]
    if not all(isinstance(one["name"], str) for one in called):
        raise TypeError("a tool is called by its name")
    return tuple((one["name"], _text_of(one.get("arguments"))) for one in called)


def _text_of(content: Any) -> str:
    """Return an answer's text: as it is, from its parts, or as JSON where an object stands for itself."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content if isinstance(content, str) else orjson.dumps(content).decode()


def said(error: Any) -> str:
    """Return the message of an error in whatever form it comes."""
    while isinstance(error, dict) and (inner := error.get("error") or error.get("message")):
        error = inner
    return (error if isinstance(error, str) else orjson.dumps(error).decode())[:_SHOWN]
