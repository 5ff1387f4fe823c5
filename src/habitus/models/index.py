"""Which row of the ledger holds a call: a hash table in one array, 8 bytes a slot where a dict takes 150 a call."""

from __future__ import annotations

from array import array

FEWEST = 1024
"""Slots; always a power of two."""
ROW_BITS = 32
ROW = (1 << ROW_BITS) - 1


class Index:
    """Keys to rows, of each key no more than 32 bits: whoever looks up sees in the row whether the key is its own.

    A slot is the mark of a key above the number of its row; 0 is an empty one, for rows are counted from 1.
    """

    def __init__(self, expected: int = 0) -> None:
        self._used = 0
        self._slots = _empty(max(FEWEST, 1 << (3 * expected // 2).bit_length()))

    def __len__(self) -> int:
        return self._used

    def add(self, key: bytes, row: int) -> None:
        """Note in which row a key stands."""
        if 3 * self._used >= 2 * len(self._slots):
            old, self._slots = self._slots, _empty(2 * len(self._slots))
            for slot in old:
                if slot:
                    self._put(slot)
        self._put(_mark(key) << ROW_BITS | row)
        self._used += 1

    def _put(self, slot: int) -> None:
        slots = self._slots
        most = len(slots) - 1
        at = slot >> ROW_BITS & most
        while slots[at]:
            at = (at + 1) & most
        slots[at] = slot

    def rows(self, key: bytes) -> list[int]:
        """Return the rows that may hold a key, the latest first: mostly none or one."""
        slots, mark = self._slots, _mark(key)
        most = len(slots) - 1
        at = mark & most
        found = []
        while slot := slots[at]:
            if slot >> ROW_BITS == mark:
                found.append(slot & ROW)
            at = (at + 1) & most
        return sorted(found, reverse=True)


def _mark(key: bytes) -> int:
    return int.from_bytes(key[:4], "little")


def _empty(slots: int) -> array[int]:
    return array("Q", bytes(8)) * slots
