"""CPU per call of the whole path (render, HTTP, parse, durable ledger) beside bare aiohttp, in one run.

    python benchmarks/calls.py [--check] [--calls 6000]

Bar: at most 0.5 ms CPU a call at concurrency 256 and 1,024. Published for other tools on the same kind of job: 1.3 to
17.7 ms. The server (200 ms an answer, about 600 tokens) runs in a process of its own. Clients that are installed
(`pip install openai litellm`) are measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import orjson

sys.path.insert(0, str(Path(__file__).parent))
from house import Row, engine, single
from stand_in import running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BAR_MS = 0.5
QUESTION = "You write for a harbour master's office. " * 30


async def in_flight(count: int, concurrency: int, call: Callable[[int], Awaitable[object]]) -> None:
    """Make `count` calls, at most `concurrency` at a time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(worker() for _ in range(concurrency)))


async def bare(url: str, count: int, concurrency: int) -> None:
    """Run aiohttp with orjson: no retries, no limit, nothing kept."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as session:

        async def call(number: int) -> object:
            body = {"model": "canned", "messages": [{"role": "user", "content": f"{QUESTION} {number}"}]}
            async with session.post(f"{url}/chat/completions", data=orjson.dumps(body)) as reply:
                return orjson.loads(await reply.read())["choices"][0]["message"]["content"]

        await in_flight(count, concurrency, call)


async def ours(url: str, count: int, concurrency: int) -> None:
    """Run habitus: prompt rendering, HTTP with retries and adaptive limit, JSON checked by schema, durable ledger."""
    with tempfile.TemporaryDirectory() as folder:
        async with engine(Path(folder), url, concurrency) as opened:
            rows = (Row(id=f"row-{number:06}") for number in range(count))
            kept: list[str] = []
            await opened.run(single, rows, lambda row, _result, _trace: kept.append(row.id))
            assert len(kept) == count == len(opened.ledger)


async def openai_sdk(url: str, count: int, concurrency: int) -> None:
    """Run the OpenAI SDK on its default back end."""
    import openai

    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=5)

    async def call(number: int) -> object:
        message = {"role": "user", "content": f"{QUESTION} {number}"}
        return await client.chat.completions.create(model="canned", messages=[message])

    await in_flight(count, concurrency, call)


async def litellm(url: str, count: int, concurrency: int) -> None:
    """Run litellm."""
    import litellm as peer

    async def call(number: int) -> object:
        message = {"role": "user", "content": f"{QUESTION} {number}"}
        return await peer.acompletion(model="openai/canned", api_base=url, api_key="none", messages=[message])

    await in_flight(count, concurrency, call)


def main() -> None:
    """Print the table, and with --check hold the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--calls", type=int, default=6_000)
    arguments = parser.parse_args()
    clients = {"aiohttp, bare (the floor)": bare, "habitus, durable": ours}
    clients |= {
        name: run for name, run in {"openai": openai_sdk, "litellm": litellm}.items() if importlib.util.find_spec(name)
    }
    missed = []
    print(f"{'':28}{'concurrency':>12}{'calls/s':>10}{'ms CPU a call':>15}{'of the floor':>14}")
    with running("0.2") as (url, _):
        for concurrency in (256, 1024):
            floor = 0.0
            for name, run in clients.items():
                began, cpu = time.monotonic(), time.process_time()
                asyncio.run(run(url, arguments.calls, concurrency))
                wall, used = time.monotonic() - began, time.process_time() - cpu
                each = used / arguments.calls * 1000
                floor = floor or each
                print(f"{name:28}{concurrency:>12,}{arguments.calls / wall:>10,.0f}{each:>15.2f}{each / floor:>13.1f}×")
                if run is ours and each > BAR_MS:
                    missed.append(f"{each:.2f} ms CPU a call at concurrency {concurrency:,}, bar {BAR_MS}")
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
