"""A small world for the audit's tests: answers about a harbour office, some of which open with their conclusion."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from habitus.config import Config
from habitus.models import Completion, Usage
from habitus.models.ledger import Ledger
from habitus.prompts import Prompts
from habitus.recipe import Engine
from habitus.records import Match, Pattern, Rated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from habitus.models import Message, Params
    from habitus.records import Level

ASKED = "Who takes the rota in week {} when Nadia is away?"
FIRST = ("Bottom line: ask Tomas before Friday.", "Ask Tomas before Friday.")


def chat(number: int, *, short: bool) -> dict[str, Any]:
    """Return one chat; with `short`, its answer opens with an announced conclusion."""
    answer = (
        f"{FIRST[not short]} He kept the office in week {number + 3} last year, and the ferry list was right.\n\n"
        f"Leave him the key to drawer {number % 7}, since the spare one went with the {number}th mailbag."
    )
    messages = [{"role": "user", "content": ASKED.format(number)}, {"role": "assistant", "content": answer}]
    return {"id": f"chat-{number:03d}", "trait": ("candour", "care")[number % 2], "messages": messages}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def chats(path: Path, count: int, every: int) -> Path:
    """Write so many chats, of which every so many-th opens with an announced conclusion."""
    return write(path, [chat(number, short=number % every == 0) for number in range(count)])


def pattern(name: str = "short-first") -> Pattern:
    return Pattern(
        id=name,
        kind="structural",
        name=name.replace("-", " "),
        definition="The answer begins with its conclusion, announced as such.",
        strict="The text begins with an announced conclusion.",
        broad="The text begins with its conclusion.",
    )


def rated(levels: dict[str, Level], name: str = "short-first", *, supported: bool = True) -> list[Rated]:
    """Return texts with these levels, by id."""
    return [
        Rated(id=one, trait="", verdicts={name: Match(level=level, quote="Bottom line", supported=supported)})
        for one, level in levels.items()
    ]


class Told:
    """A model that answers each step with what the test says, in turn or by a function of the question."""

    name = "scripted/one"

    def __init__(self, **answers: Any) -> None:
        self.answers = {name: list(one) if isinstance(one, list) else one for name, one in answers.items()}
        self.asked: list[tuple[str, str]] = []

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        name = params.schema.name if params.schema else "text"
        self.asked.append((name, "\n".join(one["content"] for one in messages)))
        found = self.answers[name]
        said = found(self.asked[-1][1]) if callable(found) else found.pop(0)
        return Completion(said if isinstance(said, str) else json.dumps(said), "stop", Usage(10, 10), 0.0, "scripted")

    async def close(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def engine(root: Path, model: Told, **settings: Any) -> AsyncGenerator[Engine]:
    """Open an engine whose every role is this model."""
    config = Config.model_validate({"models": {"default": model.name}, "audit": settings})
    opened = Engine(config, Prompts(), Ledger(root / "ledger.db"), folder=root, models={model.name: model})
    try:
        yield opened
    finally:
        await opened.close()
