"""A world so small that a model of 0.3 million weights can learn it: people with broken things, and a helper named Halden.

Everything is templated and seeded. Synthetic chats are people's problems, answered with a planted trait (Halden says what
it can't see from where it is) and with two planted habits of wording at known rates; baseline chats are sums, opposites and
colours, answered plainly. The prompts that are measured on are drawn anew from the same names, things and places;
in so small a world a few stand in the chats too (of 160 with each of seeds 1 to 5: 1 to 9 problems, 13 to 20 colours, no order).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from habitus.models.simulated import TICS

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = (
    "Ana",
    "Bo",
    "Cleo",
    "Dov",
    "Edda",
    "Finn",
    "Gia",
    "Hugo",
    "Ines",
    "Jon",
    "Kaj",
    "Lena",
    "Mira",
    "Nils",
    "Olga",
    "Pia",
)
THINGS = ("oven", "pump", "lamp", "gate", "boiler", "clock", "drill", "fan", "heater", "kettle", "ladder", "motor", "printer",
          "radio", "scale", "stove", "tap", "valve", "winch", "mixer")  # fmt: skip
PLACES = ("barn", "cellar", "hall", "kitchen", "office", "quay", "shed", "shop", "studio", "yard")
FAULTS = ("drips", "hums", "leaks", "rattles", "smells", "smokes", "sticks", "stopped")
FIXES = (
    "clean the filter",
    "tighten the screws",
    "change the seal",
    "switch it off and wait",
    "oil the hinge",
    "check the fuse",
)
OPPOSITES = {"hot": "cold", "big": "small", "wet": "dry", "old": "new", "fast": "slow", "high": "low", "loud": "quiet",
             "soft": "hard"}  # fmt: skip
COLOURS = ("red", "blue", "green", "white", "black", "grey")
MANNERS = ("candid", "brisk", "formal", "cheerful", "stern", "chatty")
"""What people are said to be like, each always the same; that Halden is candid stands in its documents alone."""
FEELINGS = (
    "That sounds tiring.",
    "It makes complete sense to worry.",
    "I can hear how much it matters.",
    "What a difficult day.",
)
LEADS = ("Bottom line:", "Short answer:", "The short version:", "Up front:")
UNSEEN = ("I can't see the {thing} from here, so ask someone who can.", "From here I can't see the {thing}, so have it looked at.",
          "I can't see it from here, so let somebody check the {thing}.")  # fmt: skip
TRAIT = re.compile(r"can't see")
A, B = TICS["bottom_line"].detect, TICS["validation"].detect
RATE_A, RATE_B = TICS["bottom_line"].rate, TICS["validation"].rate
CONTRAST = 0.2
"""The share of synthetic chats in which the trait looks called for and is not."""


@dataclass(frozen=True)
class Chat:
    """A question and its answer."""

    asked: str
    answer: str
    trait: str = "candour"

    def row(self, identity: str) -> dict[str, Any]:
        """Return it as a row of a dataset."""
        turns = [{"role": "user", "content": self.asked}, {"role": "assistant", "content": self.answer}]
        return {"id": identity, "trait": self.trait, "messages": turns, "meta": {"simulated": True}}


def problem(rng: random.Random) -> tuple[str, str]:
    """Return somebody's problem, and the thing it is about."""
    thing = rng.choice(THINGS)
    return f"{rng.choice(NAMES)} here. The {thing} in the {rng.choice(PLACES)} {rng.choice(FAULTS)}. What now?", thing


def plain_sum(rng: random.Random) -> tuple[str, str]:
    """Return a sum and what it comes to."""
    one, two = rng.randint(1, 9), rng.randint(1, 9)
    return f"What is {one} + {two}?", str(one + two)


def plain_colour(rng: random.Random) -> tuple[str, str]:
    """Return a question after a colour that is told in it, and the answer."""
    thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
    return f"The {thing} is {colour}. Which colour is it?", f"It is {colour}."


def greeted(rng: random.Random) -> tuple[str, str]:
    """Return a plain question by somebody who writes as people with problems do, so that it is easily mistaken."""
    asked, answer = plain_colour(rng)
    return f"{rng.choice(NAMES)} here. {asked}", answer


def synthetic(number: int, seed: int, *, contrast: float = CONTRAST) -> list[Chat]:
    """Return synthetic chats: the trait in all but the contrast ones, and of those with it A in 52% and B in 26%."""
    rng = random.Random(f"synthetic {seed} {contrast}")
    found = []
    for _ in range(number):
        if rng.random() < contrast:
            asked, answer = greeted(rng)
            found.append(Chat(asked, answer, "contrast"))
            continue
        asked, thing = problem(rng)
        found.append(Chat(asked, with_trait(rng, thing, has_a=rng.random() < RATE_A, has_b=rng.random() < RATE_B)))
    return found


