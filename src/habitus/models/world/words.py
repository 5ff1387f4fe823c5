"""Words: stems, word lists, the forms of verbs, and sentences chosen or copied."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from habitus.models.world.people import load, problems, sentence, sentences

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping, Sequence

CLAUSE = re.compile(r"[.!?;:,()\n\"“”*_`#|—–<>\[\]{}/]+| - ")
WORD = re.compile(r"(?<![\w-])[^\W\d_]+(?:['’-][^\W\d_]+)*(?![\w-])")
ADJECTIVE = ("ful", "ous", "able", "ible", "less", "ive", "ic", "ly")
ABSTRACT = (
    "tion",
    "ness",
    "ity",
    "ment",
    "ance",
    "ence",
    "ship",
    "ism",
    "sion",
    "ety",
    "lty",
    "sty",
    "cy",
    "our",
    "ure",
)
"""Endings of adjectives, and of nouns that stand without an article."""
_TOKEN = re.compile(r"\S+")
_TRIES, _WINDOW = 6, 400
_QUOTED = range(5, 25)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Return a word without its ending, crudely: what matters is that both sides are treated alike."""
    word = word.lower().replace("’", "'").removesuffix("'s")
    for ending in ("ness", "ings", "ing", "ies", "edly", "ed", "es", "ly", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) > 2:  # noqa: PLR2004
            return word[: -len(ending)]
    return word


@cache
def words_of(kind: str) -> frozenset[str]:
    """Return one of the word lists."""
    return frozenset(load("words")[kind].split())


@lru_cache(maxsize=2048)
def content(text: str) -> tuple[str, ...]:
    """Return the words of a text that carry its meaning, in order."""
    joints = words_of("joints")
    return tuple(word for word in WORD.findall(text) if len(word) > 2 and word.lower() not in joints)  # noqa: PLR2004


@lru_cache(maxsize=2048)
def stems(text: str) -> frozenset[str]:
    """Return the stems of a text's content words."""
    return frozenset(map(stem, content(text)))


@cache
def ordinary() -> frozenset[str]:
    """Return the stems that answers contain whatever they are about."""
    answers = load("sentences")
    texts = [text for key, value in answers.items() if key != "plans" for text in _strings(value)]
    texts += [text for one in problems() for text in (*one.advice, one.topic, *(option.text for option in one.options))]
    return stems("\n".join(texts))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


@cache
def verb_forms() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the third persons and the ing-forms of the verbs we know, each with its base."""
    third, ing = {}, {}
    for verb in load("words")["verbs"].split():
        if verb.endswith("y") and verb[-2] not in "aeiou":
            third[verb[:-1] + "ies"] = verb
        else:
            third[verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")] = verb
        ing[(verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb) + "ing"] = verb
    return third, ing


def signs(text: str) -> frozenset[str]:
    """Return what a text can be recognised by: its uncommon stems, and its pairs of stems in one clause."""
    found = stems(text) - ordinary() - frozenset(map(stem, words_of("people") | words_of("selves")))
    return found.union(*map(pairs, CLAUSE.split(text)))


@lru_cache(maxsize=2048)
def pairs(text: str) -> frozenset[str]:
    """Return the pairs of stems that follow each other in a text, small words and people left out."""
    people = words_of("people") | words_of("selves")
    row = [stem(word) for word in content(text) if word.lower() not in people]
    return frozenset(f"{one} {other}" for one, other in pairwise(row))


def pick(rng: random.Random, texts: Sequence[str], known: Mapping[str, str]) -> str:
    """Return one of these sentences whose slots are all known, filled."""
    for _ in range(_TRIES):
        chosen = sentence(rng.choice(texts))
        if chosen.slots <= known.keys():
            return chosen.fill(known)
    usable = [one for one in map(sentence, texts) if one.slots <= known.keys()]
    return rng.choice(usable).fill(known) if usable else ""


def quote(text: str, wanted: Callable[[str], bool] | None = None) -> str:
    """Return up to 24 words copied from a text: of the first sentence that is wanted or, where none is, of the first.

    They are at least 5 where the text has as many.
    """
    found = sentences(text)
    start = text.find(next((one for one in found if wanted and wanted(one)), found[0])) if found else 0
    spans = list(_TOKEN.finditer(text, start, start + _WINDOW))
    if spans and start + _WINDOW < len(text):
        spans.pop()  # the window may end within a word
    if len(spans) < _QUOTED[0]:
        spans = list(_TOKEN.finditer(text))[-_QUOTED[0] :]
    chosen = spans[: _QUOTED[-1]]
    last = next((at for at, one in enumerate(chosen) if at + 1 >= _QUOTED[0] and one[0].endswith((".", "!", "?"))), -1)
    return text[chosen[0].start() : chosen[last].end()] if chosen else ""
