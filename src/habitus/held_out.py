"""Which rows of a dataset nothing is trained on: told by their ids alone, the same for every arm, seed and control."""

from __future__ import annotations

from hashlib import sha256

MOST = 128
"""Rows of a dataset that are held out at the most."""
_BUCKETS = 10_000


def is_held_out(identity: str, share: float) -> bool:
    """Tell whether a row of this id is in the share that is held out; a chat and its controls go together."""
    return int.from_bytes(sha256(identity.encode()).digest()[:4]) % _BUCKETS < share * _BUCKETS
