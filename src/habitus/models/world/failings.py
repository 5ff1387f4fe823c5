"""The known failings of documents: planted at known rates, and the critic's and the judge's eyes for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from habitus.models.world.people import load
from habitus.models.world.words import pick

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

REFINED = 0.25
"""A refined text has each failing at this share of a draft's rate."""
_MOST_WORDS, _BACK = 22, 90
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]")


@dataclass(frozen=True)
class Failing:
    """One planted failing."""

    rate: float
    """The share of drafts that show it, where all are asked for."""
    texts: Sequence[str]
    cues: Sequence[str]
    found: re.Pattern[str]


@cache
def failings() -> Mapping[str, Failing]:
    """Return every failing by its name."""
    return {
        name: Failing(one["rate"], one["texts"], one["cues"], re.compile(one["found"]))
        for name, one in load("failings").items()
        if name != "worn"
    }


def drawn(scale: float, rng: random.Random) -> set[str]:
    """Return the failings of one text; each is drawn whatever the others came to."""
    return {name for name, one in failings().items() if rng.random() < one.rate * scale}


def sentences_for(wanted: set[str], known: Mapping[str, str], rng: random.Random) -> dict[str, str]:
    """Return a sentence for each of the failings that is one."""
    return {name: pick(rng, one.texts, known) for name, one in failings().items() if name in wanted and one.texts}


def misnamed(people: Sequence[str], text: str, rng: random.Random) -> str:
    """Return a text in which one of the people bears a worn name."""
    worn = rng.choice(load("failings")["worn"])
    found = [(text.find(name), name) for name in people if re.search(rf"\b{re.escape(name)}\b", text)]
    if not found:
        return f"{text}\n{worn}"
    return re.sub(rf"\b{re.escape(min(found)[1])}\b", worn, text)


def shapes(text: str) -> list[dict[str, str]]:
    """Return the failings that a text shows, each with the words that show it, copied."""
    low = text.lower()
    return [
        {"shape": name, "quote": _copied(text, match)}
        for name, one in failings().items()
        if any(cue in low for cue in one.cues) and (match := one.found.search(text))
    ]


def _copied(text: str, match: re.Match[str]) -> str:
    """Return up to 22 words around a match, from the beginning of its sentence where that is near."""
    start = match.start()
    for ending in re.finditer(r"[.!?\n] ?", text[max(0, start - _BACK) : start]):
        start = max(0, match.start() - _BACK) + ending.end()
    ends = re.search(r"[.!?\n]|$", text[max(match.end() - 1, start) :])
    assert ends is not None
    stop = max(match.end() - 1, start) + ends.end()
    spans = list(re.finditer(r"\S+", text[start:stop]))
    if match.start() > start and len(spans) > _MOST_WORDS:
        start = match.start()
        spans = list(re.finditer(r"\S+", text[start:stop]))
    chosen = spans[:_MOST_WORDS]
    return text[start + chosen[0].start() : start + chosen[-1].end()] if chosen else match[0].strip()
