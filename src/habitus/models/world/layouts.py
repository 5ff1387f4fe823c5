"""What documents look like: families of layouts, found by the words for a kind of text, and texts laid out in them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from habitus.models.world.matter import surnames
from habitus.models.world.people import load

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from habitus.models.world.matter import Matter

_BARE, _SHORT = 45, 90
"""Words below which a text has no head, and no tail."""
_PREPOSITION = re.compile(r",? (?:of|for|on|to|about|from|with|in|at|by|told|kept|under|not|beside) ")
_LEAST, _ROOMY, _WIDEST = 5, 1000, 2.2
_TERSE, _WORDS_OF_A_QUESTION = 30, 7
"""Words of a unit's body below which each sentence of the core stands by itself."""
_STARS = 5
_MONTHS = 31


@dataclass(frozen=True)
class Family:
    """A family of layouts."""

    name: str
    named: re.Pattern[str]
    laid: re.Pattern[str]
    head: Sequence[str]
    unit: Sequence[str]
    tail: Sequence[str]
    voice: Sequence[str]
    size: tuple[int, int]
    step: tuple[int, int]
    parts: Sequence[str]
    between: str
    fold: int
    mixed: bool
    """Whether the units of one text may look different."""
    overhead: float
    """Words of a unit around its body, in the mean."""
    looks: Sequence[re.Pattern[str]]


@cache
def families() -> tuple[Family, ...]:
    """Return every family, the fallback last."""
    return tuple(
        Family(
            name=name,
            named=re.compile(rf"(?<!\w)(?:{one['name']})", re.IGNORECASE),
            laid=re.compile(one["layout"], re.IGNORECASE),
            head=one["head"],
            unit=one["unit"],
            tail=one["tail"],
            voice=one["voice"],
            size=tuple(one["size"]),
            step=tuple(one.get("step", (5, 60))),
            parts=one.get("parts", ()),
            between=one.get("between", "\n\n"),
            fold=one.get("fold", 0),
            mixed=one.get("mixed", False),
            overhead=sum(map(_overhead, one["unit"])) / len(one["unit"]),
            looks=tuple(map(re.compile, one["looks"])),
        )
        for name, one in load("layouts").items()
    )


def _overhead(unit: str) -> int:
    """Return how many words a unit has around its body, counting what its slots come to."""
    return len(unit.split()) - 1 + _WORDS_OF_A_QUESTION * unit.count("{question}") + unit.count("{heading}")


@lru_cache(maxsize=4096)
def family_of(name: str, layout: str) -> Family:
    """Return the family that a kind of text belongs to, by its name and else by its looks."""
    low = name.lower()
    head = _PREPOSITION.split(low, maxsplit=1)[0]
    # the last word of a compound is what the thing is, and where that tells nothing, the first that does
    compound = [(match.end(), len(match[0]), one) for one in families() for match in one.named.finditer(head)]
    if compound:
        return max(compound, key=lambda row: row[:2])[2]
    whole = [(-match.start(), len(match[0]), one) for one in families() for match in one.named.finditer(low)]
    if whole:
        return max(whole, key=lambda row: row[:2])[2]
    return next((one for one in families() if one.laid.search(layout)), families()[-1])


class _Slots(dict[str, str]):
    """The values of a matter and, made when they are asked for, those that only layouts have."""

    def __init__(self, matter: Matter, family: Family, kind: str) -> None:
        super().__init__(matter.known)
        self.matter, self.rng, self.kind = matter, matter.rng, kind
        self.minutes = self.rng.randint(420, 1200)
        day, _, month = matter.known["date"].partition(" ")
        self.day, self.month, self.step = int(day), month, family.step
        # those who write and speak are others than those of whom they speak, where there are enough people
        free = [one for one in matter.people if one not in matter.first]
        self.cast = free if len(free) > 1 else list(matter.people)
        self.users = [matter.pick("handles") for _ in range(4)]
        self["i"] = "0"
        self.turn()

    def turn(self) -> None:
        """Go on to the next unit: another writer, some time later."""
        rng = self.rng
        self["i"] = str(int(self["i"]) + 1)
        self.minutes += rng.randint(*self.step) if self["i"] != "1" else 0
        days, minutes = divmod(self.minutes, 1440)
        self.minutes, self.day = minutes, self.day + days
        if self.day >= _MONTHS:
            months = load("people")["months"]
            self.day, self.month = 1 + self.day % _MONTHS, months[(months.index(self.month) + 1) % 12]
        self["clock"], self["when"] = f"{minutes // 60:02}:{minutes % 60:02}", f"{self.day} {self.month}"
        others = [one for one in self.cast if one != self.get("who")] or self.cast
        self["to"], self["who"] = self.get("who", self.cast[0]), rng.choice(others)
        if self["to"] == self["who"]:
            self["to"] = self.matter.known["reader"]
        self["user"] = rng.choice([one for one in self.users if one != self.get("user")])
        self.update(self.matter.known)

    def __missing__(self, key: str) -> str:
        made = getattr(self, f"_{key.rstrip('_').lower()}")(key)
        if key not in {"heading", "question", "aside"}:
            self[key] = made
        return made

    def _title(self, key: str) -> str:
        title = self.matter.pick("titles")
        return title if key == "title" else f"{title[0].upper()}{title[1:]}"

    def _kind(self, key: str) -> str:
        return self.kind if key == "kind" else f"{self.kind[:1].upper()}{self.kind[1:]}"

    def _heading(self, _key: str) -> str:
        found = self.matter.pick("headings").removeprefix("the ")
        return f"{found[0].upper()}{found[1:]}"

    def _question(self, _key: str) -> str:
        return self.matter.pick("asks")

    def _aside(self, _key: str) -> str:
        return self.matter.whole("aside")

    def _firm(self, _key: str) -> str:
        return f"{self['firm'][0].upper()}{self['firm'][1:]}"

    def _place(self, key: str) -> str:
        place = self["place"]
        return place.removeprefix("the ") if key == "place_" else f"{place[0].upper()}{place[1:]}"

    def _topic(self, _key: str) -> str:
        return self["topic"].removeprefix("the ")

    def _names(self, _key: str) -> str:
        return ", ".join(self.cast)

    def _who(self, _key: str) -> str:
        return self["who"].upper()

    def _town(self, _key: str) -> str:
        return self["town"].upper()

    def _handle(self, _key: str) -> str:
        return self.users[0]

    def _initials(self, _key: str) -> str:
        return self["who"][:2].lower()

    def _initials2(self, _key: str) -> str:
        return self["to"][:2].lower()

    def _weekday(self, _key: str) -> str:
        return self.rng.choice(load("people")["days"])

    def _few(self, _key: str) -> str:
        return str(self.rng.randint(1, _STARS))

    def _stars(self, _key: str) -> str:
        return "★" * self.rng.randint(1, _STARS)

    def _sur1(self, _key: str) -> str:
        return self.rng.choice(surnames())

    _sur2 = _sur1

    def _yy(self, _key: str) -> str:
        return str(self.rng.randint(10, 24))

    _yz = _yy

    def _part(self, _key: str) -> str:
        return ""


