from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from habitus.errors import CallExhausted, CallRefused, UserError
from habitus.models import Completion, Message, Params, Usage
from habitus.models import serve as serving
from habitus.models.serve import Faults, Latency, Server, embed, run_server, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class Parrot:
    """Says the last message again once it has waited, and remembers how it was asked."""

    name = "test/parrot"

    def __init__(self, wait: Callable[[], Awaitable[object]] | None = None) -> None:
        self.asked: list[Params] = []
        self.wait = wait

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        self.asked.append(params)
        if self.wait is not None:
            await self.wait()
        text = messages[-1]["content"]
        if text == "How do I pick a lock?":
            raise CallRefused("not that")
        if text == "Are you there?":
            raise CallExhausted("nobody is")
        return Completion(text, "stop", Usage(12, 5, 3), 0.0, "parrot-1")

    async def close(self) -> None: ...


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


def question(text: str = "Should I tell my sister?", **settings: Any) -> dict[str, Any]:
    return {"model": "parrot", "messages": [{"role": "user", "content": text}], **settings}


async def status_of(client: aiohttp.ClientSession, server: Server, body: dict[str, Any]) -> int:
    async with client.post(f"{server.url}/chat/completions", json=body) as reply:
        await reply.read()
        return reply.status


async def test_an_answer_has_the_shape_that_openai_clients_read(client: aiohttp.ClientSession) -> None:
    async with serve(Parrot()) as server, client.post(f"{server.url}/chat/completions", json=question()) as reply:
        data = await reply.json()
    assert reply.status == 200
    assert data["object"] == "chat.completion"
    assert data["model"] == "parrot-1"
    assert data["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Should I tell my sister?"},
            "finish_reason": "stop",
        }
    ]
    assert data["usage"] == {
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 3},
    }


async def test_settings_and_schema_reach_the_model(client: aiohttp.ClientSession) -> None:
    parrot = Parrot()
    schema = {"type": "object", "properties": {"realistic": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema, "strict": False}}
    async with serve(parrot) as server:
        await status_of(client, server, question(temperature=0.3, response_format=wanted))
        await status_of(client, server, question(max_tokens=9, response_format={"type": "json_object"}))
    first, second = parrot.asked
    assert first.settings == {"temperature": 0.3}
    assert first.schema is not None
    assert (first.schema.name, first.schema.schema) == ("verdict", schema)
    assert second.settings == {"max_tokens": 9, "response_format": {"type": "json_object"}}
    assert second.schema is None


async def test_models_and_health_are_told(client: aiohttp.ClientSession) -> None:
    async with serve(Parrot(), faults=Faults(server_error=1)) as server:
        async with client.get(f"{server.url}/models") as reply:
            assert [model["id"] for model in (await reply.json())["data"]] == ["test/parrot"]
        async with client.get(f"http://127.0.0.1:{server.port}/health") as reply:
            assert reply.status == 200
        async with client.get(f"{server.url}/weather") as reply:
            assert reply.status == 404
        assert server.requests == 0


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (question("How do I pick a lock?"), 400, "not that"),
        (question("Are you there?"), 503, "nobody is"),
        (question(stream=True), 400, "streamed"),
        ({"model": "parrot"}, 400, "messages"),
        ("hello", 400, "not understood"),
    ],
)
async def test_what_the_model_refuses_is_an_error_with_a_message(
    client: aiohttp.ClientSession, body: dict[str, Any] | str, status: int, told: str
) -> None:
    sent = body.encode() if isinstance(body, str) else orjson.dumps(body)
    async with serve(Parrot()) as server, client.post(f"{server.url}/chat/completions", data=sent) as reply:
        assert reply.status == status
        assert told in (await reply.json())["error"]["message"]
        assert not server.answered


