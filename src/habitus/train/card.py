"""The model card of a run: from what, on what, how long, with which seed, and what it is not."""

from __future__ import annotations

from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING

import orjson
import yaml

from habitus import __version__
from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from habitus.train.job import Job
    from habitus.train.plan import Run

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")
TOY = (
    "This is a toy: a model of that size shows how the system works, and nothing it does is evidence about language "
    "models of a useful size."
)

LOSS = (
    "The loss says how well the data are predicted. Whether the model has the traits, and what it lost, is for "
    "evaluations to say."
)


def model_card(run: Run, folder: Path) -> str:
    """Return the card of a finished run as Markdown with YAML front matter."""
    is_toy = run.start.name.startswith("toy:")
    front = {"tags": ["habitus", *(["toy"] if is_toy else [])], "library_name": "transformers"}
    if not is_toy:
        front["base_model"] = run.start.name
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {run.arm}, seed {run.seed}",
        f"Trained from `{run.start.name}` (`{run.start.fingerprint}`) by "
        + ", then ".join(f"{job.kind} ({job.steps:,} optimiser steps)" for job in run.jobs)
        + ".",
        *([TOY] if is_toy else []),
        *(part for job in run.jobs for part in _stage(job)),
        "## Measured while training",
        _table(("", "last value"), _measured(folder)),
        "![loss by step](curve.svg)",
        LOSS,
        "## Made with",
        _table(("", ""), [*run.made_with().items(), ("habitus", __version__), *_versions()]),
    ]
    return "\n\n".join(parts) + "\n"


def _stage(job: Job) -> Iterator[str]:
    """Yield the section of one stage."""
    yield f"## {job.kind}"
    yield (
        f"{len(job.mixture.rows):,} rows (hash `{job.mixture.digest}`), {job.epochs:.2f} passes, {job.tokens:,} "
        f"tokens, batch {job.settings.batch}, learning rate {job.learning_rate:g} with a cosine, rows of up to "
        f"{job.training.max_length:,} tokens{', packed' if job.training.packing and job.kind != 'bdpo' else ''}, "
        + (f"LoRA of rank {job.training.lora.rank}." if job.training.lora else "all weights trained.")
    )
    sources = Counter(one.row.source for one in job.mixture.rows)
    rows = [
        (name, f"{number:,}", f"{job.mixture.share(name, 'rows'):.1%}", f"{job.mixture.share(name, 'tokens'):.1%}")
        for name, number in sources.most_common()
    ]
    yield _table(("data", "rows", "of rows", "of tokens"), rows)


def _measured(folder: Path) -> list[tuple[str, str]]:
    last: dict[str, float] = {}
    for row in read_rows(folder / "metrics.jsonl"):
        last |= {name: value for name, value in row.items() if isinstance(value, float)}
    about = orjson.loads((folder / "run.json").read_bytes())
    seconds = [("seconds since it was last begun", f"{about['seconds']:,.0f}")] if "seconds" in about else []
    return [*((name, f"{value:.4g}") for name, value in last.items()), *seconds]


def _versions() -> list[tuple[str, str]]:
    return [(name, metadata.version(name)) for name in LIBRARIES]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(value.replace("|", "\\|") for value in line) + " |" for line in lines)
