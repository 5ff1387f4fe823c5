from __future__ import annotations

import asyncio
import itertools
import socket
import time
import traceback
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from habitus.errors import CallExhausted, CallRefused, ModelUnusable, UserError
from habitus.models import AnswerSchema, Completion, Message, Params, Usage, http
from habitus.models import serve as serving
from habitus.models.http import HttpModel
from habitus.models.serve import Faults, Latency, serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from habitus.models.lines import ResponseFormat

KEY = "sk-lighthouse-0451-keeper"
ASKED: list[Message] = [
    {"role": "system", "content": "You keep the lighthouse."},
    {"role": "user", "content": "Is the lamp lit?"},
]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds, and hold the key where the tests say it is."""
    monkeypatch.setattr(http, "BACKOFF", 0.002)
    monkeypatch.setattr(http, "LONGEST_BACKOFF", 0.02)
    monkeypatch.setenv("LIGHTHOUSE_KEY", KEY)


@dataclass
class Reply:
    """What the scripted endpoint says to one request."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Asked:
    """One request as the scripted endpoint saw it."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Endpoint:
    """Replies in the order of its script, the last one for ever."""

    script: list[Reply]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        at, raw = time.monotonic(), await request.read()
        body = orjson.loads(raw) if raw else None
        self.asked.append(Asked(at, request.method, request.path, dict(request.headers), body))
        self.reached.set()
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if reply.seconds:
            await asyncio.sleep(reply.seconds)
        sent = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
        sent = sent.replace(b"$AUTHORIZATION", request.headers.get("Authorization", "").encode())
        return web.Response(status=reply.status, body=sent, headers=reply.headers)


@asynccontextmanager
async def scripted(*script: Reply) -> AsyncGenerator[Endpoint]:
    endpoint = Endpoint(list(script))
    async with RawTestServer(endpoint.handle, handler_cancellation=True) as server:
        endpoint.url = str(server.make_url("/v1"))
        yield endpoint


@asynccontextmanager
async def model_at(url: str, **options: Any) -> AsyncGenerator[HttpModel]:
    options = {"key_variable": "LIGHTHOUSE_KEY", **options}
    model = HttpModel("harbour/lamp", model="lamp-1", base_url=url, **options)
    try:
        yield model
    finally:
        await model.close()


def said(text: str | None = "It is lit.", **more: Any) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}
    return Reply(body={"id": "1", "model": "lamp-1-2026", "choices": [choice]})


def told_off(status: int, message: str, **more: Any) -> Reply:
    return Reply(status, {"error": {"message": message, **more}})


class Parrot:
    """Says the last message again."""

    name = "test/parrot"

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        return Completion(messages[-1]["content"], "stop", Usage(20, 5), 0.0, "parrot")

    async def close(self) -> None: ...


async def ask(model: HttpModel, text: str) -> Completion:
    return await model.complete([{"role": "user", "content": text}], Params())


# What is sent, what is read


async def test_the_request_carries_model_messages_settings_and_key() -> None:
    async with scripted(said()) as endpoint, model_at(endpoint.url + "/", headers={"X-Title": "harbour"}) as model:
        completion = await model.complete(ASKED, Params({"temperature": 0.7, "stop": ["\n"], "seed": 5}))
    assert completion.text == "It is lit."
    assert completion.finish == "stop"
    assert completion.model == "lamp-1-2026"
    assert completion.usage is None
    assert 0 < completion.latency < 30
    (asked,) = endpoint.asked
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.body == {"model": "lamp-1", "messages": ASKED, "temperature": 0.7, "stop": ["\n"], "seed": 5}
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.headers["X-Title"] == "harbour"


async def test_without_a_key_variable_no_key_is_sent() -> None:
    async with scripted(said()) as endpoint, model_at(endpoint.url, key_variable=None) as model:
        await model.complete(ASKED, Params())
    assert "Authorization" not in endpoint.asked[0].headers


async def test_samples_of_one_request_differ_in_their_seed_alone() -> None:
    async with scripted(said()) as endpoint, model_at(endpoint.url) as model:
        await model.complete(ASKED, Params({"seed": 40}, sample=2))
        await model.complete(ASKED, Params({}, sample=2))
    assert [asked.body.get("seed") for asked in endpoint.asked] == [42, None]
    assert not any("sample" in asked.body for asked in endpoint.asked)


@pytest.mark.parametrize(
    ("response_format", "sent"),
    [
        (
            "json_schema",
            {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "schema": {"type": "object"}, "strict": False},
            },
        ),
        ("json_object", {"type": "json_object"}),
        ("none", None),
    ],
)
async def test_a_schema_is_asked_for_as_the_endpoint_understands_it(
    response_format: ResponseFormat, sent: dict[str, Any] | None
) -> None:
    async with scripted(said("{}")) as endpoint, model_at(endpoint.url, response_format=response_format) as model:
        await model.complete(ASKED, Params(schema=AnswerSchema("verdict", {"type": "object"})))
    assert endpoint.asked[0].body.get("response_format") == sent


@pytest.mark.parametrize(
    ("counted", "usage"),
    [
        (None, None),
        ({}, None),
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(9, 4, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": None}, Usage(9, 4, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}, Usage(9, 4, 8)),
    ],
)
async def test_tokens_are_those_the_endpoint_counted(counted: dict[str, Any] | None, usage: Usage | None) -> None:
    reply = said()
    reply.body["usage"] = counted
    async with scripted(reply) as endpoint, model_at(endpoint.url) as model:
        assert (await model.complete(ASKED, Params())).usage == usage


@pytest.mark.parametrize(
    ("reply", "text", "finish"),
    [
        (said("The lamp is", finish_reason="length"), "The lamp is", "length"),
        (said(""), "", "stop"),
        (said(None), "", "stop"),
        (said("", message={"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}), "Yes.", "stop"),
        (said("", message={"role": "assistant"}), "", "stop"),
        (said("", message={"content": [{"type": "thinking"}, {"type": "text", "text": "Yes."}]}), "Yes.", "stop"),
        (said("No.", finish_reason=None), "No.", "stop"),
    ],
)
async def test_truncated_empty_and_reasoned_answers_are_answers(reply: Reply, text: str, finish: str) -> None:
    async with scripted(reply) as endpoint, model_at(endpoint.url) as model:
        completion = await model.complete(ASKED, Params())
    assert (completion.text, completion.finish) == (text, finish)
    assert len(endpoint.asked) == 1


async def test_a_request_of_more_than_a_megabyte_is_sent_like_any_other() -> None:
    async with serve(Parrot()) as server, model_at(server.url) as model:
        story = "The sea was calm. " * 70_000
        assert (await ask(model, story)).text == story


async def test_embeddings_come_in_the_order_of_the_texts() -> None:
    rows = [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}]
    async with scripted(Reply(body={"data": rows})) as endpoint, model_at(endpoint.url) as model:
        assert await model.embeddings(["calm", "storm"]) == [[1.0, 0.0], [0.0, 1.0]]
        assert await model.embeddings([]) == []
    (asked,) = endpoint.asked
    assert asked.path == "/v1/embeddings"
    assert asked.body == {"model": "lamp-1", "input": ["calm", "storm"]}


async def test_too_few_embeddings_are_asked_for_again() -> None:
    one, two = {"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [2.0]}
    replies = Reply(body={"data": [one]}), Reply(500), Reply(body={"data": [one, two]})
    async with scripted(*replies) as endpoint, model_at(endpoint.url) as model:
        assert await model.embeddings(["calm", "storm"]) == [[1.0], [2.0]]
    assert len(endpoint.asked) == 3


# What is tried again


@pytest.mark.parametrize(
    "failure",
    [
        *(told_off(status, "not now") for status in (408, 409, 429, 500, 502, 503, 504, 529)),
        Reply(body=b"<html>Bad gateway</html>"),
        Reply(body=b'{"choices": [{"mess'),
        Reply(body={"error": {"message": "upstream failed"}}),
        Reply(body={"choices": []}),
        Reply(body={"choices": None}),
        Reply(body={"choices": [{"message": None}]}),
        Reply(body=[1, 2]),
        Reply(body=b""),
    ],
    ids=lambda reply: f"{reply.status} {str(reply.body)[:24]}",
)
async def test_failures_that_may_pass_are_tried_again(failure: Reply) -> None:
    async with scripted(failure, failure, failure, said()) as endpoint, model_at(endpoint.url) as model:
        assert (await model.complete(ASKED, Params())).text == "It is lit."
        assert model.limiter.in_flight == 0
    assert len(endpoint.asked) == 4
    assert len({orjson.dumps(asked.body) for asked in endpoint.asked}) == 1


@pytest.mark.parametrize("fault", ["rate_limited", "server_error", "reset", "stall", "half_body", "bad_json"])
async def test_every_fault_is_survived(fault: str) -> None:
    faults = replace(Faults(retry_after=0.001, seed=4), **{fault: 0.5})
    async with serve(Parrot(), faults=faults) as server, model_at(server.url, try_timeout=0.3) as model:
        texts = [f"Is lamp {number} lit?" for number in range(12)]
        completions = await asyncio.gather(*(ask(model, text) for text in texts))
        assert [completion.text for completion in completions] == texts
        assert server.faults[fault] >= 1
        assert len(server.answered) == 12


async def test_a_slow_body_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DRIBBLE_SECONDS", 0.005)
    async with serve(Parrot(), faults=Faults(slow_body=1)) as server, model_at(server.url) as model:
        assert (await ask(model, "Is the lamp lit?")).text == "Is the lamp lit?"
        assert server.requests == 1


async def test_a_try_without_reply_ends_and_another_follows() -> None:
    silent = Reply(seconds=60)
    async with scripted(silent, said()) as endpoint, model_at(endpoint.url, try_timeout=0.2) as model:
        assert (await model.complete(ASKED, Params())).latency < 30
    assert len(endpoint.asked) == 2


async def test_when_time_is_up_the_error_tells_model_tries_status_and_body() -> None:
    reply = Reply(502, b"The gateway dozes. " * 50)
    async with scripted(reply) as endpoint, model_at(endpoint.url, total_timeout=0.1) as model:
        with pytest.raises(CallExhausted) as raised:
            await model.complete(ASKED, Params())
    message = str(raised.value)
    assert "harbour/lamp" in message
    assert f"{len(endpoint.asked)} tries" in message
    assert "HTTP 502" in message
    assert ("The gateway dozes. " * 50)[:300] in message
    assert len(message) < 420
    assert len(endpoint.asked) > 1


async def test_a_pause_that_the_endpoint_demands_is_not_taken_from_the_time_allowed() -> None:
    busy = Reply(429, {"error": "busy"}, {"Retry-After": "0.3"})
    async with scripted(busy, busy, said()) as endpoint, model_at(endpoint.url, total_timeout=0.25) as model:
        assert (await model.complete(ASKED, Params())).text == "It is lit."
    assert len(endpoint.asked) == 3


async def test_no_request_is_sent_during_the_pause_that_an_overload_demands() -> None:
    answer = said()
    answer.seconds = 0.05
    busy = Reply(429, {"error": "busy"}, {"Retry-After": "0.5"})
    async with scripted(*[busy] * 4, answer) as endpoint, model_at(endpoint.url, concurrency=4) as model:
        completions = await asyncio.gather(*(ask(model, f"Is lamp {number} lit?") for number in range(12)))
    assert len(completions) == 12
    times = [asked.at for asked in endpoint.asked]
    assert len(times) == 16
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) > 0.4


async def test_a_single_429_holds_back_its_own_call_alone() -> None:
    busy = Reply(429, {"error": "busy"}, {"Retry-After": "0.5"})
    async with scripted(busy, said()) as endpoint, model_at(endpoint.url, concurrency=4) as model:
        await asyncio.gather(*(ask(model, f"Is lamp {number} lit?") for number in range(12)))
    times = [asked.at for asked in endpoint.asked]
    assert times[-1] - times[0] > 0.4
    assert sum(one - times[0] < 0.4 for one in times) == 12


async def test_a_used_up_request_budget_is_waited_for_without_a_429() -> None:
    answer = said()
    answer.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms"}
    async with scripted(answer, said()) as endpoint, model_at(endpoint.url) as model:
        await model.complete(ASKED, Params())
        await model.complete(ASKED, Params())
    assert endpoint.asked[1].at - endpoint.asked[0].at > 0.27


async def test_the_limit_settles_at_what_the_endpoint_allows() -> None:
    """Once the limit is found, only its probing for more is refused now and then."""
    faults = Faults(allowed=8, retry_after=0.005)
    async with serve(Parrot(), latency=Latency(0.01), faults=faults) as server, model_at(server.url) as model:
        await asyncio.gather(*(ask(model, f"Is lamp {number} lit?") for number in range(200)))
        refused, peak = server.faults["over_allowed"], server.peak_in_flight
        server.peak_in_flight = 0
        await asyncio.gather(*(ask(model, f"Is buoy {number} lit?") for number in range(400)))
        assert 8 < peak <= 64
        assert server.faults["over_allowed"] - refused <= 40
        assert server.peak_in_flight <= 12
        assert model.limiter.limit <= 12
        assert sorted(server.answered.values()) == [1] * 600


async def test_two_thousand_calls_under_mixed_faults_end_in_one_answer_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DRIBBLE_SECONDS", 0.001)
    faults = Faults(
        rate_limited=0.01,
        server_error=0.03,
        reset=0.02,
        stall=0.005,
        half_body=0.02,
        slow_body=0.02,
        bad_json=0.02,
        retry_after=0.001,
        seed=11,
    )
    parrot = Parrot()
    async with serve(parrot, faults=faults) as server, model_at(server.url, try_timeout=1) as model:
        texts = [f"Is lamp {number} lit?" for number in range(2_000)]
        completions = await asyncio.gather(*(ask(model, text) for text in texts))
        assert [completion.text for completion in completions] == texts
        assert len(server.answered) == 2_000
        assert len(server.faults) == 7
        assert server.requests >= 2_000 + server.faults.total() - server.faults["slow_body"]
        assert model.limiter.in_flight == model.limiter.waiting == 0


async def test_a_cancelled_call_frees_its_slot() -> None:
    async with scripted(Reply(seconds=60)) as endpoint, model_at(endpoint.url, concurrency=1) as model:
        call = asyncio.create_task(model.complete(ASKED, Params()))
        await endpoint.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert model.limiter.in_flight == 0


async def test_no_slot_is_held_while_a_call_waits_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF", 60.0)
    monkeypatch.setattr(http, "LONGEST_BACKOFF", 60.0)
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    async with scripted(told_off(500, "asleep"), said()) as endpoint, model_at(endpoint.url, concurrency=1) as model:
        waiting = asyncio.create_task(model.complete(ASKED, Params()))
        await endpoint.reached.wait()
        assert (await asyncio.wait_for(model.complete(ASKED, Params()), 30)).text == "It is lit."
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_bad_luck_is_not_waited_out_while_the_endpoint_answers_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF", 60.0)
    monkeypatch.setattr(http, "LONGEST_BACKOFF", 60.0)
    monkeypatch.setattr(http, "CALM_BACKOFF", 0.01)
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    unlucky = told_off(500, "asleep")
    unlucky.seconds = 0.2
    async with scripted(unlucky, said()) as endpoint, model_at(endpoint.url, concurrency=2) as model:
        calls = [ask(model, "Is the lamp lit?"), ask(model, "Is the buoy lit?")]
        await asyncio.wait_for(asyncio.gather(*calls), 30)
    assert len(endpoint.asked) == 3


async def test_whoever_waits_out_an_outage_is_woken_by_the_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF", 60.0)
    monkeypatch.setattr(http, "LONGEST_BACKOFF", 60.0)
    monkeypatch.setattr(http, "CALM_BACKOFF", 0.01)
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    async with scripted(told_off(500, "asleep"), said()) as endpoint, model_at(endpoint.url, concurrency=1) as model:
        waiting = asyncio.create_task(model.complete(ASKED, Params()))
        await endpoint.reached.wait()
        await model.complete(ASKED, Params())
        assert (await asyncio.wait_for(waiting, 30)).text == "It is lit."


# What is not tried again


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_request_is_told_in_the_endpoints_words(status: int) -> None:
    async with scripted(told_off(status, "max_tokens is too large")) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(CallRefused, match=f"HTTP {status}: max_tokens is too large"):
            await model.complete(ASKED, Params())
        assert model.limiter.in_flight == 0
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"detail": "no such field"}, "no such field"),
        ({"error": "bad prompt"}, "bad prompt"),
        ({"message": "too long"}, "too long"),
        ({"error": {"code": 7}}, '{"error":{"code":7}}'),
        (["odd"], '["odd"]'),
        (b"plain words", "plain words"),
        (b"", r"\(nothing\)"),
    ],
)
async def test_the_endpoints_words_are_found_wherever_it_puts_them(body: Any, told: str) -> None:
    async with scripted(Reply(400, body)) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(CallRefused, match=f"HTTP 400: {told.replace('[', '.').replace('{', '.')}"):
            await model.complete(ASKED, Params())


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (told_off(401, "bad key"), "LIGHTHOUSE_KEY"),
        (told_off(403, "no access"), "LIGHTHOUSE_KEY"),
        (told_off(404, "no model lamp-1"), "'lamp-1'"),
        (told_off(402, "pay first"), "credit"),
        (told_off(429, "quota", code="insufficient_quota"), "credit"),
        (Reply(301, b"", {"Location": "https://elsewhere.example/v1"}), "base_url"),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)
async def test_an_unusable_model_is_told_once_with_what_to_do(reply: Reply, advice: str) -> None:
    async with scripted(reply) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(ModelUnusable) as raised:
            await model.complete(ASKED, Params())
        assert endpoint.url in raised.value.what
    assert "harbour/lamp" in raised.value.what
    assert f"HTTP {reply.status}" in raised.value.what
    assert advice in raised.value.todo
    assert len(endpoint.asked) == 1


async def test_an_endpoint_that_wants_a_key_says_so_when_none_is_configured() -> None:
    async with scripted(told_off(401, "who are you?")) as endpoint, model_at(endpoint.url, key_variable=None) as model:
        with pytest.raises(ModelUnusable, match="wants a key"):
            await model.complete(ASKED, Params())


@pytest.mark.parametrize("key", [None, "", "  \n"])
async def test_a_missing_key_is_told_before_any_request(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    if key is None:
        monkeypatch.delenv("LIGHTHOUSE_KEY")
    else:
        monkeypatch.setenv("LIGHTHOUSE_KEY", key)
    async with scripted(said()) as endpoint, model_at(endpoint.url) as model:
        for attempt in (model.complete(ASKED, Params()), model.embeddings(["calm"]), model.check()):
            with pytest.raises(ModelUnusable, match="LIGHTHOUSE_KEY is not set"):
                await attempt
    assert endpoint.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "http://",
        "http://harbour.example:lamp/v1",
        "http://[::1/v1",
        "https://keeper:secret@harbour.example/v1",
        "keeper:secret@harbour.example/v1",
    ],
)
def test_a_base_url_that_cannot_work_is_told_at_once(url: str) -> None:
    with pytest.raises(UserError, match="base_url") as raised:
        HttpModel("harbour/lamp", model="lamp-1", base_url=url, key_variable=None)
    assert "secret" not in str(raised.value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_an_endpoint_never_reached_is_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "UNREACHED_PATIENCE", 0.1)
    url = f"http://127.0.0.1:{free_port()}/v1"
    async with model_at(url, total_timeout=600) as model:
        with pytest.raises(ModelUnusable, match=f"can't reach {url}"):
            await model.complete(ASKED, Params())


async def test_an_endpoint_that_has_answered_before_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "UNREACHED_PATIENCE", 0.01)
    async with serve(Parrot()) as server, model_at(server.url) as model:
        await ask(model, "Is the lamp lit?")
        port = server.port
        await model.close()
    call = asyncio.create_task(ask(model, "And now?"))
    await asyncio.sleep(0.1)
    assert not call.done()
    async with serve(Parrot(), port=port):
        assert (await asyncio.wait_for(call, 30)).text == "And now?"
        await model.close()


# The check


@pytest.mark.parametrize("status", [200, 404, 405, 500])
async def test_the_check_passes_where_somebody_answers(status: int) -> None:
    async with scripted(Reply(status, {"data": []})) as endpoint, model_at(endpoint.url) as model:
        await model.check()
    assert [(asked.method, asked.path) for asked in endpoint.asked] == [("GET", "/v1/models")]


@pytest.mark.parametrize("status", [401, 403])
async def test_the_check_tells_of_a_refused_key(status: int) -> None:
    async with scripted(told_off(status, "bad key")) as endpoint, model_at(endpoint.url) as model:
        with pytest.raises(ModelUnusable, match="LIGHTHOUSE_KEY"):
            await model.check()


async def test_the_check_tells_of_an_endpoint_that_is_not_there() -> None:
    async with model_at(f"http://127.0.0.1:{free_port()}/v1") as model:
        with pytest.raises(ModelUnusable, match="can't reach"):
            await model.check()


async def test_the_check_tells_of_an_endpoint_that_keeps_silent() -> None:
    async with scripted(Reply(seconds=60)) as endpoint, model_at(endpoint.url, try_timeout=0.1) as model:
        with pytest.raises(ModelUnusable, match="timed out"):
            await model.check()


# The key stays secret


def everything_said(error: BaseException) -> str:
    """The error and all that hangs on it, in every way it could be printed."""
    said_here = [str(error), repr(error), *map(str, error.args), "".join(traceback.format_exception(error))]
    linked = [other for other in (error.__cause__, error.__context__) if other is not None]
    return "\n".join(said_here + [everything_said(other) for other in linked])


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "you sent $AUTHORIZATION"}},
        b"you sent $AUTHORIZATION",
        b"x" * 272 + b"you sent $AUTHORIZATION",
        {"headers": ["$AUTHORIZATION"]},
    ],
    ids=["message", "text", "cut", "odd"],
)
async def test_a_key_that_the_endpoint_echoes_is_never_shown(
    status: int, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    async with scripted(Reply(status, body)) as endpoint, model_at(endpoint.url, total_timeout=0.01) as model:
        with pytest.raises((ModelUnusable, CallRefused, CallExhausted)) as raised:
            await model.complete(ASKED, Params())
        shown = everything_said(raised.value) + repr(model) + str(model.limiter) + caplog.text
    assert endpoint.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    for piece in (KEY, KEY[:8]):
        assert piece not in shown


async def test_a_key_in_a_header_of_the_users_is_never_shown() -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=400, text=f"odd header {request.headers['api-key']}")

    async with RawTestServer(echo) as server:
        url = str(server.make_url("/v1"))
        async with model_at(url, key_variable=None, headers={"api-key": KEY}) as model:
            with pytest.raises(CallRefused, match=r"odd header \[key\]") as raised:
                await model.complete(ASKED, Params())
    assert KEY not in everything_said(raised.value) + repr(model)


@pytest.mark.parametrize("fault", ["reset", "half_body"])
async def test_broken_connections_do_not_show_the_key(fault: str) -> None:
    faults = replace(Faults(), **{fault: 1.0})
    async with serve(Parrot(), faults=faults) as server, model_at(server.url, total_timeout=0.01) as model:
        with pytest.raises(CallExhausted) as raised:
            await ask(model, "Is the lamp lit?")
    shown = everything_said(raised.value)
    assert KEY not in shown
    assert "Bearer" not in shown


def test_nothing_is_said_of_the_key_before_it_is_needed() -> None:
    model = HttpModel("harbour/lamp", model="lamp-1", base_url="http://127.0.0.1:1/v1", key_variable="LIGHTHOUSE_KEY")
    assert repr(model) == "HttpModel('harbour/lamp', model='lamp-1', base_url='http://127.0.0.1:1/v1')"
    assert KEY not in str(vars(model))
