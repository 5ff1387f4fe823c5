from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus.ask import Ask
from habitus.audit.dataset import Reading, View
from habitus.audit.filter import rows_after, shown_in, to_remove, vanished, write_rows
from habitus.audit.rewrite import Rewritten, Row, rewrite
from habitus.errors import UserError
from habitus.records import Drop, Match, Rated
from habitus.shapes import recognise
from harbour import Told, chat, engine, pattern, write

if TYPE_CHECKING:
    from pathlib import Path

PATTERNS = [pattern()]


def test_a_text_shows_the_patterns_if_it_shows_one_of_them_with_words_that_occur() -> None:
    other = pattern("asks-back")
    rows = [
        Rated(id="mon", trait="", verdicts={"short-first": Match(level="no"), "asks-back": Match(level="broad")}),
        Rated(id="tue", trait="", verdicts={"short-first": Match(level="strict", supported=False)}),
    ]
    assert shown_in([*PATTERNS, other], rows, "broad") == {"mon": True, "tue": False}
    assert shown_in([*PATTERNS, other], rows, "strict") == {"mon": False, "tue": False}


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0, 0.99), st.integers(0, 5))
def test_capping_leaves_no_more_than_the_rate_and_not_a_row_fewer_than_it_must(
    flagged: int, others: int, target: float, seed: int
) -> None:
    shown = {f"row-{at}": at < flagged for at in range(flagged + others)}
    gone = to_remove(shown, dict.fromkeys(shown, "candour"), how="cap", target=target, seed=seed)
    left = flagged - len(gone)
    assert all(shown[name] for name in gone)
    assert left / (left + others) <= target + 1e-9
    assert left == flagged or (left + 1) / (left + 1 + others) > target - 1e-9


def test_what_goes_is_shared_out_over_the_traits_and_is_the_same_each_time() -> None:
    shown = {f"row-{at}": at % 2 == 0 for at in range(300)}
    traits = {name: "candour" if at < 200 else "care" for at, name in enumerate(shown)}
    gone = to_remove(shown, traits, how="cap", target=0.2, seed=7)
    counts = Counter(traits[name] for name in gone)
    assert counts["candour"] == pytest.approx(2 * counts["care"], abs=2)
    assert gone == to_remove(shown, traits, how="cap", target=0.2, seed=7)
    assert gone != to_remove(shown, traits, how="cap", target=0.2, seed=8)


def test_capping_leaves_a_row_to_a_trait_that_has_no_other() -> None:
    shown = {f"row-{at}": at < 30 for at in range(100)}
    traits = {name: "candour" if at < 2 else "care" for at, name in enumerate(shown)}
    assert vanished(traits, to_remove(shown, traits, how="cap", target=0.0, seed=7)) == []
    assert vanished(traits, to_remove(shown, traits, how="drop", target=None, seed=7)) == ["candour"]


TURNS = [
    {"role": "user", "content": "Who has the rota?"},
    {"role": "assistant", "content": "Bottom line: ask Tomas."},
    {"role": "user", "content": "And the key?"},
    {"role": "assistant", "content": "It is in drawer 4."},
]


async def rewritten(tmp_path: Path, row: dict[str, Any], level: str, *quotes: str) -> tuple[Rewritten | Drop, Told]:
    reading = Reading(str(write(tmp_path / "rows.jsonl", [row])), View())
    ((text, raw),) = reading.pairs()
    findings = {"findings": [{"habit": "h1", "quote": "Ask Tomas", "level": level}]}
    model = Told(text=lambda _: "Ask Tomas, he knows.", Findings=[findings])
    one = Row(text.id, text.trait, text, recognise(raw)[1], quotes)
    async with engine(tmp_path, model) as opened:
        found = await rewrite(one, Ask(opened, one), patterns=PATTERNS, level="broad", reading=reading)
    return found, model


async def test_the_turn_that_shows_a_pattern_is_written_anew_with_what_came_before_it(tmp_path: Path) -> None:
    found, model = await rewritten(tmp_path, {"id": "mon", "messages": TURNS}, "no", "Bottom line")
    assert isinstance(found, Rewritten)
    said = [one["content"] for one in found.content["messages"]]
    assert said == ["Who has the rota?", "Ask Tomas, he knows.", "And the key?", "It is in drawer 4."]
    asked = model.asked[0][1]
    assert "Who has the rota?" in asked
    assert "begins with its conclusion" in asked
    assert "And the key?" not in asked


