"""Import of a foreign dataset into a study: every row kept in our shape or dropped with its reason."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.publish.held import fresh_file
from habitus.records import Drop
from habitus.shapes import Unreadable, recognise
from habitus.sources import Broken
from habitus.study import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import IO

    from habitus.shapes import Shape
    from habitus.sources import Source
    from habitus.study import Study

COMPLAINTS = 5
"""Rows that are told of when too many can't be read."""
OURS = {"source", "row", "id", "plan", "ratings", "models", "prompts", "shapes", "simulated"}
"""Keys of `meta` that mean something here; a foreign column of that name gets `their_` before it."""


@dataclass
class Intake:
    """An import, and what it has come to."""

    source: Source
    name: str
    columns: Mapping[str, str]
    """By our names, which of the source's columns are meant."""
    rows: int = 0
    kept: int = 0
    dropped: int = 0
    shape: Shape | None = None
    simulated: bool = False
    """Some rows say that the simulated model wrote them."""
    left_out: dict[str, None] = field(default_factory=dict)
    """Columns that are neither text nor number, and were not taken along."""
    complaints: list[str] = field(default_factory=list)

    def entry(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {
            "source": self.source.name,
            "format": self.source.format,
            "sha256": self.source.sha256,
            "columns": dict(self.columns),
            "rows": self.rows,
            "kept": self.kept,
            "dropped": self.dropped,
            "left_out": list(self.left_out),
            "simulated": self.simulated,
        }

    def sort(self, rows: Iterable[Any], good: IO[bytes], bad: IO[bytes]) -> None:
        """Write each row to the one file or the other."""
        ids: set[str] = set()
        for number, row in enumerate(rows, start=1):
            if row is None:  # an empty line
                continue
            self.rows += 1
            try:
                ours = self._ours(row, number)
            except Unreadable as problem:
                self._drop(row, number, str(problem), bad)
                continue
            if ours["id"] in ids:
                ours["meta"]["their_id"] = ours["id"]
                ours["id"] = next(name for name in self._names(number) if name not in ids)
            ids.add(ours["id"])
            self.kept += 1
            self.simulated |= "simulated" in ours["meta"]
            good.write(encode(ours))

    def _id(self, number: int) -> str:
        return f"{self.name}-{number:07d}"

    def _names(self, number: int) -> Iterator[str]:
        """Yield what a row may be called whose own id is taken; others may have ids that look like ours."""
        yield self._id(number)
        yield from (f"{self._id(number)}-{copy}" for copy in count(2))

    def _ours(self, row: Any, number: int) -> dict[str, Any]:
        """Return a foreign row in our shape."""
        theirs = self._renamed(row)
        shape, content, used = recognise(theirs)
        self.shape = self.shape or shape
        if shape != self.shape:
            raise Unreadable(f"this row is one of {shape}, and those before it are {self.shape}")
        given, trait = theirs.get("id"), theirs.get("trait")
        return {
            "id": str(given) if isinstance(given, str | int) and str(given) else self._id(number),
            "trait": trait if isinstance(trait, str) else "",
            **content,
            "meta": {"source": self.source.name, "row": number} | self._rest(theirs, used),
        }

    def _renamed(self, row: Any) -> dict[str, Any]:
        """Return a row with its columns called as the user said."""
        if isinstance(row, Broken):
            raise Unreadable(row.reason)
        if not isinstance(row, dict):
            raise Unreadable("the row is no object")
        if missing := [theirs for theirs in self.columns.values() if theirs not in row]:
            raise Unreadable(f"there is no column '{missing[0]}' (there are: {', '.join(map(str, row))})")
        rest = {name: value for name, value in row.items() if name not in self.columns.values()}
        return rest | {ours: row[theirs] for ours, theirs in self.columns.items()}

    def _rest(self, row: dict[str, Any], used: set[str]) -> dict[str, Any]:
        """Return the columns that are no part of the content, as far as `meta` has a place for them."""
        meta: dict[str, Any] = {}
        for name, value in row.items():
            if name in used or name in ("id", "trait") or value is None:
                continue
            if isinstance(value, str | int | float | bool):
                meta[f"their_{name}" if name in OURS else name] = value
            else:
                self.left_out[name] = None
        theirs = row.get("meta")
        is_simulated = isinstance(theirs, dict) and theirs.get("simulated") is True
        return meta | ({"simulated": True} if is_simulated else {})

    def _drop(self, row: Any, number: int, reason: str, bad: IO[bytes]) -> None:
        self.dropped += 1
        raw = row.raw if isinstance(row, Broken) else _raw(row)
        drop = Drop(id=self._id(number), trait="", step="import", reason=reason, raw=raw, meta={"row": number})
        bad.write(encode(drop))
        if len(self.complaints) < COMPLAINTS:
            self.complaints.append(f"{self.source.at(number)}: {reason}")

    def judge(self, allow_bad: float) -> None:
        """Refuse an import of which too much could not be read."""
        if not self.rows:
            raise UserError("there is no row in it.", where=self.source.given, todo="Name another source.")
        if self.kept and self.dropped <= allow_bad * self.rows:
            return
        rest = self.dropped - len(self.complaints)
        told = [*self.complaints, *([f"… and {rest:,} more"] if rest else [])]
        what = f"{self.dropped:,} of {self.rows:,} rows can't be read (bound {allow_bad:.1%}):"
        raise UserError(
            "\n  ".join([what, *told]),
            where=self.source.given,
            todo="Say what the columns are with --column OURS=THEIRS, or raise --allow-bad.",
        )


def _raw(row: Any) -> str:
    """Return a row as text; one that is nested too deeply for JSON as far as it can be told."""
    try:
        return json.dumps(row, default=str, ensure_ascii=False)
    except (RecursionError, ValueError):
        return f"{{{', '.join(map(str, row))}}}" if isinstance(row, dict) else type(row).__name__


def default_name(source: Source) -> str:
    """Return what an import is called that was given no name."""
    return re.sub(r"[^\w.-]+", "-", source.stem, flags=re.ASCII).strip("-.") or "rows"


def take_in(
    study: Study, source: Source, name: str, *, columns: Mapping[str, str], limit: int | None, allow_bad: float
) -> Intake:
    """Write a source's rows to `imported/NAME`, note in the manifest where they come from, and return what they were.

    `columns` tells by our names which of the source's columns are meant; `limit` is the most rows to read.

    Raises:
        UserError: the name is taken or none, or more than the allowed share of rows can't be read, or all of them.

    """
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise UserError(f"'{name}' is no name.", where="--name", todo="Use letters, digits, '-', '_' and '.'.")
    files = study.dataset(f"imported/{name}")
    if files.folder.exists():
        raise UserError("a dataset of this name is here already.", where=str(files.folder), todo="Give another --name.")
    intake = Intake(source, name, columns)
    try:
        with fresh_file(files.kept) as kept, fresh_file(files.dropped) as dropped:
            with kept.open("wb") as good, dropped.open("wb") as bad:
                intake.sort(islice(source.rows(), limit), good, bad)
            intake.judge(allow_bad)
    finally:
        if not files.kept.exists():
            files.folder.rmdir()
    study.write_manifest(f"imported/{name}", intake.entry())
    return intake
