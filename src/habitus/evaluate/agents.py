"""What agents did: the calls they made, which of them were valid, and all of it as a text that a judge can read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, ContentReasoning, execute_tools

from habitus.evaluate.roles import Ended

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inspect_ai.model import ChatMessage
    from inspect_ai.solver import TaskState
    from inspect_ai.tool import Tool

    from habitus.evaluate.results import Result
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

    @property
    def text(self) -> str:
        """The call as a judge reads it."""
        return "\n".join([f"[calls {self.function}]", *(f"{name}: {one}" for name, one in self.arguments.items())])


async def act(state: TaskState, cast: Cast, tools: Sequence[Tool], steps: int) -> str:
    """Let the target act until it answers without calling a tool, and return why it stopped: `done`, `cut` or `steps`.

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
            return "cut" if output.stop_reason == "max_tokens" else "done"
        answered, _ = await execute_tools(state.messages, list(tools))
        state.messages.extend(answered)
    return "steps"


def calls(messages: Sequence[ChatMessage]) -> list[Call]:
    """Return every tool call of a conversation."""
    answers = _answers(messages)
    return [call for message in messages for call in _calls(message, answers)]


def _answers(messages: Sequence[ChatMessage]) -> dict[str | None, ChatMessageTool]:
    return {one.tool_call_id: one for one in messages if isinstance(one, ChatMessageTool)}


def _calls(message: ChatMessage, answers: Mapping[str | None, ChatMessageTool]) -> Iterator[Call]:
    """Yield the calls of one message, each with what came back."""
    for call in getattr(message, "tool_calls", None) or []:
        answer = answers.get(call.id)
        error = answer.error if answer else None
        valid = call.parse_error is None and not (error and error.type in MALFORMED)
        output = (error.message if error else answer.text) if answer else ""
        yield Call(call.function, dict(call.arguments), output, valid)


def validity(found: Sequence[Call]) -> float:
    """Return the share of calls that were valid, or NaN where nothing was called."""
    return sum(one.valid for one in found) / len(found) if found else float("nan")


def endings(result: Result) -> str:
    """Return how many runs ended in which way: by themselves, cut off, at their last step, or by a limit of time."""
    found = Counter(row.metadata.get("stopped") or "limit" for row in result.scored)
    return f"runs ended: {', '.join(f'{name} {count}' for name, count in sorted(found.items())) or 'none'}"


def transcript(messages: Sequence[ChatMessage]) -> str:
    """Return what an agent thought, said and did, each call with what came back, as a judge reads it."""
    return _told(messages, whole=True)


def own_words(messages: Sequence[ChatMessage]) -> str:
    """Return what an agent itself thought, said and called, without anything that it read."""
    return _told(messages, whole=False)


def _told(messages: Sequence[ChatMessage], *, whole: bool) -> str:
    answers, parts = _answers(messages), []
    for message in messages:
        if isinstance(message, ChatMessageAssistant):
            parts += [f"[thinks] {text}" for text in _thoughts(message)]
            heard = "notes, to nobody" if message.tool_calls else "says"  # what stands beside a call reaches no one
            parts += [f"[{heard}] {message.text}"] if message.text.strip() else []
            for call in _calls(message, answers):
                parts += [call.text, f"[gets back]\n{_cut(call.output)}"] if whole else [call.text]
        elif message.role == "user" and whole:
            parts.append(f"[is told] {message.text}")
    return "\n\n".join(parts)


def _thoughts(message: ChatMessageAssistant) -> list[str]:
    """Return what a model reasoned, as far as its provider shows it."""
    blocks = [] if isinstance(message.content, str) else message.content
    found = [one.summary if one.redacted else one.reasoning for one in blocks if isinstance(one, ContentReasoning)]
    return [one for one in found if one and one.strip()]


def _cut(text: str) -> str:
    return f"{text[:_MOST_SHOWN]} …" if len(text) > _MOST_SHOWN else text
