"""Every provider that Inspect AI knows: slower than the fast path (about 5 ms of CPU a call), but very many."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import math
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from tenacity import RetryError

from habitus.errors import CallExhausted, CallRefused, ModelUnusable, UserError, nearest
from habitus.models import ENDPOINTS, Completion, Usage
from habitus.models.keys import guard, keys, without_keys

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage
    from inspect_ai.model import Model as Served

    from habitus.models import Message, Params
    from habitus.settings import BatchSettings

RETRIES = 10
"""Further tries of one call; Inspect waits 3 s before the first and twice as long before each next."""
_FINISH = {"max_tokens": "length", "model_length": "length"}
_RENAMED = {"stop": "stop_seqs", "max_completion_tokens": "max_tokens"}
_OURS = {
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout"),
    *("max_connections", "adaptive_connections", "batch", "cache"),
    *("system_message", "response_schema", "num_choices", "fail_on_refusal"),
}
"""What the engine sets itself, and what would change the form of the answer."""
HAVE_BATCHES = {"anthropic", "google", "grok", "openai", "together"}
"""Providers for which Inspect has a batch mode."""
BATCH_SIZE = 10_000
"""Calls with which Inspect sends a job at once; fewer wait for `BATCH_DELAY` seconds."""
BATCH_DELAY = 60
MOST_IN_BATCH = 100_000
TAKE_SCHEMA = {"google", "mistral", "openai", "sglang", "vllm"}
"""Providers to which Inspect can give a schema, by its documentation; the others have the instruction alone."""
_UNUSABLE = {401, 402, 403, 404, 405, 410}
_AGAIN = {408, 409, 425, 429}
_SHOWN = 300
"""Characters of a provider's own words that go into a message."""
_MARKUP = re.compile(r"\[/?[a-z ]+\]")


