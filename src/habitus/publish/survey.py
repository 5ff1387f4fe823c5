"""What a dataset's rows come to: one pass over what was kept and one over what was dropped, a row at a time."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.publish.held import Held
    from habitus.shapes import Shape

FACETS = {
    "trait": "trait",
    "domain": "field of life",
    "genre": "genre",
    "stance": "stance",
    "why": "how the reason shows",
    "contrast": "the trait rightly stays away (contrast)",
    "turns": "messages by the person",
}
"""Columns by which rows are counted, each with its name on the card."""
EXAMPLE_WORDS = 250
"""A row up to so long is shown as the example; else the shortest."""

Lengths = dict[str, "array[int]"]


@dataclass
class Survey:
    """The figures of a dataset."""

    kept: int = 0
    simulated: int = 0
    facets: dict[str, Counter[str]] = field(default_factory=dict)
    lengths: Lengths = field(default_factory=dict)
    """Words by part of the row."""
    scores: dict[str, Counter[int]] = field(default_factory=dict)
    """How often the autorater gave each score, by criterion."""
    shapes: Counter[str] = field(default_factory=Counter)
    """Failings that the autorater marked in kept rows."""
    steps: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    """Rows by step, and by the model and the prompt's hash that they name for it."""
    drops: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Records not kept, by step and reason."""
    roles: dict[str, str] = field(default_factory=dict)
    meta: list[str] = field(default_factory=list)
    """The keys of `meta`, in order of appearance."""
    example: dict[str, Any] = field(default_factory=dict)


def survey(held: Held) -> Survey:
    """Return the figures of a dataset; a record that was dropped and kept later counts as kept.

    Raises:
        UserError: a row is none of this shape.

    """
    found = Survey()
    lost = {row["id"]: (row["step"], gist(row["reason"])) for row in read_rows(held.files.dropped)}
    shortest = 0
    meta: dict[str, None] = {}
    for row in held.rows():
        found.kept += 1
        lost.pop(row["id"], None)
        meta |= dict.fromkeys(row["meta"])
        words = _count(found, row, held.shape)
        if not found.example or (shortest > EXAMPLE_WORDS and words < shortest):
            found.example, shortest = row, words
    found.drops.update(lost.values())
    found.meta = list(meta)
    found.roles = held.entry.get("roles", {})
    return found


def gist(reason: str) -> str:
    """Return the kind of a reason: without quotations, names and numbers of the one record."""
    reason = re.sub(r"^\d+ draws: ", "", reason)
    if low := re.findall(r"(\w+) \d+ < (\d+)", reason):
        return ", ".join(f"{name} below {least}" for name, least in low)
    head = re.split(r": |; | \(|\. ", reason, maxsplit=1)[0]
    head = re.sub(r"\b[a-z]+-\d{7}\b", "another", head)
    return re.sub(r"\d+(?:[.,]\d+)*", "…", head).strip()


def quantiles(values: Sequence[int]) -> list[int]:
    """Return the least, the 5%, 50% and 95% points, and the greatest of some numbers."""
    ranked = sorted(values)
    return [ranked[round(share * (len(ranked) - 1))] for share in (0, 0.05, 0.5, 0.95, 1)]


def _count(found: Survey, row: dict[str, Any], shape: Shape) -> int:
    """Add one row to the figures and return its words."""
    meta = row["meta"]
    found.simulated += meta.get("simulated") is True
    for name in FACETS:
        value = row["trait"] if name == "trait" else meta.get(name)
        if value not in (None, ""):
            found.facets.setdefault(name, Counter())[_told(value)] += 1
    for criterion, verdict in (meta.get("ratings") or {}).items():
        found.scores.setdefault(criterion, Counter())[verdict["score"]] += 1
    found.shapes.update((meta.get("shapes") or {}).get("kept", ()))
    prompts = meta.get("prompts") or {}
    for step, model in (meta.get("models") or {}).items():
        found.steps.setdefault(step, Counter())[model, prompts.get(step, "")] += 1
    parts = {name: len(text.split()) for name, text in _parts(row, shape).items()}
    for name, words in parts.items():
        found.lengths.setdefault(name, array("L")).append(words)
    return sum(parts.values())


def _told(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _parts(row: dict[str, Any], shape: Shape) -> dict[str, str]:
    """Return the texts of a row of which lengths are given."""
    if shape == "documents":
        return {"the document": row["text"]}
    if shape == "preferences":
        return {f"the {name} answer": _joined(row[name]) for name in ("chosen", "rejected")}
    messages = row["messages"]
    return {
        "what the person writes": _joined([one for one in messages if one["role"] == "user"]),
        "what the assistant writes": _joined([one for one in messages if one["role"] == "assistant"]),
    }


def _joined(messages: list[dict[str, str]]) -> str:
    return "\n".join(one["content"] for one in messages)
