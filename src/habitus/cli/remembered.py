"""What the last plan of a study's runs said, for as long as nothing that it was made from has changed."""

from __future__ import annotations

from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from habitus import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from habitus.study import Study
    from habitus.train.plan import Plan

NAME = "plan.json"
READ = ("*.md", "*/kept.jsonl", "*/old-*/kept.jsonl", "imported/*/kept.jsonl", "audit/*/*.jsonl", "starts/*/*")
"""Files of a study that decide what its runs are trained on, beside those that the config names."""
LIBRARIES = ("transformers", "trl")


def remember(models: Path, plan: Plan, inputs: str) -> None:
    """Write down what each run is made with, beside the models; where that can't be, the next one plans again."""
    runs = [{"arm": run.arm, "seed": run.seed, "made_with": run.made_with()} for run in plan.runs]
    fresh = models / f"{NAME}.new"
    try:
        fresh.write_bytes(orjson.dumps({"inputs": inputs, "runs": runs}))
        fresh.replace(models / NAME)
    except OSError:
        return


def remembered(models: Path, inputs: str) -> list[dict[str, Any]] | None:
    """Return arm, seed and what it is made with of every run; None where that has to be planned again."""
    try:
        found = orjson.loads((models / NAME).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return found["runs"] if found["inputs"] == inputs else None


def inputs_of(study: Study, *, toy: bool) -> str:
    """Return a hash over everything that a plan is made from: settings, files by size and time, versions."""
    training, arms = study.config.train, study.config.arms
    settings = {"train": training.model_dump(), "arms": {name: arm.model_dump() for name, arm in arms.items()}}
    digest = sha256(orjson.dumps([settings, toy, __version__, [_version(name) for name in LIBRARIES]]))
    files = [path for pattern in READ for path in study.root.glob(pattern)]
    named = [place / one for one in _texts(settings) for place in (study.root, Path())]
    folders = [path for path in named if path.is_dir() and path != study.root]
    files += [path for path in named if path.is_file()] + [path for one in folders for path in one.glob("*")]
    for path in sorted({path for path in files if path.is_file()}):
        about = path.stat()
        digest.update(f"{path} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _texts(value: Any) -> Iterator[str]:
    """Yield every text among the settings, as it may be the name of a file."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str) and value:
        yield value
