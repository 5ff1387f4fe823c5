from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from habitus.errors import UserError
from habitus.generate.export import export_chats
from habitus.records import Chat
from habitus.study import Dataset, Rows

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.records import Message


def chat(number: int, *, turns: int = 1, **meta: Any) -> Chat:
    messages: list[Message] = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Loaf {number} tore at «{turn}»; 260° is too hot?\n\nZoë 😀"})
        messages.append({"role": "assistant", "content": "Lower it to 230\u2028and wait."})
    return Chat(id=f"chat-{number:07d}", trait="candour", messages=tuple(messages), meta={"contrast": False, **meta})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Return three chats, of which the last has more turns and more said about it."""
    dataset = Dataset(tmp_path / "advice" / "chats")
    file = Rows(dataset.kept)
    file.append([chat(3), chat(1), chat(2, turns=3, ratings={"natural": {"score": 4}}, note=None)])
    file.close()
    return dataset


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows as a reader that knows of JSON lines alone does."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_for_trl_each_row_has_messages_and_says_whence_it_came(dataset: Dataset, tmp_path: Path) -> None:
    path, number = export_chats(dataset, "trl", tmp_path / "out")

    assert path == tmp_path / "out" / "chats-trl.jsonl"
    assert number == 3
    rows = lines(path)
    assert [row["id"] for row in rows] == ["chat-0000003", "chat-0000001", "chat-0000002"]
    assert all(set(row) == {"messages", "id", "trait"} for row in rows)
    assert rows[2]["messages"] == [dict(message) for message in chat(2, turns=3).messages]


def test_for_openai_each_row_has_messages_alone(dataset: Dataset, tmp_path: Path) -> None:
    path, _ = export_chats(dataset, "openai", tmp_path / "out")

    assert path.name == "chats-openai.jsonl"
    for row in lines(path):
        assert set(row) == {"messages"}
        assert all(set(message) == {"role", "content"} for message in row["messages"])
        assert row["messages"][-1]["role"] == "assistant"


def test_parquet_has_every_column(dataset: Dataset, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    path, number = export_chats(dataset, "parquet", tmp_path / "out")

    assert path.name == "chats-parquet.parquet"
    rows = parquet.read_table(path).to_pylist()
    assert len(rows) == number == 3
    assert [row["id"] for row in rows] == ["chat-0000003", "chat-0000001", "chat-0000002"]
    assert rows[2]["messages"] == [dict(message) for message in chat(2, turns=3).messages]
    assert orjson.loads(rows[2]["meta"]) == {"contrast": False, "ratings": {"natural": {"score": 4}}, "note": None}


def test_parquet_without_pyarrow_says_what_to_install(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(UserError, match=r"habitus\[parquet\]"):
        export_chats(dataset, "parquet", tmp_path / "out")
    assert not (tmp_path / "out" / "chats-parquet.parquet").exists()


def test_a_path_with_an_ending_is_the_file_itself(dataset: Dataset, tmp_path: Path) -> None:
    path, _ = export_chats(dataset, "trl", tmp_path / "deep" / "train.jsonl")

    assert path == tmp_path / "deep" / "train.jsonl"
    assert len(lines(path)) == 3


def test_a_folder_with_a_dot_in_its_name_is_a_folder(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "runs-v1.2").mkdir()

    path, _ = export_chats(dataset, "trl", tmp_path / "runs-v1.2")

    assert path == tmp_path / "runs-v1.2" / "chats-trl.jsonl"


@pytest.mark.parametrize("kind", ["trl", "openai", "parquet"])
def test_a_file_that_is_there_is_not_overwritten(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    mine = tmp_path / "train.dat"
    mine.write_text("mine")

    with pytest.raises(UserError, match="exists already"):
        export_chats(dataset, kind, mine)
    assert mine.read_text() == "mine"


def test_nothing_kept_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="habitus generate chats"):
        export_chats(Dataset(tmp_path / "chats"), "trl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_row_that_was_torn_by_a_crash_is_not_exported(dataset: Dataset, tmp_path: Path) -> None:
    with dataset.kept.open("ab") as file:
        file.write(b'{"id": "chat-0000009", "messages": [')

    path, number = export_chats(dataset, "openai", tmp_path / "out")

    assert number == 3
    assert len(lines(path)) == 3


@pytest.mark.parametrize("kind", ["trl", "openai", "parquet"])
def test_a_row_that_somebody_mended_badly_is_told_with_its_line(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    with dataset.kept.open("ab") as file:
        file.write(b'{"id": "chat-0000009"}\n')

    with pytest.raises(UserError, match=r"kept\.jsonl:4"):
        export_chats(dataset, kind, tmp_path / "out")


def test_a_failed_export_leaves_no_half_file_behind(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    def full(_: Any, path: Path) -> None:
        path.write_bytes(b"PAR1")
        raise OSError("no space left")

    monkeypatch.setattr(parquet, "write_table", full)

    with pytest.raises(OSError, match="no space left"):
        export_chats(dataset, "parquet", tmp_path / "out")
    assert not (tmp_path / "out" / "chats-parquet.parquet").exists()
