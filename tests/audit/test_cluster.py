from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from habitus.ask import Ask
from habitus.audit.cluster import MOST_NOTES, Block, Candidate, Merged, blocks, chosen, scans_of, sort
from habitus.models.embed import open_embedder
from habitus.records import Drop
from harbour import Told, engine

if TYPE_CHECKING:
    from pathlib import Path


def seen(name: str, *observations: str, description: str = "It says so first.") -> Candidate:
    return Candidate(
        id=observations[0],
        kind="structural",
        name=name,
        description=description,
        observations=observations,
        quotes=tuple((f"letter-{one}", f"words of {one}") for one in observations),
    )


NOTES = (
    seen("opens with the bottom line", "scan-001/1"),
    seen("states its conclusion first", "scan-002/1"),
    seen("warm and to the point", "scan-003/1"),
    seen("is about ferries", "scan-003/2"),
)


def habit(name: str, *notes: str) -> dict[str, Any]:
    return {"name": name, "kind": "structural", "description": "It is so.", "notes": list(notes)}


async def sorted_(tmp_path: Path, *answers: Any) -> tuple[Merged | Drop, Told]:
    model, block = Told(Sorting=list(answers)), Block(id="sort-1-1", candidates=NOTES)
    async with engine(tmp_path, model) as opened:
        ask = Ask(opened, block)
        found = await opened.take(lambda one, _: sort(one, ask), block)
    assert found.result is not None
    return found.result, model  # ty: ignore[invalid-return-type]


async def test_one_habit_under_two_names_becomes_one_and_two_under_one_name_become_two(tmp_path: Path) -> None:
    answer = {
        "habits": [habit("conclusion first", "n1", "n2", "n3"), habit("sympathy first", "n3")],
        "set_aside": ["n4"],
    }
    found, _ = await sorted_(tmp_path, answer)
    assert isinstance(found, Merged)
    first, second = found.candidates
    assert first.observations == ("scan-001/1", "scan-002/1", "scan-003/1")
    assert second.observations == ("scan-003/1",)
    assert found.sources == (("scan-001/1", "scan-002/1", "scan-003/1"), ("scan-003/1",))
    assert found.set_aside == ("scan-003/2",)
    assert first.quotes[0] == ("letter-scan-001/1", "words of scan-001/1")


async def test_a_note_that_was_forgotten_is_asked_for(tmp_path: Path) -> None:
    short = {"habits": [habit("conclusion first", "n1", "n2")], "set_aside": ["n4", "n7"]}
    whole = {"habits": [habit("conclusion first", "n1", "n2", "n3")], "set_aside": ["n4"]}
    found, model = await sorted_(tmp_path, short, whole)
    assert isinstance(found, Merged)
    assert "there are no notes n7" in model.asked[1][1]


async def test_a_sorting_that_stays_wrong_is_dropped_with_what_is_wrong(tmp_path: Path) -> None:
    short = {"habits": [habit("conclusion first", "n1", "n2")], "set_aside": []}
    found, _ = await sorted_(tmp_path, short, short)
    assert isinstance(found, Drop)
    assert "n3, n4" in found.reason


def test_only_what_enough_scans_saw_is_kept_and_the_rest_has_its_reason() -> None:
    often = seen("often", "scan-001/1", "scan-002/4", "scan-005/2")
    twice_in_one = seen("twice in one", "scan-001/2", "scan-001/3")
    pair = seen("pair", "scan-001/5", "scan-004/1")
    kept = chosen([twice_in_one, pair, often], least_scans=2, most=1)
    assert [one.name for one in kept.patterns] == ["often"]
    assert [(one.name, reason) for one, reason in kept.dropped] == [
        ("twice in one", "seen in 1 scans, fewer than 2"),
        ("pair", "beyond the 1 most often seen (audit.most_patterns)"),
    ]
    assert scans_of(often) == ("scan-001", "scan-002", "scan-005")


async def test_of_many_notes_the_likest_are_sorted_together() -> None:
    pytest.importorskip("scipy", reason="needs scipy")
    ends = ("The answer ends with a question to the reader.", "The answer opens with its conclusion, announced.")
    many = [seen(f"note {at}", f"scan-{at:03d}/1", description=ends[at % 2]) for at in range(MOST_NOTES * 2)]
    found = await blocks(many, open_embedder("hashing"), 1)
    assert [len(one.candidates) for one in found] == [MOST_NOTES, MOST_NOTES]
    assert all(len({note.description for note in one.candidates}) == 1 for one in found)


async def test_no_notes_make_no_block() -> None:
    assert await blocks([], open_embedder("hashing"), 1) == []
