"""Preference pairs with the simulated model: made from kept chats, drawn again, bounded in length."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from habitus.generate.preferences import form_of, rounded
from habitus.models.ledger import read_totals
from studies import habitus, make, rows, setting

if TYPE_CHECKING:
    from pathlib import Path


def calls_of(study: Path, step: str) -> int:
    return sum(total.calls for total in read_totals(study / "ledger.db") if total.step == step)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with 40 chats, and 20 pairs made from them."""
    made = make(
        tmp_path_factory.mktemp("pairs") / "advice", chats={"count": 40, "turns": {1: 0.7, 2: 0.3}},
        preferences={"count": 20},
    )  # fmt: skip
    assert habitus("generate", "chats", made) == 0
    assert habitus("generate", "preferences", made) == 0
    return made


@pytest.fixture(scope="module")
def pairs(study: Path) -> list[dict[str, Any]]:
    return rows(study / "preferences" / "kept.jsonl")


class TestPairs:
    def test_a_row_is_what_preference_trainers_read(self, pairs: list[dict[str, Any]]) -> None:
        assert len(pairs) == 20
        for row in pairs:
            assert set(row) == {"id", "trait", "prompt", "chosen", "rejected", "meta"}
            assert row["prompt"][-1]["role"] == "user"
            assert [message["role"] for message in row["chosen"] + row["rejected"]] == ["assistant", "assistant"]
            assert row["chosen"] != row["rejected"]

    def test_the_chosen_side_is_that_of_a_kept_chat_in_which_the_trait_shows(
        self, study: Path, pairs: list[dict[str, Any]]
    ) -> None:
        chats = {row["id"]: row for row in rows(study / "chats" / "kept.jsonl")}
        for row in pairs:
            chat = chats[row["meta"]["chat"]]
            assert chat["messages"] == row["prompt"] + row["chosen"]
            assert not chat["meta"]["contrast"]
            assert row["id"] == chat["id"].replace("chat", "pair")

    def test_conversations_of_several_turns_end_in_the_pair(self, pairs: list[dict[str, Any]]) -> None:
        assert {len(row["prompt"]) for row in pairs} == {1, 3}

    def test_the_answers_differ_in_the_trait_and_little_else(self, pairs: list[dict[str, Any]]) -> None:
        for row in pairs:
            ratings = row["meta"]["ratings"]
            assert ratings["rejected_shows"]["score"] <= 2
            assert ratings["chosen_shows"]["score"] - ratings["rejected_shows"]["score"] >= 2
            assert abs(ratings["chosen_serves"]["score"] - ratings["rejected_serves"]["score"]) <= 1
            assert ratings["alike"]["score"] >= 3
            words = [len(row[side][0]["content"].split()) for side in ("rejected", "chosen")]
            assert 1 / 1.5 <= words[0] / words[1] <= 1.5
            assert row["meta"]["length_ratio"] == pytest.approx(words[0] / words[1], abs=0.001)

    def test_quotations_come_from_the_answer_they_are_about(self, pairs: list[dict[str, Any]]) -> None:
        for row in pairs:
            for side in ("chosen", "rejected"):
                quote = row["meta"]["ratings"][f"{side}_serves"]["quote"]
                assert quote in row[side][0]["content"]

    def test_the_chosen_side_is_not_paid_for_again(self, study: Path) -> None:
        answered = calls_of(study, "chats/refine")
        assert habitus("generate", "preferences", study, "--count", "22") == 0
        assert calls_of(study, "chats/refine") == answered

    def test_which_answer_stands_first_changes(self, study: Path) -> None:
        orders = set()
        for row in rows(study / "preferences" / "traces.jsonl"):
            for step in row["steps"]:
                if step["step"] == "preferences/compare":
                    orders.add(step["answer"]["first_shows"]["score"] > step["answer"]["second_shows"]["score"])
        assert orders == {True, False}

    def test_it_loads_in_datasets_as_it_is(self, study: Path, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        path = str(study / "preferences" / "kept.jsonl")
        loaded = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path))
        assert {"prompt", "chosen", "rejected"} <= set(loaded.column_names)


def test_pairs_from_nothing_have_the_chats_written_first(tmp_path: Path) -> None:
    study = make(tmp_path / "advice", preferences={"count": 6})
    assert habitus("generate", "preferences", study) == 0
    assert len(rows(study / "preferences" / "kept.jsonl")) == 6
    assert 6 < len(rows(study / "chats" / "kept.jsonl")) < 30
    assert habitus("status", study) == 0


