"""OpenAI-compatible endpoints, the fast path: one connection pool, adaptive limits, retries until time is up."""

from __future__ import annotations

import io
import os
import random
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from habitus.errors import CallExhausted, CallRefused, ModelUnusable, UserError
from habitus.models import Completion, text_or, usage_of
from habitus.models.limiter import Limiter, demanded_pause
from habitus.models.lines import request_body
from habitus.models.replicas import Replica, chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from habitus.models import Message, Params
    from habitus.models.limiter import Ticket
    from habitus.models.lines import ResponseFormat

    Aside = Callable[[], AbstractAsyncContextManager[None]]

Answer = TypeVar("Answer")

OVERLOADED = frozenset({429, 503, 529})
AGAIN = frozenset({408, 409, 425, 429})
UNUSABLE = frozenset({401, 402, 403, 404, 405, 410})
UNREACHED_PATIENCE = 10.0
"""Seconds of trying to connect to an endpoint that has never answered anything."""
CHECK_TIMEOUT = 30.0
"""Seconds."""
BACKOFF = 0.5
"""Seconds; the wait before the n-th further try is drawn between 0 and this times 2ⁿ⁻¹."""
LONGEST_BACKOFF = 30.0
CALM_BACKOFF = 1.0
"""Seconds; the longest wait while the endpoint answers others: then it was bad luck, and patience would help nobody."""
LARGE = 1 << 20
"""Bytes from which aiohttp wants a body as a file."""
SHOWN = 300
"""Characters of an endpoint's own words that go into a message."""
SECRET = 8
"""Characters from which the value of a header of the user's is taken for a key."""


class _TryFailed(Exception):
    """One try brought no usable answer; the next one may."""

    def __init__(self, what: str, *, unreached: bool = False) -> None:
        super().__init__(what)
        self.unreached = unreached


@dataclass(slots=True)
class _Call(Generic[Answer]):
    """One request on its way to an answer."""

    path: str
    body: bytes
    read: Callable[[dict[str, Any], float], Answer]
    """Makes the answer of the parsed reply and the seconds that it took."""
    aside: Aside = nullcontext
    tries: int = 0
    tried_at: float = 0.0
    started: float = 0.0
    queued: float = 0.0
    """Seconds that its later tries stood in the limiter's queue, pauses that the endpoint demanded among them."""
    rest: float = 0.0
    """Seconds for which the endpoint will not have this call."""
    tried: list[Replica] = field(default_factory=list)
    """The servers that have failed it since it last waited."""


