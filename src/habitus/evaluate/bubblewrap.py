"""An Inspect sandbox of namespaces: no network, no host files, bounded in processes, memory, disk and time.

One `bwrap` process holds the sandbox of a sample. Its root is read-only; what a sample may write (`/app`, `/tmp`,
`/root`, `/usr/local/bin`) lies in memory and goes with the process, and so does every process inside.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import sys
from itertools import count
from pathlib import Path
from typing import Any, Literal, overload

from inspect_ai.util import ExecResult, SandboxEnvironment, sandboxenv
from inspect_ai.util._sandbox.environment import (
    SandboxEnvironmentConfigType,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
)

from habitus.errors import UserError

NAME = "bwrap"
PROCESSES = 128
MEMORY, DISK, FILE = 2 << 30, 256 << 20, 512 << 20
"""Bytes that all processes, each writable folder, and one file may have."""
OUTPUT = 10 << 20
LONGEST = 600
"""Seconds of a command that names no time-out."""
WRITABLE = ("/app", "/tmp", "/root", "/usr/local/bin", "/var/log", "/dev/shm")  # noqa: S108  # the sandbox's own
WARDEN = Path(__file__).parent / "warden.py"
BOOT = "import sys; exec(bytes.fromhex(sys.stdin.readline()))"
_FIRST_USER = 210_000
_users = count()
_LINE = 64 << 20
"""The longest answer, a file of its full size in base64 among them."""
_PASSWD = b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
_GROUP = b"root:x:0:\nnogroup:x:65534:\n"
_HOSTS = b"127.0.0.1 localhost workstation\n"
_SHOWN_OF_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types")


def is_available() -> bool:
    """Tell whether sandboxes can be made on this machine."""
    return shutil.which("bwrap") is not None


class BubblewrapSandboxEnvironment(SandboxEnvironment):
    """The sandbox of one sample."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process
        self._ids = count()
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read_answers())

    @classmethod
    async def start(cls) -> BubblewrapSandboxEnvironment:
        """Return a fresh sandbox.

        Raises:
            UserError: bubblewrap is missing, or this machine does not let it work.

        """
        if not is_available():
            todo = "Install it (Debian: apt-get install bubblewrap), or use Docker: -T sandbox=docker."
            raise UserError("there is no bubblewrap on this machine, and no command runs outside a sandbox.", todo=todo)
        files = [_handed_over(text) for text in (_PASSWD, _GROUP, _HOSTS)]
        options, command = _command(files)
        # by a file and under another name: who looks at the list of processes reads nothing of a sandbox
        files.append(_handed_over("\0".join(options).encode()))
        # a user of its own, so that the kernel counts this sandbox's processes alone, and root is nobody here
        user = _FIRST_USER + next(_users) % 50_000 if os.geteuid() == 0 else None
        own: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        try:
            process = await asyncio.create_subprocess_exec(
                *("init", "--args", str(files[-1]), "--", *command),
                executable=shutil.which("bwrap"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=files,
                limit=_LINE,
                env={},
                cwd="/",
                **own,
            )
        finally:
            for file in files:
                os.close(file)
        made = cls(process)
        made.hand_over_warden()
        try:
            await made.exec(["/bin/true"], cwd="/")
        except SandboxUnavailableError as error:
            todo = "Let users make namespaces (kernel.unprivileged_userns_clone=1), or use Docker: -T sandbox=docker."
            raise UserError(f"bubblewrap does not work on this machine: {error}", todo=todo) from error
        return made

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Return the sandbox of a sample."""
        return {"default": await cls.start()}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """End the sandbox, and with it everything inside."""
        for one in environments.values():
            await one.as_type(BubblewrapSandboxEnvironment).end()

    async def end(self) -> None:
        """Kill the process that holds the namespaces; the kernel ends all others in them."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reader
        transport = getattr(self._process, "_transport", None)
        if transport is not None:
            transport.close()

    async def exec(  # noqa: PLR0917  # as Inspect declares it
        self,
        cmd: list[str],
        input: str | bytes | None = None,  # noqa: A002  # as Inspect calls it
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,  # noqa: ASYNC109  # as Inspect calls it
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Return what a command in the sandbox gave back.

        Raises:
            TimeoutError: it took longer than it may.

        """
        if user not in {None, "root"}:
            raise SandboxUserUnsupportedError(f"the sandbox has one user, root, and not '{user}'")
        text = input.encode() if isinstance(input, str) else input or b""
        folder = cwd if cwd is None or cwd.startswith("/") else f"/app/{cwd}"
        given = base64.b64encode(text).decode()
        found = await self._ask("exec", cmd=cmd, input=given, cwd=folder, env=env, timeout=timeout or LONGEST)
        if "error" in found:
            missing = found["error"] == "FileNotFoundError"
            return ExecResult(False, 127 if missing else 126, "", f"{cmd[0]}: {found['told']}\n")
        if found["timed_out"]:
            raise TimeoutError(f"the command took longer than {timeout or LONGEST} s")
        return ExecResult(found["returncode"] == 0, found["returncode"], found["stdout"], found["stderr"])

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file in the sandbox."""
        data = contents.encode() if isinstance(contents, str) else contents
        _raised(await self._ask("write", file=_absolute(file), data=base64.b64encode(data).decode()), file)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...
    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...
    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Return a file of the sandbox."""
        found = _raised(await self._ask("read", file=_absolute(file)), file)
        data = base64.b64decode(found["data"])
        return data.decode() if text else data

    def hand_over_warden(self) -> None:
        """Send what is to run inside, and its limits."""
        assert self._process.stdin is not None
        limits = {"processes": PROCESSES, "memory": MEMORY, "file": FILE, "output": OUTPUT}
        lines = [WARDEN.read_bytes().hex(), json.dumps(limits)]
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())

    async def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Return the warden's answer."""
        number = next(self._ids)
        self._open[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"id": number, "do": do, **request}).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise SandboxUnavailableError(await self._last_words()) from error
        return await self._open[number]

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            found = json.loads(line)
            waiting = self._open.pop(found.pop("id"), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(found)
        told = await self._last_words() if self._open else ""
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_exception(SandboxUnavailableError(told))

    async def _last_words(self) -> str:
        assert self._process.stderr is not None
        said = (await self._process.stderr.read()).decode("utf-8", "replace").strip()
        return f"the sandbox is gone: {said or 'it was ended from inside'}"


def _command(files: list[int]) -> tuple[list[str], list[str]]:
    """Return how a sandbox is made, and what runs in it: the warden, which it is handed as the first line."""
    python, binds = _python()
    parts = ["--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0", "--hostname", "workstation"]
    parts += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv", "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        place = Path("/", name)
        if place.is_symlink():
            parts += ["--symlink", f"usr/{name}", f"/{name}"]
        elif place.is_dir():
            parts += ["--ro-bind", f"/{name}", f"/{name}"]
    for name in _SHOWN_OF_ETC:
        parts += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for file, name in zip(files, ("passwd", "group", "hosts"), strict=True):
        parts += ["--perms", "0644", "--file", str(file), f"/etc/{name}"]
    parts += ["--proc", "/proc", "--dev", "/dev", *binds]
    for folder in WRITABLE:
        parts += ["--size", str(DISK), "--tmpfs", folder]
    parts += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/app"]
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    for name, value in (("PATH", path), ("HOME", "/root"), ("LANG", "C.UTF-8"), ("TERM", "dumb")):
        parts += ["--setenv", name, value]
    return parts, [python, "-I", "-u", "-c", BOOT]


def _handed_over(text: bytes) -> int:
    """Return a file in memory that holds a text."""
    file = os.memfd_create("text")
    os.write(file, text)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _python() -> tuple[str, list[str]]:
    """Return the Python that runs the warden, and what has to be shown in the sandbox for it."""
    if Path("/usr/bin/python3").exists():
        return "/usr/bin/python3", []
    return "/opt/python/bin/python3", ["--ro-bind", sys.base_prefix, "/opt/python"]


def _absolute(file: str) -> str:
    return file if file.startswith("/") else f"/app/{file}"


def _raised(found: dict[str, Any], file: str) -> dict[str, Any]:
    """Return an answer, or raise the error that it tells of."""
    kinds: dict[str, type[OSError]] = {
        "FileNotFoundError": FileNotFoundError,
        "IsADirectoryError": IsADirectoryError,
        "PermissionError": PermissionError,
    }
    if "error" in found:
        raise kinds.get(found["error"], OSError)(f"{file}: {found['told']}")
    return found


sandboxenv(name=NAME)(BubblewrapSandboxEnvironment)
