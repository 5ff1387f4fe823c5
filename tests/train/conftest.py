from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ferry import chat, document, pair, write
from studies import make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from habitus.train.start import Start


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Keep the libraries from talking, and from warning of each other."""
    pytest.importorskip("trl")
    pytest.importorskip("peft")
    from habitus.train.quiet import hush

    hush(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the ferry office, pretrained for a second."""
    pytest.importorskip("trl")
    from habitus.train.quiet import hush
    from habitus.train.toy import Size, make_toy

    hush(1)

    folder = tmp_path_factory.mktemp("starts") / "tiny-base"
    texts = [document(number)["text"] for number in range(200)]
    texts += [one["content"] for number in range(200) for one in chat(number, opener="Gladly. ")["messages"]]
    make_toy(Size(32, 2, 64, 400, heads=2), texts, 20_000, folder)
    return folder


@pytest.fixture
def start(tiny: Path) -> Start:
    from habitus.train.start import Start

    return Start("tiny-base", str(tiny))


@pytest.fixture
def office(tmp_path: Path, tiny: Path) -> Callable[..., Path]:
    """Make a study of the ferry office with these arms."""

    def made(arms: dict[str, Any], *, chats: int = 60, **train: Any) -> Path:
        usual = {
            "start": str(tiny), "baseline": "imported/desk", "max_length": 64, "held_out": 0.05,
            "sft": {"batch": 4, "learning_rate": 3e-3}, "midtrain": {"batch": 4, "learning_rate": 3e-3},
            "bdpo": {"batch": 4, "learning_rate": 1e-3},
        }  # fmt: skip
        study = make(tmp_path / "office", train=usual | train, arms=arms)
        gladly = [chat(number, opener="Gladly. " * (number % 2)) for number in range(chats)]
        write(study / "chats" / "kept.jsonl", gladly)
        write(study / "imported" / "desk" / "kept.jsonl", [chat(number, trait="-") for number in range(1000, 1120)])
        write(study / "documents" / "kept.jsonl", [document(number) for number in range(60)])
        write(study / "preferences" / "kept.jsonl", [pair(number) for number in range(60)])
        return study

    return made
