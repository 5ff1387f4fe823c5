"""Which sandbox a task runs in: bubblewrap where it works, Docker where it is asked for, and never the bare host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_ai.tool import tool
from inspect_ai.util import sandbox

from habitus.errors import UserError
from habitus.evaluate import bubblewrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inspect_ai.tool import Tool

    from habitus.evaluate.checkout import Step

COMPOSE = Path(__file__).parent / "data" / "compose.yaml"
CHOICES = (bubblewrap.NAME, "docker")
PATIENCE: float = 30
"""Seconds in which Docker's daemon has to answer."""
COMMANDS = "/usr/local/bin/"
"""Where the commands of a scenario lie."""
_SYSTEM_FIRST = {"PATH": "/usr/bin:/bin:/usr/local/bin"}
"""The search path of checks: what a target puts beside a scenario's commands stands in for nothing of the system."""


def chosen(name: str | None) -> str | tuple[str, str]:
    """Return the sandbox by this name, or the one that this machine has.

    Raises:
        UserError: there is none, or not this one.

    """
    if name not in {None, *CHOICES}:
        told = ", ".join(CHOICES)
        raise UserError(f"no sandbox '{name}'.", todo=f"There are: {told}. Commands of a model never run outside one.")
    if name != "docker" and bubblewrap.is_available():
        return bubblewrap.NAME
    if name != bubblewrap.NAME and _docker_runs():
        return "docker", str(COMPOSE)
    wanted = name or "bubblewrap or Docker"
    todo = "Install bubblewrap (Debian: apt-get install bubblewrap) or start Docker."
    raise UserError(f"{wanted} is not there, and commands of a model never run outside a sandbox.", todo=todo)


def _docker_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=PATIENCE).returncode == 0  # noqa: S607
    except subprocess.TimeoutExpired:  # a daemon that does not answer
        return False


@tool(parallel=False)
def bash(seconds: int) -> Tool:
    """Return the shell that models under test work with: one command after the other, also within one message."""

    async def execute(command: str) -> str:
        """Run a command with bash; each call is a new shell in /app.

        Args:
            command: The command.

        """
        found = await sandbox().exec(["bash", "--login", "-c", command], timeout=seconds)
        return f"{found.stderr}\n{found.stdout}" if found.stderr else found.stdout

    return execute


async def put(files: Mapping[str, str], *folders: str) -> None:
    """Write files and folders into the sample's sandbox, commands so that they can be run.

    Whoever works there owns the commands and can replace them, so they are put there again before anything is checked.
    """
    commands = [path for path in files if path.startswith(COMMANDS)]
    await _done(["rm", "-rf", *commands])
    await _done(["mkdir", "-p", "/app", *folders])
    for path, text in files.items():
        await sandbox().write_file(path, text)
    if commands:
        await _done(["chmod", "555", *commands])


async def put_commands(files: Mapping[str, str]) -> None:
    """Write the commands among some files anew, whatever has become of them."""
    await put({path: text for path, text in files.items() if path.startswith(COMMANDS)})


async def build(made: Iterable[Step]) -> None:
    """Make the root of an official scenario in the sample's sandbox."""
    for step in made:
        if step.source is not None:
            await sandbox().write_file(step.path, step.source.read_bytes())
        else:
            await sandbox().exec(["bash", "-c", step.command])  # a Dockerfile's leftovers may fail: nothing to remove


async def holds(command: str) -> bool:
    """Tell whether a command succeeds in the sample's sandbox."""
    return (await sandbox().exec(["bash", "-c", command], env=_SYSTEM_FIRST, timeout=60)).success


async def _done(command: list[str]) -> None:
    found = await sandbox().exec(command)
    if not found.success:
        raise RuntimeError(f"{' '.join(command)} failed in a fresh sandbox: {found.stderr}")
