from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from habitus import shards
from habitus.generate import compare, dedup
from habitus.generate.dedup import deduplicate
from studies import habitus, make

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.recipe import Engine

pytest.importorskip("daft")


def crowded(count: int) -> np.ndarray:
    """Return unit vectors of which many lie close together, some of them very."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((count // 12, 32))
    vectors = centres[rng.integers(0, len(centres), count)]
    vectors += rng.standard_normal(vectors.shape) * rng.uniform(0.02, 0.9, (count, 1))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("exact", [0, 100_000])
def test_daft_finds_the_same_twins_as_numpy_at_every_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: int
) -> None:
    monkeypatch.setattr(dedup, "EXACT_ROWS", exact)
    vectors = crowded(3000)
    ids = [f"chat-{row}" for row in range(len(vectors))]
    elsewhere = compare.Compared(tmp_path / "vectors")
    found = deduplicate(ids, vectors, threshold=0.85, compare=elsewhere)
    elsewhere.close()

    assert found == deduplicate(ids, vectors, threshold=0.85)
    assert 100 < len(found.removed) < 2900
    assert not any(tmp_path.iterdir())


class Alone:
    """Shards that take every record where the command was typed."""

    address = ""

    def __init__(self, engine: Engine, root: Path) -> None:
        self.root, self.take, self.concurrency = root, engine.take, engine.config.concurrency

    async def gather(self) -> None: ...

    def close(self) -> None: ...


def test_a_command_on_a_cluster_compares_large_datasets_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Noted(compare.Compared):
        def __call__(self, *arguments: Any) -> Any:
            asked.append(self.folder.name)
            return super().__call__(*arguments)

    async def opened(engine: Engine, root: Path, address: str) -> Alone:
        return Alone(engine, root)

    one, many = (make(tmp_path / name, chats={"count": 20}) for name in ("one", "many"))
    monkeypatch.setattr(compare, "Compared", Noted)
    monkeypatch.setattr(compare, "FEWEST_ROWS", 1)
    monkeypatch.setattr(shards, "open_shards", opened)
    assert habitus("generate", "chats", one) == 0
    assert asked == []
    assert habitus("generate", "chats", many, "--ray") == 0

    assert "vectors" in asked
    assert (one / "chats" / "dropped.jsonl").read_bytes() == (many / "chats" / "dropped.jsonl").read_bytes()
