"""The model provider `habitus/…`: whatever habitus itself can open, such as `habitus/simulated/world`, for Inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai.model import ChatMessageAssistant, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.model._model_output import ChatCompletionChoice

from habitus.config import Config
from habitus.errors import UserError
from habitus.models import AnswerSchema, Params, open_model
from habitus.models.simulated import SimulatedModel

if TYPE_CHECKING:
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
        """Return the next message; only the simulated world takes tools."""
        messages = [_message(one) for one in input]
        if isinstance(self._model, SimulatedModel):
            found, calls = await self._model.perform(messages, self._params(config), [tool.name for tool in tools])
            return self._output(found, calls)
        if tools:
            raise UserError(
                f"{self.model_name} can't be given tools.", todo="Reach it by one of Inspect's own providers."
            )
        return self._output(await self._model.complete(messages, self._params(config)), [])

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

    def _output(self, found: Completion, calls: list[tuple[str, dict[str, Any]]]) -> ModelOutput:
        from inspect_ai.tool import ToolCall

        made: list[ToolCall] = [
            ToolCall(id=f"call-{at}-{name}", function=name, arguments=arguments)
            for at, (name, arguments) in enumerate(calls)
        ]
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


def _message(one: ChatMessage) -> Message:
    """Return a message as habitus has them: what was called stands in its text."""
    called = [f"[{call.function} {call.arguments}]" for call in getattr(one, "tool_calls", None) or []]
    return {"role": one.role, "content": "\n".join(filter(None, [one.text, *called]))}
