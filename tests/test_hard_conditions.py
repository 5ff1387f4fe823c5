"""What goes wrong around a run: each time the same command finishes it, and the outcome is that of an undisturbed one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from habitus.models.serve import Faults, Latency, Server, serve
from habitus.models.simulated import SimulatedModel
from studies import calls, habitus, make, rows, setting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COUNT = 8
SOURCE = Path(__file__).resolve().parents[1] / "src"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study whose chats were written in one go."""
    study = make(tmp_path_factory.mktemp("undisturbed") / "advice", chats={"count": COUNT})
    assert habitus("generate", "chats", study) == 0
    return study


def messages(study: Path) -> list[Any]:
    """Return the kept conversations, without what names the model."""
    return [row["messages"] for row in rows(study / "chats" / "kept.jsonl")]


async def generated(study: Path, *start: str) -> tuple[int, str]:
    """Run `habitus generate chats` in a process of its own and return its exit code and what it said."""
    command = [sys.executable, *(start or ("-m", "habitus")), "generate", "chats", str(study)]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "OFFICE_KEY": "key-of-the-office"},
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, " ".join(said.decode().split())


@contextlib.asynccontextmanager
async def endpoint(study: Path, **options: Any) -> AsyncIterator[Server]:
    """Serve the simulated world to a study whose model it is from now on."""
    async with serve(SimulatedModel("simulated/world"), latency=Latency(0.01), **options) as server:
        provider = {"base_url": server.url.replace("127.0.0.1", "localhost"), "key": "OFFICE_KEY"}
        setting(study, lambda config: config.update(providers={"local": provider}, concurrency=8))
        yield server


async def seen(server: Server, requests: int) -> None:
    """Wait until the server has had so many requests."""
    while server.requests < requests:  # noqa: ASYNC110  # the server counts, and tells nobody
        await asyncio.sleep(0.01)


def distant(root: Path, **settings: Any) -> Path:
    """Make a study whose model is behind an endpoint."""
    return make(root / "advice", model="local/world", chats={"count": COUNT}, **settings)


HUNDREDFOLD = """
import aiohttp, functools, pathlib, socket, sys
from habitus.cli import main
from habitus.models import http

nameless, seen = map(pathlib.Path, sys.argv[1:3])
del sys.argv[1:3]
for name in ("BACKOFF", "LONGEST_BACKOFF", "CALM_BACKOFF"):
    setattr(http, name, getattr(http, name) / 100)
aiohttp.TCPConnector = functools.partial(aiohttp.TCPConnector, use_dns_cache=False)
resolve, is_unreached = socket.getaddrinfo, http._is_unreached

def resolved(*asked, **options):
    if nameless.exists():
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return resolve(*asked, **options)

def noted(error):
    with seen.open("a") as file:
        print(type(error).__name__, file=file)
    return is_unreached(error)

socket.getaddrinfo, http._is_unreached = resolved, noted
main()
"""
"""`habitus` with the waits between two tries a hundred times as short, which notes what failed, and knows no names while
there is a file."""
MINUTE = 60 / 100


