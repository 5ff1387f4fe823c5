"""Verb phrases of a passage, told of somebody else: what the subject did, does, and would do."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from habitus.models.world.people import load
from habitus.models.world.words import verb_forms, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_VOWELS = "aeiou"
_THEY = {"she": "they", "he": "they", "him": "them", "his": "their"}


@lru_cache(maxsize=4096)
def did(phrase: str) -> str:
    """Return a phrase that begins with a verb in its base form as what was done: `tell them` as `told them`."""
    verb, _, rest = told(phrase).partition(" ")
    return f"{past(verb)} {rest}".strip()


@lru_cache(maxsize=4096)
def does(phrase: str) -> str:
    """Return such a phrase as what is done by one: `tells them`."""
    verb, _, rest = told(phrase).partition(" ")
    return f"{_thirds().get(verb, verb + 's')} {rest}".strip()


@lru_cache(maxsize=4096)
def told(phrase: str) -> str:
    """Return such a phrase about somebody in particular: `tell people early` as `tell them early`."""
    verb, *rest = phrase.split()
    out: list[str] = []
    for at, word in enumerate(rest):
        low, follows = word.lower(), rest[at + 1].lower() if at + 1 < len(rest) else ""
        before = out[-1] if out else ""
        if not at and low in words_of("people") and (low.endswith("s") or low == "people"):
            out.append("them")
        elif low == "her":
            out.append("them" if follows in words_of("joints") | {""} else "their")
        elif low in _THEY:
            out.append(_THEY[low])
        else:
            out.append(verb_forms()[0].get(low, word) if before == "they" else word)
    return " ".join([verb, *out])


@cache
def past(verb: str) -> str:
    """Return the past tense of a verb."""
    if found := _irregular().get(verb):
        return found
    if verb in words_of("doubled"):
        return f"{verb}{verb[-1]}ed"
    if verb.endswith("y") and verb[-2:-1] not in _VOWELS:
        return f"{verb[:-1]}ied"
    return f"{verb}d" if verb.endswith("e") else f"{verb}ed"


@cache
def _irregular() -> Mapping[str, str]:
    return dict(pair.split(":") for pair in load("words")["pasts"].split())


@cache
def pasts() -> frozenset[str]:
    """Return the past tenses that do not end in -ed and cannot be taken for another form."""
    return frozenset(past for base, past in _irregular().items() if past != base)


@cache
def _thirds() -> Mapping[str, str]:
    return {base: third for third, base in verb_forms()[0].items()}
