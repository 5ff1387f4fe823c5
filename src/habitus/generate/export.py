"""Kept chats in the forms that trainers and services take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from habitus.errors import UserError
from habitus.study import encode, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from habitus.study import Dataset


def export_chats(dataset: Dataset, kind: str, to: Path) -> tuple[Path, int]:
    """Write a dataset and return the file and its number of rows.

    `trl` and `openai` are JSONL with `messages` (for TRL with `id` and `trait` beside them); `parquet` has every
    column, `meta` as JSON text. A path without an ending is a folder to put the file in.

    Raises:
        UserError: there is nothing to export, the file is there already, or pyarrow is missing.

    """
    rows = list(read_rows(dataset.kept))
    if not rows:
        raise UserError("nothing kept yet.", where=str(dataset.kept), todo="Run `habitus generate chats` first.")
    ending = "parquet" if kind == "parquet" else "jsonl"
    path = to if to.suffix and not to.is_dir() else to / f"{dataset.name}-{kind}.{ending}"
    if path.exists():
        raise UserError("this file exists already.", where=str(path), todo="Move it away, or name another with --to.")
    for number, row in enumerate(rows, start=1):
        if missing := [key for key in ("id", "trait", "messages", "meta") if key not in row]:
            raise UserError(
                f"this row has no '{missing[0]}'.", where=f"{dataset.kept}:{number}", todo="Mend or delete the line."
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    if kind == "parquet":
        _parquet(rows, fresh)
    else:
        fresh.write_bytes(b"".join(encode(row) for row in _shaped(rows, kind)))
    fresh.replace(path)
    return path, len(rows)


def _shaped(rows: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    for row in rows:
        beside = {"id": row["id"], "trait": row["trait"]} if kind == "trl" else {}
        yield {"messages": row["messages"]} | beside


def _parquet(rows: list[dict[str, Any]], path: Path) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UserError("Parquet needs pyarrow.", todo='Run: pip install "habitus[parquet]"') from error
    flat = [row | {"meta": orjson.dumps(row["meta"]).decode()} for row in rows]
    parquet.write_table(pa.Table.from_pylist(flat), path)
