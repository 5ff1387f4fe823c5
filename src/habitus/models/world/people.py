"""A small world of people with problems, drawn at random; numbers, names and dates of one draw agree."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SENTENCE_START = re.compile(r"(?:^|(?<=[.!?] )|(?<=\n)|(?<=\n\"))[a-zà-þ]")
_OPENS_WITH_SLOT = re.compile(r"(?:^|[.!?:] |\n|\")(?:\{|[a-zà-þ])")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")
_PRINTERS = ("letter", "note", "news", "log")


@dataclass(frozen=True)
class Sentence:
    """A sentence with slots."""

    text: str
    slots: frozenset[str]
    opens_with_slot: bool
    """Whether one of its sentences begins with a slot or in lower case, so that filling it needs a capital."""

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the sentence with its slots filled and its beginnings capitalised; values are never read as slots."""
        filled = self.text.format_map(values)
        return capitalised(filled) if self.opens_with_slot else filled


@dataclass(frozen=True)
class Problem:
    """Something that happens to people, told by them, with what a competent helper says to it."""

    label: str
    topic: str
    scenes: tuple[Sentence, ...]
    unsaid: str
    options: tuple[Sentence, ...]
    advice: tuple[str, ...]
    cost: str


@cache
def load(name: str) -> Any:
    """Return one of the world's YAML files."""
    text = (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    # libyaml reads these files in 7 ms, the Python loader in 80
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


@cache
def sentence(text: str) -> Sentence:
    """Return a text of our own as a sentence with slots."""
    slots = frozenset(slot for _, slot, _, _ in Formatter().parse(text) if slot)
    return Sentence(text, slots, bool(_OPENS_WITH_SLOT.search(text)))


@cache
def problems() -> tuple[Problem, ...]:
    """Return every problem of the world."""
    return tuple(
        Problem(
            label=one["label"],
            topic=one["topic"],
            scenes=tuple(map(sentence, one["scenes"])),
            unsaid=one["unsaid"],
            options=tuple(map(sentence, one["options"])),
            advice=sentences(one["advice"]),
            cost=one["cost"],
        )
        for one in load("problems")
    )


def capitalised(text: str) -> str:
    """Return a text with a capital at the beginning of each sentence."""
    return _SENTENCE_START.sub(lambda match: match[0].upper(), text)


@lru_cache(maxsize=1024)
def sentences(text: str) -> tuple[str, ...]:
    """Return the sentences of a text, cut after their full stops and at the ends of lines."""
    return tuple(part for part in _SENTENCE_END.split(text.strip()) if part)


@lru_cache(maxsize=4096)
def family(field: str) -> Mapping[str, Sequence[str]]:
    """Return what belongs to a field of life, by the words in its name."""
    words = re.findall(r"[a-zà-þ]+", field.lower())
    families = load("people")["families"]
    best, most = "other", 0.0
    for name, one in families.items():
        # a field is named by its first words: "data protection requests" is an office, "pest control" is not
        score = sum(1 / (at + 1) for at, word in enumerate(words) for start in one["words"] if _begins(word, start))
        if score > most:
            best, most = name, score
    return families[best]


def _begins(word: str, start: str) -> bool:
    return word == start[:-1] if start.endswith("$") else word.startswith(start)


def values(rng: random.Random, field: str) -> dict[str, str]:
    """Return one consistent set of values for every slot of the world."""
    world, own = load("people"), family(field)
    few, gap, price = rng.randint(4, 24), rng.randint(3, 28), rng.randint(18, 720) / 4
    currency = rng.choice(world["currencies"])

    def money(amount: float) -> str:
        return f"{currency}{amount:,.0f}" if amount >= 100 else f"{currency}{amount:.2f}"  # noqa: PLR2004

    other, third, writer, reader = rng.sample(world["names"], 4)
    day, day2 = rng.sample(world["days"], 2)
    month = rng.randrange(12)
    date = rng.randint(1, 20)
    return {
        "domain": field,
        "n": str(few + gap), "few": str(few), "gap": str(gap),
        "price": money(price), "total": money(price * (few + gap)), "diff": money(price * gap),
        "sum": money(rng.randint(12, 480) * 10), "part": money(rng.randint(7, 128) * 5),
        "date": f"{date} {world['months'][month]}",
        "date2": f"{date + rng.randint(2, 8)} {world['months'][month]}",
        "month": world["months"][(month - rng.randint(1, 5)) % 12],
        "day": day, "day2": day2, "time": f"{rng.randint(7, 20)}:{rng.choice(('00', '15', '30', '40'))}",
        "firm": rng.choice(world["firms"]).format(rng.choice(world["surnames"])),
        "town": rng.choice(world["towns"]), "other": other, "third": third,
        "writer": writer, "reader": reader,
        "role": rng.choice(own["role"]), "thing": rng.choice(own["thing"]), "things": rng.choice(own["things"]),
        "place": rng.choice(own["place"]),
        "years": rng.choice(world["numbers"]), "weeks": rng.choice(world["numbers"]),
        "ref": f"{rng.choice('ABDEGHKLMNRT')}-{rng.randint(1040, 9870)}",
        "habit": rng.choice(world["habits"]),
    }  # fmt: skip


def ask(rng: random.Random, form: str, problem: Problem, known: Mapping[str, str]) -> str:
    """Return how a person puts a request of this form, in their own words."""
    low = form.lower()
    asks: Mapping[str, Sequence[str]] = load("people")["asks"]
    found = next(wordings for marks, wordings in asks.items() if any(mark in low for mark in marks.split("|")))
    option_a, option_b = (option.text.format_map(known) for option in problem.options)
    return rng.choice(found).format_map({**known, "topic": problem.topic, "option_a": option_a, "option_b": option_b})


def plain_text(seed: int, n: int) -> Iterator[str]:
    """Yield `n` plain paragraphs of the world: letters, notes, news items, log entries; the same for the same seed."""
    fields = [one["words"][0] for one in load("people")["families"].values() if one["words"]]
    texts = load("people")["plain"]
    for index in range(n):
        rng = random.Random(f"plain {seed} {index}")
        known = values(rng, rng.choice(fields))
        problem = rng.choice(problems())
        told = rng.choice(problem.scenes).fill(known)
        turns = [sentence(turn).fill(known) for turn in rng.sample(load("people")["turns"], 2)]
        parts = {"told": told, "turn": turns[0], "turn2": turns[1], "topic": problem.topic, "cost": problem.cost}
        parts |= {"advice": rng.choice(problem.advice), "advice2": rng.choice(problem.advice)}
        yield capitalised(rng.choice(texts[rng.choice(_PRINTERS)]).format_map({**known, **parts}))
