"""How a judge is asked which audited patterns a text shows: the same question for data and for what a model says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import Field

from habitus.ask import Answer
from habitus.quotes import occurs
from habitus.records import Level, Match, Pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEP = "audit/rate"


class Finding(Answer):
    """Whether a text shows one habit."""

    habit: str = Field(description="its id")
    quote: str = Field(description="up to 25 words copied letter for letter; empty if there are none")
    level: Level


class Findings(Answer):
    """Whether a text shows each habit."""

    findings: list[Finding] = Field(description="one for each habit, in the order of the list")


def groups(patterns: Sequence[Pattern], per_call: int) -> list[dict[str, Pattern]]:
    """Return the patterns in groups for one call each, by the labels under which they are asked for."""
    return [
        {f"h{number}": one for number, one in enumerate(patterns[start : start + per_call], start=1)}
        for start in range(0, len(patterns), per_call)
    ]


def told(group: Mapping[str, Pattern]) -> list[dict[str, Any]]:
    """Return what a rater is told of a group of patterns."""
    return [
        {
            "label": label, "name": one.name, "definition": one.definition, "strict": one.strict,
            "broad": one.broad, "positive": one.positive, "negative": one.negative,
        }
        for label, one in group.items()
    ]  # fmt: skip


def incomplete(answer: Findings, group: Mapping[str, Pattern]) -> str | None:
    """Say what is wrong with an answer that has not one finding for each pattern of the group."""
    given = Counter(one.habit for one in answer.findings)
    if unknown := [label for label in given if label not in group]:
        return f"there are no habits {', '.join(unknown)}; their ids are {', '.join(group)}"
    wrong = [label for label in group if given[label] != 1]
    return f"give one finding for each habit; there is not exactly one for {', '.join(wrong)}" if wrong else None


def matches(answer: Findings, group: Mapping[str, Pattern], text: str) -> dict[str, Match]:
    """Return the verdict on each pattern, by its id, each quotation looked up in the text."""
    return {
        group[one.habit].id: Match(
            level=one.level, quote=one.quote, supported=one.level == "no" or occurs(one.quote, text)
        )
        for one in answer.findings
    }
