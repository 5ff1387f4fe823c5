"""A stand-in for a provider's batch interface on this machine: with delays, lines that fail, jobs that expire."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from habitus.models import serve
from habitus.models.simulated import SimulatedModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

KEY = "sk-depot-7719-stationmaster"
EXPIRED = {"code": "batch_expired", "message": "This request could not be executed before the window closed."}


@dataclass
class Depot:
    """What lies at a provider, and what it does with it."""

    delay: float = 0.02
    """Seconds that a job takes."""
    fate: Callable[[int, int], str] = lambda _job, _line: "ok"
    """What becomes of a line, by the number of its job and its own: ok, expired, missing, twice, garbage, an HTTP status."""
    end: Callable[[int], str] = lambda _job: "completed"
    """How a job ends: completed, expired, cancelled, or failed with a code."""
    at_creation: Callable[[int], str] = lambda _job: "ok"
    """What comes back when a job is created: ok, reset (it is made all the same), an HTTP status (it is not)."""
    answer: Callable[[str], str] | None = None
    """What a line is answered, from its last message; by default what the simulated model says."""
    keep_metadata: bool = True
    key: str = KEY
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    paid: Counter[str] = field(default_factory=Counter)
    """How often each line was carried out."""
    live: int = 0
    """Calls that came one by one."""
    sizes: list[int] = field(default_factory=list)
    """Lines of each job, in the order of creation."""
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = SimulatedModel("simulated/world")

    async def handle(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            told = f"Incorrect API key provided: {request.headers.get('Authorization')}"
            return web.json_response({"error": {"message": told}}, status=401)
        path = request.path.removeprefix("/v1/").split("/")
        self.seen.append(f"{request.method} {'/'.join(path[:1] + path[2:])}")
        match request.method, *path:
            case "POST", "files":
                return await self._upload(request)
            case "POST", "batches":
                return await self._create(request)
            case "GET", "batches":
                return self._list(request)
            case "GET", "batches", job if job in self.jobs:
                return web.json_response(self._state(job))
            case "GET", "files", file, "content" if file in self.files:
                return web.Response(body=self.files[file])
            case "POST", "chat", "completions":
                self.live += 1
                return web.json_response(await self._completion(await request.json()))
            case "GET", "models":
                return web.json_response({"data": []})
        return web.json_response({"error": {"message": f"no {request.path}"}}, status=404)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()
        return web.json_response({"id": name, "object": "file"})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        number = len(self.seen)
        fate = self.at_creation(sum(one == "POST batches" for one in self.seen) - 1)
        if fate.isdigit():
            return web.json_response({"error": {"message": "no room"}}, status=int(fate))
        assert (body["endpoint"], body["completion_window"]) == ("/v1/chat/completions", "24h")
        number = len(self.jobs)
        name = f"batch_{number}"
        self.sizes.append(self.files[body["input_file_id"]].count(b"\n"))
        self.jobs[name] = {
            "id": name, "object": "batch", "endpoint": body["endpoint"], "completion_window": "24h", "created_at": 1,
            "status": "in_progress", "input_file_id": body["input_file_id"], "ends": time.monotonic() + self.delay,
            "metadata": body.get("metadata") if self.keep_metadata else None,
            "request_counts": {"total": self.sizes[-1], "completed": 0, "failed": 0},
        }  # fmt: skip
        asyncio.get_running_loop().create_task(self._carry_out(number, self.jobs[name]))
        if fate == "reset":
            serve._reset(request)
        return web.json_response(self._state(name))

    async def _carry_out(self, number: int, job: dict[str, Any]) -> None:
        await asyncio.sleep(self.delay)
        end, _, code = self.end(number).partition(":")
        if end == "failed":
            errors = json.loads(code) if code.startswith("[") else [{"code": code, "message": f"no: {code}"}]
            job |= {"errors": {"data": errors}, "status": end}
            return
        job["status"] = "finalizing"
        good, bad = [], []
        for place, raw in enumerate(self.files[job["input_file_id"]].splitlines()):
            row = json.loads(raw)
            fate = self.fate(number, place)
            head = {"id": f"req_{number}_{place}", "custom_id": row["custom_id"], "error": None}
            if fate in ("ok", "twice"):
                self.paid[row["custom_id"]] += 1
                body = await self._completion(row["body"])
                good += [head | {"response": {"status_code": 200, "body": body}}] * (1 + (fate == "twice"))
            elif fate == "expired":
                bad.append(head | {"response": None, "error": EXPIRED})
            elif fate == "garbage":
                good.append(head | {"response": {"status_code": 200, "body": {}}})
            elif fate != "missing":
                told = {"error": {"message": f"line {place} is not to our taste"}}
                bad.append(head | {"response": {"status_code": int(fate), "body": told}})
        good.reverse()  # no order is promised
        for name, rows in (("output_file_id", good), ("error_file_id", bad)):
            if rows:
                job[name] = f"file-{len(self.files)}"
                self.files[job[name]] = "".join(json.dumps(row) + "\n" for row in rows).encode()
        job["request_counts"] |= {"completed": len({row["custom_id"] for row in good}), "failed": len(bad)}
        job["status"] = end

    def _state(self, name: str) -> dict[str, Any]:
        return {key: value for key, value in self.jobs[name].items() if key != "ends"}

    def _list(self, request: web.Request) -> web.Response:
        names = list(reversed(self.jobs))
        if after := request.query.get("after"):
            names = names[names.index(after) + 1 :]
        page = names[: min(2, int(request.query["limit"]))]
        return web.json_response({"data": [self._state(name) for name in page], "has_more": len(page) < len(names)})

    async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.answer is not None:
            text, finish = self.answer(body["messages"][-1]["content"]), "stop"
        else:
            found = await self.model.complete(body["messages"], serve._params(body))
            text, finish = found.text, found.finish
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "world-2026",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
        }


@asynccontextmanager
async def depot(**knobs: Any) -> AsyncGenerator[Depot]:
    """Open a stand-in on a free port of this machine."""
    opened = Depot(**knobs)
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{tail:.*}", opened.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        opened.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield opened
    finally:
        await runner.cleanup()


@contextmanager
def depot_beside(**knobs: Any) -> Generator[Depot]:
    """Open a stand-in in a thread of its own, for commands that bring their own event loop."""
    ready, found = threading.Event(), list[Depot]()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def stand() -> None:
        async with depot(**knobs) as opened:
            found.append(opened)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(stand()))
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()