def test_pairs_that_never_come_out_are_bounded_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"count": 5, "length_ratio": 1.0000001, "draws": 1, "most_planned": 2}
    study = make(tmp_path / "advice", model="simulated/world?uneven=1", preferences=settings)
    assert habitus("generate", "preferences", study) == 2
    assert "none of 10 pairs was kept" in capsys.readouterr().err
    dropped = rows(study / "preferences" / "dropped.jsonl")
    assert len(dropped) == 10
    assert {row["step"] for row in dropped} == {"preferences/rejected"}
    assert all("the words of the chosen one" in row["reason"] for row in dropped)
    assert len(rows(study / "chats" / "kept.jsonl")) <= 20


def test_a_rejected_answer_that_shows_the_trait_is_drawn_again_and_then_dropped(tmp_path: Path) -> None:
    study = make(
        tmp_path / "advice", model="simulated/world?weak_rejected=1", chats={"count": 12},
        preferences={"count": 6, "draws": 2, "most_shown": 1},
    )  # fmt: skip
    assert habitus("generate", "chats", study) == 0
    habitus("generate", "preferences", study)
    dropped = rows(study / "preferences" / "dropped.jsonl")
    assert any(row["reason"].startswith("2 draws: the rejected answer shows the trait") for row in dropped)
    assert calls_of(study, "preferences/rejected") > len(dropped)


def test_chats_that_are_all_contrasts_give_one_clear_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make(tmp_path / "advice", chats={"contrast": 1.0}, preferences={"count": 2})
    assert habitus("generate", "preferences", study) == 2
    assert "every chat is a contrast" in capsys.readouterr().err


def test_a_chat_whose_trait_is_gone_gives_no_pair_and_says_so(tmp_path: Path) -> None:
    study = make(tmp_path / "advice", chats={"count": 20}, preferences={"count": 3})
    assert habitus("generate", "chats", study) == 0
    gone = rows(study / "chats" / "kept.jsonl")[0]["trait"]
    document = (study / "traits.md").read_text()
    (study / "traits.md").write_text(
        re.sub(rf"(?ms)^## {gone.replace('-', ' ').capitalize()}\n.*?(?=^## )", "", document)
    )
    assert habitus("generate", "preferences", study, "--count", "6") == 2  # the chats' own command is named
    assert habitus("generate", "chats", study, "--count", "22", "--go-on") == 0
    assert habitus("generate", "preferences", study, "--count", "6") == 0
    dropped = rows(study / "preferences" / "dropped.jsonl")
    assert {row["trait"] for row in dropped if "no longer in the traits document" in row["reason"]} == {gone}


def test_chats_made_with_other_settings_are_not_grown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make(tmp_path / "advice", chats={"count": 5}, preferences={"count": 20})
    assert habitus("generate", "chats", study) == 0
    setting(study, lambda config: config["chats"].update(contrast=0.5))
    assert habitus("generate", "preferences", study) == 2
    assert "the 5 chats that these are made from were made with other settings" in " ".join(
        capsys.readouterr().err.split()
    )
    assert len(rows(study / "chats" / "kept.jsonl")) == 5


class TestForm:
    def test_plain_prose_is_asked_for_as_plain_prose(self) -> None:
        form = form_of("The oven is at fault.\n\nLower it to 230.")
        assert form == " in 2 paragraphs, without a list, a table, code, headings, bold type"

    def test_what_an_answer_has_is_asked_for_and_what_it_lacks_is_not(self) -> None:
        form = form_of("Try this:\n\n1. Lower it.\n2. Wait.\n\n```\noven 230\n```")
        assert form == " in 3 paragraphs, with a list and code, without a table, headings, bold type"

    @pytest.mark.parametrize(("words", "told"), [(1, 10), (14, 10), (16, 20), (143, 140)])
    def test_lengths_are_told_in_tens(self, words: int, told: int) -> None:
        assert rounded("word " * words) == told


def test_a_finished_dataset_says_nothing_the_second_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make(tmp_path / "advice", preferences={"count": 4})
    assert habitus("generate", "preferences", study) == 0
    capsys.readouterr()
    assert habitus("generate", "preferences", study) == 0
    assert "warning" not in capsys.readouterr().err


def test_chats_that_were_made_anew_leave_their_pairs_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make(tmp_path / "advice", chats={"count": 6}, preferences={"count": 3})
    assert habitus("generate", "chats", study) == 0
    setting(study, lambda config: config.update(seed=9))
    assert habitus("generate", "chats", study, "--go-on", "--count", "10") == 0
    assert habitus("generate", "preferences", study) == 0
    assert habitus("generate", "chats", study, "--redo") == 0
    capsys.readouterr()
    assert habitus("status", study) == 0
    assert "preferences are stale: chats changed" in " ".join(capsys.readouterr().err.split())
