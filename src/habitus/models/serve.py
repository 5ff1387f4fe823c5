"""Any model behind an OpenAI-compatible interface, with latency and faults: for dry runs, tests and benchmarks."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import signal
import socket
import struct
import time
import zlib
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import orjson
from aiohttp import web

from habitus.errors import CallFailed, CallRefused, UserError, nearest
from habitus.models import AnswerSchema, Params

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from habitus.models import Completion, Model

DIMENSIONS = 256
DRAWN = ("rate_limited", "server_error", "reset", "stall", "half_body", "slow_body", "bad_json")
DRIBBLES = 10
"""Pieces in which a slow body comes, `DRIBBLE_SECONDS` apart."""
DRIBBLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an answer takes, in seconds, before the model is asked."""

    mean: float = 0.0
    shape: Literal["constant", "lognormal"] = "constant"
    sigma: float = 0.6
    """Spread of the logarithm; the mean stays what `mean` says."""
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Latency:
        """Read `0.2` (constant) or `lognormal:0.2`.

        Raises:
            UserError: it is neither.

        """
        shape, _, mean = text.rpartition(":")
        try:
            seconds = float(mean)
        except ValueError:
            seconds = -1.0
        if shape not in ("", "constant", "lognormal") or not 0 <= seconds < math.inf:
            raise UserError(f"latency {text!r} is not understood.", todo="Write seconds: 0.2, or lognormal:0.2.")
        return cls(seconds, "lognormal" if shape == "lognormal" else "constant")

    def draw(self, rng: random.Random) -> float:
        """Return the seconds of one answer."""
        if self.shape == "constant" or self.mean == 0:
            return self.mean
        return rng.lognormvariate(math.log(self.mean) - self.sigma**2 / 2, self.sigma)


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong: shares of the requests, at most one fault each, and two limits on what is admitted.

    Raises:
        UserError: the shares are no shares.

    """

    rate_limited: float = 0.0
    """Answered 429."""
    server_error: float = 0.0
    """Answered 500."""
    reset: float = 0.0
    """The connection is aborted without an answer."""
    stall: float = 0.0
    """Nothing comes for `stall_seconds`, then the answer."""
    half_body: float = 0.0
    """The connection is closed in the middle of the answer."""
    slow_body: float = 0.0
    """The answer dribbles in."""
    bad_json: float = 0.0
    """Status 200 and a body that is not JSON."""
    retry_after: float = 1.0
    """Seconds that every 429 asks the client to wait."""
    stall_seconds: float = 600.0
    allowed: int | None = None
    """Requests in flight; further ones are answered 429."""
    requests_per_second: float | None = None
    """Requests admitted, with a second's worth of burst; further ones are answered 429."""
    seed: int = 0

    @classmethod
    def parse(cls, given: Sequence[str]) -> Faults:
        """Read `NAME=RATE` items, such as `rate_limited=0.05` or `allowed=20`.

        Raises:
            UserError: a name is unknown or a value is no number.

        """
        known = {one.name: int if one.name in {"allowed", "seed"} else float for one in fields(cls)}
        values: dict[str, Any] = {}
        for item in given:
            name, _, value = item.partition("=")
            if name not in known:
                listed = ", ".join(known)
                raise UserError(f"there is no fault '{name}'.{nearest(name, known)}", todo=f"There are: {listed}.")
            try:
                values[name] = known[name](value)
            except ValueError as error:
                raise UserError(f"fault {item!r} has no number.", todo=f"Write {name}=0.05.") from error
        return cls(**values)

    def __post_init__(self) -> None:
        shares = [share for _, share in self.shares()]
        if min(shares) < 0 or sum(shares) > 1:
            raise UserError("the rates of the faults must not be negative, nor sum to more than 1.")

    def shares(self) -> list[tuple[str, float]]:
        """Return each fault that is drawn, with its rate."""
        return [(name, getattr(self, name)) for name in DRAWN]


