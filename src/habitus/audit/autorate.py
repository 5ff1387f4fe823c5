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
from habitus.patterns import STEP, Findings, groups, incomplete, matches, told
from habitus.records import Drop, Pattern, Rated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.ask import Ask
    from habitus.audit.cluster import Candidate
    from habitus.audit.dataset import Text
    from habitus.records import Match

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
    parts = groups(patterns, per_call)
    shared = {"text": {"asked": text.asked, "text": text.text}, "kind": kind, "sample": sample}
    # At once, so that requests that go out as files take one round and not one for each group.
    answers = await asyncio.gather(*(_asked(ask, part, shared) for part in parts), return_exceptions=True)
    verdicts: dict[str, Match] = {}
    for part, found in zip(parts, answers, strict=True):
        if isinstance(found, BaseException):
            raise found
        verdicts |= matches(found, part, text.text)
    return Rated(id=text.id, trait=text.trait, verdicts=verdicts)


async def _asked(ask: Ask, group: dict[str, Pattern], shared: dict[str, Any]) -> Findings:
    """Return what a judge finds of one group of patterns."""
    return await ask.judge(STEP, Findings, check=partial(incomplete, group=group), patterns=told(group), **shared)
