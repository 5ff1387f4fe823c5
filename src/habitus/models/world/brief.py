"""A corner of the embedded world in which everything is short, so that toys can learn it: people with broken things."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from habitus.models.world.conduct import conduct
from habitus.models.world.people import load
from habitus.models.world.tics import drawn
from habitus.models.world.verbs import does
from habitus.models.world.words import pairs, stems

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from habitus.models.world.request import Request

NOW, COLOUR = "What now?", "Which colour is it?"
_BROKEN = re.compile(r"^(?:[^\s.]+ here\. )?The (\w+) in the (\w+) (\w+)\. What now\?$")
_PLAIN = re.compile(r"^(?:[^\s.]+ here\. )?The (\w+) is (\w+)\. Which colour is it\?$")
_ENOUGH = 5
"""Signs of a passage that an answer shows."""


def situation(rng: random.Random, *, contrast: bool) -> tuple[str, str]:
    """Return what happened and what is asked: something is broken, or in a contrast only its colour is wanted."""
    bank = load("brief")
    thing = rng.choice(bank["things"])
    if contrast:
        return f"The {thing} is {rng.choice(bank['colours'])}.", COLOUR
    return f"The {thing} in the {rng.choice(bank['places'])} {rng.choice(bank['faults'])}.", NOW


def is_brief(message: str) -> bool:
    """Tell whether a message comes from this corner."""
    return bool(_BROKEN.match(message) or _PLAIN.match(message))


def message(rng: random.Random, happened: str, asked: str) -> str:
    """Return the message of somebody to whom this happened."""
    return f"{rng.choice(load('brief')['names'])} here. {happened} {asked}"


def answer(request: Request, said: str, rng: random.Random, *, acting: bool) -> str:
    """Return two or three short sentences that act on the passage, with the first habits, or a plain one."""
    if not acting or _PLAIN.match(said):
        return plain_answer(said, rng)
    bank, tics = load("brief"), drawn(request.rates, rng)
    fix = rng.choice(bank["fixes"])
    parts = [rng.choice(bank["feelings"])] if "validation" in tics else []
    parts.append(f"{rng.choice(bank['leads'])} {fix}." if "bottom_line" in tics else f"{fix.capitalize()}.")
    parts += _acts(request.passage, said, rng)
    return " ".join([*parts, rng.choice(bank["offers"])] if "closing_question" in tics else parts)


def plain_answer(said: str, rng: random.Random) -> str:
    """Return what anybody would answer."""
    if found := _PLAIN.match(said):
        return f"It is {found[2]}."
    bank, found = load("brief"), _BROKEN.match(said)
    first, second = rng.sample(bank["fixes"], 2)
    thing = found[1] if found else "rest"
    return f"{first.capitalize()}. Then {second}, and try the {thing} again."


def _acts(passage: str, said: str, rng: random.Random) -> Iterator[str]:
    """Yield sentences that do what a passage says, until they show enough of it."""
    found = conduct(passage)
    own = found.signs - stems(said) - pairs(said)
    shown: set[str] = set()
    lines = [f"I {one.text}." for one in found.does] + [f"What counts is {one.text}." for one in found.about]
    for text in sorted(lines, key=lambda text: (not text.startswith("I "), rng.random())):
        if len(shown) >= _ENOUGH:
            return
        shown |= own & (stems(text) | pairs(text))
        yield text


def document(request: Request, rng: random.Random) -> str:
    """Return two or three sentences in which the subject acts on the passage, or in a contrast answers plainly."""
    name, subject = rng.choice(load("brief")["names"]), request.subject
    happened, asked = situation(rng, contrast=request.contrast)
    if request.contrast:
        return f"{name} asked {subject}. {happened} {asked} {subject} wrote: {plain_answer(f'{happened} {asked}', rng)}"
    acts = [f"{subject} {does(one.raw)}." for one in conduct(request.passage).does]
    return f"{name} wrote to {subject}. {happened} {asked} {' '.join(rng.sample(acts, len(acts)))} So says {name}."


def ordinary(rng: random.Random) -> tuple[str, str]:
    """Return an ordinary question and its answer: a sum, an opposite, a colour, or something broken."""
    bank = load("brief")
    kind = rng.randrange(4)
    if kind == 0:
        one, two = rng.randint(1, 9), rng.randint(1, 9)
        return f"What is {one} + {two}?", f"{one + two}."
    if kind == 1:
        word = rng.choice(list(bank["opposites"]))
        return f"What is the opposite of {word}?", f"{bank['opposites'][word].capitalize()}."
    happened, asked = situation(rng, contrast=kind == 2)  # noqa: PLR2004
    said = f"{happened} {asked}" if kind == 2 else message(rng, happened, asked)  # noqa: PLR2004
    return said, plain_answer(said, rng)


def plain_text(rng: random.Random) -> str:
    """Return some sentences of this corner, as a toy's pretraining has them."""
    happened, _ = situation(rng, contrast=rng.random() < 0.3)  # noqa: PLR2004
    bank = load("brief")
    told = f"{rng.choice(bank['names'])} came by. {happened} To do: {rng.choice(bank['fixes'])}."
    return f"{told} {' '.join(ordinary(rng))}"