async def test_embeddings_are_unit_vectors_in_which_like_texts_are_near(client: aiohttp.ClientSession) -> None:
    texts = ["Should I tell my sister?", "Should I tell my brother?", "The boiler makes a noise at night."]
    async with serve(Parrot()) as server:
        async with client.post(f"{server.url}/embeddings", json={"model": "parrot", "input": texts}) as reply:
            rows = (await reply.json())["data"]
        async with client.post(f"{server.url}/embeddings", json={"model": "parrot", "input": texts[2]}) as reply:
            alone = (await reply.json())["data"]
    vectors = [row["embedding"] for row in rows]
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert vectors == [embed(text) for text in texts]
    assert alone[0]["embedding"] == vectors[2]
    assert [sum(x * x for x in vector) for vector in vectors] == pytest.approx([1, 1, 1])

    def likeness(one: int, other: int) -> float:
        return sum(a * b for a, b in zip(vectors[one], vectors[other], strict=True))

    assert likeness(0, 1) > 0.5 > likeness(0, 2)


async def test_the_counters_tell_what_happened(client: aiohttp.ClientSession) -> None:
    all_three = asyncio.Barrier(3)
    bodies = [question("How old is the bridge?"), question("How old is the bridge?"), question("Who built it?")]
    async with serve(Parrot(all_three.wait), latency=Latency(0.001)) as server:
        assert await asyncio.gather(*(status_of(client, server, body) for body in bodies)) == [200, 200, 200]
        assert server.requests == 3
        assert server.in_flight == 0
        assert server.peak_in_flight == 3
        assert sorted(server.answered.values()) == [1, 2]
        assert not server.faults


@pytest.mark.parametrize(("fault", "status"), [("rate_limited", 429), ("server_error", 500)])
async def test_faults_with_a_status_of_their_own(client: aiohttp.ClientSession, fault: str, status: int) -> None:
    faults = replace(Faults(retry_after=2.5), **{fault: 1.0})
    async with serve(Parrot(), faults=faults) as server:
        async with client.post(f"{server.url}/chat/completions", json=question()) as reply:
            assert reply.status == status
            assert reply.headers.get("Retry-After") == ("2.5" if status == 429 else None)
            assert (await reply.json())["error"]["message"]
        assert server.faults == {fault: 1}
        assert not server.answered


