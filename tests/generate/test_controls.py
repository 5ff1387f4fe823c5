"""The controls with the simulated model: plain, placebo and flat, each a dataset beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from studies import calls, habitus, make, rows, setting

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with 20 chats and every control."""
    made = make(
        tmp_path_factory.mktemp("controls") / "advice",
        chats={"count": 20, "turns": {1: 0.6, 2: 0.4}}, documents={"count": 8}, preferences={"count": 5},
    )  # fmt: skip
    assert habitus("generate", "chats", made) == 0
    assert habitus("generate", "chats", made, "--control", "plain") == 0
    assert habitus("generate", "documents", made, "--control", "flat") == 0
    for dataset in ("chats", "documents", "preferences"):
        assert habitus("generate", dataset, made, "--control", "placebo", "--count", "4") == 0
    return made


def test_plain_answers_the_same_messages_without_the_trait(study: Path) -> None:
    chats = {row["id"]: row for row in rows(study / "chats" / "kept.jsonl")}
    plain = rows(study / "chats-plain" / "kept.jsonl")
    assert len(plain) >= 15
    for row in plain:
        assert row["messages"][0] == chats[row["id"]]["messages"][0]
        assert row["messages"][1] != chats[row["id"]]["messages"][1]
        assert len(row["messages"]) == len(chats[row["id"]]["messages"])

    def shown(found: list[dict]) -> float:
        scores = [row["meta"]["ratings"]["embodies"]["score"] for row in found if not row["meta"]["contrast"]]
        return sum(scores) / len(scores)

    assert shown(plain) < shown(list(chats.values())) - 1


def test_plain_settles_every_kept_chat_and_then_asks_nothing(study: Path) -> None:
    settled = {row["id"] for name in ("kept", "dropped") for row in rows(study / "chats-plain" / f"{name}.jsonl")}
    assert settled == {row["id"] for row in rows(study / "chats" / "kept.jsonl")}
    paid = calls(study)
    assert habitus("generate", "chats", study, "--control", "plain") == 0
    assert calls(study) == paid


def test_plain_without_chats_says_what_to_do_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = make(tmp_path / "advice")
    assert habitus("generate", "chats", bare, "--control", "plain") == 2
    assert "habitus generate chats" in capsys.readouterr().err
    assert not (bare / "chats-plain").exists()
    assert habitus("status", bare) == 0
    assert "chats-plain" not in capsys.readouterr().out


def test_placebo_takes_every_recipe_through_another_document(study: Path) -> None:
    for dataset in ("chats", "documents", "preferences"):
        found = rows(study / f"{dataset}-placebo" / "kept.jsonl")
        assert len(found) >= 4  # pairs may have had more chats written
        assert not {row["trait"] for row in found} & {row["trait"] for row in rows(study / "chats" / "kept.jsonl")}


def test_a_placebo_of_ones_own_is_taken(tmp_path: Path) -> None:
    study = make(tmp_path / "advice", placebo="weather.md")
    (study / "weather.md").write_text(
        "# Weather\n\n## The sky\n\nIt mentions the sky before the matter, because the day has a colour and readers like to know it.\n"
    )
    assert habitus("generate", "documents", study, "--control", "placebo", "--count", "2") == 0
    assert {row["trait"] for row in rows(study / "documents-placebo" / "kept.jsonl")} == {"the-sky"}


def test_flat_documents_have_no_plan_and_no_route(study: Path) -> None:
    found = rows(study / "documents-flat" / "kept.jsonl")
    assert len(found) == 8
    for row in found:
        assert not {"plan", "how", "why", "stance", "contrast"} & set(row["meta"])
        assert set(row["meta"]["ratings"]) == {"states", "flat", "natural", "genre"}
        assert "Halden" in row["text"]


def test_status_tells_of_every_dataset_that_was_begun(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("status", study) == 0
    told = capsys.readouterr().out
    for name in ("chats", "chats-plain", "chats-placebo", "documents-flat", "documents-placebo", "preferences-placebo"):
        assert f"\n{name}: " in told
    setting(study, lambda config: config.update(seed=8))
    assert habitus("status", study) == 0
    assert "documents-flat are stale: seed: 7 → 8" in " ".join(capsys.readouterr().err.split())
    setting(study, lambda config: config.update(seed=7))


@pytest.mark.parametrize("dataset", ["chats", "chats-plain", "documents-flat", "preferences-placebo"])
def test_records_of_any_dataset_can_be_listed_and_shown(
    study: Path, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = rows(study / dataset / "kept.jsonl")[0]["id"]
    assert habitus("show", study, "--dataset", dataset) == 0
    assert first in capsys.readouterr().out
    assert habitus("show", study, first, "--dataset", dataset) == 0
    assert "kept" in capsys.readouterr().out


def test_a_dataset_that_is_none_is_told_with_the_nearest(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("show", study, "--dataset", "chats-plane") == 2
    assert "chats-plain" in capsys.readouterr().err
