from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from habitus.publish import parts
from habitus.publish.parts import stretches
from habitus.study import Study
from studies import habitus, make

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    made = make(tmp_path / "advice", chats={"count": 12})
    assert habitus("generate", "chats", made) == 0
    return made


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


@pytest.mark.parametrize("size", [1, 700, 10_000_000])
def test_stretches_are_of_whole_lines_and_leave_none_out(study: Path, size: int) -> None:
    path = Study(study).dataset("chats").kept
    starts = stretches(path, size)
    whole = path.read_bytes()

    assert b"".join(whole[start:end] for start, end in pairwise(starts)) == whole
    assert all(whole[end - 1 : end] == b"\n" for end in starts[1:])


def test_only_parquet_is_written_in_parts(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("export", study, "chats", "--format", "trl", "--ray") == 2
    assert "one machine writes" in capsys.readouterr().err
