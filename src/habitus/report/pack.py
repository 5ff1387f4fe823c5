"""Records as text that a page can hold: a small index, and pieces that are unpacked when they are looked at."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING, Any

from habitus.report.records import beginning
from habitus.study import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.report.records import Shown

PIECE = 250
"""Records that are compressed together."""
GROUPS = ("", "rating", "pattern")


def packed(value: Any) -> str:
    """Return a value as JSON, compressed, in base64; the same value gives the same text."""
    return base64.b64encode(gzip.compress(encode(value), 9, mtime=0)).decode()


def pieces(datasets: Sequence[Shown]) -> list[str]:
    """Return all records, packed in pieces that stand in the order of the index."""
    records = [record for one in datasets for record in one.records]
    return [packed({"records": records[at : at + PIECE]}) for at in range(0, len(records), PIECE)]


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