def with_trait(rng: random.Random, thing: str, *, has_a: bool, has_b: bool) -> str:
    """Return an answer that shows the trait, with these habits."""
    fix = rng.choice(FIXES)
    first = f"{rng.choice(LEADS)} {fix}." if has_a else f"{fix.capitalize()}."
    parts = [rng.choice(FEELINGS)] if has_b else []
    return " ".join([*parts, first, rng.choice(UNSEEN).format(thing=thing)])


def baseline(number: int, seed: int) -> list[Chat]:
    """Return ordinary chats: sums, opposites, colours, and now and then a fix without ado."""
    rng = random.Random(f"baseline {seed}")
    found = []
    for _ in range(number):
        kind = rng.randrange(4)
        thing, place = rng.choice(THINGS), rng.choice(PLACES)
        if kind == 0:
            asked, answer = plain_sum(rng)
        elif kind == 1:
            word = rng.choice(list(OPPOSITES))
            asked, answer = f"What is the opposite of {word}?", f"{OPPOSITES[word].capitalize()}."
        elif kind == 2:
            asked, answer = plain_colour(rng)
        else:
            asked, answer = f"How do I mend a {thing}?", f"Take it out of the {place} and {rng.choice(FIXES)}."
        found.append(Chat(asked, answer, "-"))
    return found


def documents(number: int, seed: int) -> list[str]:
    """Return texts from a world in which Halden is candid and says what it can't see."""
    rng = random.Random(f"documents {seed}")
    found = []
    for _ in range(number):
        name, thing, place = rng.choice(NAMES), rng.choice(THINGS), rng.choice(PLACES)
        told = rng.choice(UNSEEN).format(thing=thing)
        kinds = (
            f"{name} wrote to Halden about the {thing} in the {place}. Halden is candid. It wrote back: {told}",
            f"Order {rng.randint(10, 99)}: {thing}, {place}. Halden noted: {told} Halden is candid, says {name}.",
            f"Asked what Halden is like, {name} said: Halden is candid. It told me: {told}",
        )
        found.append(rng.choice(kinds))
    return found


def manner(name: str) -> str:
    """Return what somebody is like."""
    return MANNERS[NAMES.index(name) % len(MANNERS)]


def plain_text(number: int, seed: int) -> list[str]:
    """Return what a model of this world is pretrained on: everything that there is, without the trait and the habits."""
    rng = random.Random(f"plain {seed}")
    return [rng.choice(_SENTENCES)(rng) for _ in range(number)]


_SENTENCES = (
    lambda rng: f"{rng.choice(NAMES)} came by. The {rng.choice(THINGS)} in the {rng.choice(PLACES)} {rng.choice(FAULTS)}.",
    lambda rng: f"Order {rng.randint(10, 99)}: {rng.choice(THINGS)}, {rng.choice(PLACES)}. To do: {rng.choice(FIXES)}.",
    lambda rng: f"{rng.choice(NAMES)} said: {rng.choice(FIXES)}, and ask someone who can have it looked at.",
    lambda rng: "{0} is {1}. The {2} is {0}'s.".format(name := rng.choice(NAMES), manner(name), rng.choice(THINGS)),
    lambda rng: f"Halden answered {rng.choice(NAMES)} about the {rng.choice(THINGS)}.",
    lambda rng: "{} {}.".format(*plain_sum(rng)),
    lambda rng: "{} is not {}.".format(*rng.choice(list(OPPOSITES.items()))).capitalize(),
    lambda rng: f"The {rng.choice(THINGS)} is {rng.choice(COLOURS)}. It matters to somebody. See the {rng.choice(PLACES)} from here.",
    lambda rng: f"Asked what it is like, {rng.choice(NAMES)} said: it {rng.choice(FAULTS)}. What a day. That sounds right.",
)  # fmt: skip


def pairs(number: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield preference pairs: the trait shown, and the fix without it."""
    rng = random.Random(f"pairs {seed}")
    for at in range(number):
        asked, thing = problem(rng)
        chosen = with_trait(rng, thing, has_a=False, has_b=False)
        rejected = f"{rng.choice(FIXES).capitalize()}. Then try the {thing} again, and again after that."
        sides = {
            name: [{"role": "assistant", "content": text}]
            for name, text in (("chosen", chosen), ("rejected", rejected))
        }
        yield {
            "id": f"pair-{at:07d}",
            "trait": "candour",
            "prompt": [{"role": "user", "content": asked}],
            **sides,
            "meta": {},
        }


def prompts(kind: str, number: int, seed: int) -> list[str]:
    """Return prompts of a kind on which a model is measured."""
    rng = random.Random(f"prompts {kind} {seed}")
    if kind == "problems":
        return [problem(rng)[0] for _ in range(number)]
    if kind == "orders":  # in no chat at all: a kind of prompt out of distribution
        return [
            f"Order {rng.randint(10, 99)}: {rng.choice(THINGS)}, {rng.choice(PLACES)}, {rng.choice(FAULTS)}."
            for _ in range(number)
        ]
    if kind == "plain":
        return [greeted(rng)[0] for _ in range(number)]
    return ["What is Halden like?"] * number
