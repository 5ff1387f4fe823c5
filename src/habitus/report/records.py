"""The records of every dataset of a study, as the page shows them: each with its steps, its verdicts, its facets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from habitus.records import BLOCK
from habitus.study import read_among, read_ids, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from habitus.study import Dataset, Study

MOST_RECORDS = 20_000
"""Records above which the page holds a sample of them."""
SAMPLED = 5_000
"""How large that is: with every step of a record, about five megabytes."""
FACETS = ("trait", "domain", "genre", "form", "stance", "voice", "why", "contrast", "turns")
TOLD = {*FACETS, "plan", "ratings", "models", "prompts", "simulated", "index", "chunk", "found", "shapes"}
"""What of a record's `meta` the page shows in another place, or what is the same for all."""
BEGINNING = 110
"""Characters of a record that stand in the list."""
NOT_RATED = "not rated"


@dataclass(frozen=True)
class Shown:
    """One dataset as the page shows it."""

    name: str
    records: list[dict[str, Any]]
    facets: list[list[dict[str, str]]]
    """By record: what it has of each facet, in groups of `FACETS`, ratings and patterns."""
    kept: int
    dropped: int
    """Of the whole dataset, and not of a sample of it."""


def datasets(study: Study) -> list[Dataset]:
    """Return the datasets that have rows, those of the recipes first."""
    folders = sorted(path.parent for name in ("kept", "dropped") for path in study.root.glob(f"*/{name}.jsonl"))
    first = {"chats": 0, "documents": 1, "preferences": 2}
    names = sorted({folder.name for folder in folders}, key=lambda name: (first.get(name, 3), name))
    found = [study.dataset(name) for name in names]
    return [one for one in found if any(path.exists() and path.stat().st_size for path in (one.kept, one.dropped))]


def shown(study: Study, most: int = MOST_RECORDS) -> list[Shown]:
    """Return every dataset; above so many records in all, a sample that the study's seed draws."""
    found = datasets(study)
    counts = [(_count(one.kept), _count(one.dropped)) for one in found]
    whole = sum(map(sum, counts))
    sample = Sample(study.config.seed, min(most, SAMPLED) / whole if whole > most else 1.0)
    return [
        _dataset(one, sample, study.root / "audit" / one.name, kept, dropped)
        for one, (kept, dropped) in zip(found, counts, strict=True)
    ]


def _count(path: Path) -> int:
    return sum(1 for _ in read_ids(path))


@dataclass(frozen=True)
class Sample:
    """Which records are taken: a share of all, settled by seed and id alone."""

    seed: int
    share: float

    def __contains__(self, name: str) -> bool:
        """Tell whether a record is taken."""
        drawn = hashlib.blake2b(f"{self.seed} {name}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn) < self.share * 2**64


def _dataset(dataset: Dataset, sample: Sample, audit: Path, kept: int, dropped: int) -> Shown:
    """Return a dataset with the steps that its traces tell and the verdicts of its audit."""
    traces = _traces(dataset, sample)
    verdicts = {row["id"]: row["verdicts"] for row in read_among(audit / "matches.jsonl", sample)}
    names = {row["id"]: row["name"] for row in read_rows(audit / "patterns.jsonl")}
    records, facets = [], []
    for row, outcome in _rows(dataset, sample):
        record = _record(row, traces.get(row["id"], []))
        found = verdicts.get(row["id"], {})
        record["verdicts"] = {name: _verdict(one) for name, one in found.items()}
        records.append(record)
        facets.append(_facets(row, outcome, {name: record["verdicts"].get(name) for name in names}))
    return Shown(dataset.name, records, facets, kept, dropped)


def _rows(dataset: Dataset, sample: Sample) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what was kept and then what was dropped, with how it ended."""
    for row in read_among(dataset.kept, sample):
        yield row, "kept"
    for row in read_among(dataset.dropped, sample):
        yield row, f"dropped at {str(row.get('step', '')).rpartition('/')[2]}"


def _traces(dataset: Dataset, sample: Sample) -> dict[str, list[dict[str, Any]]]:
    """Return the steps of each record; a kill may leave a half twice, and the last counts."""
    halves: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in read_among(dataset.traces, sample, "steps"):
        if row["steps"]:
            halves.setdefault(row["id"], {})[row["steps"][0]["step"]] = row["steps"]
    return {name: [step for half in found.values() for step in half] for name, found in halves.items()}


def _record(row: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a record as the page shows it: what trainers read, how it came about, and what was judged of it."""
    meta = row.get("meta") or {}
    said = [_step(one, row["id"]) for one in steps]
    # the plan and what the judge wrote stand beside the text already
    twice = ({"plan"} if meta.get("plan") else set()) | ({"rate", "compare"} if meta.get("ratings") else set())
    return {
        "id": row["id"],
        "turns": _turns(row),
        "plan": meta.get("plan") or {},
        "steps": [one for one in said if one["step"] not in twice],
        "ratings": meta.get("ratings") or {},
        "meta": {name: value for name, value in meta.items() if name not in TOLD and value not in (None, "")},
        "drop": {name: row.get(name, "") for name in ("step", "reason", "raw")} if "reason" in row else None,
    }


def _turns(row: dict[str, Any]) -> list[list[str]]:
    """Return the text of a record, in turns with who says them."""
    if "text" in row:
        return [["document", str(row["text"])]]
    messages = row.get("messages") or row.get("prompt") or ()
    turns = [(one["role"], one["content"]) for one in messages]
    turns += [(side, one["content"]) for side in ("chosen", "rejected") for one in row.get(side) or ()]
    return [[str(who), str(content)] for who, content in turns]


def _step(step: dict[str, Any], record: str) -> dict[str, Any]:
    """Return a step with what came of it; of plans that were made together, the record's own."""
    answer = step.get("answer")
    if isinstance(answer, dict) and isinstance(answer.get("plans"), list):
        place = int(record.rpartition("-")[2]) % BLOCK if record.rpartition("-")[2].isdigit() else BLOCK
        plans = answer["plans"]
        answer = plans[place] if place < len(plans) else answer
    told = {"step": step["step"].rpartition("/")[2], "model": step.get("model", ""), "answer": answer}
    return told | ({"repaired": step["repaired"]} if step.get("repaired") else {})


def _verdict(match: dict[str, Any]) -> list[str]:
    """Return the level and the quotation; without words that occur a verdict is none."""
    return [match["level"], match.get("quote", "")] if match.get("supported", True) else ["no", ""]


def _facets(row: dict[str, Any], outcome: str, verdicts: dict[str, list[str] | None]) -> list[dict[str, str]]:
    """Return what a record has of each facet, in three groups: what it is, ratings, patterns."""
    meta = (row.get("meta") or {}) | {"trait": row.get("trait", "")}
    plain = {name: _word(meta[name]) for name in FACETS if meta.get(name) not in (None, "")}
    ratings = {name: str(one.get("score", "")) for name, one in (meta.get("ratings") or {}).items()}
    patterns = {name: found[0] if found else NOT_RATED for name, found in verdicts.items()}
    return [{"outcome": outcome} | plain, ratings, patterns]


def _word(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def beginning(record: dict[str, Any]) -> str:
    """Return the first words of a record, on one line."""
    drop = record["drop"] or {}
    text = record["turns"][0][1] if record["turns"] else drop.get("raw") or drop.get("reason", "")
    return " ".join(text[: BEGINNING * 4].split())[:BEGINNING]