class InspectModel:
    """A model that Inspect calls `model`, such as `anthropic/claude-sonnet-4-5` or `bedrock/…`.

    A try ends after `try_timeout` seconds, a call with all its tries after `total_timeout` seconds.
    """

    def __init__(
        self,
        name: str,
        model: str,
        concurrency: int,
        try_timeout: float,
        total_timeout: float,
        *,
        batch: BatchSettings | None = None,
    ) -> None:
        if batch is not None and model.partition("/")[0] not in HAVE_BATCHES:
            listed = ", ".join(sorted(HAVE_BATCHES))
            raise UserError(f"{name}: Inspect has no batch mode for it, but for: {listed}.", todo="Take `batch` away.")
        self.name = name
        self.model = model
        self._concurrency = concurrency
        self._try_timeout = try_timeout
        self._total_timeout = total_timeout
        self._batch = batch
        self._served = self._opened()

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        """Return the next message.

        Raises:
            UserError: a setting that Inspect does not have.
            ModelUnusable: the provider refuses the key or does not know the model.
            CallRefused: the provider rejects this request.
            CallExhausted: no try within the time allowed brought an answer.

        """
        config = self._config(params)
        began = time.monotonic()
        # a task of its own: Inspect keeps a transcript of all that a task's context asked for
        call = asyncio.create_task(self._served.generate(_chat(messages), config=config, cache=False))
        clock = asyncio.timeout(None if self._batch else self._total_timeout)  # a job takes its hours
        try:
            async with clock:
                output = await call
        except Exception as error:  # each provider raises what its own client library does
            if clock.expired():
                raise CallExhausted(f"{self.name}: no answer within {self._total_timeout:g} s") from error
            raise self._failure(error) from error
        return _completion(output, self.model, time.monotonic() - began)

    async def close(self) -> None:
        """Close the provider's connections."""
        await self._served.__aexit__(None, None, None)

    def _opened(self) -> Served:
        provider = self.model.partition("/")[0]
        try:
            from inspect_ai._util.error import PrerequisiteError
            from inspect_ai.model import get_model
        except ImportError as error:
            raise UserError(
                f"{self.name} is reached through Inspect, which is not installed.{nearest(provider, ENDPOINTS)}",
                todo='Install it: pip install "habitus[inspect]"',
            ) from error
        logging.getLogger("inspect_ai").setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return guard(get_model(self.model, memoize=False))
        except PrerequisiteError as error:
            raise ModelUnusable(f"{self.name} can't be used: {_said(error)}") from error
        except ValueError as error:
            raise UserError(f"{self.name}: {error}{nearest(provider, ENDPOINTS)}") from error

    def _config(self, params: Params) -> GenerateConfig:
        from inspect_ai.model import GenerateConfig, ResponseSchema
        from inspect_ai.util import JSONSchema

        known = GenerateConfig.model_fields.keys() - _OURS | _RENAMED.keys()
        made: dict[str, Any] = {}
        for key, value in params.settings.items():
            if key not in known:
                raise UserError(f"{self.name} takes no setting '{key}'.{nearest(key, known)}")
            made[_RENAMED.get(key, key)] = [value] if key == "stop" and isinstance(value, str) else value
        if params.sample and made.get("seed") is not None:
            made["seed"] += params.sample
        if params.schema is not None and self.model.partition("/")[0] in TAKE_SCHEMA:
            schema = JSONSchema.model_validate(params.schema.schema)
            made["response_schema"] = ResponseSchema(name=params.schema.name, json_schema=schema)
        try:
            return GenerateConfig(**made, **self._limits())
        except ValidationError as error:
            wrong = error.errors()[0]
            place = ".".join(str(step) for step in wrong["loc"])
            raise UserError(f"{self.name}: {place}: {wrong['msg']}, not {wrong['input']!r}.") from error

    def _limits(self) -> dict[str, Any]:
        """Return how many calls are made at once and for how long they are tried, or how they are put into jobs."""
        if self._batch is None:
            return {
                "max_connections": self._concurrency,
                "max_retries": RETRIES,
                "attempt_timeout": math.ceil(self._try_timeout),
                "timeout": math.ceil(self._total_timeout),
            }
        from inspect_ai.model import BatchConfig

        _hush()
        jobs = BatchConfig(size=BATCH_SIZE, send_delay=BATCH_DELAY, tick=self._batch.poll)
        return {"max_connections": MOST_IN_BATCH, "max_retries": RETRIES, "batch": jobs}

    def _failure(self, error: Exception) -> Exception:
        """Sort an error: tried in vain, hopeless for the model, hopeless for this request, or something else."""
        if isinstance(error, RetryError):
            last = error.last_attempt
            told = _said(last.exception() or error)
            return CallExhausted(f"{self.name}: no answer after {last.attempt_number} tries; the last: {told}")
        status = next(
            (code for key in ("status_code", "code") if isinstance(code := getattr(error, key, None), int)), 0
        )
        told = _said(error)
        if status in _UNUSABLE:
            return ModelUnusable(f"{self.name} can't be used: HTTP {status}: {told}")
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _AGAIN:
            return CallRefused(f"{self.name} refused the request with HTTP {status}: {told}")
        return CallExhausted(f"{self.name}: {type(error).__name__}: {told}")


def _hush() -> None:
    """Keep Inspect from printing how its jobs stand, as far as this version of it can be kept from it."""
    with contextlib.suppress(ImportError):
        from inspect_ai.model._providers.util.batch_log import set_batch_log_callback

        set_batch_log_callback(lambda _: None)


def _chat(messages: list[Message]) -> list[ChatMessage]:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    return [kinds[message["role"]](content=message["content"]) for message in messages]


def _completion(output: ModelOutput, model: str, seconds: float) -> Completion:
    return Completion(
        text=output.completion,
        finish="unknown" if output.empty else _FINISH.get(output.stop_reason, output.stop_reason),
        usage=_usage(output.usage),
        latency=seconds if output.time is None else output.time,
        model=output.model or model,
    )


def _usage(usage: ModelUsage | None) -> Usage | None:
    """Count as endpoints do: Inspect leaves the cached tokens out of the input."""
    if usage is None:
        return None
    read, written = usage.input_tokens_cache_read or 0, usage.input_tokens_cache_write or 0
    return Usage(usage.input_tokens + read + written, usage.output_tokens, read)


def _said(error: BaseException) -> str:
    """Return the provider's words on one line, without Inspect's copy of the request and its colours."""
    told = getattr(error, "provider_message", None) or getattr(error, "message", None) or str(error)
    plain = without_keys(" ".join(str(told).split()), keys())
    return _MARKUP.sub("", plain)[:_SHOWN] or type(error).__name__
