"""The model provider `habitus/…`: whatever habitus itself can open, such as `habitus/simulated/world`, for Inspect."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai.model import ChatMessageAssistant, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.model._call_tools import parse_tool_call
from inspect_ai.model._model_output import ChatCompletionChoice

from habitus.config import Config
from habitus.errors import UserError
from habitus.models import AnswerSchema, Params, open_model
from habitus.models.exchange import ExchangeModel
from habitus.models.simulated import SimulatedModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspect_ai.model import ChatMessage
    from inspect_ai.tool import ToolCall, ToolChoice, ToolInfo

    from habitus.models import Completion, Message

_STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}
_SETTINGS = ("temperature", "max_tokens", "top_p")


@modelapi(name="habitus")
class HabitusAPI(ModelAPI):
    """A model that habitus opens by its own name; `study` is the folder whose config declares it."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  # as Inspect declares it
        study: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        if study is None:
            known, folder = Config(), Path()
        else:
            from habitus.study import Study

            known, folder = Study(Path(study)).config, Path(study)
        self._model = open_model(model_name, known, folder=folder)

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  # as Inspect calls it
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Return the next message; only the simulated world and files of an exchange take tools."""
        params = self._params(config)
        if isinstance(self._model, ExchangeModel):
            if tools:
                params = replace(params, settings=params.settings | {"tools": [_offered(one) for one in tools]})
            found, written = await self._model.perform([_as_sent(one) for one in input], params)
            return self._output(found, _calls(len(input), written, tools))
        messages = [_message(one) for one in input]
        if isinstance(self._model, SimulatedModel):
            found, called = await self._model.perform(messages, params, [tool.name for tool in tools])
            written = [(name, json.dumps(arguments)) for name, arguments in called]
            return self._output(found, _calls(len(input), written, tools))
        if tools:
            raise UserError(
                f"{self.model_name} can't be given tools.", todo="Reach it by one of Inspect's own providers."
            )
        return self._output(await self._model.complete(messages, params), [])

    def max_connections(self) -> int:
        """Return how many calls may be in flight."""
        return 64

    async def count_text_tokens(self, text: str) -> int:
        """Return about how many tokens a text has; Inspect itself would download a tokenizer."""
        return -(-len(text) // 4)

    def _params(self, config: GenerateConfig) -> Params:
        schema = config.response_schema
        whole = schema.json_schema.model_dump(exclude_none=True, by_alias=True) if schema else {}
        if isinstance(self._model, SimulatedModel):
            settings = {}
        else:
            settings = {key: value for key in _SETTINGS if (value := getattr(config, key)) is not None}
        return Params(settings, AnswerSchema(schema.name, whole) if schema else None, sample=config.seed or 0)

    def _output(self, found: Completion, made: list[ToolCall]) -> ModelOutput:
        message = ChatMessageAssistant(
            content=found.text, tool_calls=made or None, model=self.model_name, source="generate"
        )
        stop: Any = "tool_calls" if made else _STOPS.get(found.finish, "unknown")
        usage = None
        if found.usage:
            spent = found.usage
            usage = ModelUsage(
                input_tokens=spent.input_tokens - spent.cached_tokens,
                output_tokens=spent.output_tokens,
                total_tokens=spent.input_tokens + spent.output_tokens,
                input_tokens_cache_read=spent.cached_tokens,
            )
        choice = ChatCompletionChoice(message=message, stop_reason=stop)
        return ModelOutput(model=found.model, choices=[choice], usage=usage, time=found.latency)


def _calls(place: int, written: Sequence[tuple[str, str]], tools: list[ToolInfo]) -> list[ToolCall]:
    """Return the calls of the message at a place of the conversation, each with an id of its own."""
    return [
        parse_tool_call(f"call-{place}-{at}", name, arguments, tools) for at, (name, arguments) in enumerate(written)
    ]


def _offered(tool: ToolInfo) -> dict[str, Any]:
    """Return a tool as OpenAI's requests offer it."""
    about = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": about | {"parameters": tool.parameters.model_dump(exclude_none=True)}}


def _as_sent(one: ChatMessage) -> Any:
    """Return a message as OpenAI's requests have it, with what was called and which call is answered."""
    sent: dict[str, Any] = {"role": one.role, "content": one.text}
    if called := getattr(one, "tool_calls", None):
        sent["tool_calls"] = [
            {"id": call.id, "type": "function",
             "function": {"name": call.function, "arguments": json.dumps(call.arguments, ensure_ascii=False)}}
            for call in called
        ]  # fmt: skip
    if one.role == "tool":
        sent |= {"tool_call_id": one.tool_call_id, "content": one.error.message if one.error else one.text}
    return sent


def _message(one: ChatMessage) -> Message:
    """Return a message as habitus has them: what was called stands in its text."""
    called = [f"[{call.function} {call.arguments}]" for call in getattr(one, "tool_calls", None) or []]
    return {"role": one.role, "content": "\n".join(filter(None, [one.text, *called]))}
