from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import pytest

from habitus.generate import survey
from habitus.generate.kinds import DOCUMENTS, PREFERENCES, Job
from habitus.study import Study, read_rows
from studies import habitus, make, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Row(dict[str, Any]):
    """A row that tells when nobody holds it any more."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make(tmp_path_factory.mktemp("surveyed") / "advice", chats={"count": 12}, documents={"count": 12})
    for dataset in ("documents", "chats", "preferences"):
        assert habitus("generate", dataset, made, "--count", "12") == 0
    return made


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how many rows that were read are held at a time."""
    held: weakref.WeakSet[Row] = weakref.WeakSet()
    counts: list[int] = []

    def read(path: Path, *needs: str) -> Iterator[Row]:
        for row in read_rows(path, *needs):
            fresh = Row(row)
            held.add(fresh)
            counts.append(len(held))
            yield fresh

    Row.__hash__ = object.__hash__  # ty: ignore[invalid-assignment]
    monkeypatch.setattr(survey, "read_rows", read)
    return counts


def test_a_survey_of_documents_holds_one_row_at_a_time(study: Path, most: list[int]) -> None:
    found = survey.surveyed(Job(Study(study), DOCUMENTS))
    kept = rows(study / "documents" / "kept.jsonl")

    assert found.records == len(kept) == 12
    assert sum(number for _, number, _ in found.traits) == 12
    assert sum(has for _, _, has in found.lengths) == 12
    assert max(most) <= 2


def test_a_survey_of_pairs_holds_one_row_at_a_time(study: Path, most: list[int]) -> None:
    found = survey.paired(Job(Study(study), PREFERENCES))
    scores = [row["meta"]["ratings"]["chosen_shows"]["score"] for row in rows(study / "preferences" / "kept.jsonl")]

    assert found.records == found.draws.total() == len(scores) > 0
    assert found.scores[0][1] == pytest.approx(sum(scores) / len(scores))
    assert max(most) <= 3  # the last of the pairs, and two of the chats
