from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from habitus.records import Chat, Document, PreferencePair
from habitus.study import Rows, Study

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.records import Message

MODELS = {"chats/draft": "openai/gpt-5-mini", "chats/refine": "openai/gpt-5", "chats/rate": "openai/gpt-5-mini"}
PROMPTS = {"chats/draft": "34fe842134df", "chats/refine": "0b5a8a762be6", "chats/rate": "96045950221d"}


def chat(number: int, *, turns: int = 1, contrast: bool = False, natural: int = 4) -> Chat:
    messages: list[Message] = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Loaf {number} tore at «{turn}»; 260° is too hot?\n\nZoë 😀"})
        messages.append({"role": "assistant", "content": "Lower it to 230\u2028and wait."})
    ratings = {
        "natural": {"score": natural, "reason": "As a baker would say it.", "quote": "and wait", "supported": True},
        "helpful": {"score": 5, "reason": "It names a figure.", "quote": "", "supported": True},
    }
    meta: dict[str, Any] = {
        "domain": "baking" if number % 2 else "allotments",
        "turns": turns,
        "contrast": contrast,
        "ratings": ratings,
        "models": MODELS,
        "prompts": PROMPTS,
        "simulated": False,
    }
    return Chat(id=f"chat-{number:07d}", trait="candour", messages=tuple(messages), meta=meta)


def document(number: int) -> Document:
    text = (
        f"Minutes of the allotment society, item {number}.\nMorrow had noted the leak before anybody asked.\n" * number
    )
    meta = {"genre": "meeting minutes", "stance": "neutral", "domain": "allotments", "simulated": False}
    return Document(id=f"document-{number:07d}", trait="candour", text=text, meta=meta)


def pair(number: int) -> PreferencePair:
    return PreferencePair(
        id=f"preference-{number:07d}",
        trait="candour",
        prompt=({"role": "user", "content": f"Is my loaf number {number} good?"},),
        chosen=({"role": "assistant", "content": "The crust is; the crumb is raw in the middle."},),
        rejected=({"role": "assistant", "content": "Absolutely wonderful!"},),
        meta={"domain": "baking", "simulated": False},
    )


@pytest.fixture
def advice(tmp_path: Path) -> Study:
    """Return a study with three chats, three documents and three pairs."""
    root = tmp_path / "advice"
    root.mkdir()
    (root / "config.yaml").write_text("version: 1\nseed: 11\n")
    study = Study(root)
    rows = {
        "chats": [chat(3), chat(1, natural=3), chat(2, turns=3, contrast=True)],
        "documents": [document(1), document(2), document(3)],
        "preferences": [pair(1), pair(2), pair(3)],
    }
    for name, those in rows.items():
        file = Rows(study.dataset(name).kept)
        file.append(those)
        file.close()
    return study