class TestAnEndpoint:
    @pytest.mark.parametrize(("status", "told"), [(401, "OFFICE_KEY"), (404, "Check the model's name")])
    async def test_that_says_no_in_the_middle_stops_the_run_and_costs_nothing_twice(
        self, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, status: int, told: str
    ) -> None:
        study, reply, asked = distant(tmp_path), Server._reply, itertools.count(1)

        async def revoked(self: Server, *parts: Any) -> tuple[int, bytes]:
            if next(asked) > 40:
                return status, b'{"error": {"message": "no more"}}'
            return await reply(self, *parts)

        async with endpoint(study) as server:
            monkeypatch.setattr(Server, "_reply", revoked)
            code, said = await generated(study)
            assert code == 2
            assert told in said
            paid = calls(study)
            assert 0 < paid <= 40
            monkeypatch.setattr(Server, "_reply", reply)
            assert (await generated(study))[0] == 0
            assert set(server.answered.values()) <= {1}
        assert messages(study) == messages(undisturbed)

    async def test_that_is_gone_for_a_while_is_waited_for(
        self, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study, gone = distant(tmp_path), Faults(reset=1.0)
        async with endpoint(study) as server:
            running = asyncio.create_task(generated(study))
            await seen(server, 30)
            monkeypatch.setattr(server, "_shares", gone.shares()[2:3])
            await seen(server, server.requests + 12)
            monkeypatch.setattr(server, "_shares", [])
            code, said = await running
            assert code == 0, said
        assert messages(study) == messages(undisturbed)

    @pytest.mark.parametrize("nameless", [False, True], ids=["refused", "no-such-name"])
    async def test_that_is_gone_for_a_minute_is_waited_for_and_nothing_is_lost(
        self, tmp_path: Path, undisturbed: Path, *, nameless: bool
    ) -> None:
        study, flag, failed = distant(tmp_path), tmp_path / "nameless", tmp_path / "failed"
        async with endpoint(study) as before:
            running = asyncio.create_task(generated(study, "-c", HUNDREDFOLD, str(flag), str(failed)))
            await seen(before, 30)
            if nameless:
                flag.touch()
        await asyncio.sleep(MINUTE)
        assert not running.done()
        port = int(before.url.rpartition(":")[2].partition("/")[0])
        async with serve(SimulatedModel("simulated/world"), latency=Latency(0.01), port=port) as after:
            await asyncio.sleep(MINUTE / 6 if nameless else 0)
            flag.unlink(missing_ok=True)
            code, said = await running
        assert code == 0, said
        assert messages(study) == messages(undisturbed)
        assert ("ClientConnectorDNSError" if nameless else "ClientConnectorError") in failed.read_text().split()
        paid = before.answered + after.answered
        assert calls(study) == len(paid)
        assert paid.total() - len(paid) <= 8

    async def test_whose_price_reaches_the_budget_ends_the_run_below_it(
        self, tmp_path: Path, undisturbed: Path
    ) -> None:
        price = {"input": 1, "output": 1}
        models = {"default": {"model": "local/world", "price": price}}
        study = distant(tmp_path, budget=0.05)
        setting(study, lambda config: config.update(models=models))
        async with endpoint(study) as server:
            code, said = await generated(study)
            assert code != 0
            assert "budget" in said
            setting(study, lambda config: config.update(budget=100))
            assert (await generated(study))[0] == 0
            assert set(server.answered.values()) <= {1}
        assert messages(study) == messages(undisturbed)


def boxed(study: Path, *mounts: str) -> subprocess.CompletedProcess[str]:
    """Run `habitus generate chats` where parts of the file system are otherwise."""
    if shutil.which("bwrap") is None:
        pytest.skip("no bubblewrap, with which a disk can be made small or read-only")
    command = [
        "bwrap",
        "--dev-bind",
        "/",
        "/",
        *mounts,
        sys.executable,
        "-m",
        "habitus",
        "generate",
        "chats",
        str(study),
    ]
    found = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(SOURCE)}
    )
    if "bwrap:" in found.stderr:
        pytest.skip(f"bubblewrap can't be used here: {found.stderr.strip()[:200]}")
    return found


class TestADisk:
    def test_that_is_full_is_one_message_and_the_run_goes_on_where_there_is_room(
        self, tmp_path: Path, undisturbed: Path
    ) -> None:
        study = make(tmp_path / "advice", chats={"count": COUNT})
        disk, kept = tmp_path / "disk", tmp_path / "kept"
        disk.mkdir()
        kept.mkdir()
        script = f"cp -r {study} {disk}/ && {sys.executable} -m habitus generate chats {disk}/advice; code=$?; cp -r {disk}/advice {kept}/; exit $code"
        small = ["--size", "200000", "--tmpfs", str(disk), "sh", "-c", script]
        found = boxed(disk / "advice", *small)
        assert found.returncode == 2, found.stderr
        assert "Traceback" not in found.stderr
        assert "space" in found.stderr or "full" in found.stderr
        assert habitus("generate", "chats", kept / "advice") == 0
        assert (kept / "advice" / "chats" / "kept.jsonl").read_bytes() == (
            undisturbed / "chats" / "kept.jsonl"
        ).read_bytes()

    def test_that_is_read_only_is_one_message(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", chats={"count": COUNT})
        found = boxed(study, "--ro-bind", str(study), str(study))
        assert found.returncode == 2
        assert "Traceback" not in found.stderr
        assert str(study) in found.stderr.replace("\n", "")


class TestALedger:
    def test_that_another_program_holds_for_a_moment_is_waited_for(self, tmp_path: Path, undisturbed: Path) -> None:
        study = make(tmp_path / "advice", chats={"count": COUNT})
        assert habitus("generate", "chats", study, "--count", "1") == 0
        holder = sqlite3.connect(study / "ledger.db", isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        command = [sys.executable, "-m", "habitus", "generate", "chats", str(study)]
        run = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(SOURCE)}, stderr=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(2)
        holder.execute("ROLLBACK")
        holder.close()
        _, said = run.communicate()
        assert run.returncode == 0, said.decode()
        kept = [(one / "chats" / "kept.jsonl").read_bytes() for one in (study, undisturbed)]
        assert kept[0] == kept[1]


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, real, rng = make(tmp_path / "advice", chats={"count": COUNT}), time.time, random.Random(5)
    monkeypatch.setattr(time, "time", lambda: real() + rng.uniform(-(10**6), 10**6))
    assert habitus("generate", "chats", study) == 0
    monkeypatch.undo()
    kept = [(one / "chats" / "kept.jsonl").read_bytes() for one in (study, undisturbed)]
    assert kept[0] == kept[1]
