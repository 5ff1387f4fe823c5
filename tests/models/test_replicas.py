from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from habitus.errors import CallExhausted, ModelUnusable
from habitus.models import Completion, Message, Params, Usage, http, replicas
from habitus.models.http import HttpModel
from habitus.models.serve import Faults, Latency, Server, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

ASKED: list[Message] = [{"role": "user", "content": "Is the lamp lit?"}]
NOWHERE = "http://127.0.0.1:9/v1"


class Keeper:
    """Says that the lamp is lit."""

    name = "keeper/lamp"

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        return Completion("It is lit.", "stop", Usage(5, 4), 0.0, "lamp-1")

    async def close(self) -> None: ...


def model(urls: Sequence[str], **options: float) -> HttpModel:
    first, *others = urls
    settings = {"concurrency": 64, **options}
    return HttpModel("harbour/lamp", model="lamp-1", base_url=first, key_variable=None, replicas=others, **settings)  # ty: ignore[invalid-argument-type]


async def opened(stack: AsyncExitStack, *latencies: float, **faults: int) -> list[Server]:
    return [
        await stack.enter_async_context(serve(Keeper(), latency=Latency(seconds), faults=Faults(**faults)))
        for seconds in latencies
    ]


async def ask(asked: HttpModel, number: int, at_once: int) -> None:
    """Ask so many times, so many at a time."""
    questions = iter(range(number))

    async def one() -> None:
        for _ in questions:
            await asked.complete(ASKED, Params())

    await asyncio.gather(*(one() for _ in range(at_once)))


async def test_calls_are_shared_out_evenly_over_replicas_that_are_as_fast() -> None:
    async with AsyncExitStack() as stack:
        servers = await opened(stack, 0.01, 0.01, 0.01)
        asked = model([server.url for server in servers])
        await ask(asked, 150, 15)
        await asked.close()

    assert sum(server.requests for server in servers) == 150
    assert all(30 <= server.requests <= 75 for server in servers)
    assert all(server.peak_in_flight <= 8 for server in servers)


async def test_a_slow_replica_gets_less_to_do() -> None:
    async with AsyncExitStack() as stack:
        fast, slow = await opened(stack, 0.01, 0.2)
        asked = model([fast.url, slow.url])
        await ask(asked, 120, 8)
        await asked.close()

    assert fast.requests > 3 * slow.requests


async def test_each_replica_has_a_limit_of_its_own() -> None:
    async with AsyncExitStack() as stack:
        (narrow,) = await opened(stack, 0.01, allowed=4)
        (wide,) = await opened(stack, 0.01)
        asked = model([narrow.url, wide.url])
        await ask(asked, 200, 40)
        limits = [replica.limiter.limit for replica in asked.replicas]
        await asked.close()

    assert limits[0] < 20 < limits[1]
    assert sum(server.answered.total() for server in (narrow, wide)) == 200


async def test_a_replica_that_dies_is_avoided_and_asked_again_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF", 0.001)
    monkeypatch.setattr(replicas, "AWAY", 0.05)
    async with AsyncExitStack() as stack, AsyncExitStack() as mortal:
        (stays,) = await opened(stack, 0.005)
        (dies,) = await opened(mortal, 0.005)
        port = int(dies.url.rpartition(":")[2].partition("/")[0])
        asked = model([stays.url, dies.url])
        await ask(asked, 40, 4)
        before = dies.requests
        await mortal.aclose()
        await ask(asked, 60, 4)
        assert before > 0
        assert stays.answered.total() + before == 100
        back = await stack.enter_async_context(serve(Keeper(), port=port))
        for _ in range(40):
            await asyncio.sleep(0.02)
            await ask(asked, 4, 4)
        await asked.close()

    assert back.requests > 20


async def test_one_replica_that_is_not_there_yet_does_not_stop_the_others() -> None:
    async with AsyncExitStack() as stack:
        (there,) = await opened(stack, 0.0)
        asked = model([NOWHERE, there.url])
        await ask(asked, 20, 4)
        await asked.close()

    assert there.answered.total() == 20


@pytest.mark.parametrize("fault", ["server_error", "reset", "rate_limited"])
async def test_a_call_that_fails_at_one_replica_goes_to_another_at_once(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waited(seconds: float) -> None:
        raise AssertionError(seconds)

    async with AsyncExitStack() as stack:
        (ill,) = await opened(stack, 0.0, **{fault: 1})
        (well,) = await opened(stack, 0.0)
        asked = model([ill.url, well.url])
        monkeypatch.setattr(asked.limiter, "rest", waited)
        await ask(asked, 10, 1)
        await asked.close()

    assert ill.requests > 0
    assert well.answered.total() == 10


async def test_a_call_that_fails_at_all_replicas_waits_before_it_is_sent_again() -> None:
    async with AsyncExitStack() as stack:
        ill = await opened(stack, 0.0, 0.0, server_error=1)
        asked = model([server.url for server in ill])
        waits: list[int] = []

        async def waited(seconds: float, **_: bool) -> bool:
            if seconds:
                waits.append(sum(server.requests for server in ill))
            if len(waits) == 2:
                asked.hang_up()
            return False

        asked.limiter.rest = waited  # ty: ignore[invalid-assignment]
        with pytest.raises(CallExhausted):
            await asked.complete(ASKED, Params())
        await asked.close()

    assert waits == [2, 4]


async def test_none_that_is_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "UNREACHED_PATIENCE", 0.2)
    asked = model([NOWHERE, "http://127.0.0.1:10/v1"])

    with pytest.raises(ModelUnusable, match="can't reach"):
        await asked.complete(ASKED, Params())
    await asked.close()
