from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from habitus.publish import parts
from habitus.stretches import stretches
from habitus.study import Study
from studies import habitus, make

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    made = make(tmp_path / "advice", chats={"count": 12})
    assert habitus("generate", "chats", made) == 0
    return made


# Daft leaves the pipes of its processes to be closed by whoever collects them.
DAFT = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@DAFT
def test_parts_hold_the_rows_of_the_one_file_in_their_order(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("daft")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parts, "PART", 9_000)
    assert habitus("export", study, "chats", "--format", "parquet") == 0
    assert habitus("export", study, "chats", "--format", "parquet", "--to", study / "many.parts", "--ray") == 0

    files = sorted((study / "many.parts").iterdir())
    assert len(files) > 2
    together = [row for path in files for row in parquet.read_table(path).to_pylist()]
    assert together == parquet.read_table(study / "export" / "chats-parquet.parquet").to_pylist()
    assert habitus("export", study, "chats", "--format", "parquet", "--to", study / "many.parts", "--ray") == 2


@DAFT
def test_a_row_of_another_shape_in_some_part_is_one_message_with_its_place(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("daft")
    monkeypatch.setattr(parts, "PART", 9_000)
    kept = Study(study).dataset("chats").kept
    kept.write_text(kept.read_text() + '{"id": "a-letter", "text": "no chat"}\n')
    assert habitus("export", study, "chats", "--format", "parquet", "--to", study / "many.parts", "--ray") == 2
    assert f"{kept}, byte " in capsys.readouterr().err
    assert not list(study.glob("many.parts*"))


@pytest.mark.parametrize("size", [1, 700, 10_000_000])
def test_stretches_are_of_whole_lines_and_leave_none_out(study: Path, size: int) -> None:
    path = Study(study).dataset("chats").kept
    found = stretches(path, size)
    whole = path.read_bytes()

    assert b"".join(whole[one.start : one.end] for one in found) == whole
    assert all(whole[one.end - 1 : one.end] == b"\n" for one in found)
    assert [one.number for one in found] == list(range(len(found)))


def test_only_parquet_is_written_in_parts(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("export", study, "chats", "--format", "trl", "--ray") == 2
    assert "one machine writes" in capsys.readouterr().err
