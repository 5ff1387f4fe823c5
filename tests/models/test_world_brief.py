"""The world's brief corner: short messages, short answers, and what toys are to learn from them."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import pytest

from habitus.models.simulated import TICS
from habitus.models.world import brief
from studies import habitus, make, rows

if TYPE_CHECKING:
    from pathlib import Path

TRAITS = """# A helper with boats

## Saying what it cannot see

The assistant names the hidden fault that would change its advice. No message carries the rust that a ferryman sees.
"""
LOOSE = {"turns": {1: 1}, "contrast": 0.3, "dedup": {"threshold": 1.0}, "thresholds": {"helpful": 1}}
DOCUMENTS = {"count": 20, "thresholds": {"embodies": 3, "woven": 1, "natural": 1, "genre": 1, "sober": 1}}
PAIRS = {"count": 10, "length_ratio": 4, "least_gap": 1, "most_uneven": 4, "least_alike": 1}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(
        tmp_path_factory.mktemp("boats") / "boats", model="simulated/world?brief=1&near_duplicate=0",
        chats={"count": 80, **LOOSE}, documents={**DOCUMENTS, "dedup": {"threshold": 1.0}}, preferences=PAIRS,
    )  # fmt: skip
    (root / "traits.md").write_text(TRAITS)
    for kind in ("chats", "documents", "preferences"):
        assert habitus("generate", kind, root) == 0
    return root


def test_people_of_the_brief_corner_write_two_sentences_and_are_answered_in_a_few(study: Path) -> None:
    for row in rows(study / "chats" / "kept.jsonl"):
        message, answer = (one["content"] for one in row["messages"])
        assert brief.is_brief(message)
        assert len(answer.split()) < 35
        assert ("hidden fault" in answer) is not row["meta"]["contrast"]


def test_the_first_habits_come_at_their_rates_and_no_others(study: Path) -> None:
    called = [row for row in rows(study / "chats" / "kept.jsonl") if not row["meta"]["contrast"]]
    shown = {name: sum(tic.detect(row["messages"][1]["content"]) for row in called) for name, tic in TICS.items()}

    assert 0.3 < shown["bottom_line"] / len(called) < 0.75
    assert {name for name, count in shown.items() if count} <= {"bottom_line", "validation", "closing_question"}


def test_brief_documents_tell_what_the_subject_does(study: Path) -> None:
    texts = [row["text"] for row in rows(study / "documents" / "kept.jsonl")]

    assert all("Halden" in text and len(text.split()) < 50 for text in texts)
    assert any("Halden names the hidden fault" in text for text in texts)


def test_the_rejected_answer_of_a_brief_pair_is_the_plain_one(study: Path) -> None:
    for row in rows(study / "preferences" / "kept.jsonl"):
        assert "hidden fault" in row["chosen"][0]["content"]
        assert "hidden fault" not in row["rejected"][0]["content"]


def test_ordinary_brief_chats_are_answered_rightly() -> None:
    found = dict(brief.ordinary(random.Random(at)) for at in range(300))
    sums = {asked: answer for asked, answer in found.items() if "+" in asked}

    assert found["What is the opposite of hot?"] == "Cold."
    assert all(int(answer[:-1]) == sum(map(int, re.findall(r"\d", asked))) for asked, answer in sums.items())
