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
    assert "60 messages" in told
    assert "no model was asked" in told
    assert "great question" in told.lower()
    assert "50.0%" in told


def test_of_a_large_dataset_what_was_found_in_a_part_is_counted_in_all(
    chats: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("habitus.audit.corpus.MOST_CHARACTERS", 2_500)
    assert habitus("audit", chats, "--ray") == 0
    told = capsys.readouterr().out
    assert "60 messages, 990 words" in told
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


def test_of_pairs_both_directions_are_told_and_a_row_that_is_none_is_warned_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, page = tmp_path / "pairs.jsonl", tmp_path / "pairs.html"
    rows: list[dict[str, object]] = [
        {"prompt": f"loaf {at}?", "chosen": f"Bottom line: loaf {at} wants {200 + at} degrees.",
         "rejected": f"Loaf {at} wants {200 + at} degrees. I hope this helps!"}
        for at in range(60)
    ]  # fmt: skip
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "rye?", "chosen": "x", "rejected": "x"}])
    )
    assert habitus("audit", path, "--write", page, "--write", tmp_path / "pairs.json") == 0
    said = capsys.readouterr()
    assert said.err.count("chosen and rejected are the same") == 1
    before, _, after = said.out.partition("commoner in the rejected answers")
    assert "held against the rejected answers" in before
    assert "conclusion first" in before
    assert "good wishes" in after
    assert "conclusion first" not in after
    assert "Held against the rejected answers" in page.read_text()
    told = json.loads((tmp_path / "pairs.json").read_text())
    assert "good wishes" in {one["pattern"] for one in told["avoided"]}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([f"The quay at berth {at} has been swept, and it is now dry." for at in range(20)], "these are documents;"),
        ([f"Der Kai am Platz {at} wurde gefegt und ist trocken." for at in range(20)], "documents and hardly English;"),
    ],
)
def test_texts_of_another_kind_than_the_profiles_are_warned_of(
    tmp_path: Path, texts: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quay.jsonl"
    path.write_text("".join(json.dumps({"text": one}) + "\n" for one in texts))
    assert habitus("audit", path) == 0
    assert said in capsys.readouterr().err
    assert habitus("audit", path, "--reference", path) == 0
    assert said not in capsys.readouterr().err


def test_no_figure_is_cut_on_a_narrow_terminal(
    chats: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("habitus.show.out.width", 80)
    assert habitus("audit", chats) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "great question" in line.lower() and "%" in line]
    assert lines
    assert all("50.0%" in line and " to " in line and len(line) <= 80 for line in lines)


def test_the_pages_quote_what_was_counted_and_tell_of_the_whole(chats: Path, tmp_path: Path) -> None:
    for suffix in (".html", ".md"):
        out = tmp_path / f"report{suffix}"
        assert habitus("audit", chats, "--write", out) == 0
        page = out.read_text()
        assert "Great question" in page
        assert "compression ratio" in page
        assert "words, median" in page
