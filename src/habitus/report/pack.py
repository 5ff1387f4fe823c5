"""Records as text that a page can hold: a small index, and pieces that are unpacked when they are looked at."""

from __future__ import annotations

import base64
import gzip
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from habitus.report.records import beginning
from habitus.study import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.report.records import Shown

PIECE = 250
"""Records that are compressed together."""
GROUPS = ("", "rating", "pattern")
CLAUSE = re.compile(r'[^.?!,:;"]*+[.?!,:;"]+ ?|[^.?!,:;"]+')
LEAST_OFTEN, LEAST_LONG = 3, 12
"""How often a clause occurs, and how many characters it has, that is written once for all records."""


def packed(value: Any) -> str:
    """Return a value as JSON, compressed, in base64; the same value gives the same text."""
    return base64.b64encode(gzip.compress(encode(value), 9, mtime=0)).decode()


def pieces(datasets: Sequence[Shown]) -> tuple[str, list[str]]:
    """Return all records, packed in pieces that stand in the order of the index, and the clauses that recur in them.

    gzip sees 32 KB at a time. What records far apart have in common is therefore taken out first: a piece is the JSON
    of its records cut into parts, and a part that is a number stands for a clause of the table.
    """
    records = [record for one in datasets for record in one.records]
    texts = [encode({"records": records[at : at + PIECE]}).decode() for at in range(0, len(records), PIECE)]
    counts = Counter(clause for text in texts for clause in CLAUSE.findall(text) if len(clause) >= LEAST_LONG)
    table = [clause for clause, count in counts.most_common() if count >= LEAST_OFTEN]
    places = {clause: place for place, clause in enumerate(table)}
    return packed({"table": table}), [packed({"parts": _parts(text, places)}) for text in texts]


def _parts(text: str, places: dict[str, int]) -> list[str | int]:
    """Return a text with the number of each clause in its place; the clauses between are joined."""
    parts: list[str | int] = []
    plain: list[str] = []
    for clause in CLAUSE.findall(text):
        if clause not in places:
            plain.append(clause)
            continue
        if plain:
            parts.append("".join(plain))
            plain.clear()
        parts.append(places[clause])
    return [*parts, "".join(plain)]


def index(datasets: Sequence[Shown], names: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return what the list needs: ids, first words, and the facets as columns of numbers."""
    return {
        "piece": PIECE,
        "datasets": [
            {
                "name": one.name,
                "ids": [record["id"] for record in one.records],
                "begins": [beginning(record) for record in one.records],
                "facets": [
                    facet | {"title": names.get(one.name, {}).get(facet["key"], facet["key"])}
                    for group in range(len(GROUPS))
                    for facet in _columns([found[group] for found in one.facets], GROUPS[group])
                ],
            }
            for one in datasets
        ],
    }


def _columns(rows: Sequence[dict[str, str]], group: str) -> list[dict[str, Any]]:
    """Return facets that tell records apart: their values and, by record, which of these it has (-1 for none)."""
    columns = []
    for key in dict.fromkeys(key for row in rows for key in row):
        values = sorted({row[key] for row in rows if key in row})
        if len(values) > 1 or group == "pattern" or key in {"outcome", "trait"}:
            place = {value: at for at, value in enumerate(values)}
            columns.append(
                {
                    "key": key,
                    "group": group,
                    "values": values,
                    "rows": [place.get(row.get(key, ""), -1) for row in rows],
                }
            )
    return columns
