"""A study in a temporary folder whose one recipe is a chain of dependent questions to the stand-in server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel

from habitus.config import Config
from habitus.models.ledger import Ledger
from habitus.prompts import Prompts
from habitus.recipe import Engine
from habitus.records import Record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from habitus.ask import Ask

STEPS = ("plan", "draft", "refine", "rate")
BRIEF = "You write for a harbour master's office. Be exact about times, names of vessels and berths. " * 12
PROMPT = """{{% block system %}}{brief}{{% endblock %}}
{{% block user %}}Step {step} for record {{{{ row.id }}}} (of {{{{ row.trait }}}}). What came before:

<before>
{{{{ before }}}}
</before>
{{% endblock %}}"""


class Row(Record):
    """One record of the chain."""

    id: str
    trait: str = "exactness"
    text: str = ""


class Reply(BaseModel):
    """What the stand-in answers."""

    note: str
    answer: str


async def chain(row: Row, ask: Ask) -> Row:
    """Four questions, each built on the answer before."""
    text = ""
    for step in STEPS:
        text = (await ask.author(f"chain/{step}", Reply, row=row, before=text[:600])).answer
    return Row(id=row.id, text=text)


async def single(row: Row, ask: Ask) -> Row:
    """One question."""
    return Row(id=row.id, text=(await ask.author("chain/plan", Reply, row=row, before="")).answer)


@asynccontextmanager
async def engine(
    root: Path, url: str, concurrency: int, *, replicas: Sequence[str] = (), **settings: float
) -> AsyncGenerator[Engine]:
    """Open an engine on a study in `root` that asks the server at `url`, or one of several."""
    prompts = root / "prompts" / "chain"
    prompts.mkdir(parents=True, exist_ok=True)
    for step in STEPS:
        (prompts / f"{step}.md").write_text(PROMPT.format(brief=BRIEF, step=step))
    config = Config.model_validate({
        "providers": {"local": {"base_url": url, "replicas": list(replicas)}},
        "models": {"default": "local/canned"},
        "concurrency": concurrency,
        **settings,
    })  # fmt: skip
    opened = Engine(config, Prompts(root / "prompts"), Ledger(root / "ledger.db"), folder=root)
    try:
        yield opened
    finally:
        await opened.close()
