"""A provider's batch interface, as OpenAI has it: files go up, jobs are made of them, files come back."""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from habitus.errors import CallExhausted, ModelUnusable
from habitus.models.http import BACKOFF, LONGEST_BACKOFF, UNREACHED_PATIENCE, HttpModel, _TryFailed
from habitus.models.lines import request_body, request_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from habitus.models import Message, Params
    from habitus.models.jobs import BatchJob
    from habitus.models.lines import Answer

Told = TypeVar("Told")

TRANSFER_TIMEOUT = 3600.0
"""Seconds that a file may take on its way."""
PAGES = 50
"""Pages of the provider's list in which a job is looked for."""
_FILES = ("output_file_id", "error_file_id")


class BatchInterface(HttpModel):
    """What lies at `{base_url}/files` and `{base_url}/batches`.

    Every request raises ModelUnusable where the endpoint refuses us or has no such interface, CallRefused where it
    rejects the request, and CallExhausted where no try within `total_timeout` brought a reply.
    """

    def line(self, custom_id: str, messages: list[Message], params: Params) -> bytes:
        """Return the line that asks for the next message."""
        return request_line(custom_id, request_body(self.model, messages, params, self._response_format))

    async def check(self) -> None:
        """Ask for the list of jobs, once."""
        await self._request("GET", "/batches?limit=1", _page_in)

    async def upload(self, job: BatchJob, lines: bytes) -> str:
        """Send the requests of a job and return what the provider calls them."""

        def form() -> dict[str, Any]:
            fields = aiohttp.FormData()
            fields.add_field("purpose", "batch")
            fields.add_field("file", io.BytesIO(lines), filename=f"{job.name}.jsonl", content_type="application/jsonl")
            body = fields()
            return {"data": body, "headers": body.headers}

        return await self._request("POST", "/files", _id_in, form)

    async def create(self, job: BatchJob) -> str:
        """Make a job of uploaded requests and return its id; tried once, as a second try might make a second job."""
        body = {
            "input_file_id": job.file,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"habitus": job.name},
        }
        try:
            return await self._once("POST", "/batches", _id_in, {"data": orjson.dumps(body)})
        except _TryFailed as error:
            failure = str(error)
        raise CallExhausted(f"{self.name}: it is not known whether a job was created: {failure}")

    async def find(self, job: BatchJob) -> str | None:
        """Return the id of a job that the provider lists by the name or the file that it was sent with."""
        after = ""
        for _ in range(PAGES):
            rows, more = await self._request("GET", f"/batches?limit=100{after}", _page_in)
            for row in rows:
                if (row.get("metadata") or {}).get("habitus") == job.name or row.get("input_file_id") == job.file:
                    return row["id"]
            if not more:
                break
            after = f"&after={rows[-1]['id']}"
        return None

    async def state(self, job: BatchJob) -> dict[str, Any]:
        """Return how a job stands, its `status` in lower case."""
        return await self._request("GET", f"/batches/{job.batch}", _state_in)

    async def lines(self, state: dict[str, Any]) -> list[bytes]:
        """Return the lines that an ended job has brought, answers before errors."""
        files = [state[name] for name in _FILES if state.get(name)]
        texts = [await self._request("GET", f"/files/{file}/content", bytes) for file in files]
        return [line for text in texts for line in text.split(b"\n") if line.strip()]

    def failure(self, answer: Answer) -> Exception | None:
        """Return what an answer without a text stands for; None where it is worth another try."""
        failure = self._failure(answer.status, answer.error.encode(), self.base_url) if answer.status else None
        return None if isinstance(failure, _TryFailed) else failure

    def redacted(self, text: str) -> str:
        """Return a text without keys."""
        return self._redacted(text)

    async def _request(
        self, method: str, path: str, read: Callable[[bytes], Told], made: Callable[[], dict[str, Any]] = dict
    ) -> Told:
        """Return what a reply tells, trying again for as long as trying makes sense; `made` is what is sent."""

        async def one_try() -> Told:
            return await self._once(method, path, read, made())

        def is_late(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            unreached = isinstance(error, _TryFailed) and error.unreached
            patience = min(UNREACHED_PATIENCE, self._total_timeout) if unreached else self._total_timeout
            return self._hung_up or (state.seconds_since_start or 0.0) > patience

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TryFailed),
            wait=wait_random_exponential(multiplier=BACKOFF, max=LONGEST_BACKOFF),
            stop=is_late,
            reraise=True,
        )
        try:
            return await retrying(one_try)
        except _TryFailed as error:
            failure = error
        if failure.unreached:
            raise self._unreachable(str(failure))
        raise CallExhausted(f"{self.name}: {method} {path} failed; the last try: {failure}")

    async def _once(self, method: str, path: str, read: Callable[[bytes], Told], sent: dict[str, Any]) -> Told:
        session, url = self._opened(), self.base_url + path
        timeout = aiohttp.ClientTimeout(TRANSFER_TIMEOUT, sock_connect=UNREACHED_PATIENCE, sock_read=self._try_timeout)
        try:
            async with session.request(method, url, allow_redirects=False, timeout=timeout, **sent) as reply:
                self._reached = True
                status, raw = reply.status, self._without_keys(await reply.read())
            if status < HTTPStatus.MULTIPLE_CHOICES:
                return read(raw)
        except (aiohttp.ClientError, OSError) as error:
            failure: Exception = self._no_reply(error)
        except (ValueError, LookupError, TypeError, AttributeError):
            failure = _TryFailed(f"HTTP {status} and nothing that can be read: {self._shown(raw)}")
        else:
            failure = self._failure(status, raw, self.base_url)
            if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                failure = ModelUnusable(
                    f"{self.name}: {method} {url} answered HTTP {status}: {self._said(raw)}",
                    todo="If it has no batch interface, take `batch` away; lost jobs go into `batch: {forget: [ID]}`.",
                )
        raise failure


def _id_in(raw: bytes) -> str:
    return str(orjson.loads(raw)["id"])


def _page_in(raw: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the jobs on a page of the list, and whether there are further pages."""
    page = orjson.loads(raw)
    return page["data"], bool(page["data"] and page.get("has_more"))


def _state_in(raw: bytes) -> dict[str, Any]:
    state = orjson.loads(raw)
    return state | {"status": str(state["status"]).lower()}
