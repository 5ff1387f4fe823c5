"""What a passage says that the assistant does and what it is about, in phrases that can be told of somebody else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from habitus.models.world.conduct import conduct
from habitus.models.world.verbs import pasts
from habitus.models.world.words import ABSTRACT, WORD, content, words_of

if TYPE_CHECKING:
    from habitus.models.world.conduct import Phrase

_OTHERS = frozenset(
    {"they", "people", "she", "he", "who", "person", "we", "anyone", "someone", "somebody", "user", "one"}
)
_BEFORE, _LONGEST, _FEW_NOUNS = 160, 10, 2
_POSSESSIVES = frozenset({"their", "her", "his", "its", "your", "my", "our"})
_JOINTS = frozenset(
    {"and", "but", "or", "while", "because", "which", "who", "since", "so", "that", "when", "if", "where"}
)
_CLAUSE_END = re.compile(r"[.,;:!?\n()\"“”—]")
_CUT = re.compile(r"[.!?;\n]\s")


@dataclass(frozen=True)
class Act:
    """What a passage says that is done, the verb in its base form."""

    raw: str
    signs: frozenset[str]


@lru_cache(maxsize=1024)
def acts_of(passage: str) -> tuple[Act, ...]:
    """Return what a passage says that the assistant does; what others do in it only where it says nothing of that."""
    found = [(phrase, _place(phrase.raw, passage)) for phrase in conduct(passage).does]
    own = [(phrase, at) for phrase, at in found if _is_the_assistants(passage[max(0, at - _BEFORE) : at])]
    clear = [(phrase, at) for phrase, at in own if phrase.raw.split()[1] not in {"this", "that"}]
    made = {extended(phrase.raw, passage, at): phrase for phrase, at in clear or own or found}
    return tuple(Act(raw, phrase.signs) for raw, phrase in made.items())


def _place(raw: str, passage: str) -> int:
    """Return where a phrase stands in a passage, from its second word on, or 0 where it was turned too much."""
    rest = raw.partition(" ")[2]
    return max(0, passage.find(rest))


def _is_the_assistants(before: str) -> bool:
    """Tell whether the words before a phrase are about the assistant, in a main clause, and nobody else has come in."""
    row = [word.lower() for word in WORD.findall(_CUT.split(before)[-1])]
    selves = [at for at, word in enumerate(row) if word in words_of("selves") | {"i", "you"}]
    if not selves:
        return len(row) == 1
    last = selves[-1]
    leads = set(row[max(0, last - 2) : last])
    return not _OTHERS & set(row[last + 1 :]) and not (words_of("questions") | words_of("subordinators")) & leads


def extended(raw: str, passage: str, at: int) -> str:
    """Return a phrase with what follows it in its clause, where that is short: `take it` as `take it as reasonable`."""
    rest = raw.partition(" ")[2]
    if not at:
        return raw
    follows = _CLAUSE_END.split(passage[at + len(rest) : at + len(rest) + _BEFORE], maxsplit=1)[0].split()
    more = follows[: next((at for at, word in enumerate(follows) if word in _JOINTS), len(follows))]
    if (
        not more
        or len(raw.split()) + len(more) > _LONGEST
        or more[-1] in words_of("joints")
        or passage[at + len(rest)] != " "
    ):
        return raw
    return f"{raw} {' '.join(more)}"


@lru_cache(maxsize=1024)
def topics_of(passage: str) -> tuple[Phrase, ...]:
    """Return what a passage is about in general: the most detailed first, and nothing as plain as a chair."""
    found = conduct(passage).about
    mine = [one for one in found if one.raw.split()[0] not in _POSSESSIVES and one.raw.split()[-1] not in pasts()]
    weighty = [one for one in mine if one.raw.endswith(ABSTRACT) or len(content(one.raw)) > 1]
    if not weighty and acts_of(passage):
        return ()
    return tuple(sorted(weighty or mine or found, key=lambda one: -len(content(one.raw))))


@lru_cache(maxsize=1024)
def nouns_of(passage: str) -> tuple[str, ...]:
    """Return the abstract nouns of a passage, or such words of it as there are."""
    found = conduct(passage)
    abstract = tuple(one for one in found.nouns if one.endswith(ABSTRACT))
    return next((row for row in (abstract, found.nouns) if len(row) >= _FEW_NOUNS), found.nouns or found.words)