class Server:
    """The requests that one model is asked, and what became of them."""

    def __init__(self, model: Model, latency: Latency, faults: Faults) -> None:
        self.url = ""
        """The base_url for clients, `/v1` included."""
        self.port = 0
        self.requests = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.faults: Counter[str] = Counter()
        """How often each fault was met; the limits count as `over_allowed` and `over_rate`."""
        self.answered: Counter[str] = Counter()
        """How often each distinct body (by digest) was answered in full with 200; `len` is how many there were."""
        self._model = model
        self._latency = latency
        self._latency_rng = random.Random(latency.seed)
        self._plan = faults
        self._fault_rng = random.Random(faults.seed)
        self._shares = [(name, share) for name, share in faults.shares() if share]
        self._tokens = max(1.0, faults.requests_per_second or 0.0)
        self._refilled = time.monotonic()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, of whatever path."""
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                return await self._counted(request, self._chat)
            case "POST", "/v1/embeddings":
                return await self._counted(request, self._embeddings)
            case "GET", "/v1/models":
                return _response(200, orjson.dumps({"object": "list", "data": [{"id": self._model.name}]}))
            case "GET", "/health":
                return _response(200, b'{"status": "ok"}')
        return _response(404, _complaint(f"there is no {request.method} {request.path}", 404))

    async def _counted(
        self, request: web.BaseRequest, answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> web.StreamResponse:
        raw = await request.read()
        self.requests += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            return await self._spoilt(request, raw, self._fault(), answer)
        finally:
            self.in_flight -= 1

    def _fault(self) -> str | None:
        """Decide what goes wrong with this request; a limit comes before the dice."""
        plan = self._plan
        if plan.allowed is not None and self.in_flight > plan.allowed:
            return "over_allowed"
        if plan.requests_per_second is not None and not self._admitted(plan.requests_per_second):
            return "over_rate"
        if self._shares:
            drawn = self._fault_rng.random()
            for name, share in self._shares:
                drawn -= share
                if drawn < 0:
                    return name
        return None

    def _admitted(self, rate: float) -> bool:
        """Take a token from the bucket, if there is one."""
        now = time.monotonic()
        self._tokens = min(max(1.0, rate), self._tokens + (now - self._refilled) * rate)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _spoilt(
        self,
        request: web.BaseRequest,
        raw: bytes,
        fault: str | None,
        answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
    ) -> web.StreamResponse:
        """Answer, unless the fault says otherwise."""
        if fault is not None:
            self.faults[fault] += 1
        match fault:
            case "over_allowed" | "over_rate" | "rate_limited":
                refusal = _response(429, _complaint("too many requests", 429))
                refusal.headers["Retry-After"] = f"{self._plan.retry_after:g}"
                return refusal
            case "server_error":
                return _response(500, _complaint("something broke", 500))
            case "bad_json":
                return _response(200, b'{"choices": [{"message": {"content": "The')
            case "reset":
                _reset(request)
                return web.Response()
            case "stall":
                await asyncio.sleep(self._plan.stall_seconds)
        status, body = await self._reply(raw, answer)
        if fault == "half_body":
            return await _halved(request, body)
        response = await _dribbled(request, body) if fault == "slow_body" else _response(status, body)
        if status == HTTPStatus.OK:
            self.answered[hashlib.blake2b(raw, digest_size=16).hexdigest()] += 1
        return response

    async def _reply(
        self, raw: bytes, answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> tuple[int, bytes]:
        """Return status and body of a reply without faults."""
        seconds = self._latency.draw(self._latency_rng)
        if seconds:
            await asyncio.sleep(seconds)
        try:
            return 200, orjson.dumps(await answer(orjson.loads(raw)))
        except CallRefused as error:
            return 400, _complaint(str(error), 400)
        except CallFailed as error:
            return 503, _complaint(str(error), 503)
        except (orjson.JSONDecodeError, KeyError) as error:
            return 400, _complaint(f"the request is not understood: {error}", 400)

    async def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("stream"):
            raise CallRefused("answers are not streamed")
        completion = await self._model.complete(body["messages"], _params(body))
        message = {"role": "assistant", "content": completion.text}
        return {
            "id": f"chatcmpl-{self.requests}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": completion.model,
            "choices": [{"index": 0, "message": message, "finish_reason": completion.finish}],
            **_usage(completion),
        }

    async def _embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        rows = [{"object": "embedding", "index": i, "embedding": embed(text)} for i, text in enumerate(texts)]
        return {"object": "list", "model": self._model.name, "data": rows}


@asynccontextmanager
async def serve(
    model: Model,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    latency: Latency = Latency(),
    faults: Faults = Faults(),
) -> AsyncGenerator[Server]:
    """Serve the model while the context lasts; port 0 takes a free one.

    Raises:
        UserError: the port is taken.

    """
    server = Server(model, latency, faults)
    loop = asyncio.get_running_loop()

    def request_of_any_size(*parts: Any) -> web.BaseRequest:
        return web.BaseRequest(*parts, loop, client_max_size=0)

    listener = web.Server(
        server.handle, request_factory=request_of_any_size, handler_cancellation=True, access_log=None
    )
    runner = web.ServerRunner(listener, shutdown_timeout=0.1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, backlog=4096).start()
        except OSError as error:
            raise UserError(f"can't serve on {host}:{port}: {error.strerror}.", todo="Choose another port.") from error
        server.port = runner.addresses[0][1]
        server.url = f"http://{host}:{server.port}/v1"
        yield server
    finally:
        await runner.cleanup()


async def run_server(
    model: Model, port: int, latency: Latency, faults: Faults, *, on_ready: Callable[[str], None]
) -> None:
    """Serve until SIGINT, SIGTERM or cancellation; `on_ready` is told the base_url once requests are taken."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        async with serve(model, port=port, latency=latency, faults=faults) as server:
            on_ready(server.url)
            await stopped.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def embed(text: str) -> list[float]:
    """Return a unit vector in which texts that share character trigrams are near; it knows nothing of meaning."""
    vector = [0.0] * DIMENSIONS
    padded = f"  {text.lower()} "
    for start in range(len(padded) - 2):
        digest = zlib.crc32(padded[start : start + 3].encode())
        vector[digest % DIMENSIONS] += 1.0 if digest >> 31 else -1.0
    norm = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / norm for x in vector]


def _params(body: dict[str, Any]) -> Params:
    """Take a request body apart as `HttpModel` put it together."""
    settings = {key: value for key, value in body.items() if key not in ("model", "messages")}
    schema = None
    if settings.get("response_format", {}).get("type") == "json_schema":
        described = settings.pop("response_format")["json_schema"]
        schema = AnswerSchema(described["name"], described["schema"])
    return Params(settings, schema)


def _usage(completion: Completion) -> dict[str, Any]:
    usage = completion.usage
    if usage is None:
        return {}
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    return {"usage": counts}


def _response(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def _complaint(message: str, code: int) -> bytes:
    return orjson.dumps({"error": {"message": message, "code": code}})


def _reset(request: web.BaseRequest) -> None:
    """Abort the connection with a TCP reset rather than an orderly end."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


async def _begun(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Send the headers of a body that is then written by hand."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    return response


async def _halved(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Promise the whole body, send half, hang up."""
    response = await _begun(request, body)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _dribbled(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Send the body in pieces with pauses between."""
    response = await _begun(request, body)
    size = len(body) // DRIBBLES + 1
    for start in range(0, len(body), size):
        await response.write(body[start : start + size])
        await asyncio.sleep(DRIBBLE_SECONDS)
    return response
