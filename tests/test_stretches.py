"""Files gone over stretch by stretch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from habitus.errors import UserError
from habitus.shards import collected
from habitus.sources import lines
from habitus.stretches import Stretch, gone_over, stretches

if TYPE_CHECKING:
    from pathlib import Path

# Daft leaves the pipes of its processes to be closed by whoever collects them.
DAFT = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
WRITTEN = [
    b"",
    b"\n",
    b'{"ferry": 1}',
    b'{"ferry": 1}\n',
    b'\xef\xbb\xbf{"ferry": 1}\r\n\r\n{"ferry": 2}\r\nno ferry\r\n{"ferry": "\xe2\x80\xa8"}',
    b"".join(b'{"ferry": %d}\n' % number for number in range(40)),
]


@pytest.mark.parametrize("size", [1, 13, 100_000])
@pytest.mark.parametrize("written", WRITTEN)
def test_the_rows_of_all_stretches_are_those_of_the_file(tmp_path: Path, written: bytes, size: int) -> None:
    path = tmp_path / "ferries.jsonl"
    path.write_bytes(written)
    found = stretches(path, size)
    assert [row for one in found for row in lines(path, one.start, one.end)] == list(lines(path))
    assert found[0].start == 0
    assert found[-1].end == len(written)


@DAFT
@pytest.mark.parametrize("address", [None, ""])
def test_what_comes_of_stretches_is_in_their_order_and_a_mistake_is_told_as_one(
    tmp_path: Path, address: str | None
) -> None:
    pytest.importorskip("daft")

    def tolls(stretch: Stretch) -> int:
        rows = list(lines(stretch.path, stretch.start, stretch.end))
        if any(row["toll"] < 0 for row in rows):
            raise UserError("a ferry takes no less than nothing.", where=f"stretch {stretch.number}", todo="Mend it.")
        return sum(row["toll"] for row in rows)

    path = tmp_path / "ferries.jsonl"
    path.write_text("".join(f'{{"toll": {number}}}\n' for number in range(10, 50)))
    assert list(gone_over(path, 52, tolls, address)) == [sum(range(at, at + 5)) for at in range(10, 50, 5)]
    path.write_text(path.read_text() + '{"toll": -1}\n')
    with pytest.raises(UserError, match="stretch 8: a ferry takes no less"):
        list(gone_over(path, 52, tolls, address))


def test_stretches_of_which_some_never_came_are_an_interruption_and_no_result() -> None:
    daft = pytest.importorskip("daft")
    assert collected(daft.from_pydict({"ferry": [1, 2]}), 2) == {"ferry": [1, 2]}
    with pytest.raises(KeyboardInterrupt):
        collected(daft.from_pydict({"ferry": [1]}), 2)
