"""What agents did: the calls they made, which of them were valid, and all of it as a text that a judge can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, execute_tools

from habitus.evaluate.roles import Ended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspect_ai.model import ChatMessage
    from inspect_ai.solver import TaskState
    from inspect_ai.tool import Tool

    from habitus.evaluate.roles import Cast

LONGEST = 3600
"""Seconds that an agent may work at one sample."""
MALFORMED = frozenset({"parsing"})
"""Kinds of tool error that are the caller's failure to call, not the tool's answer."""
_MOST_SHOWN = 3000
"""Characters of one tool's output that a judge is shown."""


@dataclass(frozen=True)
class Call:
    """One tool call, and what came of it."""

    function: str
    arguments: dict[str, Any]
    output: str
    valid: bool
    """It named a tool that there is, with arguments that fit."""


async def act(state: TaskState, cast: Cast, tools: Sequence[Tool], steps: int) -> str:
    """Let the target act until it answers without calling a tool, and return why it stopped: `done` or `steps`.

    Raises:
        Ended: it answered with nothing.

    """
    for _ in range(steps):
        output = await cast.reply(state.messages, tools)
        state.messages.append(output.message)
        state.output = output
        if not output.message.tool_calls:
            if not output.completion.strip():
                raise Ended("target", f"empty answer ({output.stop_reason})")
            return "done"
        answered, _ = await execute_tools(state.messages, list(tools))
        state.messages.extend(answered)
    return "steps"


def calls(messages: Sequence[ChatMessage]) -> list[Call]:
    """Return every tool call of a conversation."""
    answers = {one.tool_call_id: one for one in messages if isinstance(one, ChatMessageTool)}
    found = []
    for message in messages:
        for call in getattr(message, "tool_calls", None) or []:
            answer = answers.get(call.id)
            error = answer.error if answer else None
            valid = call.parse_error is None and not (error and error.type in MALFORMED)
            output = (error.message if error else answer.text) if answer else ""
            found.append(Call(call.function, dict(call.arguments), output, valid))
    return found


def validity(found: Sequence[Call]) -> float:
    """Return the share of calls that were valid, or NaN where nothing was called."""
    return sum(one.valid for one in found) / len(found) if found else float("nan")


def transcript(messages: Sequence[ChatMessage]) -> str:
    """Return what an agent said and did, with what came back, as a judge reads it."""
    parts: list[str] = []
    for message in messages:
        if isinstance(message, ChatMessageAssistant):
            parts += [f"[says] {message.text}"] if message.text.strip() else []
            parts += [f"[calls {one.function}]\n{_arguments(one.arguments)}" for one in message.tool_calls or []]
        elif isinstance(message, ChatMessageTool):
            text = message.error.message if message.error else message.text
            parts.append(f"[gets back]\n{text[:_MOST_SHOWN]}{' …' if len(text) > _MOST_SHOWN else ''}")
        elif message.role == "user":
            parts.append(f"[is told] {message.text}")
    return "\n\n".join(parts)


def _arguments(arguments: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in arguments.items())
