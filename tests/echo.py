"""A loopback endpoint that answers as the simulated model does and says the caller's key back wherever it can."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING, Any

from habitus.models.serve import _params
from habitus.models.simulated import SimulatedModel

if TYPE_CHECKING:
    from collections.abc import Generator


class Echo(BaseHTTPRequestHandler):
    """Puts the key into headers, errors and answers; some requests fail, with the key in what is said of it."""

    protocol_version = "HTTP/1.1"
    calls = count(1)
    refuse = False
    plant = ""
    """What answers have in them in place of the key."""

    def log_message(self, *_: Any) -> None:
        """Keep still."""

    def do_GET(self) -> None:
        self._reply(200, {"data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number, said = next(self.calls), str(self.headers)
        if self.refuse:
            self._reply(400, {"error": {"message": f"no: {said}", "headers": said}})
        elif number % 9 == 0:
            self._reply(500, {"error": {"message": f"trouble with {said}"}})
        else:
            self._reply(200, self._completion(body))

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        made = asyncio.run(SimulatedModel("simulated/world").complete(body["messages"], _params(body)))
        message = {
            "role": "assistant",
            "content": made.text.replace(" the ", f" the {json.dumps(self.plant or key)[1:-1]} ", 1),
        }
        return {
            "id": key,
            "object": "chat.completion",
            "created": 1,
            "model": f"echo-{key}",
            "system_fingerprint": key,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
        }

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(data)))):
            self.send_header(name, value)
        self.send_header("X-Request-Id", self.headers.get("Authorization", ""))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def echo(*, refuse: bool = False, plant: str = "") -> Generator[str]:
    """Serve one on this machine and give its base URL."""
    handler = type("Handler", (Echo,), {"refuse": refuse, "plant": plant, "calls": count(1)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