async def test_all_turns_are_written_anew_where_it_is_not_known_which_one_shows_it(tmp_path: Path) -> None:
    found, _ = await rewritten(tmp_path, {"id": "mon", "messages": TURNS}, "no")
    assert isinstance(found, Rewritten)
    assert [one["content"] for one in found.content["messages"]][1::2] == ["Ask Tomas, he knows."] * 2


async def test_a_row_that_shows_it_still_is_dropped_with_the_reason_and_the_text(tmp_path: Path) -> None:
    found, _ = await rewritten(tmp_path, {"id": "mon", "text": "Bottom line: ask Tomas."}, "strict")
    assert isinstance(found, Drop)
    assert "still shows 'short first'" in found.reason
    assert found.raw == "Ask Tomas, he knows."


async def test_of_a_pair_the_chosen_answer_is_written_anew(tmp_path: Path) -> None:
    row = {"id": "mon", "prompt": TURNS[:1], "chosen": [TURNS[1]], "rejected": [TURNS[3]]}
    found, _ = await rewritten(tmp_path, row, "no", "Bottom line")
    assert isinstance(found, Rewritten)
    assert found.content["chosen"] == [{"role": "assistant", "content": "Ask Tomas, he knows."}]
    assert found.content["rejected"] == [TURNS[3]]


def test_every_row_comes_out_as_it_was_anew_or_with_the_reason_why_it_goes(tmp_path: Path) -> None:
    reading = Reading(str(write(tmp_path / "rows.jsonl", [chat(at, short=False) for at in range(3)])))
    anew = {"messages": TURNS[:2]}
    found = list(rows_after(reading, {"chat-000": "shows it"}, {"chat-001": anew}, ["short-first"]))
    assert [(row["id"], reason) for row, reason in found] == [
        ("chat-000", "shows it"), ("chat-001", ""), ("chat-002", ""),
    ]  # fmt: skip
    assert found[1][0]["messages"] == TURNS[:2]
    assert found[1][0]["meta"] == {"rewritten_without": ["short-first"]}
    assert found[2][0] == chat(2, short=False)


def test_where_rows_were_written_anew_all_come_in_one_shape(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Who has the rota?"}, {"from": "gpt", "value": "Ask Tomas."}]
    reading = Reading(
        str(write(tmp_path / "rows.jsonl", [{"conversations": turns}, {"conversations": turns, "id": "tue"}]))
    )
    found = [row for row, _ in rows_after(reading, {}, {"tue": {"messages": TURNS[:2]}}, ["short-first"])]
    assert [set(row) - {"meta"} for row in found] == [{"id", "messages"}] * 2


async def test_only_the_first_turn_is_written_anew_where_only_that_was_looked_at(tmp_path: Path) -> None:
    reading = Reading(str(write(tmp_path / "rows.jsonl", [{"id": "mon", "messages": TURNS}])), View(turns="first"))
    ((text, raw),) = reading.pairs()
    model = Told(text=lambda _: "He knows.", Findings=[{"findings": [{"habit": "h1", "quote": "", "level": "no"}]}])
    one = Row(text.id, text.trait, text, recognise(raw)[1], ())
    async with engine(tmp_path, model) as opened:
        found = await rewrite(one, Ask(opened, one), patterns=PATTERNS, level="broad", reading=reading)
    assert isinstance(found, Rewritten)
    assert [one["content"] for one in found.content["messages"]][1::2] == ["He knows.", "It is in drawer 4."]


def test_rows_that_can_not_be_written_leave_no_folder_behind(tmp_path: Path) -> None:
    rows = iter([({"id": "mon", "text": "At noon."}, ""), ({"id": "tue", "sound": b"\x00"}, "")])
    with pytest.raises(UserError, match="no place for"):
        write_rows(tmp_path / "clean", rows)
    assert not (tmp_path / "clean").exists()
