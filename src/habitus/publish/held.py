"""A dataset that a study holds: found by its name, its rows read one by one and told by their shape."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError, nearest
from habitus.shapes import COLUMNS, are_messages
from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from habitus.shapes import Shape
    from habitus.study import Dataset, Study

PLACES = ("*", "*/old-*", "imported/*")
"""Where datasets lie in a study, as patterns of folders."""


@dataclass(frozen=True)
class Held:
    """A dataset with at least one row."""

    study: Study
    name: str

    @cached_property
    def files(self) -> Dataset:
        """Where its rows lie."""
        return self.study.dataset(self.name)

    @cached_property
    def entry(self) -> dict[str, Any]:
        """What the manifest says of it; empty where it says nothing."""
        return self.study.manifest.get("datasets", {}).get(self.name, {})

    @property
    def slug(self) -> str:
        """Its name as a part of a file's name."""
        return self.name.replace("/", "-")

    @cached_property
    def shape(self) -> Shape:
        """What its rows are, told by the first."""
        first = next(read_rows(self.files.kept))
        if found := next((shape for shape, columns in COLUMNS.items() if all(name in first for name in columns)), None):
            return found
        raise UserError(
            "this row is no chat ('messages'), document ('text') or preference pair ('prompt', 'chosen', 'rejected').",
            where=f"{self.files.kept}:1",
            todo="Mend or delete the line.",
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, one at a time.

        Raises:
            UserError: a row lacks a column of this shape, or has something else in it.

        """
        for number, row in enumerate(read_rows(self.files.kept), start=1):
            if problem := flaw(row, self.shape):
                place = f"{self.files.kept}:{number}"
                raise UserError(problem, where=place, todo="Mend or delete the line.")
            yield row


def find(study: Study, name: str) -> Held:
    """Return a dataset of a study.

    Raises:
        UserError: there is none of that name, or nothing is kept in it yet.

    """
    names = names_in(study)
    if name in names:
        return Held(study, name)
    if name in COLUMNS:
        todo = f"Run `habitus generate {name} {study.root}` first."
        raise UserError("nothing kept yet.", where=str(study.dataset(name).kept), todo=todo)
    there = f"There are {', '.join(names)}." if names else "It has none yet; `habitus generate` makes them."
    raise UserError(f"no dataset '{name}'.{nearest(name, names)}", where=str(study.root), todo=there)


def names_in(study: Study) -> list[str]:
    """Return the names of all datasets of a study that have rows, set-aside and imported ones included."""
    kept = (path for place in PLACES for path in study.root.glob(f"{place}/kept.jsonl"))
    return sorted(path.parent.relative_to(study.root).as_posix() for path in kept if next(read_rows(path), None))


def flaw(row: dict[str, Any], shape: Shape) -> str | None:
    """Say what keeps a row from being one of this shape."""
    for column in ("id", "trait", "meta", *COLUMNS[shape]):
        if column not in row:
            return f"this row has no '{column}'."
    if shape == "documents":
        return None if isinstance(row["text"], str) else "'text' is no text."
    bad = next((column for column in COLUMNS[shape] if not are_messages(row[column])), None)
    return bad and f"'{bad}' is no list of messages with 'role' and 'content'."


@contextmanager
def fresh_file(path: Path) -> Generator[Path]:
    """Give a place to write a new file to; it becomes `path` when all went well, and is removed when not.

    Raises:
        UserError: there is something at `path` already.

    """
    taken = UserError("this file exists already.", where=str(path), todo="Move it away, or name another with --to.")
    if path.exists():
        raise taken
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        yield fresh
        try:
            path.hardlink_to(fresh)  # unlike a rename, it refuses where another command was quicker
        except FileExistsError:
            raise taken from None
        except OSError:  # a file system without links
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
