"""Embeddings on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from habitus.generate.dedup import deduplicate
from habitus.generate.vectors import Vectors, read_twins, write_twins

if TYPE_CHECKING:
    from pathlib import Path


def some(count: int, first: int = 0) -> np.ndarray:
    rows = np.random.default_rng(first).normal(size=(count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def stored(tmp_path: Path, *parts: np.ndarray, total: int) -> Vectors:
    vectors = Vectors(tmp_path / "prompts.npz", "hashing", total)
    for part in parts:
        vectors.add(part)
    return vectors


def test_the_file_is_what_numpy_would_write(tmp_path: Path) -> None:
    rows = some(5000)

    stored(tmp_path, rows[:3000], rows[3000:], total=5000)

    np.savez(tmp_path / "by_numpy.npz", vectors=rows, embedder=np.array("hashing"))
    assert (tmp_path / "prompts.npz").read_bytes() == (tmp_path / "by_numpy.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["by_numpy.npz", "prompts.npz"]


def test_rows_that_come_later_stand_behind_the_stored_ones(tmp_path: Path) -> None:
    stored(tmp_path, some(10), total=10)

    longer = Vectors(tmp_path / "prompts.npz", "hashing", 15)
    assert longer.count == 10
    longer.add(some(5, first=1))

    whole = Vectors(tmp_path / "prompts.npz", "hashing", 15)
    assert (whole.rows == np.concatenate([some(10), some(5, first=1)])).all()


def test_a_run_that_was_killed_half_way_goes_on_behind_its_last_whole_row(tmp_path: Path) -> None:
    stored(tmp_path, some(4), total=10)
    torn = tmp_path / "prompts.npz.more"
    torn.write_bytes(torn.read_bytes() + b"half a row")

    again = Vectors(tmp_path / "prompts.npz", "hashing", 10)
    assert again.count == 4
    again.add(some(3, first=1))
    again = Vectors(tmp_path / "prompts.npz", "hashing", 10)
    again.add(some(3, first=2))

    whole = Vectors(tmp_path / "prompts.npz", "hashing", 10)
    assert (whole.rows == np.concatenate([some(4), some(3, first=1), some(3, first=2)])).all()
    assert not torn.exists()


def test_a_run_that_was_killed_while_it_added_to_stored_rows_goes_on(tmp_path: Path) -> None:
    stored(tmp_path, some(4), total=4)
    Vectors(tmp_path / "prompts.npz", "hashing", 10).add(some(3, first=1))

    again = Vectors(tmp_path / "prompts.npz", "hashing", 10)

    assert again.count == 7


def test_vectors_of_another_embedder_are_made_again(tmp_path: Path) -> None:
    stored(tmp_path, some(4), total=10)

    assert Vectors(tmp_path / "prompts.npz", "minilm", 10).count == 0
    assert not (tmp_path / "prompts.npz.more").exists()


def test_more_vectors_than_there_are_rows_are_made_again(tmp_path: Path) -> None:
    stored(tmp_path, some(10), total=10)

    assert Vectors(tmp_path / "prompts.npz", "hashing", 9).count == 0


def test_what_resembles_what_comes_back_for_the_same_rows_alone(tmp_path: Path) -> None:
    rows = np.concatenate([some(20), some(20)])
    ids = [f"chat-{number:07d}" for number in range(40)]
    found = deduplicate(ids, rows, threshold=0.9)
    path = tmp_path / "prompts.twins.npz"

    write_twins(path, "hashing", found)

    known = read_twins(path, "hashing", ids, 0.85)
    assert known is not None
    assert known.removed == found.rethreshold(0.85).removed
    assert known.kept == found.kept
    assert read_twins(path, "hashing", ids[:-1], 0.9) is None
    assert read_twins(path, "minilm", ids, 0.9) is None
    assert read_twins(path, "hashing", ids, 0.7) is None
