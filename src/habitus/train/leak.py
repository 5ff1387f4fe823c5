"""What must not be learnt by rote: the traits document, and the prompts with which rows were drafted and refined."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from habitus.models.embed import UNSPACED
from habitus.prompts import Prompts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from habitus.study import Study
    from habitus.train.rows import Row

PLACEBO = "-placebo"
"""How the name of a dataset ends that was made from the placebo's traits document."""
WRITING = ("chats/draft", "chats/refine", "documents/draft", "documents/refine", "_trait")
"""The prompts under which the rows were written."""
SPACED = rf"[^\W{UNSPACED}]+"
WORD = re.compile(rf"[{UNSPACED}]|{SPACED}(?:['’]{SPACED})*")
SLOT = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)
"""What a template fills in."""

Run = tuple[str, ...]


def guarded(study: Study, length: int, *, placebo: bool = False) -> frozenset[Run]:
    """Return every run of so many words of a dataset's traits document and of the prompts that wrote it."""
    traits = study.placebo if placebo else study.traits
    texts = [traits.read_text(encoding="utf-8")] if traits.exists() else []
    for name in WRITING:
        texts += SLOT.split(Prompts(study.prompts).path(name).read_text(encoding="utf-8"))
    return frozenset(run for text in texts for run in runs(text, length))


def runs(text: str, length: int) -> Iterable[Run]:
    """Return the runs of so many words of a text, as they are compared."""
    words = [word.lower().replace("’", "'") for word in WORD.findall(text)]
    return zip(*(words[start:] for start in range(length)), strict=False)


def leak(row: Row, guard: frozenset[Run], length: int, *, may_have_system: bool = False) -> str | None:
    """Return the guarded words that a row repeats, or None; a system prompt in a synthetic row is always one."""
    turns = () if may_have_system else row.content.get("messages") or row.content.get("prompt") or ()
    for message in turns:
        if message["role"] in {"system", "developer"}:
            return f"a system prompt: {' '.join(message['content'].split()[:length])}"
    return next((" ".join(run) for text in row.texts for run in runs(text, length) if run in guard), None)
