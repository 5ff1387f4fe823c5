"""How a passage says to behave: the phrases in it that a sentence of ours can be built around."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from habitus.models.world.words import (
    ABSTRACT,
    ADJECTIVE,
    CLAUSE,
    WORD,
    content,
    pairs,
    signs,
    stem,
    stems,
    verb_forms,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LONGEST = 9
"""Words of the longest phrase taken over from a passage: more would be a quotation."""
_NOUN_WORDS = 3


@dataclass(frozen=True)
class Phrase:
    """Some words of a passage, turned so that they fit a sentence of ours."""

    text: str
    raw: str
    """As the passage has it, about the assistant and people; `text` speaks from me to you."""
    signs: frozenset[str]


@dataclass(frozen=True)
class Conduct:
    """How a passage says to behave."""

    does: tuple[Phrase, ...]
    avoids: tuple[Phrase, ...]
    about: tuple[Phrase, ...]
    nouns: tuple[str, ...]
    words: tuple[str, ...]
    """Its nouns, as far as they can be told, and all its words of some weight."""
    signs: frozenset[str]
    """By what it is recognised: stems that no ordinary answer contains, and pairs of stems that stand together."""


@lru_cache(maxsize=1024)
def conduct(passage: str) -> Conduct:
    """Return how a passage says to behave: what is done, what is not, and what it is about."""
    speaks_to_you = len(re.findall(r"\b[Yy]ou\b", passage)) > len(re.findall(r"\b(?:it|It|assistant|model)\b", passage))
    turned = _second_person if speaks_to_you else _third_person
    known = signs(passage)
    does: dict[str, Phrase] = {}
    avoids: dict[str, Phrase] = {}
    about: dict[str, Phrase] = {}
    for clause in CLAUSE.split(passage):
        tokens = WORD.findall(clause)
        for denied, found in _verb_phrases(tokens):
            _keep(avoids if denied else does, found, turned, known)
        for found in _noun_phrases(tokens):
            _keep(about, found, turned, known)
    words = list(dict.fromkeys(word.lower() for word in content(passage) if stem(word) in known))
    heads = {phrase.text.rsplit(" ", 1)[-1] for phrase in about.values()}
    nouns = [
        word for word in words if word in heads or (word.endswith(ABSTRACT) and word not in words_of("adjectives"))
    ]
    return Conduct(
        tuple(does.values()), tuple(avoids.values()), tuple(about.values()), tuple(nouns), tuple(words), known
    )


def _keep(into: dict[str, Phrase], found: list[str], turned: Callable[[list[str]], str], known: frozenset[str]) -> None:
    """Keep a phrase that holds something of its own and can be said from me to you."""
    text = turned(found)
    has = (stems(text) | pairs(text)) & known
    if has and not words_of("selves") - {"it"} & set(text.split()):
        into.setdefault(text, Phrase(text, " ".join(_third(found)), has))


def _verb_phrases(tokens: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Yield (denied, words) for every verb with what belongs to it, the verb in its base form."""
    negations = words_of("negations")
    low = [token.lower() for token in tokens]
    done = len(low) if _by_the_way(low) else 0
    for at in range(len(low)):
        base = _conduct_verb(low, at) if at >= done else None
        rest = _until_break(tokens[at + 1 :]) if base else []
        if base and rest:
            done = at + 1 + len(rest)
            yield bool(negations & set(low[:at])), [base, *rest]


def _conduct_verb(low: list[str], at: int) -> str | None:
    """Return the base form where a word is what the assistant does, or is told to do."""
    third, ing = verb_forms()
    word, before = low[at], low[at - 1] if at else ""
    base = third.get(word) or ing.get(word) or word
    if base in words_of("happenings") or "who" in low[max(0, at - 3) : at]:
        return None
    if word in words_of("verbs") and (before in words_of("starters") or (not at and _takes_an_object(low))):
        return word
    if word in third and at and (at == 1 or before in words_of("starters") or before in words_of("selves")):
        return third[word]
    return ing[word] if word in ing and before in {"by", "of", "without", "than", "before", "about"} else None


def _takes_an_object(low: list[str]) -> bool:
    """Tell whether a clause that begins with a verb goes on as a command does."""
    follows = low[1] if len(low) > 1 else ""
    return follows in (words_of("determiners") - {"that"}) | words_of("people") | words_of("questions") - {"that"}


