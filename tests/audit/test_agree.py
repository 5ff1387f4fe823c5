from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from habitus.audit.agree import Mark, agree, read_marks, to_mark
from habitus.errors import UserError
from harbour import pattern, rated

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.records import Level

PATTERN = pattern()
LEVELS: dict[str, Level] = {f"letter-{at}": "strict" if at < 30 else "broad" if at < 40 else "no" for at in range(100)}
RATED = rated(LEVELS)


def marks(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text(json.dumps({"marks": list(rows)}))
    return path


def test_judge_and_person_are_held_against_each_other_cell_by_cell() -> None:
    said = [Mark(f"letter-{at}", "short-first", "y" if at in range(10, 45) else "n") for at in range(100)]
    (found,) = agree([PATTERN], RATED, said)
    assert found.confusion == {"both": 30, "judge alone": 10, "person alone": 5, "neither": 55}
    assert found.agreement.agreement == pytest.approx(0.85)
    assert found.judged.rate == 0.4
    assert found.corrected.rate == pytest.approx(0.35, abs=0.02)


def test_marks_by_three_levels_are_held_against_the_strict_test_too() -> None:
    said = [Mark(name, "short-first", level) for name, level in LEVELS.items()]
    broad, strict = agree([PATTERN], RATED, said)
    assert (broad.level, strict.level) == ("broad", "strict")
    assert broad.agreement.kappa == strict.agreement.kappa == 1.0


def test_what_is_to_be_marked_is_a_third_of_each_level_and_does_not_tell_which() -> None:
    texts = {name: f"The text of {name}." for name in LEVELS}
    sheet = to_mark([PATTERN], RATED, texts, 20, seed=7)
    rows = sheet["marks"]
    assert Counter(LEVELS[row["id"]] for row in rows) == {"strict": 6, "broad": 6, "no": 8}
    assert all(row["mark"] == "" and row["text"] == texts[row["id"]] for row in rows)
    assert "level" not in json.dumps(rows)
    there = [LEVELS[row["id"]] != "no" for row in rows]
    assert there != sorted(there, reverse=True)


def test_marks_are_read_and_those_not_made_yet_are_passed_over(tmp_path: Path) -> None:
    path = marks(
        tmp_path / "marks.json",
        {"id": "letter-1", "pattern": "short-first", "mark": "Y"},
        {"id": "letter-2", "pattern": "short-first", "mark": ""},
    )
    assert read_marks(path, [PATTERN], RATED) == [Mark("letter-1", "short-first", "y")]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"id": "letter-1", "pattern": "short-frist", "mark": "y"}, "Did you mean 'short-first'"),
        ({"id": "letter-999", "pattern": "short-first", "mark": "y"}, "'letter-999' was not rated"),
        ({"id": "letter-1", "pattern": "short-first", "mark": "perhaps"}, "'perhaps' is no mark"),
        ({"id": "letter-1", "pattern": "short-first", "mark": ""}, "nothing is marked yet"),
        ({"id": "letter-1"}, "no file of marks"),
    ],
)
def test_a_mark_that_makes_no_sense_is_told(row: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_marks(marks(tmp_path / "marks.json", row), [PATTERN], RATED)
    assert told in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_marks(tmp_path / "marks.json", [PATTERN], RATED)


def test_agreement_is_that_over_all_texts_though_the_sheet_holds_a_third_of_each_level() -> None:
    said = {name: "y" if level != "no" else "n" for name, level in LEVELS.items()}
    for at in (40, 41, 42):  # the person finds it in three of 60 that the judge called clean
        said[f"letter-{at}"] = "y"
    every = [Mark(name, "short-first", mark) for name, mark in said.items()]
    sheet = [one for one in every if LEVELS[one.id] != "no"][::4] + [one for one in every if LEVELS[one.id] == "no"][
        :20
    ]
    (whole,), (part,) = agree([PATTERN], RATED, every), agree([PATTERN], RATED, sheet)
    assert whole.agreement.agreement == pytest.approx(0.97)
    raw = 1 - 3 / len(sheet)
    assert part.agreement.agreement == pytest.approx(0.4 + 0.6 * 17 / 20)
    assert part.agreement.agreement != pytest.approx(raw)
