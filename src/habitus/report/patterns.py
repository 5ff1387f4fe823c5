"""The audits of a study: how often each pattern is there, and where, with the words that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from habitus.quotes import located
from habitus.study import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.study import Study

MOST_EXAMPLES = 4
AROUND = 160
"""Characters of the text on either side of a quotation."""


def audits(study: Study) -> list[dict[str, Any]]:
    """Return every finished audit that found patterns."""
    folders = sorted(path.parent for path in study.root.glob("audit/*/rates.json"))
    found = [(folder, orjson.loads((folder / "rates.json").read_bytes())) for folder in folders]
    return [_audit(folder, rates) for folder, rates in found if rates.get("prevalence")]


def names(study: Study) -> dict[str, dict[str, str]]:
    """Return what the patterns of each audit are called, by audit and id."""
    folders = sorted(path.parent for path in study.root.glob("audit/*/patterns.jsonl"))
    return {folder.name: {row["id"]: row["name"] for row in read_rows(folder / "patterns.jsonl")} for folder in folders}


def _audit(folder: Path, rates: dict[str, Any]) -> dict[str, Any]:
    """Return one audit, its patterns with examples."""
    known = {row["id"]: row for row in read_rows(folder / "patterns.jsonl")}
    texts = {row["id"]: row["text"] for row in read_rows(folder / "texts.jsonl", "id", "text")}
    rated = list(read_rows(folder / "matches.jsonl", "id", "verdicts"))
    rows = [
        known[row["id"]] | {"rates": row, "examples": _examples(row["id"], rated, texts)}
        for row in rates["prevalence"]
        if row["id"] in known
    ]
    return {"name": folder.name, "about": rates, "patterns": rows}


def _examples(pattern: str, rated: list[dict[str, Any]], texts: dict[str, str]) -> list[dict[str, str]]:
    """Return some places where a pattern shows, the unambiguous ones first."""
    found = [(row["id"], row["verdicts"][pattern]) for row in rated if pattern in row["verdicts"]]
    shows = [(name, one) for name, one in found if one["level"] != "no" and one["supported"] and name in texts]
    shows.sort(key=lambda pair: pair[1]["level"] != "strict")
    return [_example(name, one, texts[name]) for name, one in shows[:MOST_EXAMPLES]]


def _example(name: str, match: dict[str, str], text: str) -> dict[str, str]:
    start, stop = located(match["quote"], text) or (0, 0)
    return {
        "id": name,
        "level": match["level"],
        "before": ("… " if start > AROUND else "") + text[max(start - AROUND, 0) : start],
        "quote": text[start:stop],
        "after": text[stop : stop + AROUND] + (" …" if stop + AROUND < len(text) else ""),
    }
