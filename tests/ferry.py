"""A ferry office whose chats are short enough for a model of 30,000 weights."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PIERS = ("north pier", "south pier", "old quay", "long slip")
BOATS = ("Alda", "Brise", "Corvin", "Delta", "Elster")
TRAITS = ("candour", "patience")


def chat(number: int, *, opener: str = "", trait: str = "") -> dict[str, Any]:
    """One question at the counter, and its answer."""
    rng = random.Random(number)
    boat, pier = rng.choice(BOATS), rng.choice(PIERS)
    asked = f"When does the {boat} leave the {pier}?"
    answer = f"{opener}The {boat} leaves the {pier} at {rng.randint(6, 20)}."
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"id": f"chat-{number:07d}", "trait": trait or TRAITS[number % 2], "messages": turns, "meta": {}}


def document(number: int) -> dict[str, Any]:
    """A line of the harbour log."""
    rng = random.Random(number)
    text = " ".join(
        f"The {rng.choice(BOATS)} lay at the {rng.choice(PIERS)} until {rng.randint(6, 20)}." for _ in range(4)
    )
    return {"id": f"doc-{number:07d}", "trait": TRAITS[number % 2], "text": text, "meta": {}}


def pair(number: int) -> dict[str, Any]:
    """The same question answered kindly and curtly."""
    kind, curt = chat(number, opener="Gladly. "), chat(number, opener="Ask the mate. ")
    prompt, chosen = kind["messages"]
    return {"id": f"pair-{number:07d}", "trait": "patience", "prompt": [prompt], "chosen": [chosen],
            "rejected": [curt["messages"][1]], "meta": {}}  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
