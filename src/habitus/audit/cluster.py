"""Cluster: what scans reported apart is sorted into distinct patterns, and those that several scans saw are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from habitus.ask import Answer
from habitus.records import Drop, Observation, PatternKind, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.ask import Ask
    from habitus.models.embed import Embedder

MOST_NOTES = 80
"""Notes that are sorted in one call; of more, the likest go together, and what comes of them is sorted again."""
MOST_ROUNDS = 4
QUOTES = 3
"""Quotations of each note that the sorter sees."""


class SortedHabit(Answer):
    """One distinct habit and the notes that are of it."""

    name: str = Field(min_length=1, description="up to eight words")
    kind: PatternKind
    description: str = Field(min_length=1, description="two or three sentences")
    notes: list[str] = Field(description="the ids of its notes")


class Sorting(Answer):
    """The distinct habits in a set of notes."""

    habits: list[SortedHabit]
    set_aside: list[str] = Field(description="the ids of notes that belong to no habit")


class Candidate(Record):
    """A pattern as far as it is settled: what it is, and every observation it rests on."""

    id: str
    trait: str = ""
    kind: PatternKind
    name: str
    description: str
    observations: tuple[str, ...]
    quotes: tuple[tuple[str, str], ...]


class Block(Record):
    """Candidates that are sorted together."""

    id: str
    trait: str = ""
    candidates: tuple[Candidate, ...]


class Merged(Record):
    """What came of a block: the evidence of every merge."""

    id: str
    candidates: tuple[Candidate, ...]
    sources: tuple[tuple[str, ...], ...] = Field(description="of each candidate, those it was made from")
    set_aside: tuple[str, ...] = Field(description="candidates that were found to be no pattern")


def candidate_of(seen: Observation) -> Candidate:
    """Return an observation as a candidate that rests on nothing else."""
    return Candidate(
        id=seen.id, kind=seen.kind, name=seen.name, description=seen.description, observations=(seen.id,),
        quotes=seen.quotes,
    )  # fmt: skip


async def blocks(candidates: Sequence[Candidate], embedder: Embedder, turn: int) -> list[Block]:
    """Return the candidates in blocks that can be sorted in one call, the likest together."""
    ordered = list(candidates)
    if len(ordered) > MOST_NOTES:
        ordered = [candidates[at] for at in await _by_likeness(candidates, embedder)]
    number = -(-len(ordered) // MOST_NOTES)
    size = -(-len(ordered) // max(number, 1))
    parts = (ordered[start : start + size] for start in range(0, len(ordered), max(size, 1)))
    return [Block(id=f"sort-{turn}-{at}", candidates=tuple(part)) for at, part in enumerate(parts, start=1)]


async def _by_likeness(candidates: Sequence[Candidate], embedder: Embedder) -> list[int]:
    """Return the candidates' positions in the order of the leaves of a tree that joins the likest first."""
    import numpy as np
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import pdist

    from habitus.models.embed import embed

    vectors = await embed([f"{one.name}. {one.description}" for one in candidates], embedder)
    distances = pdist(np.asarray(vectors, dtype=np.float64), "sqeuclidean")
    tree = linkage(distances, "average")
    return [int(at) for at in leaves_list(optimal_leaf_ordering(tree, distances))]


async def sort(block: Block, ask: Ask) -> Merged | Drop:
    """Return the distinct patterns in a block, each made from the candidates that are of it."""
    labelled = {f"n{number}": one for number, one in enumerate(block.candidates, start=1)}
    notes = [
        {
            "label": label,
            "kind": one.kind,
            "name": one.name,
            "description": one.description,
            "quotes": [words for _, words in one.quotes[:QUOTES]],
        }
        for label, one in labelled.items()
    ]

    def check(found: Sorting) -> str | None:
        named = {label for habit in found.habits for label in habit.notes} | set(found.set_aside)
        if unknown := sorted(named - labelled.keys()):
            return f"there are no notes {', '.join(unknown)}"
        if missing := [label for label in labelled if label not in named]:
            return f"these notes are in no habit and not set aside: {', '.join(missing)}"
        return None

    found = await ask.auditor("audit/cluster", Sorting, check=check, notes=notes)
    habits = [habit for habit in found.habits if habit.notes]
    placed = {label for habit in habits for label in habit.notes}
    made = [_joined(habit, [labelled[label] for label in dict.fromkeys(habit.notes)], block, number)
            for number, habit in enumerate(habits, start=1)]  # fmt: skip
    return Merged(
        id=block.id,
        candidates=tuple(made),
        sources=tuple(tuple(labelled[label].id for label in dict.fromkeys(habit.notes)) for habit in habits),
        set_aside=tuple(one.id for label, one in labelled.items() if label not in placed),
    )


def _joined(habit: SortedHabit, parts: Sequence[Candidate], block: Block, number: int) -> Candidate:
    return Candidate(
        id=f"{block.id}/{number}",
        kind=habit.kind,
        name=habit.name,
        description=habit.description,
        observations=tuple(dict.fromkeys(one for part in parts for one in part.observations)),
        quotes=_in_turn([part.quotes for part in parts]),
    )


def _in_turn(rows: Sequence[tuple[tuple[str, str], ...]]) -> tuple[tuple[str, str], ...]:
    """Return the items of several rows, the first of each before the second of any."""
    longest = max(map(len, rows), default=0)
    return tuple(dict.fromkeys(row[at] for at in range(longest) for row in rows if at < len(row)))


@dataclass(frozen=True, slots=True)
class Kept:
    """Candidates that are patterns, and those that are not, with the reason."""

    patterns: tuple[Candidate, ...]
    dropped: tuple[tuple[Candidate, str], ...]


def scans_of(candidate: Candidate) -> tuple[str, ...]:
    """Return the scans that reported a candidate."""
    return tuple(dict.fromkeys(one.partition("/")[0] for one in candidate.observations))


def chosen(candidates: Sequence[Candidate], *, least_scans: int, most: int) -> Kept:
    """Return the candidates that enough scans saw, those that most saw first, up to so many."""
    ranked = sorted(candidates, key=lambda one: (-len(scans_of(one)), -len(one.observations)))
    enough = [one for one in ranked if len(scans_of(one)) >= least_scans]
    rare = [(one, f"seen in {len(scans_of(one))} scans, fewer than {least_scans}") for one in ranked
            if len(scans_of(one)) < least_scans]  # fmt: skip
    beyond = [(one, f"beyond the {most} most often seen (audit.most_patterns)") for one in enough[most:]]
    return Kept(tuple(enough[:most]), (*rare, *beyond))
