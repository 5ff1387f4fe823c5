"""Rewrite: a row that shows a pattern is written anew without it, and rated again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from habitus.audit.autorate import rate
from habitus.audit.dataset import said
from habitus.audit.prevalence import is_there
from habitus.quotes import occurs
from habitus.records import Drop, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.ask import Ask
    from habitus.audit.dataset import Reading, Text
    from habitus.records import Level, Message, Pattern


class Rewritten(Record):
    """One row that was written anew, and what the judge then found in it."""

    id: str
    content: dict[str, Any]
    """`messages`, `text`, or `prompt`, `chosen` and `rejected`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row to write anew."""

    id: str
    trait: str
    text: Text
    content: dict[str, Any]
    quotes: tuple[str, ...]
    """The words by which the patterns were found."""


async def rewrite(
    row: Row, ask: Ask, *, patterns: Sequence[Pattern], level: Level, reading: Reading
) -> Rewritten | Drop:
    """Return a row without the patterns; dropped if the judge still finds one in what was written."""
    content = dict(row.content)
    if "text" in content:
        content["text"] = await _anew(content["text"], (), patterns, ask)
    else:
        field_ = "messages" if "messages" in content else "chosen"
        before = [] if field_ == "messages" else list(content["prompt"])
        first_alone = reading.view.turns == "first"
        turns = list(content[field_])
        content[field_] = await _turns(before, turns, row.quotes, patterns, ask, first_alone=first_alone)
    parts = (content["text"],) if "text" in content else said(content, reading.view).parts
    anew = replace(row.text, parts=parts)
    found = await rate(anew, ask, patterns=patterns, per_call=len(patterns), kind=reading.kind)
    if isinstance(found, Drop):
        return found
    still = [one.name for one in patterns if is_there(found.verdicts[one.id], level)]
    if still:
        return ask.drop("audit/rewrite", f"still shows '{still[0]}' after it was written anew", "\n\n".join(parts))
    return Rewritten(id=row.id, content=content)


async def _turns(
    before: list[Message],
    messages: list[Message],
    quotes: Sequence[str],
    patterns: Sequence[Pattern],
    ask: Ask,
    *,
    first_alone: bool,
) -> list[Message]:
    """Return the messages, those of the assistant that show a pattern written anew; all of them if none can be told."""
    own = [at for at, one in enumerate(messages) if one["role"] == "assistant"][: 1 if first_alone else None]
    marked = {at for at in own if any(occurs(quote, messages[at]["content"]) for quote in quotes)} or set(own)
    found: list[Message] = []
    for at, one in enumerate(messages):
        if at in marked:
            anew = await _anew(one["content"], (*before, *found), patterns, ask)
            found.append({"role": "assistant", "content": anew})
        else:
            found.append(one)
    return found


async def _anew(text: str, conversation: Sequence[Message], patterns: Sequence[Pattern], ask: Ask) -> str:
    told = [{"name": one.name, "definition": one.definition, "broad": one.broad} for one in patterns]
    written = await ask.refiner("audit/rewrite", text=text, conversation=list(conversation), patterns=told)
    return written.strip()
