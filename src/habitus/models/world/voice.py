"""How people write: the same story in the voice of whoever tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from habitus.models.world.people import capitalised, load
from habitus.models.world.words import words_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

_WORN_STARTS = re.compile(r"(?:I|I'm|I've|I'd|I'll|So|Hey|Hi)\b", re.IGNORECASE)
_WHO_SHARE, _LEAD_SHARE, _FOREIGN_SHARE = 0.3, 0.35, 0.35
_ENDS = ".!? "
_SOFT_MARKS = str.maketrans("", "", ".,;:!\"'()")


@dataclass(frozen=True)
class Told:
    """What a message is made of."""

    field: str
    who: str
    """A role and a place, such as `the buyer at the cellar near Graz`, or nothing."""
    name: str
    """What the writer is called, or nothing."""
    story: tuple[str, ...]
    request: str
    paste: str
    """Material that the request is about, or nothing."""


def in_voice(voice: str, told: Told, rng: random.Random) -> str:
    """Return the message as a person of this voice would type it."""
    low = voice.lower()
    write = next((function for mark, function in _VOICES.items() if any(one in low for one in mark.split("|"))), _plain)
    if told.who and rng.random() < _WHO_SHARE:
        who = rng.choice(_bits()["who"]).format(who=told.who)
        told = replace(told, story=(*told.story, who))
    text = write(told, rng)
    if _WORN_STARTS.match(text) or (rng.random() < _LEAD_SHARE and write in _LED):
        lead = capitalised(rng.choice(load("people")["leads"]).format(domain=told.field))
        text = f"{lead.lower().rstrip(_ENDS)}, {text}" if text[:1].islower() else f"{lead} {text}"
    return text


def _bits() -> dict[str, list[str]]:
    return load("people")["voices"]


def _swapped(text: str, table: str, rng: random.Random, share: float) -> str:
    """Return a text with a share of the words in a table replaced."""
    swaps: Mapping[str, str] = load("people")["voices"][table]
    for old, new in swaps.items():
        if old in text and rng.random() < share:
            text = (
                re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, text)
                if old.strip() == old
                else text.replace(old, new, 1)
            )
    return text


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _run_on(one: str) -> str:
    """Return a sentence so that it can stand in the middle of another."""
    first = one.split(" ", 1)[0]
    if first.lower() in words_of("joints") and first.split("'")[0] != "I":
        one = one[:1].lower() + one[1:]
    return one.rstrip(_ENDS)


def _around(told: Told, before: str, request: str) -> str:
    """Return story and request with the pasted material on lines of its own between them."""
    return f"{before}\n\n{told.paste}\n\n{request}" if told.paste else f"{before} {request}"


def _plain(told: Told, _rng: random.Random) -> str:
    return _around(told, _joined(*told.story[:3]), capitalised(told.request))


def _hurried(told: Told, rng: random.Random) -> str:
    story = [one.rstrip(_ENDS) for one in told.story[: rng.choice((1, 2))]]
    glue = rng.choice((", ", " / ", " - "))
    line = glue.join([*story, told.request.rstrip(".")]).lower()
    return f"{line}\n\n{told.paste}" if told.paste else line


def _wandering(told: Told, rng: random.Random) -> str:
    story = list(told.story)
    for aside in rng.sample(_bits()["wanders"], 2):
        story.insert(rng.randint(1, len(story)), aside)
    return _around(told, _joined(*story), capitalised(f"what I'd like: {told.request}"))


def _formal(told: Told, rng: random.Random) -> str:
    opening, asking = rng.choice(_bits()["formal"]), rng.choice(_bits()["formally"])
    story = _joined(*told.story).replace("don't", "do not").replace("I've", "I have").replace("isn't", "is not")
    return _signed(_around(told, _joined(opening, story), f"{asking} {told.request}"), told, rng)


def _courteous(told: Told, rng: random.Random) -> str:
    before = _joined(rng.choice(_bits()["courteous"]), *told.story)
    return _signed(_joined(_around(told, before, capitalised(told.request)), rng.choice(_bits()["thanks"])), told, rng)


def _signed(text: str, told: Told, rng: random.Random) -> str:
    """Return a letter with the writer's name under it, as half of them have."""
    return f"{text}\n\n{told.name}" if told.name and rng.random() < 0.5 else text  # noqa: PLR2004


def _foreign(told: Told, rng: random.Random) -> str:
    story = _swapped(_joined(*told.story[:4]), "foreign", rng, _FOREIGN_SHARE)
    return _around(told, story, capitalised(_swapped(told.request, "foreign", rng, _FOREIGN_SHARE)))


def _expert(told: Told, rng: random.Random) -> str:
    story = [re.sub(r"\b(?:the|The|a|A) ", "", one).rstrip(_ENDS) for one in told.story[:3]]
    before = _swapped("; ".join(map(_run_on, story)), "trade", rng, 0.8)
    return _around(told, f"{before[:1].upper()}{before[1:]}.", capitalised(_swapped(told.request, "trade", rng, 0.5)))


def _pasting(told: Told, rng: random.Random) -> str:
    request, story = capitalised(told.request), told.story[0]
    return rng.choice(
        (
            f"{told.paste}\n\n{story} {request}",
            f"{request} {story}\n\n{told.paste}",
            f"{story}\n\n{told.paste}\n\n{request}",
        )
    )


def _chatty(told: Told, rng: random.Random) -> str:
    story = list(told.story)
    for aside in rng.sample([one for one in _bits()["asides"] if "{" not in one], 2):
        story.insert(rng.randint(1, len(story)), aside)
    return _around(told, _joined(*story), capitalised(told.request))


def _clipped(told: Told, _rng: random.Random) -> str:
    story = re.sub(r", (?:and |but |so )?|; ", ". ", _joined(*told.story[:3]))
    return capitalised(_around(told, story, told.request))


def _numbered(told: Told, _rng: random.Random) -> str:
    rows = [f"{at}. {one}" for at, one in enumerate((*told.story, capitalised(told.request)), 1)]
    return "\n".join(rows) + (f"\n\n{told.paste}" if told.paste else "")


def _dictated(told: Told, rng: random.Random) -> str:
    told_on = rng.choice((" and ", " so ", " and then ", " okay and ")).join(_run_on(one) for one in told.story)
    text = _swapped(f"{told_on} so {told.request}", "misheard", rng, 0.7)
    text = re.sub(r"[,;:()](?=\s)", "", text).rstrip(_ENDS)
    return f"{text}\n\n{told.paste}" if told.paste else text


def _teenage(told: Told, rng: random.Random) -> str:
    story = " ".join([rng.choice(_bits()["teen_start"]), *told.story[:3], told.request])
    text = _swapped(story, "teen", rng, 0.8).translate(_SOFT_MARKS).lower()
    return f"{text}\n\n{told.paste}" if told.paste else text


def _irritated(told: Told, rng: random.Random) -> str:
    return _around(told, _joined(rng.choice(_bits()["irritated"]), *told.story), capitalised(told.request))


_VOICES: dict[str, Callable[[Told, random.Random], str]] = {
    "hurried": _hurried,
    "teen": _teenage,
    "dictat": _dictated,
    "numbered|in points": _numbered,
    "clipped|tense": _clipped,
    "chatty|joke": _chatty,
    "pasted": _pasting,
    "expert|exact|abbrev": _expert,
    "native speaker|non-native": _foreign,
    "formal|office": _formal,
    "courteous|older": _courteous,
    "irritated|angry": _irritated,
    "wander|long paragraph": _wandering,
}
_LED = frozenset({_plain, _wandering, _chatty, _irritated, _foreign, _clipped, _hurried})
