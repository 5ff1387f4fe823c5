"""Talking to language models: one protocol, and the way from a name to a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from habitus.records import Message as Message  # noqa: TC001  # named here for all who talk to models

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.config import Config


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The shape an answer must have: a name and a JSON schema."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Params:
    """How one completion is drawn."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Sent to the endpoint as they are: temperature, max_tokens, top_p, stop, …"""
    schema: AnswerSchema | None = None
    sample: int = 0
    """Which of several draws of the same request this is, from 0."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the endpoint counted them."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished call."""

    text: str
    finish: str
    """`stop`, `length` (cut off at max_tokens), `content_filter`, …"""
    usage: Usage | None
    latency: float
    """Seconds from sending the request that was answered to having read its reply."""
    model: str
    """The model id that the endpoint says it used."""


class Model(Protocol):
    """Anything that completes a conversation."""

    name: str
    """`provider/name`, as the config and the ledger know it."""

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        """Return the next message.

        Raises:
            ModelUnusable: no call to this model can succeed (key, access, unknown name).
            CallFailed: this one call could not be answered.

        """
        ...

    async def close(self) -> None:
        """Release connections; the model is not used again."""
        ...


ENDPOINTS: dict[str, tuple[str, str | None]] = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together": ("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "vllm": ("http://localhost:8000/v1", None),
    "sglang": ("http://localhost:30000/v1", None),
    "ollama": ("http://localhost:11434/v1", None),
}
"""OpenAI-compatible endpoints that need no `providers:` entry: their base URL and key variable."""


def open_model(name: str, config: Config, *, folder: Path, export_only: bool = False) -> Model:
    """Return the model that a `provider/name` stands for.

    A provider declared in the config comes first, then the built-in ones; any other is left to Inspect.
    `folder` is the study: exchange folders are relative to it.
    """
    provider, _, model = name.partition("/")
    if provider in config.providers or provider in ENDPOINTS:
        from habitus.models.http import HttpModel

        own = config.providers.get(provider)
        base_url, key = (own.base_url, own.key) if own else ENDPOINTS[provider]
        return HttpModel(
            name,
            model=model,
            base_url=base_url.rstrip("/"),
            key_variable=key,
            concurrency=config.concurrency,
            try_timeout=config.try_timeout,
            total_timeout=config.total_timeout,
            response_format=own.response_format if own else "json_schema",
            headers=own.headers if own else {},
            replicas=own.replicas if own else (),
        )
    if provider == "simulated":
        from habitus.models.simulated import SimulatedModel

        return SimulatedModel(name)
    if provider == "exchange":
        from habitus.models.exchange import ExchangeModel

        return ExchangeModel(name, folder / model, export_only=export_only)
    from habitus.models.inspect import InspectModel

    return InspectModel(
        name,
        model=model if provider == "inspect" else name,
        concurrency=config.concurrency,
        try_timeout=config.try_timeout,
        total_timeout=config.total_timeout,
    )
