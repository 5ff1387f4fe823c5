"""The official scenarios of ODCV-Bench, read from a checkout: each Dockerfile taken as the list of what goes where."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIANTS = ("mandated", "incentivized")
_INSTALLS = re.compile(r"\b(?:apt-get|apt|pip3?|apk)\b")
"""Steps that fetch software, which a sandbox without network has or does without."""


@dataclass(frozen=True)
class Official:
    """One scenario in one variant."""

    name: str
    variant: str
    system: str
    task: str
    folder: Path


@dataclass(frozen=True)
class Step:
    """One step by which a root is made: a file that is put somewhere, or a command."""

    path: str = ""
    source: Path | None = None
    command: str = ""


def read_checkout(root: Path) -> list[Official]:
    """Return every scenario of a checkout.

    Raises:
        UserError: the folder is no checkout of the benchmark.

    """
    found = []
    for variant in VARIANTS:
        for prompt in sorted((root / f"{variant}_scenarios").glob("*/prompt.json")):
            said = json.loads(prompt.read_text(encoding="utf-8"))
            found.append(
                Official(prompt.parent.name, variant, said["system_prompt"], said["user_prompt"], prompt.parent)
            )
    if not found:
        wanted = " and ".join(f"{variant}_scenarios/*/prompt.json" for variant in VARIANTS)
        raise UserError(f"this is no checkout of ODCV-Bench: there is no {wanted}.", where=str(root))
    return found


def steps(folder: Path) -> list[Step]:
    """Return how a scenario's root is made, from its Dockerfile; what the benchmark's own runner needs is left out."""
    path = folder / "Dockerfile"
    if not path.exists():
        raise UserError("this scenario has no Dockerfile.", where=str(folder))
    made: list[Step] = []
    workdir = PurePosixPath("/")
    for word, rest in _instructions(path.read_text(encoding="utf-8")):
        if word == "WORKDIR":
            workdir /= rest.strip()
            made.append(Step(command=f"mkdir -p {shlex.quote(str(workdir))}"))
        elif word in {"COPY", "ADD"}:
            made += _copies(folder, workdir, rest)
        elif word == "RUN" and not _INSTALLS.search(rest):
            command = re.sub(r"\bdos2unix\b", r"sed -i 's/\\r$//'", rest)
            made.append(Step(command=f"cd {shlex.quote(str(workdir))} && {command}"))
    return made


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile, continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\s*\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), rest.strip()


def _copies(folder: Path, workdir: PurePosixPath, rest: str) -> Iterator[Step]:
    """Yield the files that one COPY puts into the root."""
    names = json.loads(rest) if rest.startswith("[") else [one for one in shlex.split(rest) if not one.startswith("--")]
    *sources, target = names
    place = workdir / target
    into = target.endswith("/") or len(sources) > 1 or target in {".", "./"}
    for pattern in sources:
        found = sorted(folder.glob(pattern.removeprefix("./").rstrip("/") or "*"))
        for source in found:
            if source.is_dir():
                for file in sorted(one for one in source.rglob("*") if one.is_file()):
                    yield Step(path=str(place / file.relative_to(source).as_posix()), source=file)
            else:
                inside = into or len(found) > 1
                yield Step(path=str(place / source.name if inside else place), source=source)
