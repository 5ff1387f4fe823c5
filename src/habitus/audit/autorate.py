"""Autorate: every pattern gets a definition that can be rated by, and a judge finds it in a sample, quote by quote."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from habitus.ask import Answer
from habitus.audit.cluster import scans_of
from habitus.quotes import occurs
from habitus.records import Drop, Level, Match, Pattern, Rated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.ask import Ask
    from habitus.audit.cluster import Candidate
    from habitus.audit.dataset import Text

QUOTES = 6
"""Quotations of a pattern that go into its definition."""
LONGEST_SLUG = 40


class Definition(Answer):
    """What raters go by."""

    name: str = Field(min_length=1, description="up to eight words")
    definition: str = Field(min_length=1, description="two or three sentences")
    strict: str = Field(min_length=1, description="the strict test, one sentence beginning with 'The text'")
    broad: str = Field(min_length=1, description="the broad test, one sentence beginning with 'The text'")
    positive: list[str] = Field(description="three excerpts that pass the strict test")
    negative: list[str] = Field(description="three excerpts that come near and fail the broad test")


class Finding(Answer):
    """Whether a text shows one habit."""

    habit: str = Field(description="its id")
    quote: str = Field(description="up to 25 words copied letter for letter; empty if there are none")
    level: Level


class Findings(Answer):
    """Whether a text shows each habit."""

    findings: list[Finding] = Field(description="one for each habit, in the order of the list")


async def define(candidate: Candidate, ask: Ask, *, others: Sequence[Candidate], kind: str) -> Pattern | Drop:
    """Return a candidate as a pattern that can be rated."""
    beside = [{"name": one.name, "description": one.description} for one in others if one.id != candidate.id]
    pattern = {"kind": candidate.kind, "name": candidate.name, "description": candidate.description}
    quotes = [words for _, words in candidate.quotes[:QUOTES]]
    found = await ask.auditor("audit/define", Definition, pattern=pattern, quotes=quotes, others=beside, kind=kind)
    return Pattern(
        id=candidate.id,
        kind=candidate.kind,
        name=found.name,
        definition=found.definition,
        strict=found.strict,
        broad=found.broad,
        positive=tuple(found.positive),
        negative=tuple(found.negative),
        scans=scans_of(candidate),
        observations=candidate.observations,
        quotes=candidate.quotes,
    )


def named(patterns: Sequence[Pattern]) -> list[Pattern]:
    """Return the patterns with ids made from their names, all different."""
    taken: Counter[str] = Counter()
    found = []
    for pattern in patterns:
        words = re.sub(r"[^a-z0-9]+", "-", pattern.name.lower()).strip("-") or pattern.kind
        slug = words[:LONGEST_SLUG].rpartition("-")[0] if len(words) > LONGEST_SLUG else words
        taken[slug] += 1
        found.append(pattern.model_copy(update={"id": slug if taken[slug] == 1 else f"{slug}-{taken[slug]}"}))
    return found


async def rate(
    text: Text, ask: Ask, *, patterns: Sequence[Pattern], per_call: int, kind: str, sample: int = 0
) -> Rated | Drop:
    """Return what a judge finds of each pattern in a text, each quotation looked up in it."""
    groups = [
        {f"h{number}": one for number, one in enumerate(patterns[start : start + per_call], start=1)}
        for start in range(0, len(patterns), per_call)
    ]
    told = {"text": {"asked": text.asked, "text": text.text}, "kind": kind, "sample": sample}
    # At once, so that requests that go out as files take one round and not one for each group.
    answers = await asyncio.gather(*(_asked(ask, group, told) for group in groups), return_exceptions=True)
    verdicts: dict[str, Match] = {}
    for group, found in zip(groups, answers, strict=True):
        if isinstance(found, BaseException):
            raise found
        for one in found.findings:
            supported = one.level == "no" or occurs(one.quote, text.text)
            verdicts[group[one.habit].id] = Match(level=one.level, quote=one.quote, supported=supported)
    return Rated(id=text.id, trait=text.trait, verdicts=verdicts)


async def _asked(ask: Ask, group: dict[str, Pattern], told: dict[str, Any]) -> Findings:
    """Return what a judge finds of one group of patterns."""
    listed = [_told(label, one) for label, one in group.items()]
    return await ask.judge("audit/rate", Findings, check=partial(_complete, group=group), patterns=listed, **told)


def _complete(answer: Findings, group: dict[str, Pattern]) -> str | None:
    given = Counter(one.habit for one in answer.findings)
    if unknown := [label for label in given if label not in group]:
        return f"there are no habits {', '.join(unknown)}; their ids are {', '.join(group)}"
    wrong = [label for label in group if given[label] != 1]
    return f"give one finding for each habit; there is not exactly one for {', '.join(wrong)}" if wrong else None


def _told(label: str, pattern: Pattern) -> dict[str, Any]:
    """Return what a rater is told of a pattern."""
    return {
        "label": label, "name": pattern.name, "definition": pattern.definition, "strict": pattern.strict,
        "broad": pattern.broad, "positive": pattern.positive, "negative": pattern.negative,
    }  # fmt: skip