class HttpModel:
    """A model behind `{base_url}/chat/completions`.

    `key_variable` names the environment variable with the key, None where the endpoint wants none. `concurrency` bounds
    the calls in flight; how many there are is up to the limiter, one per server. A try ends after `try_timeout`
    seconds; no try begins later than `total_timeout` seconds after the first was sent, not counting the time in the
    limiter's queue.

    `replicas` are further servers of the same model; each try goes to the one with the least to do.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        base_url: str,
        key_variable: str | None,
        concurrency: int = 256,
        try_timeout: float = 300,
        total_timeout: float = 900,
        response_format: ResponseFormat = "json_schema",
        headers: Mapping[str, str] = {},
        replicas: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.model = model
        self.base_url = _checked(name, base_url)
        self.replicas = [Replica(_checked(name, url), Limiter(concurrency)) for url in (base_url, *replicas)]
        self.limiter = self.replicas[0].limiter
        self._key_variable = key_variable
        self._try_timeout = try_timeout
        self._total_timeout = total_timeout
        self._response_format = response_format
        self._headers = dict(headers)
        self._secrets: list[str] = []
        self._session: aiohttp.ClientSession | None = None
        self._reached = False
        self._answered_at = 0.0
        self._hung_up = False

    def __repr__(self) -> str:
        return f"HttpModel({self.name!r}, model={self.model!r}, base_url={self.base_url!r})"

    async def complete(self, messages: list[Message], params: Params, aside: Aside = nullcontext) -> Completion:
        """Return the next message; an answer cut off at the token limit and an empty one are answers.

        `aside` is entered while the call waits for its next try, so that whoever bounds the calls lets another one in.

        Raises:
            ModelUnusable: the key is missing or refused, the model is unknown, or nothing is at `base_url`.
            CallRefused: the endpoint rejects this request.
            CallExhausted: no try within `total_timeout` brought an answer.

        """
        body = request_body(self.model, messages, params, self._response_format)
        return await self._post(_Call("/chat/completions", orjson.dumps(body), self._completion, aside))

    async def embeddings(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text, in their order; raises what `complete` raises."""
        if not texts:
            return []

        def vectors(data: dict[str, Any], _latency: float) -> list[list[float]]:
            rows = sorted(data["data"], key=lambda row: row["index"])
            if len(rows) != len(texts):
                raise ValueError(f"{len(rows)} vectors for {len(texts)} texts")
            return [row["embedding"] for row in rows]

        body = orjson.dumps({"model": self.model, "input": texts})
        return await self._post(_Call("/embeddings", body, vectors))

    async def check(self) -> None:
        """Ask the endpoint for its list of models, once.

        Raises:
            ModelUnusable: the key is missing or refused, or nothing answers at `base_url`.

        """
        session, timeout = self._opened(), aiohttp.ClientTimeout(total=min(self._try_timeout, CHECK_TIMEOUT))
        try:
            async with session.get(f"{self.base_url}/models", allow_redirects=False, timeout=timeout) as reply:
                status, raw = reply.status, self._without_keys(await reply.read())
        except (aiohttp.ClientError, OSError) as error:
            reason = self._redacted(_reason(error))
        else:
            self._reached = True
            if status in (401, 403):
                raise self._unusable(status, raw, self.base_url)
            return
        raise self._unreachable(reason)

    def hang_up(self) -> None:
        """Send nothing more: calls that wait for a slot or for another try end in CallExhausted."""
        self._hung_up = True
        for replica in self.replicas:
            replica.limiter.refuse()

    async def close(self) -> None:
        """Close the connections."""
        for replica in self.replicas:
            replica.limiter.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, call: _Call[Answer]) -> Answer:
        try:
            return await self._round(call)
        except _TryFailed as error:
            failure = error
        return await self._try_again(call, failure)

    async def _round(self, call: _Call[Answer]) -> Answer:
        """Send the request to one server, and where that fails at once to the next that is there."""
        call.rest = 0.0
        call.tried.clear()
        while True:
            try:
                return await self._try(call)
            except _TryFailed:
                is_late = time.monotonic() - call.started - call.queued > self._total_timeout
                if is_late or not any(one.is_there for one in self.replicas if one not in call.tried):
                    raise

    async def _try(self, call: _Call[Answer]) -> Answer:
        """Send the request once; the slot is held from here to the end of the reply and no longer."""
        session = self._opened()
        ready = time.monotonic()
        replica = chosen(self.replicas, call.tried)
        call.tried.append(replica)
        ticket = await replica.limiter.enter()
        sent = time.monotonic()
        if call.tries:
            call.queued += sent - ready
        else:
            call.started = sent
        call.tries += 1
        call.tried_at = sent
        try:
            data = call.body if len(call.body) < LARGE else io.BytesIO(call.body)
            async with session.post(replica.base_url + call.path, data=data, allow_redirects=False) as reply:
                status = reply.status
                call.rest = max(call.rest, self._heed(replica.limiter, status, reply.headers, ticket))
                raw = self._without_keys(await reply.read())
            if status < HTTPStatus.MULTIPLE_CHOICES:
                replica.limiter.succeeded(ticket)
                self._answered_at = time.monotonic()
                self.limiter.stir()
        except (aiohttp.ClientError, OSError) as error:
            replica.failed(unreached=_is_unreached(error))
            failure = self._no_reply(error)
        else:
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                replica.answered()
            elif status not in OVERLOADED:
                replica.failed(unreached=False)
            return self._answer(call, replica.base_url, status, raw, time.monotonic() - sent)
        finally:
            replica.limiter.leave()
        raise failure

    async def _try_again(self, call: _Call[Answer], first: _TryFailed) -> Answer:
        """Return the answer to a later try; tenacity counts the first, made without it, from its failure."""
        made = [first]

        async def next_try() -> Answer:
            if made:
                raise made.pop()
            return await self._round(call)

        async def wait(seconds: float) -> None:
            began = time.monotonic()
            async with call.aside():
                await self.limiter.rest(call.rest)
                if await self.limiter.rest(seconds, or_stirred=seconds > CALM_BACKOFF):
                    await self.limiter.rest(random.uniform(0, CALM_BACKOFF))
            call.queued += max(0.0, time.monotonic() - began - seconds)

        retrying = AsyncRetrying(
            sleep=wait,
            retry=retry_if_exception_type(_TryFailed),
            wait=lambda state: self._backoff(call, state),
            stop=lambda state: self._out_of_time(call, state),
            retry_error_callback=lambda state: self._give_up(call, state),
        )
        return await retrying(next_try)

    def _opened(self) -> aiohttp.ClientSession:
        """Return the session of the running loop, with the key read when it is first needed."""
        if self._session is None:
            headers = {"Content-Type": "application/json", "User-Agent": "habitus", **self._headers}
            self._secrets = [value for value in self._headers.values() if len(value) >= SECRET]
            if self._key_variable is not None:
                key = os.environ.get(self._key_variable, "").strip()
                if not key:
                    raise ModelUnusable(
                        f"{self.name} needs a key, but the environment variable {self._key_variable} is not set.",
                        todo=f"Set it: export {self._key_variable}=…",
                    )
                self._secrets.append(key)
                headers["Authorization"] = f"Bearer {key}"
            self._session = aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._try_timeout, sock_connect=UNREACHED_PATIENCE),
            )
        return self._session

    def _heed(self, limiter: Limiter, status: int, headers: Mapping[str, str], ticket: Ticket) -> float:
        """Report the outcome to the limiter; return the seconds for which this call alone is to wait."""
        self._reached = True
        pause = demanded_pause(status, headers)
        if status in OVERLOADED and not limiter.refused(ticket):
            return pause
        if pause:
            limiter.pause(pause)
        return 0.0

    def _answer(self, call: _Call[Answer], base_url: str, status: int, raw: bytes, latency: float) -> Answer:
        """Read the answer out of a whole reply, or raise what its status stands for."""
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._failure(status, raw, base_url)
        try:
            return call.read(orjson.loads(raw), latency)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            reason = type(error).__name__
        raise _TryFailed(f"HTTP {status} without an answer in it ({reason}): {self._shown(raw)}")

    def _completion(self, data: dict[str, Any], latency: float) -> Completion:
        choice = data["choices"][0]
        content = choice["message"].get("content") or ""
        if isinstance(content, list):  # parts: what the model thought, then what it says
            content = "".join(part["text"] for part in content if part["type"] == "text")
        if not isinstance(content, str):
            raise TypeError("the content is no text")
        return Completion(
            text=content,
            finish=text_or(choice.get("finish_reason"), "stop"),
            usage=usage_of(data.get("usage")),
            latency=latency,
            model=text_or(data.get("model"), self.model),
        )

    def _failure(self, status: int, raw: bytes, base_url: str) -> Exception:
        """Sort a reply that is no answer: hopeless for the model, hopeless for this request, or worth another try."""
        out_of_credit = status == HTTPStatus.TOO_MANY_REQUESTS and b"insufficient_quota" in raw
        if status in UNUSABLE or status < HTTPStatus.BAD_REQUEST or out_of_credit:
            return self._unusable(status, raw, base_url)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in AGAIN:
            return CallRefused(f"{self.name} refused the request with HTTP {status}: {self._said(raw)}")
        return _TryFailed(f"HTTP {status}: {self._shown(raw)}")

    def _unusable(self, status: int, raw: bytes, base_url: str) -> ModelUnusable:
        what = f"{self.name} can't be used: {base_url} answered HTTP {status}: {self._said(raw)}"
        if status in (402, 429):
            todo = "The account has no credit left: add some, or use another model."
        elif status not in (401, 403):
            todo = f"Check the model's name, {self.model!r}, and base_url, which often ends in /v1."
        elif self._key_variable is None:
            todo = "It wants a key: name the environment variable that holds it."
        else:
            todo = f"Check that the key in {self._key_variable} is right and may use {self.model!r}."
        return ModelUnusable(what, todo=todo)

    def _unreachable(self, reason: str) -> ModelUnusable:
        return ModelUnusable(
            f"{self.name}: can't reach {self.base_url} ({reason}).",
            todo="Check base_url, the network, and that the server is up.",
        )

    def _no_reply(self, error: Exception) -> _TryFailed:
        return _TryFailed(self._redacted(_reason(error)), unreached=_is_unreached(error) and not self._reached)

    def _backoff(self, call: _Call[Any], state: RetryCallState) -> float:
        """Return the seconds until the next try, longer each time as long as the endpoint answers nobody."""
        seconds = wait_random_exponential(multiplier=BACKOFF, max=LONGEST_BACKOFF)(state)
        return min(seconds, CALM_BACKOFF) if self._answered_at > call.tried_at else seconds

    def _out_of_time(self, call: _Call[Any], state: RetryCallState) -> bool:
        if self._hung_up:
            return True
        spent = time.monotonic() - call.started - call.queued
        patience = min(UNREACHED_PATIENCE, self._total_timeout) if _last(state).unreached else self._total_timeout
        return spent + state.upcoming_sleep > patience

    def _give_up(self, call: _Call[Any], state: RetryCallState) -> NoReturn:
        failure = _last(state)
        if failure.unreached:
            raise self._unreachable(str(failure))
        seconds = time.monotonic() - call.started
        raise CallExhausted(f"{self.name}: no answer after {call.tries} tries in {seconds:.0f} s; the last: {failure}")

    def _said(self, raw: bytes) -> str:
        """Return the error message of a reply, or the reply itself where it has none."""
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return self._shown(raw)
        error = data.get("error", data) if isinstance(data, dict) else data
        message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
        return self._redacted(message)[:SHOWN] if isinstance(message, str) else self._shown(raw)

    def _shown(self, raw: bytes) -> str:
        return self._redacted(raw.decode("utf-8", "replace"))[:SHOWN] or "(nothing)"

    def _without_keys(self, raw: bytes) -> bytes:
        """Take the key out of a reply: some endpoints echo it, and an answer is kept for good."""
        for secret in self._secrets:
            raw = raw.replace(secret.encode(), b"[key]")
        return raw

    def _redacted(self, text: str) -> str:
        """Take out the key, which some endpoints echo; always before the text is cut, lest half of it stay."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text


def _checked(name: str, base_url: str) -> str:
    """Return the address without a slash at its end, or say what is wrong with it."""
    try:
        parts = urlsplit(base_url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        address = base_url.rpartition("@")[2]
        raise UserError(f"{name}: base_url {address!r} is no address.", todo="Write it as http://host:port/v1.")
    if parts.username is not None:
        raise UserError(f"{name}: base_url has a name or a key in it.", todo="Put the key in an environment variable.")
    return base_url.rstrip("/")


def _is_unreached(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _last(state: RetryCallState) -> _TryFailed:
    """Return the failure that tenacity is deciding about; only `_TryFailed` comes so far."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, _TryFailed)
    return error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
