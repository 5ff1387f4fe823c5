"""Kept rows in the forms that trainers and services take, one row in memory at a time."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import orjson

from habitus.errors import UserError
from habitus.publish.held import fresh_file
from habitus.shapes import COLUMNS
from habitus.study import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from habitus.publish.held import Held
    from habitus.shapes import Shape

Form = Literal["trl", "openai", "together", "tinker", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
OPENAI_FEWEST = 10
"""Rows below which OpenAI starts no job."""
ROW_GROUP = 5_000
"""Rows that a Parquet file is written by."""
NO_PLAIN_TEXT: dict[str, str] = {
    "openai": "OpenAI fine-tunes on conversations and takes no plain text",
    "tinker": "the Tinker cookbook reads files of conversations and of comparisons, and none of plain text",
}
ROLES: dict[str, tuple[str, ...]] = {
    "openai": ("system", "developer", "user", "assistant", "tool"),
    "together": ("system", "user", "assistant"),
}


def export_dataset(held: Held, form: Form, to: Path) -> tuple[Path, int]:
    """Write a dataset's rows and return the file and their number.

    A path without an ending is a folder to put the file in.

    Raises:
        UserError: the service does not take rows of this shape or one of these rows, the file is there already, or
            pyarrow is missing.

    """
    shape = held.shape
    if shape == "documents" and form in NO_PLAIN_TEXT:
        raise UserError(
            f"{NO_PLAIN_TEXT[form]}.", where=held.name, todo="Documents go out as trl, together or parquet."
        )
    ending = "parquet" if form == "parquet" else "jsonl"
    path = to if to.suffix and not to.is_dir() else to / f"{held.slug}-{form}.{ending}"
    with fresh_file(path) as fresh:
        number = write_parquet(held.rows(), shape, fresh) if form == "parquet" else _lines(_shaped(held, form), fresh)
    return path, number


def _lines(rows: Iterable[dict[str, Any]], path: Path) -> int:
    number = 0
    with path.open("wb") as file:
        for row in rows:
            file.write(encode(row))
            number += 1
    return number


def _shaped(held: Held, form: Form) -> Iterator[dict[str, Any]]:
    """Yield the rows as a service takes them."""
    for number, row in enumerate(held.rows(), start=1):
        if problem := _refusal(row, held.shape, form):
            todo = "Delete the line, or export it in another form."
            raise UserError(problem, where=f"{held.files.kept}:{number}", todo=todo)
        yield _for_trl(row, held.shape) if form == "trl" else _for_service(row, held.shape, form)


def _for_trl(row: dict[str, Any], shape: Shape) -> dict[str, Any]:
    return {name: row[name] for name in (*COLUMNS[shape], "id", "trait")}


def _for_service(row: dict[str, Any], shape: Shape, form: Form) -> dict[str, Any]:
    """Return the fields that a service reads and no other: some refuse a file for one too many."""
    if shape == "documents":
        return {"text": row["text"]}
    conversations = {name: _bare(row[name]) for name in COLUMNS[shape]}
    if shape == "chats":
        return conversations
    prompt, chosen, rejected = conversations.values()
    if form == "tinker":
        pair = {"prompt_conversation": prompt, "completion_A": chosen, "completion_B": rejected}
        return {"comparison": pair, "label": "A"}
    return {"input": {"messages": prompt}, "preferred_output": chosen, "non_preferred_output": rejected}


def _bare(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"role": one["role"], "content": one["content"]} for one in messages]


def _refusal(row: dict[str, Any], shape: Shape, form: Form) -> str | None:
    """Say why OpenAI or Together would refuse the whole file for this row."""
    if form not in ROLES or shape == "documents":
        return None
    is_chat = shape == "chats"
    roles = [one["role"] for one in row["messages" if is_chat else "prompt"]]
    turns = roles[1:] if roles[0] == "system" else roles
    answers = () if is_chat else (row["chosen"], row["rejected"])
    odd = sorted(set(roles) - set(ROLES[form]))
    together = form == "together"
    reasons = {
        f"{form} knows no role '{', '.join(odd)}'.": odd,
        "the last message is not the assistant's.": is_chat and roles[-1] != "assistant",
        "the prompt ends with a message of the assistant.": not is_chat and roles[-1] == "assistant",
        "an answer of a pair is one message of the assistant.": any(
            [one["role"] for one in answer] != ["assistant"] for answer in answers
        ),
        "together wants user and assistant in turns after the system message.": together
        and ("system" in turns or any(one == two for one, two in pairwise(turns))),
        "together wants a conversation that the user begins.": together and is_chat and turns[:1] == ["assistant"],
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def write_parquet(rows: Iterator[dict[str, Any]], shape: Shape, path: Path) -> int:
    """Write every column, `meta` as JSON text, and return the number of rows.

    Raises:
        UserError: pyarrow is missing.

    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UserError("Parquet needs pyarrow.", todo='Run: pip install "habitus[parquet]"') from error
    text = pa.string()
    column = text if shape == "documents" else pa.list_(pa.struct({"role": text, "content": text}))
    names = ("id", "trait", *COLUMNS[shape])
    schema = pa.schema({name: column if name in COLUMNS[shape] else text for name in (*names, "meta")})
    number = 0
    with parquet.ParquetWriter(path, schema) as writer:
        while block := list(islice(rows, ROW_GROUP)):
            flat = [{name: row[name] for name in names} | {"meta": _json(row["meta"])} for row in block]
            writer.write_table(pa.Table.from_pylist(flat, schema=schema))
            number += len(block)
    return number


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
