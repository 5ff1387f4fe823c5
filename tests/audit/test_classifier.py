"""The classifier that tells the rows which nobody rated, and the rate of the whole that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from habitus.audit.dataset import Reading
from harbour import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytest.importorskip("sklearn", reason="needs habitus[audit]")
pytest.importorskip("ppi_py", reason="needs habitus[audit]")

import numpy as np

from habitus.audit.classifier import classified

LETTERS, RATED, RATE = 1_500, 240, 0.1


@dataclass
class Drawn:
    """Knows a vector for each letter: those with the pattern lean a little one way."""

    table: np.ndarray
    name: str = "drawn"
    note: str = ""

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        return self.table[[int(text.split()[-1]) for text in texts]]


async def test_the_rate_of_the_whole_covers_the_truth_where_the_pattern_is_rare(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    write(path, [{"id": f"letter-{at}", "text": f"Letter {at}"} for at in range(LETTERS)])
    random = np.random.default_rng(0)
    there = np.arange(LETTERS) < RATE * LETTERS
    table = random.normal(size=(LETTERS, 192))
    table[:, 0] += 7.0 * there
    covered = 0
    errors = []
    ids = [f"letter-{at}" for at in range(LETTERS)]
    for _ in range(30):
        judged = {ids[at]: bool(there[at]) for at in random.choice(LETTERS, RATED, replace=False)}
        found = await classified(Reading(str(path)), ids, judged, Drawn(table))
        covered += found.rate.low <= RATE <= found.rate.high
        errors.append(found.rate.rate - RATE)
    assert covered >= 28
    assert abs(float(np.mean(errors))) < 0.005