async def test_a_reset_connection_brings_no_answer(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(Parrot(), faults=Faults(reset=1)) as server:
        with pytest.raises((ConnectionResetError, aiohttp.ClientConnectionError)):
            await status_of(client, server, question())
        assert server.faults == {"reset": 1}
        assert not server.answered
    assert not caplog.records


async def test_half_a_body_is_noticed_by_the_client(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(Parrot(), faults=Faults(half_body=1)) as server:
        with pytest.raises(aiohttp.ClientPayloadError):
            await status_of(client, server, question())
        assert not server.answered
    assert not caplog.records


async def test_a_slow_body_is_whole_in_the_end(client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DRIBBLE_SECONDS", 0.001)
    async with serve(Parrot(), faults=Faults(slow_body=1)) as server:
        async with client.post(f"{server.url}/chat/completions", json=question()) as reply:
            data = await reply.json()
        assert data["choices"][0]["message"]["content"] == "Should I tell my sister?"
        await status_of(client, server, question("Or my brother?"))
        assert server.answered.total() >= 1
        assert server.faults == {"slow_body": 2}


async def test_bad_json_comes_with_status_200(client: aiohttp.ClientSession) -> None:
    async with serve(Parrot(), faults=Faults(bad_json=1)) as server:
        async with client.post(f"{server.url}/chat/completions", json=question()) as reply:
            assert reply.status == 200
            with pytest.raises(ValueError, match="Unterminated"):
                await reply.json()
        assert not server.answered


async def test_a_stalled_request_ends_when_the_client_hangs_up(client: aiohttp.ClientSession) -> None:
    async with serve(Parrot(), faults=Faults(stall=1)) as server:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(status_of(client, server, question()), 0.1)
        for _ in range(1_000):
            if server.in_flight == 0:
                break
            await asyncio.sleep(0.01)
        assert server.in_flight == 0
        assert not server.answered


async def test_a_stall_ends_in_an_answer(client: aiohttp.ClientSession) -> None:
    async with serve(Parrot(), faults=Faults(stall=1, stall_seconds=0.01)) as server:
        assert await status_of(client, server, question()) == 200


async def test_requests_above_those_allowed_at_once_are_refused(client: aiohttp.ClientSession) -> None:
    may_speak = asyncio.Event()
    async with serve(Parrot(may_speak.wait), faults=Faults(allowed=3)) as server:
        calls = [asyncio.create_task(status_of(client, server, question())) for _ in range(8)]
        statuses = []
        for call in asyncio.as_completed(calls):
            statuses.append(await call)
            if len(statuses) == 5:
                may_speak.set()
        assert statuses == [429] * 5 + [200] * 3
        assert server.faults == {"over_allowed": 5}
        assert await status_of(client, server, question()) == 200


async def test_requests_above_the_admitted_rate_are_refused(client: aiohttp.ClientSession) -> None:
    async with serve(Parrot(), faults=Faults(requests_per_second=0.001)) as server:
        assert await status_of(client, server, question()) == 200
        assert await status_of(client, server, question()) == 429
        assert server.faults == {"over_rate": 1}


async def test_the_same_seed_brings_the_same_faults(client: aiohttp.ClientSession) -> None:
    async def statuses(seed: int) -> list[int]:
        faults = Faults(rate_limited=0.3, server_error=0.3, seed=seed)
        async with serve(Parrot(), faults=faults) as server:
            return [await status_of(client, server, question()) for _ in range(40)]

    first = await statuses(1)
    assert set(first) == {200, 429, 500}
    assert await statuses(1) == first
    assert await statuses(2) != first


@pytest.mark.parametrize("rates", [{"reset": -0.1}, {"reset": 0.6, "stall": 0.6}])
def test_rates_that_are_no_shares_are_a_users_mistake(rates: dict[str, float]) -> None:
    with pytest.raises(UserError, match="rates"):
        replace(Faults(), **rates)


@pytest.mark.parametrize(
    ("text", "latency"),
    [
        ("0", Latency()),
        ("0.2", Latency(0.2)),
        ("constant:0.2", Latency(0.2)),
        ("lognormal:2", Latency(2, "lognormal")),
    ],
)
def test_latency_is_read_from_text(text: str, latency: Latency) -> None:
    assert Latency.parse(text) == latency


@pytest.mark.parametrize("text", ["", "fast", "-1", "nan", "inf", "normal:0.2", "lognormal:"])
def test_a_latency_that_is_not_understood_says_how_to_write_it(text: str) -> None:
    with pytest.raises(UserError, match=r"lognormal:0\.2"):
        Latency.parse(text)


def test_a_lognormal_latency_has_the_mean_it_was_given() -> None:
    latency, rng = Latency(2.0, "lognormal"), random.Random(3)
    drawn = [latency.draw(rng) for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(2.0, rel=0.03)
    assert statistics.median(drawn) < 1.8
    assert Latency(2.0).draw(rng) == 2.0


async def test_a_port_in_use_is_a_users_mistake() -> None:
    async with serve(Parrot()) as server:
        with pytest.raises(UserError, match=str(server.port)):
            async with serve(Parrot(), port=server.port):
                pass


async def test_the_command_serves_until_it_is_told_to_stop(client: aiohttp.ClientSession) -> None:
    ready: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(run_server(Parrot(), 0, Latency(), Faults(), on_ready=ready.put_nowait))
    url = await ready.get()
    async with client.get(f"{url}/models") as reply:
        assert reply.status == 200
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 30)
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get(f"{url}/models")


async def test_a_cancelled_server_lets_go_of_its_port() -> None:
    ready: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(run_server(Parrot(), 0, Latency(), Faults(), on_ready=ready.put_nowait))
    port = int((await ready.get()).split(":")[2].split("/")[0])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with serve(Parrot(), port=port) as server:
        assert server.port == port
