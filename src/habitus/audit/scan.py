"""Scan: batches of a dataset are read side by side, and what recurs in them is named and quoted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import Field

from habitus.ask import Answer
from habitus.audit.dataset import shortened
from habitus.quotes import occurs
from habitus.records import Drop, Observation, PatternKind, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.ask import Ask
    from habitus.audit.dataset import Text
    from habitus.settings import AuditSettings

FEWEST_BATCHES = 4
"""Into which a small dataset is parted, since one batch alone can't tell what several would have seen."""
MOST_READINGS = 3
"""How often a text may be read, in batches of different company, where the dataset is small."""
FEWEST = 2
"""Texts that something must recur in."""
TROUBLED = 0.5
"""Share of examples that do not occur from which a scan is sent back."""


class Example(Answer):
    """Words that show a habit."""

    text: str = Field(description="the id of the text")
    quote: str = Field(description="up to 30 words, copied letter for letter")


class Habit(Answer):
    """Something that recurs."""

    name: str = Field(min_length=1, description="up to eight words")
    kind: PatternKind
    description: str = Field(min_length=1, description="two or three sentences")
    count: int = Field(ge=2, description="in how many of the texts")
    examples: list[Example] = Field(description="two to four, from different texts")


class Scan(Answer):
    """What recurs in the texts of one batch."""

    habits: list[Habit] = Field(description="up to fifteen, the most frequent first; may be empty")


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that are read side by side."""

    id: str
    texts: tuple[Text, ...]
    trait: str = ""

    def labelled(self) -> dict[str, Text]:
        """Return the texts by the names they have in the prompt."""
        return {f"t{number}": text for number, text in enumerate(self.texts, start=1)}


class Scanned(Record):
    """What one scan reported."""

    id: str
    texts: tuple[str, ...] = Field(description="the records that were read, by id")
    observations: tuple[Observation, ...]
    unsupported: int = Field(description="examples whose words do not occur in the text they were said to be from")
    unproven: tuple[str, ...] = Field(default=(), description="habits of which no example occurs; not gone by")


def batches(pool: Sequence[Text], settings: AuditSettings) -> list[Batch]:
    """Return batches of texts of about the wanted size, as many as wanted or as the dataset can give.

    A small dataset is gone through again in another order, up to three times, so that a text meets other texts.
    """
    size = min(settings.batch_tokens, sum(text.tokens for text in pool) / FEWEST_BATCHES)
    found: list[tuple[Text, ...]] = []
    for reading in range(MOST_READINGS):
        now: list[Text] = []
        # every second, then every third text of the order: neighbours of one reading are apart in the next
        for text in (one for start in range(reading + 1) for one in pool[start :: reading + 1]):
            now.append(_cut(text, settings.batch_tokens))
            if len(now) >= FEWEST and sum(one.tokens for one in now) >= size:
                found.append(tuple(now))
                now = []
        if len(now) >= FEWEST and (reading == 0 or len(now) * 2 >= len(found[-1])):
            found.append(tuple(now))
        if len(found) >= settings.scans:
            break
    return [Batch(f"scan-{number:03d}", texts) for number, texts in enumerate(found[: settings.scans], start=1)]


def _cut(text: Text, batch_tokens: int) -> Text:
    """Return a text that leaves room for others in a batch."""
    most = batch_tokens * 4 // 2
    return text if len(text.text) <= most else replace(text, parts=(shortened(text.text, most),), roles=())


async def scan(batch: Batch, ask: Ask, *, kind: str, hints: Sequence[str] = ()) -> Scanned | Drop:
    """Return what recurs in a batch, each habit with the words that show it, looked up in the texts."""
    labelled = batch.labelled()
    shown = [{"label": label, "asked": text.asked, "text": text.text} for label, text in labelled.items()]

    def check(found: Scan) -> str | None:
        bad = [one for habit in found.habits for one in habit.examples if not _holds(one, labelled)]
        total = sum(len(habit.examples) for habit in found.habits)
        if total and len(bad) / total > TROUBLED:
            listed = "; ".join(f"'{one.quote}' ({one.text})" for one in bad[:10])
            return f"these examples do not occur in the text they name: {listed}; copy them letter for letter"
        return None

    found = await ask.auditor("audit/scan", Scan, check=check, texts=shown, kind=kind, hints=list(hints))
    proven = [habit for habit in found.habits if any(_holds(one, labelled) for one in habit.examples)]
    return Scanned(
        id=batch.id,
        texts=tuple(text.id for text in batch.texts),
        observations=tuple(
            Observation(
                id=f"{batch.id}/{number}", scan=batch.id, kind=habit.kind, name=habit.name,
                description=habit.description, count=min(habit.count, len(batch.texts)), of=len(batch.texts),
                quotes=tuple((labelled[one.text].id, one.quote) for one in habit.examples if _holds(one, labelled)),
            )
            for number, habit in enumerate(proven, start=1)
        ),
        unsupported=sum(not _holds(one, labelled) for habit in found.habits for one in habit.examples),
        unproven=tuple(habit.name for habit in found.habits if habit not in proven),
    )  # fmt: skip


def _holds(example: Example, labelled: dict[str, Text]) -> bool:
    """Tell whether an example occurs in the text it names."""
    return example.text in labelled and occurs(example.quote, labelled[example.text].text)
