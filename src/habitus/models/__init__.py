"""Talking to language models: one protocol, and the way from a name to a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from habitus.errors import UserError
from habitus.records import Message as Message  # noqa: TC001  # named here for all who talk to models

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.config import Config
    from habitus.settings import BatchSettings


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


MOST_TOKENS = 2**53
"""Beyond this a count is no count, and no file of ours could hold it."""


def usage_of(counts: Any) -> Usage | None:
    """Return the tokens of a reply's `usage`; None where it tells none of the input."""
    if not isinstance(counts, dict) or _tokens(counts.get("prompt_tokens")) is None:
        return None
    details = counts.get("prompt_tokens_details")
    cached = _tokens(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(_tokens(counts["prompt_tokens"]) or 0, _tokens(counts.get("completion_tokens")) or 0, cached or 0)


def _tokens(count: Any) -> int | None:
    return count if type(count) is int and 0 <= count < MOST_TOKENS else None


def text_or(value: Any, otherwise: str) -> str:
    """Return a word of a reply, such as why it ended, or another where it is none."""
    return value if value and isinstance(value, str) else otherwise


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
OTHER_BATCHES = {"together"}
"""Those of them whose batch interface is another, which Inspect knows."""


def is_endpoint(name: str, config: Config, *, batch: bool = False) -> bool:
    """Tell whether a model, or its batch interface, is as OpenAI's: declared in the config, or built in."""
    provider = name.partition("/")[0]
    return provider in config.providers or (provider in ENDPOINTS and not (batch and provider in OTHER_BATCHES))


def endpoint_of(name: str, config: Config) -> dict[str, Any]:
    """Return how a model behind an endpoint is reached, as `HttpModel` takes it."""
    provider, _, model = name.partition("/")
    own = config.providers.get(provider)
    base_url, key = (own.base_url, own.key) if own else ENDPOINTS[provider]
    return {
        "model": model,
        "base_url": base_url.rstrip("/"),
        "key_variable": key,
        "concurrency": config.concurrency,
        "try_timeout": config.try_timeout,
        "total_timeout": config.total_timeout,
        "response_format": own.response_format if own else "json_schema",
        "headers": own.headers if own else {},
    }


def open_model(
    name: str, config: Config, *, folder: Path, export_only: bool = False, batch: BatchSettings | None = None
) -> Model:
    """Return the model that a `provider/name` stands for.

    A provider declared in the config comes first, then the built-in ones; any other is left to Inspect, with `batch` to
    its batch mode. `folder` is the study: exchange folders are relative to it.
    """
    provider, _, model = name.partition("/")
    if is_endpoint(name, config, batch=batch is not None):
        from habitus.models.http import HttpModel

        own = config.providers.get(provider)
        return HttpModel(name, **endpoint_of(name, config), replicas=own.replicas if own else ())
    if batch is not None and provider in ("simulated", "exchange"):
        raise UserError(f"{name} has no batch interface.", todo="Take `batch` away from it.")
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
        batch=batch,
    )
