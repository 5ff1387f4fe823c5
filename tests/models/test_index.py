"""Where a call stands in the ledger."""

from __future__ import annotations

from hashlib import blake2b

from habitus.models.index import FEWEST, Index


def key(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def test_every_key_is_found_however_often_the_table_has_grown() -> None:
    index = Index()

    for number in range(1, 5 * FEWEST):
        index.add(key(number), number)

    assert len(index) == 5 * FEWEST - 1
    assert all(number in index.rows(key(number)) for number in range(1, 5 * FEWEST))


def test_a_key_that_was_never_added_has_no_row() -> None:
    index = Index(100)
    for number in range(1, 101):
        index.add(key(number), number)

    assert index.rows(key(4_711)) == []


def test_of_keys_that_look_alike_the_latest_row_comes_first() -> None:
    index = Index()
    alike = [b"boat" + bytes([number]) * 12 for number in range(3)]

    for row, one in enumerate(alike, start=1):
        index.add(one, row)

    assert index.rows(alike[0]) == [3, 2, 1]


def test_a_key_at_the_end_of_the_table_goes_on_at_its_beginning() -> None:
    index = Index()
    last = (FEWEST - 1).to_bytes(4, "little") + bytes(12)
    other = (2 * FEWEST - 1).to_bytes(4, "little") + bytes(12)

    index.add(last, 1)
    index.add(other, 2)

    assert index.rows(last) == [1]
    assert index.rows(other) == [2]
