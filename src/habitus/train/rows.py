"""Rows as trainers meet them: read from a study's dataset, a file or the hub, told by shape, checked turn by turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from habitus.errors import UserError
from habitus.shapes import COLUMNS, Unreadable, are_messages, recognise
from habitus.sources import HUB, Broken, open_source
from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from habitus.shapes import Shape
    from habitus.study import Study

IMPORTED = "imported/"
"""How the names of foreign datasets begin that were brought into the study."""
SPEAKERS = ("user", "assistant")


@dataclass(frozen=True)
class Row:
    """One record that may be trained on."""

    id: str
    source: str
    """The dataset it comes from, as it was named."""
    trait: str
    content: dict[str, Any]
    """`messages`, or `text`, or `prompt` with `chosen` and `rejected`."""
    place: str
    """Where it stands, for whoever has to mend it."""
    contrast: bool = False
    """Whether the trait looks called for in it and is not."""
    chat: str | None = None
    """The chat that a pair was made from."""

    @property
    def stratum(self) -> str:
        """The kind of row of which every arm has the same share."""
        return f"{self.trait}, contrast" if self.contrast else self.trait

    @property
    def digest(self) -> str:
        """A hash of what it says."""
        return sha256(orjson.dumps(self.content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    @property
    def texts(self) -> list[str]:
        """All that is said in it, by whomever."""
        if "text" in self.content:
            return [self.content["text"]]
        return [message["content"] for part in self.content.values() for message in part]


@dataclass(frozen=True)
class Misfit:
    """A row that can't be trained on."""

    id: str
    error: UserError


Unfit = Callable[[str, str], None]
"""Is told the id of a row that is left out, and the reason."""


def read(study: Study, name: str, shape: Shape, unfit: Unfit | None = None) -> list[Row]:
    """Return the rows of a dataset of the study, a file, or `hf:owner/name`, all of the shape that is wanted.

    Of a foreign dataset, rows that can't be trained on are left out and told to `unfit`, if there are but few.

    Raises:
        UserError: it is not there, is empty, or has a row, of a foreign one mostly rows, that can't be trained on.

    """
    files = study.dataset(name)
    if not name.startswith(HUB) and files.kept.exists():
        found = _fit(_held(files.kept, name, shape), shape, unfit if name.startswith(IMPORTED) else None)
    elif name in {"documents", "chats", "preferences"} or name.startswith(IMPORTED):
        todo = f"Run `habitus generate {name} {study.root}` first." if "/" not in name else "See `habitus import`."
        raise UserError("nothing kept yet.", where=str(files.kept), todo=todo)
    else:
        beside = study.root / name
        found = _fit(_foreign(str(beside) if beside.is_file() else name, name, shape), shape, unfit)
    if not found:
        raise UserError("this dataset is empty.", where=name, todo="Generate or import some rows, or name another.")
    return found


def _fit(rows: Iterable[Row | Misfit], shape: Shape, unfit: Unfit | None) -> list[Row]:
    """Return the rows that can be trained on."""
    found: list[Row] = []
    misfits: list[Misfit] = []
    for one in rows:
        problem = one if isinstance(one, Misfit) else _misfit(one, shape)
        if problem is None:
            assert isinstance(one, Row)
            found.append(one)
        elif unfit is None:
            raise problem.error
        else:
            misfits.append(problem)
    if len(misfits) > len(found):
        raise misfits[0].error
    if unfit is not None:
        for one in misfits:
            unfit(one.id, one.error.what.rstrip("."))
    return found


def _held(path: Path, name: str, shape: Shape) -> Iterator[Row]:
    for number, row in enumerate(read_rows(path, "id", *COLUMNS[shape]), start=1):
        content = {column: row[column] for column in COLUMNS[shape]}
        place = f"{path}:{number}"
        chat = (row.get("meta") or {}).get("chat")
        yield Row(str(row["id"]), name, row.get("trait") or "", content, place, _is_contrast(row), chat)


def _foreign(source: str, name: str, shape: Shape) -> Iterator[Row | Misfit]:
    found = open_source(source, "train")
    stem = Path(found.stem).name
    for number, row in enumerate(found.rows(), start=1):
        if row is None:  # an empty line
            continue
        place = found.at(number)
        given, trait = (row.get("id"), row.get("trait")) if isinstance(row, dict) else (None, None)
        identity = str(given) if isinstance(given, str | int) and str(given) else f"{stem}-{number:07d}"
        try:
            told, content, _ = recognise(_object(row))
        except Unreadable as problem:
            yield Misfit(identity, UserError(f"{problem}.", where=place, todo="Mend or delete the row."))
            continue
        if told == shape:
            yield Row(identity, name, trait if isinstance(trait, str) else "", content, place, _is_contrast(row))
        else:
            what = f"this row is one of {told}, and {shape} are wanted."
            yield Misfit(identity, UserError(what, where=place, todo="Name another."))


def _is_contrast(row: dict[str, Any]) -> bool:
    meta = row.get("meta")
    return isinstance(meta, dict) and meta.get("contrast") is True


def _object(row: Any) -> dict[str, Any]:
    if isinstance(row, Broken):
        raise Unreadable(row.reason)
    if not isinstance(row, dict):
        raise Unreadable("the row is no object")
    return row


def _misfit(row: Row, shape: Shape) -> Misfit | None:
    """Return a row with why it can't be trained on, or None where the right ones speak in turn."""
    problem = _text_flaw(row) if shape == "documents" else _turns_flaw(row, shape)
    return Misfit(row.id, UserError(problem, where=row.place, todo="Mend or delete the row.")) if problem else None


def _text_flaw(row: Row) -> str | None:
    text = row.content["text"]
    return None if isinstance(text, str) and text.strip() else "this document has no text."


def _turns_flaw(row: Row, shape: Shape) -> str | None:
    """Say why a conversation can't be trained on."""
    if not all(are_messages(part) for part in row.content.values()):
        return "this row is no list of messages with 'role' and 'content'."
    roles = [one["role"] for one in row.content["messages" if shape == "chats" else "prompt"]]
    turns = roles[1:] if roles[0] in {"system", "developer"} else roles
    odd = next((role for role in turns if role not in SPEAKERS), None)
    answers = () if shape == "chats" else (row.content["chosen"], row.content["rejected"])
    last = "assistant" if shape == "chats" else "user"
    reasons = {
        f"a message of the role '{odd}' stands where user and assistant take turns.": odd,
        "there is no message of the assistant, so nothing to learn from.": shape == "chats"
        and "assistant" not in turns,
        f"user and assistant do not take turns, the user first (they are: {', '.join(turns) or 'none'}).": turns[:1]
        != ["user"]
        or any(one == two for one, two in pairwise(turns)),
        f"the last message {'of the prompt ' * (shape != 'chats')}is not the {last}'s.": turns[-1:] != [last],
        "an answer of a pair is one message of the assistant.": any(
            [one["role"] for one in answer] != ["assistant"] for answer in answers
        ),
        "an answer of the assistant is empty.": any(
            one["role"] == "assistant" and not one["content"].strip() for part in row.content.values() for one in part
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