def laid_out(
    family: Family, kind: str, matter: Matter, core: Sequence[Sequence[str]], words: int, *, plain: bool = False
) -> str:
    """Return a text of about so many words with the core, in pieces that belong together, in its middle.

    With `plain` it has neither head nor marks: nothing but its paragraphs.
    """
    slots, rng = _Slots(matter, family, kind), matter.rng
    bare = plain or words < _BARE
    head = "" if bare else rng.choice(family.head).format_map(slots)
    tail = "" if words < _SHORT or plain else rng.choice(family.tail)
    bodies = _bodies(family, matter, core, words - _count(head) - _count(tail), 0 if bare else family.overhead)
    units, usual = [], rng.choice(family.unit)
    for at, body in enumerate(bodies):
        if at:
            slots.turn()
        text = " ".join(body)
        if family.fold:
            text = textwrap.fill(text, family.fold)
        if family.parts:
            slots["part"] = family.parts[at * len(family.parts) // len(bodies)]
        units.append(text if bare else _unit(rng.choice(family.unit) if family.mixed else usual, slots, text))
    slots.turn()
    return "\n\n".join(part for part in (head, family.between.join(units), tail.format_map(slots)) if part)


def _unit(template: str, slots: _Slots, body: str) -> str:
    slots["body"] = body
    for key in ("WHO", "initials", "initials2"):
        slots.pop(key, None)
    return template.format_map(slots)


def _bodies(
    family: Family, matter: Matter, core: Sequence[Sequence[str]], words: int, overhead: float
) -> list[list[str]]:
    """Return the bodies of the units, each a row of sentences; the core comes in their middle."""
    rng = matter.rng
    low, high = (round(size * max(1.0, min(_WIDEST, words / _ROOMY))) for size in family.size)
    if family.size[1] < _TERSE:
        core = [[one] for piece in core for one in piece]
    length = sum(_count(one) for piece in core for one in piece)
    bodies: list[list[str]] = [[]]
    room, filled, used = _room(rng, low, high, words), 0, overhead
    waiting = list(core)
    # the pieces come where these shares of the rest have been told
    marks = [0.3 + 0.4 * at / len(core) for at in range(len(core))]
    rest = max(0, words - length)
    while used + _LEAST <= rest or waiting:
        if waiting and (used >= marks[len(core) - len(waiting)] * rest or used + _LEAST > rest):
            made, own = waiting.pop(0), True
        else:
            most = min(rest - used + _LEAST, high * 1.5)
            made, own = [matter.sentence(family.voice, most)], False
        size = sum(map(_count, made))
        if bodies[-1] and filled + size > room and rest - used > 2 * overhead:
            bodies.append([])
            room, filled = _room(rng, low, high, words), 0
            used += overhead
        bodies[-1] += made
        filled += size
        used += 0 if own else size
    return bodies


def _room(rng: random.Random, low: int, high: int, words: int) -> int:
    """Return how many words the next unit has room for; long texts have longer ones."""
    return min(rng.randint(low, high), max(low, words // 2))


def _count(text: str) -> int:
    """Return the number of words."""
    return len(text.split())


def marks(family: Family, text: str) -> float:
    """Return the share of a family's marks that a text bears."""
    return sum(bool(look.search(text)) for look in family.looks) / len(family.looks)
