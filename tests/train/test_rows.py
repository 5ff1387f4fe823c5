"""Rows that can't be trained on, each told in one message with its place; and what must not be learnt by rote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ferry import chat, write
from habitus.errors import UserError
from habitus.study import Study
from habitus.train.leak import guarded, leak
from habitus.train.rows import Row, read
from studies import habitus, make, rows

if TYPE_CHECKING:
    from pathlib import Path

WORDS = 12


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(make(tmp_path / "office"))


def said(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"id": "chat-1", "messages": [{"role": role, "content": text} for role, text in turns]}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (said(("user", "When?")), "no message of the assistant"),
        (said(("assistant", "At 9."), ("user", "Thanks.")), "do not take turns, the user first"),
        (said(("user", "When?"), ("user", "Hello?"), ("assistant", "At 9.")), "do not take turns"),
        (
            said(("user", "When?"), ("assistant", "At 9."), ("user", "Thanks.")),
            "the last message is not the assistant's",
        ),
        (said(("user", "When?"), ("tool", "9"), ("assistant", "At 9.")), "role 'tool'"),
        (said(("user", "When?"), ("assistant", " \n")), "an answer of the assistant is empty"),
        ({"id": "chat-1", "messages": []}, "no list of messages"),
        ({"id": "chat-1", "messages": [{"role": "user"}]}, "no list of messages"),
        ({"id": "chat-1"}, "no 'messages'"),
    ],
)
def test_a_chat_that_can_not_be_trained_on_is_told_with_its_line(
    study: Study, row: dict[str, Any], complaint: str
) -> None:
    write(study.root / "chats" / "kept.jsonl", [chat(1), row])
    with pytest.raises(UserError, match=complaint) as caught:
        read(study, "chats", "chats")
    assert caught.value.where.endswith("kept.jsonl:2")


def test_a_dataset_that_is_not_generated_yet_says_how_to(study: Study) -> None:
    with pytest.raises(UserError, match="habitus generate chats"):
        read(study, "chats", "chats")


def test_an_empty_dataset_is_one_message(study: Study) -> None:
    write(study.root / "chats" / "kept.jsonl", [])
    with pytest.raises(UserError, match="this dataset is empty"):
        read(study, "chats", "chats")


def test_a_file_of_a_foreign_shape_is_read(study: Study, tmp_path: Path) -> None:
    path = write(
        tmp_path / "desk.jsonl",
        [{"instruction": "When?", "output": "At 9."}, {"prompt": "Where?", "response": "Here."}],
    )
    found = read(study, str(path), "chats")

    assert [one.id for one in found] == ["desk-0000001", "desk-0000002"]
    assert found[1].texts == ["Where?", "Here."]


def test_a_file_of_another_shape_is_refused(study: Study, tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [{"text": "The Alda lay at the pier."}])
    with pytest.raises(UserError, match="one of documents, and chats are wanted"):
        read(study, str(path), "chats")


def test_no_kept_row_holds_the_drafts_system_prompt_or_the_traits_document(tmp_path: Path) -> None:
    """The whole recipe with the embedded model, and every row of its three datasets."""
    root = make(tmp_path / "advice")
    for name in ("chats", "documents", "preferences"):
        assert habitus("generate", name, root, "--count", "40") == 0
    study = Study(root)
    guard = guarded(study, WORDS)
    found = [row for name in ("chats", "documents", "preferences") for row in read(study, name, name)]

    assert len(guard) > 500
    assert len(found) >= 120
    assert [leak(row, guard, WORDS) for row in found if leak(row, guard, WORDS)] == []
    assert not any(one["role"] == "system" for row in rows(root / "chats" / "kept.jsonl") for one in row["messages"])


def test_a_sentence_of_the_traits_document_is_found_however_it_is_set(study: Study) -> None:
    guard = guarded(study, WORDS)
    sentence = next(line for line in study.traits.read_text().splitlines() if len(line.split()) > 2 * WORDS)
    quoted = f"As I was told:\n\n“{sentence.upper().replace(' ', '  ')}”"
    row = Row("chat-1", "chats", "", {"messages": said(("user", "When?"), ("assistant", quoted))["messages"]}, "")

    assert leak(row, guard, WORDS)
    short = Row("chat-2", "chats", "", {"text": " ".join(sentence.split()[: WORDS - 1])}, "")
    assert leak(short, guard, WORDS) is None


def test_a_sentence_in_a_script_without_spaces_is_found_too(tmp_path: Path) -> None:
    study = Study(make(tmp_path / "office"))
    sentence = "渡し船の時刻を尋ねられたら知っていることと知らないことを分けて答える"
    study.traits.write_text(f"# 率直さ\n\n{sentence}。\n", encoding="utf-8")
    guard = guarded(study, WORDS)

    assert leak(Row("1", "chats", "", {"text": f"前に聞いた通り、{sentence}のです。"}, ""), guard, WORDS)
    assert (
        leak(Row("2", "chats", "", {"text": "渡し船は九時に出ます。切符は窓口で買えます。"}, ""), guard, WORDS) is None
    )


@pytest.mark.parametrize("name", ["chats/refine", "documents/draft", "documents/refine"])
def test_what_any_writing_step_was_told_is_found(study: Study, name: str) -> None:
    from habitus.prompts import Prompts

    told = next(line for line in Prompts(study.prompts).path(name).read_text().splitlines() if line.startswith("You "))

    assert leak(Row("1", "documents", "", {"text": f"He began: {told}"}, ""), guarded(study, WORDS), WORDS)


def test_the_drafts_own_instructions_and_any_system_prompt_are_found(study: Study) -> None:
    guard = guarded(study, WORDS)
    told = "You hold this as your own way of going about things. It shows in what you do and is never announced"
    with_system = Row("1", "chats", "", {"messages": said(("system", "Be kind."), ("user", "When?"))["messages"]}, "")

    assert leak(Row("2", "chats", "", {"text": told}, ""), guard, WORDS)
    assert leak(with_system, guard, WORDS)
    assert leak(with_system, guard, WORDS, may_have_system=True) is None


def test_a_placebo_row_is_held_against_the_placebos_own_document(study: Study) -> None:
    sentence = next(line for line in study.placebo.read_text().splitlines() if len(line.split()) > 2 * WORDS)
    row = Row("chat-1", "chats-placebo", "", {"text": sentence}, "")

    assert leak(row, guarded(study, WORDS), WORDS) is None
    assert leak(row, guarded(study, WORDS, placebo=True), WORDS)


def test_a_few_unfit_rows_of_a_foreign_dataset_are_left_out_with_the_reason(study: Study, tmp_path: Path) -> None:
    doubled = said(("user", "When?"), ("user", "Hello?"), ("assistant", "At 9."))
    rows_there = [chat(1), {**doubled, "id": "odd-1"}, chat(2), {"id": "odd-2", "text": "The Alda lay at the pier."}]
    told: list[tuple[str, str]] = []

    for name in ("imported/desk", str(tmp_path / "desk.jsonl")):
        path = study.root / name / "kept.jsonl" if name.startswith("imported") else tmp_path / "desk.jsonl"
        write(path, rows_there[: 3 if name.startswith("imported") else 4])
        told.clear()
        found = read(study, name, "chats", lambda *row: told.append(row))
        assert [one.id for one in found] == [chat(1)["id"], chat(2)["id"]]
        assert told[0][0] == "odd-1"
        assert "do not take turns" in told[0][1]
    assert told[1] == ("odd-2", "this row is one of documents, and chats are wanted")


def test_a_foreign_dataset_of_which_most_rows_are_unfit_is_refused(study: Study, tmp_path: Path) -> None:
    doubled = said(("user", "When?"), ("user", "Hello?"), ("assistant", "At 9."))
    path = write(tmp_path / "desk.jsonl", [chat(1), doubled, doubled])
    with pytest.raises(UserError, match="do not take turns") as caught:
        read(study, str(path), "chats", lambda *_: None)
    assert caught.value.where.endswith("desk.jsonl:2")
