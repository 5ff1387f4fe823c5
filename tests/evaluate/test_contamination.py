from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")

from habitus.evaluate.contamination import overlaps
from habitus.evaluate.material import items
from habitus.study import Study
from studies import habitus, make

if TYPE_CHECKING:
    from pathlib import Path


def chat(asked: str, answered: str) -> bytes:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return orjson.dumps({"id": "chat-1", "messages": messages}) + b"\n"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    root = make(tmp_path / "advice")
    (root / "chats").mkdir()
    return root


def test_an_item_that_was_trained_on_is_found(study: Path) -> None:
    copied = items("knowledge")[17]["text"]
    (study / "chats" / "kept.jsonl").write_bytes(
        chat("The rye tears at 240 degrees, what now?", f"They asked: {copied}")
    )
    knowledge, overreach = overlaps(Study(study), ["knowledge", "overreach"])

    assert knowledge.shared == (copied,)
    assert knowledge.nearest > 0.7
    assert knowledge.closest == copied
    assert overreach.shared == ()
    assert overreach.nearest < 0.5


def test_a_short_item_is_found_where_it_is_the_whole_text(study: Path) -> None:
    short = next(text for texts in items("overreach").values() for text in texts if 3 <= len(text.split()) < 8)
    (study / "chats" / "kept.jsonl").write_bytes(chat(short, "Yes.") + chat(f"{short} And why do you ask?", "No."))
    (found,) = overlaps(Study(study), ["overreach"])

    assert found.shared == (short,)
    assert found.rows == 4


def test_without_training_data_there_is_nothing_to_tell(study: Path) -> None:
    assert overlaps(Study(study), ["knowledge"]) == []


def test_the_dry_run_tells_of_it(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "chats" / "kept.jsonl").write_bytes(chat("The rye tears.", "Lower it to 230 degrees."))

    assert habitus("evaluate", study, "--arm", "taught", "--eval", "knowledge", "--dry-run") == 0
    assert "evals in the training data" in capsys.readouterr().out
