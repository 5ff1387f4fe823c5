"""Rows of foreign shapes turned into ours: ShareGPT, Alpaca, prompt and response, text, pairs, and their kin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from habitus.sources import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from habitus.records import Message

Shape = Literal["chats", "documents", "preferences"]
COLUMNS: dict[Shape, tuple[str, ...]] = {
    "chats": ("messages",),
    "documents": ("text",),
    "preferences": ("prompt", "chosen", "rejected"),
}
"""The columns by which the shape of a row of ours is told."""
CONVERSATIONS = ("messages", "conversations", "conversation")
ANSWERS = ("response", "completion", "output", "answer")
ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
"""Names that roles have elsewhere."""
TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")
"""Where a turn begins in a conversation that was written down as one text."""


_SHOWN = 60
"""Characters of a foreign name, and names of columns, that a message shows."""


class Unreadable(Exception):
    """A row is of no shape that is known; the message says why."""


Told = tuple[Shape, dict[str, Any], set[str]]
"""A row's shape, its columns as ours, and the names of the foreign columns that went into them."""


def recognise(row: Mapping[str, Any]) -> Told:
    """Return a row as one of our shapes.

    Raises:
        Unreadable: there is no way to.

    """
    has = {name for name, value in row.items() if value is not None}
    if {"chosen", "rejected"} <= has:
        return "preferences", _pair(row), {"prompt", "chosen", "rejected", "system"}
    if name := next((name for name in CONVERSATIONS if name in has), None):
        return "chats", _chat(_with_system(row, _messages(row[name], name))), {name, "system"}
    if {"instruction", "output"} <= has:
        extra = row.get("input")
        asked = f"{_text(row['instruction'], 'instruction')}\n\n{extra}" if extra else row["instruction"]
        turns = [*_said(asked, "user", "instruction"), *_said(row["output"], "assistant", "output")]
        return "chats", _chat(_with_system(row, turns)), {"instruction", "input", "output", "system"}
    if "prompt" in has and (name := next((name for name in ANSWERS if name in has), None)):
        turns = [*_said(row["prompt"], "user", "prompt"), *_said(row[name], "assistant", name)]
        return "chats", _chat(_with_system(row, turns)), {"prompt", name, "system"}
    if "text" in has:
        text = _text(row["text"], "text")
        if not text.strip():
            raise Unreadable("the text is empty")
        return "documents", {"text": text}, {"text"}
    columns = ", ".join(str(name)[:_SHOWN] for name in list(row)[:_SHOWN]) or "none"
    raise Unreadable(f"no columns of a known shape (there are: {columns})")


def shaped(row: Any, shape: Shape | None) -> tuple[Shape, dict[str, Any]]:
    """Return the shape of a row, which must be that of the rows before it, and its content.

    Raises:
        Unreadable: it has none, or another.

    """
    if isinstance(row, Broken):
        raise Unreadable(row.reason)
    if not isinstance(row, dict):
        raise Unreadable("the row is no object")
    found, content, _ = recognise(row)
    if shape not in (None, found):
        raise Unreadable(f"this row is one of {found}, and those before it are {shape}")
    return found, content


def _chat(messages: list[Message]) -> dict[str, Any]:
    if all(one["role"] != "assistant" for one in messages):
        raise Unreadable("there is no message of the assistant")
    return {"messages": messages}


def _with_system(row: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """Return a conversation with the system prompt that stands in a column of its own."""
    system = row.get("system")
    if not system or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": _text(system, "system")}, *messages]


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preference pair, its two conversations parted where they part."""
    prompt = [] if row.get("prompt") is None else _said(row["prompt"], "user", "prompt")
    chosen = _said(row["chosen"], "assistant", "chosen")
    rejected = _said(row["rejected"], "assistant", "rejected")
    shared = 0
    for one, two in zip(chosen, rejected, strict=False):
        if one != two:
            break
        shared += 1
    if shared == len(chosen) == len(rejected):
        raise Unreadable("chosen and rejected are the same")
    is_whole = bool(shared) and chosen[0]["role"] != "assistant"
    before = chosen[:shared] if is_whole else [*prompt, *chosen[:shared]]
    before = _with_system(row, before)
    if not before:
        raise Unreadable("there is no prompt, and chosen and rejected share no turn")
    answers = chosen[shared:], rejected[shared:]
    if any([one["role"] for one in answer] != ["assistant"] for answer in answers):
        raise Unreadable("chosen and rejected part before the last answer")
    return {"prompt": before, "chosen": answers[0], "rejected": answers[1]}


def _said(value: Any, role: str, name: str) -> list[Message]:
    """Return what a column says: a conversation, one that was written down as one text, or one message."""
    if isinstance(value, list):
        return _messages(value, name)
    text = _text(value, name)
    if re.match(r"\s*Human:", text):
        return _written_down(text)
    if not text.strip():
        raise Unreadable(f"'{name}' is empty")
    return [{"role": role, "content": text}]


def _written_down(text: str) -> list[Message]:
    """Return the turns of `Human: … Assistant: …`; one that has not been written yet is left out."""
    _, *parts = TURN.split(text.lstrip("\n"))
    if not parts:
        raise Unreadable("a conversation in one text begins with 'Human:' at the start of a line")
    turns = zip(parts[::2], parts[1::2], strict=True)
    messages: list[Message] = [
        {"role": "user" if name == "Human" else "assistant", "content": said.strip()} for name, said in turns
    ]
    if messages[-1] == {"role": "assistant", "content": ""}:
        messages.pop()
    if empty := next((one["role"] for one in messages if not one["content"]), None):
        raise Unreadable(f"a message of the {empty} is empty")
    return messages


def _messages(value: Any, name: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise Unreadable(f"'{name}' is no list of messages")
    found = (_message(one) for one in value)
    return [one for one in found if one is not None]


def _message(value: Any) -> Message | None:
    """Return one message; None for a system prompt that says nothing."""
    if not isinstance(value, dict):
        raise Unreadable("a message is no object")
    named = value.get("role") or value.get("from")
    role = ROLES.get(named.lower()) if isinstance(named, str) else None
    if role is None:
        told = f"of type {type(named).__name__}" if isinstance(named, list | dict) else repr(named)[:_SHOWN]
        raise Unreadable(f"a message has the role {told}")
    if value.get("tool_calls") or value.get("function_call"):
        raise Unreadable("a message calls tools, for which rows have no place")
    said = value["content"] if value.get("content") is not None else value.get("value")
    text = _parts(said) if isinstance(said, list) else _text(said, f"message of the {role}")
    if text.strip():
        return {"role": role, "content": text}
    if role == "system":
        return None
    raise Unreadable(f"a message of the {role} is empty")


def _parts(parts: list[Any]) -> str:
    """Return the text of a message that comes in parts."""
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else None
            told = kind[:_SHOWN] if isinstance(kind, str) else type(part).__name__
            raise Unreadable(f"a part of a message is no text but {told!r}")
        texts.append(text)
    return "\n".join(texts)


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    raise Unreadable(f"'{name}' is no text")


def are_messages(value: Any) -> bool:
    """Tell whether something is a conversation of at least one message."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
            for one in value
        )
    )
