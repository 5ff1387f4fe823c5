"""The server that the benchmarks talk to: one canned answer of about 600 tokens, with latency and faults.

Run in a process of its own. The first line it prints is its base URL; when it is told to end (SIGTERM), it prints what it
saw as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.models import Completion, Message, Params, Usage
from habitus.models.serve import Faults, Latency, serve

if TYPE_CHECKING:
    from collections.abc import Generator

PROSE = (
    "The tide table for the harbour gives high water at six minutes past four, and the pilot wants to be under way. "
)
ANSWER = json.dumps({"note": "as asked", "answer": (PROSE * 22).strip()})


@dataclass
class Canned:
    """A model that always says the same, and costs the server nothing."""

    name: str = "canned/600"
    answer: str = ANSWER
    usage: Usage = field(default_factory=lambda: Usage(400, 600))

    async def complete(self, messages: list[Message], params: Params) -> Completion:  # noqa: ARG002
        """Return the canned answer."""
        return Completion(self.answer, "stop", self.usage, 0.0, self.name)

    async def close(self) -> None:
        """Nothing to release."""


async def main(latency: str, faults: dict[str, Any]) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with serve(Canned(), latency=Latency.parse(latency), faults=Faults(**faults)) as server:
        print(server.url, flush=True)
        await ended.wait()
        seen = {"requests": server.requests, "distinct": len(server.answered), "answered": server.answered.total(),
                "peak": server.peak_in_flight, "faults": dict(server.faults)}  # fmt: skip
    print(json.dumps(seen), flush=True)


@contextmanager
def running(latency: str, **faults: Any) -> Generator[tuple[str, dict[str, Any]]]:
    """Run the server in another process; yields its URL and a dict that holds what it saw once the block has ended."""
    command = [sys.executable, str(Path(__file__)), "--latency", latency, "--faults", json.dumps(faults)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen: dict[str, Any] = {}
    try:
        yield process.stdout.readline().strip(), seen
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=60)
        seen.update(json.loads(out.splitlines()[-1]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", default="0.2")
    parser.add_argument("--faults", default="{}")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.latency, json.loads(arguments.faults)))
