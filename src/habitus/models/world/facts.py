"""What a person has mentioned in a message: things, names, days, and which of the world's problems they have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from habitus.models.world.people import problems
from habitus.models.world.words import content, stem, stems, verb_forms, words_of

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

    from habitus.models.world.people import Problem

_OWNED_WORDS = 2
_TELLING, _SURE = 6, 2.0
"""A stem that at most so many problems share tells one; so many votes settle which."""
_MONEY = r"(?:[€£$]\s?|CHF )\d[\d.,]*\d"
_MONTH = r"January|February|March|April|May|June|July|August|September|October|November|December"
_DAY = re.compile(rf"\b(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|\d{{1,2}} (?:{_MONTH}))\b", re.IGNORECASE)
_COUNT = re.compile(r"(?<![€£$:.,\d])(?<!CHF )\b\d{1,7} [a-zà-þ-]{2,}(?: [a-zà-þ-]{3,})?")
_NAME = re.compile(r"(?<![.!?:)\"] )(?<![\n\"(])(?<!^)(?<![\w-])[A-ZÀ-Þ][a-zà-þ]{2,}(?:-[A-ZÀ-Þ][a-zà-þ]+)?")
_SUBJECT = re.compile(
    r"(?:^|[.!?\n] ?)([A-ZÀ-Þ][a-zà-þ]{2,}) "
    r"(?:says|said|wants|told|thinks|wrote|put|takes|took|lent|kept|sent|signed|offered|left|caught|showed)\b"
)
_OF_A_FIRM = re.compile(r" (?:& |and partners|bros|supplies|firm|office)\b")
_AT_A_PLACE = re.compile(r"\b(?:in|to|near|at|from|around) $")
_OWNED = re.compile(r"\b(my|our|the|his|her|their) ((?:[a-zà-þ][\w'’-]*)(?: [a-zà-þ][\w'’-]*){0,3})")


@dataclass(frozen=True)
class Facts:
    """What a person mentioned that an answer can take up."""

    things: tuple[str, ...]
    names: tuple[str, ...]
    days: tuple[str, ...]

    def values(self, rng: random.Random) -> dict[str, str]:
        """Return one value for each of the slots fact, name and day that can be filled."""
        # what has a number comes first among the things, and is the most worth taking up
        known = {"fact": self.things[int(min(rng.random(), rng.random()) * len(self.things))]}
        if self.names:
            known["name"] = rng.choice(self.names)
        if self.days:
            known["day"] = rng.choice(self.days)
        return known


@lru_cache(maxsize=4096)
def facts(message: str) -> Facts:
    """Return what a person mentioned: things with their numbers and owners, names, days."""
    names = [name for match in _NAME.finditer(message) if (name := _name(match, message))]
    names += [name for name in _SUBJECT.findall(message) if name not in words_of("not_names")]
    days = list(dict.fromkeys(match[0].title() for match in _DAY.finditer(message)))
    found = [f"the {match[0]}" for match in re.finditer(_MONEY, message)]
    for match in _COUNT.finditer(message):
        found += _counted(match[0])
    for owner, words in _OWNED.findall(message):
        found += _owned(owner, words)
    things = (
        list(dict.fromkeys(found))[:12]
        or [f"the matter of the {word}" for word in _longest(message)]
        or ["what you wrote"]
    )
    return Facts(tuple(things), tuple(dict.fromkeys(names))[:6], tuple(days[:4]))


def _name(match: re.Match[str], message: str) -> str:
    name = match[0]
    low = name.lower()
    if _OF_A_FIRM.match(message, match.end()):
        return ""
    if (
        name in words_of("not_names")
        or low in words_of("joints")
        or low in words_of("verbs")
        or _AT_A_PLACE.search(message[max(0, match.start() - 8) : match.start()])
    ):
        return ""
    return name


def _counted(found: str) -> Iterator[str]:
    """Yield `the 14 crates` for a number and the plural noun that follows it."""
    number, first, *second = found.split(" ")
    third, skipped = verb_forms()[0], words_of("joints") | {"am", "pm"}
    if first in skipped or first in third or _DAY.match(found):
        return
    if second and second[0] not in skipped and second[0].endswith("s") and second[0] not in third:
        yield f"the {number} {first} {second[0]}"
    elif first.endswith("s"):
        yield f"the {number} {first}"


def _owned(owner: str, words: str) -> Iterator[str]:
    """Yield `your van` for `my van`, where the noun's end can be told."""
    third, verbs, joints = verb_forms()[0], words_of("verbs"), words_of("joints")
    row = words.split(" ")
    ends = (at for at, word in enumerate(row) if word in joints or (at and _verbal(word, third, verbs)))
    end = next(ends, len(row) if len(row) <= _OWNED_WORDS else 0)
    last = row[end - 1] if end else ""
    if 1 <= end <= _OWNED_WORDS and len(last) > _OWNED_WORDS and last not in words_of("adjectives"):
        yield f"{'your' if owner in {'my', 'our'} else 'the'} {' '.join(row[:end])}"


def _verbal(word: str, third: Mapping[str, str], verbs: frozenset[str]) -> bool:
    return word in third or word in verbs or (len(word) > 4 and word.endswith(("ed", "ly", "ing")))  # noqa: PLR2004 (shed, ring)


def _longest(message: str) -> list[str]:
    found = {word.lower() for word in content(message) if word.isalpha()}
    return sorted(found, key=lambda word: (-len(word), word))[:3]


@cache
def _signatures() -> Mapping[str, tuple[tuple[int, float], ...]]:
    """Return which problems a stem points to, and how strongly."""
    holders: dict[str, list[int]] = {}
    for index, one in enumerate(problems()):
        told = " ".join([one.label, one.topic, one.unsaid, *(scene.text for scene in one.scenes)])
        for found in sorted(stems(re.sub(r"\{\w+\}", " ", told))):
            holders.setdefault(found, []).append(index)
    return {
        found: tuple((index, 1 / len(own)) for index in own) for found, own in holders.items() if len(own) <= _TELLING
    }


def problem_in(message: str) -> Problem | None:
    """Return the problem of our world that a message tells of, as far as its words show."""
    votes: dict[int, float] = {}
    signatures = _signatures()
    for word in dict.fromkeys(map(stem, content(message))):
        for index, weight in signatures.get(word, ()):
            votes[index] = votes.get(index, 0.0) + weight
    best = max(votes, key=lambda index: (votes[index], -index), default=None)
    return problems()[best] if best is not None and votes[best] >= _SURE else None
