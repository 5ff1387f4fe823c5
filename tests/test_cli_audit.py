"""`habitus audit` on a dataset that nobody here made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from studies import habitus

if TYPE_CHECKING:
    from pathlib import Path

OPENERS = ("Great question about the oven.", "The oven is at fault.", "Lower it first.", "Rye needs less heat.")


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """60 chats, half of which open alike."""
    path = tmp_path / "bakery.jsonl"
    rows = []
    for at in range(60):
        opener = OPENERS[0] if at % 2 else OPENERS[1 + at % 3]
        answer = f"{opener} Loaf {at} wants {200 + at} degrees, and the tray belongs on rail {at % 5}."
        rows.append(
            {"messages": [{"role": "user", "content": f"loaf {at}?"}, {"role": "assistant", "content": answer}]}
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_opener_that_comes_too_often_is_told_with_its_rate(chats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("audit", chats) == 0
    told = capsys.readouterr().out
    assert "60 messages or documents" in told
    assert "no model was asked" in told
    assert "great question" in told.lower()
    assert "50.0%" in told


def test_of_a_large_dataset_what_was_found_in_a_part_is_counted_in_all(
    chats: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("habitus.audit.corpus.MOST_CHARACTERS", 2_500)
    assert habitus("audit", chats, "--ray") == 0
    told = capsys.readouterr().out
    assert "60 messages or documents" in told
    assert "evenly spread; what was found is counted in all" in told
    assert "50.0%" in told


def test_everything_can_be_had_as_json_and_nothing_is_overwritten(chats: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    assert habitus("audit", chats, "--write", out) == 0
    report = json.loads(out.read_text())["counted"]
    assert report["records"] == 60
    assert any("great question" in one["pattern"].lower() for one in report["findings"])
    assert habitus("audit", chats, "--write", out) == 2


def test_a_dataset_held_against_itself_has_nothing_that_stands_out(
    chats: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert habitus("audit", chats, "--reference", chats) == 0
    assert "nothing stands out" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", '{"rows": 1}\n', "no json\n"])
def test_what_is_no_dataset_is_one_clear_message(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(content)
    assert habitus("audit", path) == 2
    assert "error: " in capsys.readouterr().err


def test_a_file_that_is_not_there_is_one_clear_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("audit", tmp_path / "none.jsonl") == 2
    assert "none.jsonl" in capsys.readouterr().err