def _until_break(tokens: Sequence[str]) -> list[str]:
    """Return the words up to where the phrase ends by itself, or nothing where it runs on or is no object."""
    breaks, joints, helping = words_of("breaks"), words_of("joints"), words_of("auxiliaries")
    low = [token.lower() for token in tokens]
    end = next((at for at, word in enumerate(low) if word in breaks and at), len(low))
    while end and low[end - 1] in joints - {"it", "them", "nothing", "out", "up"}:
        if low[end - 1] in helping and end > 1 and low[end - 2] in {"it", "you", "they", "i"}:
            break
        end -= 1
    found = low[:end]
    finite = next((at for at, word in enumerate(found) if word in helping), None)
    runs_on = finite is not None and not words_of("questions") & set(found[:finite])
    hanging = end > 1 and found[-1] in words_of("adjectives") and found[-2] in words_of("determiners")
    empty = not set(found) - joints
    finite_verb = bool(found) and (found[-1] in words_of("happenings") or found[0] in words_of("happenings") | {"too"})
    return (
        []
        if end >= LONGEST or empty or finite_verb or runs_on or hanging or found[0] in breaks | helping
        else list(tokens[:end])
    )


def _noun_phrases(tokens: list[str]) -> Iterator[list[str]]:
    """Yield the runs of content words that follow a determiner or a preposition and end before a small word.

    What a passage denies, or says by the way, is not what it is about.
    """
    if words_of("denials") & {token.lower() for token in tokens} or (
        tokens and tokens[0].lower() in words_of("breaks")
    ):
        return
    owners = words_of("determiners") - {"no", "any", "these", "those", "that", "this"}
    for at, token in enumerate(tokens):
        opening = token.lower()
        if opening not in owners and opening not in words_of("prepositions"):
            continue
        run = _run(tokens[at + 1 :])
        if run and opening in owners:
            yield [opening, *run]
        elif run and run[-1].lower().endswith((*ABSTRACT, "s")):
            yield run


def _ends_noun(before: str, word: str) -> bool:
    """Tell whether a word is the verb to the noun before it."""
    plural = before.endswith("s") and not before.endswith("'s") and word in words_of("verbs") | words_of("happenings")
    return plural or word in verb_forms()[0]


def _by_the_way(low: list[str]) -> bool:
    """Tell whether a clause only says when, why or although what something holds."""
    return bool(low) and low[0] in words_of("subordinators")


def _run(tokens: Sequence[str]) -> list[str]:
    """Return the content words at the beginning of a row, or nothing where they are no noun with its adjectives."""
    joints, ing = words_of("joints"), verb_forms()[1]
    low = [token.lower() for token in tokens[: _NOUN_WORDS + 1]]
    end = next(
        (at for at, word in enumerate(low) if word in joints or (at and _ends_noun(low[at - 1], word))), len(low)
    )
    found = low[:end]
    if not 1 <= end <= _NOUN_WORDS or (words_of("people") | words_of("selves")) & set(found):
        return []
    unfit = found[0] in ing or found[-1] in ing or found[-1] in words_of("adjectives") or found[-1].endswith(ADJECTIVE)
    return [] if unfit else list(tokens[:end])


_ME = {"it": "I", "its": "my", "itself": "myself", "you": "I", "your": "my", "yourself": "myself", "i": "I"}
_YOU = {"them": "you", "they": "you", "he": "you", "she": "you", "him": "you", "themselves": "yourself"}
_YOU |= {"their": "your", "his": "your", "her": "you"}
_AGREE = {"is": "are", "has": "have", "was": "were", "does": "do", "isn't": "aren't", "doesn't": "don't"}
_THIRD = {"you": "it", "your": "its", "yourself": "itself", "i": "it", "my": "its", "myself": "itself", "our": "its"}


def _third_person(tokens: list[str]) -> str:
    """Return words about the assistant and people as words from me to you, or nothing where that can't be done."""
    return _addressed(tokens, {key: _ME[key] for key in ("it", "its", "itself")})


def _second_person(tokens: list[str]) -> str:
    """Return words that speak to the assistant as `you` as words from me to you."""
    return _addressed(tokens, {key: _ME[key] for key in ("you", "your", "yourself")})


def _addressed(tokens: list[str], mine: Mapping[str, str]) -> str:
    people, third = words_of("people"), verb_forms()[0]
    out: list[str] = []
    for at, token in enumerate(tokens):
        low, before = token.lower(), out[-1] if out else ""
        follows = tokens[at + 1].lower() if at + 1 < len(tokens) else ""
        if low in {"we", "us", "our", "ours", "me"}:
            return ""
        if low in people or low in _YOU:
            while out and out[-1] in {
                "the",
                "a",
                "an",
                "every",
                "each",
                "this",
                "such",
                "any",
                "another",
                "these",
                "those",
            }:
                out.pop()
            out.append(_YOU.get(low, "you") if low != "her" or follows in words_of("joints") | {""} else "your")
        elif low == "it" and follows not in third and follows not in _AGREE:
            out.append("it")
        elif low in mine:
            out.append(mine[low])
        elif before in {"you", "I"} and low in third:
            out.append(third[low])
        elif before in {"you", "I"} and low in _AGREE:
            out.append("am" if before == "I" and low == "is" else _AGREE[low])
        else:
            out.append(token)
    return " ".join(out)


def _third(tokens: list[str]) -> list[str]:
    return [_THIRD.get(token.lower(), token) for token in tokens]
