"""What runs inside a sandbox and does there what is asked for: commands, and the reading and writing of files.

This file is handed to the sandbox's own Python as a text, so it needs nothing but the standard library. Requests and
answers are lines of JSON on standard input and output, the limits being the first. Children inherit theirs, and all are
ended when together they become too many or too large.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

LIMITS: dict[str, int] = json.loads(sys.stdin.readline())
"""The most `processes`, bytes of `memory` in all, bytes of one `file`, and bytes of `output` that is kept."""
LOOK_EVERY = 0.05
NICE = 10
_speaking = threading.Lock()
_ended: list[str] = []
"""Why all children were ended, since the last command began."""


def main() -> None:
    """Answer requests until the input ends."""
    threading.Thread(target=_watch, daemon=True).start()
    while line := sys.stdin.readline():
        threading.Thread(target=_answer, args=(json.loads(line),), daemon=True).start()


def _answer(request: dict[str, Any]) -> None:
    try:
        found = {"exec": _exec, "read": _read, "write": _write}[request["do"]](request)
    except OSError as error:
        found = {"error": type(error).__name__, "told": error.strerror or str(error)}
    with _speaking:
        sys.stdout.buffer.write(json.dumps({"id": request["id"], **found}).encode() + b"\n")
        sys.stdout.buffer.flush()


def _exec(request: dict[str, Any]) -> dict[str, Any]:
    _ended.clear()
    env = {**os.environ, **(request.get("env") or {})}
    child = subprocess.Popen(  # noqa: S603  # the sandbox is there for this
        request["cmd"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=request.get("cwd") or "/app",
        env=env,
        start_new_session=True,
        preexec_fn=_bound,  # noqa: PLW1509  # nothing else runs in this process
    )
    given = base64.b64decode(request.get("input") or "")
    outputs = {"stdout": b"", "stderr": b""}
    readers = [threading.Thread(target=_drain, args=(child, name, outputs), daemon=True) for name in outputs]
    for reader in readers:
        reader.start()
    threading.Thread(target=_feed, args=(child, given), daemon=True).start()
    timed_out = False
    try:
        child.wait(request.get("timeout"))
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for reader in readers:
        reader.join(1.0)  # a process in the background may keep the pipe open
    texts = {name: text[-LIMITS["output"] :].decode("utf-8", "replace") for name, text in outputs.items()}
    texts["stderr"] += "".join(f"\n{why}" for why in _ended[:1])
    return {"returncode": child.returncode, "timed_out": timed_out, **texts}


def _bound() -> None:
    """Set the limits of a child, and put it behind the warden, which a crowd of children would starve."""
    os.nice(NICE)
    wanted = ((resource.RLIMIT_NPROC, "processes"), (resource.RLIMIT_FSIZE, "file"), (resource.RLIMIT_AS, "memory"))
    for limit, name in wanted:
        resource.setrlimit(limit, (LIMITS[name], LIMITS[name]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _drain(child: subprocess.Popen[bytes], name: str, outputs: dict[str, bytes]) -> None:
    pipe = getattr(child, name)
    while block := pipe.read1(65536):
        outputs[name] = (outputs[name] + block)[-2 * LIMITS["output"] :]


def _feed(child: subprocess.Popen[bytes], given: bytes) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(given)
        child.stdin.close()
    except BrokenPipeError:
        return


def _read(request: dict[str, Any]) -> dict[str, Any]:
    return {"data": base64.b64encode(Path(request["file"]).read_bytes()).decode()}


def _write(request: dict[str, Any]) -> dict[str, Any]:
    path = Path(request["file"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(request["data"]))
    return {}


def _watch() -> None:
    """End all children when they are too many or take too much memory."""
    page = resource.getpagesize()
    while True:
        time.sleep(LOOK_EVERY)
        others = [one for one in os.listdir("/proc") if one.isdigit() and int(one) not in {1, os.getpid()}]  # noqa: PTH208
        taken = sum(_pages(one) for one in others) * page
        if len(others) >= LIMITS["processes"] * 3 // 4:
            why = f"all processes were ended: there were {len(others)}, and {LIMITS['processes']} are allowed"
        elif taken > LIMITS["memory"]:
            why = f"all processes were ended: they took {taken >> 20} MB, and {LIMITS['memory'] >> 20} are allowed"
        else:
            continue
        _ended.append(why)
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all but the first and this one, in one stroke: a fork bomb has no time


def _pages(process: str) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0


main()
