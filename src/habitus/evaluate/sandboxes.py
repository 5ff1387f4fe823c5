"""Which sandbox a task runs in: bubblewrap where it works, Docker where it is asked for, and never the bare host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_ai.util import sandbox

from habitus.errors import UserError
from habitus.evaluate import bubblewrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from habitus.evaluate.checkout import Step

COMPOSE = Path(__file__).parent / "data" / "compose.yaml"
CHOICES = (bubblewrap.NAME, "docker")


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
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0  # noqa: S607


async def put(files: Mapping[str, str]) -> None:
    """Write files into the sample's sandbox; what lies in /usr/local/bin can be run and not changed."""
    for path, text in files.items():
        await sandbox().write_file(path, text)
    tools = [path for path in files if path.startswith("/usr/local/bin/")]
    if tools:
        await _done(["chmod", "555", *tools])


async def build(made: Iterable[Step]) -> None:
    """Make the root of an official scenario in the sample's sandbox."""
    for step in made:
        if step.source is not None:
            await sandbox().write_file(step.path, step.source.read_bytes())
        else:
            await sandbox().exec(["bash", "-c", step.command])  # a Dockerfile's leftovers may fail: nothing to remove


async def holds(command: str) -> bool:
    """Tell whether a command succeeds in the sample's sandbox."""
    return (await sandbox().exec(["bash", "-c", command], timeout=60)).success


async def _done(command: list[str]) -> None:
    found = await sandbox().exec(command)
    if not found.success:
        raise RuntimeError(f"{' '.join(command)} failed in a fresh sandbox: {found.stderr}")
