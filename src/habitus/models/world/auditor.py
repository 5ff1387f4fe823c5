"""The embedded model as auditor and judge of habits: finds them exactly, and tells of them as readers do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from habitus.models.world.people import capitalised, load, sentences
from habitus.models.world.tics import TICS

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from habitus.models.world.request import Request
    from habitus.records import Level

_TEXT = re.compile(r'<text id="([^"\n]*)">\n(?:\s*<asked>.*?</asked>\n\n?)?(.*?)\n</text>', re.DOTALL)
_NOTE = re.compile(r'<note id="([^"\n]*)">\n(.*?)\n</note>', re.DOTALL)
_RATED = re.compile(r'<habit id="([^"\n]*)" (name=.*?)(?:\nstrict: |\n?</habit>)', re.DOTALL)
_NAMED = re.compile(r'<habit name="(.*?)">\n(.*?)\n?</habit>', re.DOTALL)
_SHOWN = re.compile(r"^- “(.+)”$", re.MULTILINE)
_STOP = re.compile(r"(?m)(?<=[.!?])(?<!^\d\.)(?<!^\d\d\.)\s+|\n\s*")
"""What stands between two sentences; the number of an item is none."""
_GAP = re.compile(r" *\n\s*\n\s*")
_FEWEST, _MOST_EXAMPLES, _MOST_WORDS, _BACK, _TRIES = 2, 4, 24, 400, 40
_TOGETHER, _TWICE, _ASIDE = 1 / 8, 1 / 8, 0.3
"""Shares of scans that tell two habits as one, that tell one twice, and that tell what is no habit."""


@dataclass(frozen=True, eq=False)
class Habit:
    """One habit that is known: how it is found, and how it is spoken of."""

    name: str
    kind: str
    exact: re.Pattern[str]
    loose: re.Pattern[str]
    signs: tuple[str, ...]
    """What its descriptions have in them, and those of no other."""
    told: tuple[tuple[str, str], ...]
    """Names and descriptions; the first are those that are settled on."""
    tests: Mapping[str, Any]
    rid: tuple[str, str] | None

    def found(self, text: str) -> tuple[Level, str]:
        """Return the level at which a text shows it, and the words by which it does."""
        if match := self.exact.search(text):
            return "strict", _copied(text, match)
        if match := self.loose.search(text):
            return "broad", _copied(text, match)
        return "no", ""


@cache
def habits() -> tuple[Habit, ...]:
    """Return every habit that is known: those that are planted, and some of real texts."""
    return tuple(
        Habit(
            name=name,
            kind=one["kind"],
            exact=TICS[name].found if name in TICS else re.compile(one["found"]),
            loose=re.compile(one["loosely"]),
            signs=tuple(one["signs"]),
            told=tuple(one["told"].items()),
            tests={part: one[part] for part in ("strict", "broad", "positive", "negative")},
            rid=tuple(one["rid"]) if "rid" in one else None,
        )
        for name, one in load("auditor")["habits"].items()
    )


@lru_cache(maxsize=4096)
def recognised(described: str) -> tuple[Habit, ...]:
    """Return the habits that a description is about."""
    low = described.lower()
    return tuple(one for one in habits() if any(sign in low for sign in one.signs))


def scan(request: Request) -> dict[str, Any]:
    """Return what recurs in a batch as readers report it: under any name, two as one, one twice, some beside it."""
    rng, texts = request.stream("scan"), dict(_TEXT.findall(request.text))
    shown = {one: found for one in habits() if len(found := _showing(one, texts)) >= _FEWEST}
    doubled = rng.choice(list(shown)) if shown and rng.random() < _TWICE else None
    reports = []
    if (both := _together(shown, rng)) and rng.random() < _TOGETHER:
        reports.append(_report(both, [rng.choice(one.told) for one in both], [shown.pop(one) for one in both], rng))
    for one, found in shown.items():
        reports += [_report((one,), [told], [found], rng) for told in rng.sample(one.told, 1 + (one is doubled))]
    if len(texts) >= _FEWEST and rng.random() < _ASIDE:
        reports.append(_aside(texts, rng))
    if reports and rng.random() < request.rates["bad_quote"]:
        rng.choice(reports)["examples"][0]["quote"] = load("sentences")["invented_quote"]
    return {"habits": sorted(reports, key=lambda one: -one["count"])}


def _showing(habit: Habit, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts that show a habit beyond doubt, each with the words that do."""
    found = {label: habit.found(text) for label, text in texts.items()}
    return {label: words for label, (level, words) in found.items() if level == "strict"}


def _together(shown: Mapping[Habit, Mapping[str, str]], rng: random.Random) -> tuple[Habit, ...]:
    """Return two habits that enough texts show both of, the likelier the more do, if there are such."""
    shared = {pair: len(shown[pair[0]].keys() & shown[pair[1]].keys()) for pair in combinations(shown, 2)}
    often = {pair: number for pair, number in shared.items() if number >= _FEWEST}
    return rng.choices(list(often), list(often.values()))[0] if often else ()


def _report(
    parts: Sequence[Habit], told: Sequence[tuple[str, str]], found: Sequence[Mapping[str, str]], rng: random.Random
) -> dict[str, Any]:
    """Return one entry of a scan about these habits, counted and quoted where a text shows all of them."""
    labels = [label for label in found[0] if all(label in one for one in found)]
    chosen = rng.sample(labels, min(len(labels), rng.randint(_FEWEST, _MOST_EXAMPLES)))
    return {
        "name": ", and ".join(name for name, _ in told),
        "kind": parts[0].kind,
        "description": " ".join(description for _, description in told),
        "count": len(labels),
        "examples": [{"text": label, "quote": found[at % len(found)][label]} for at, label in enumerate(chosen)],
    }


def _aside(texts: Mapping[str, str], rng: random.Random) -> dict[str, Any]:
    """Return an entry of a scan that is about no habit."""
    name, description = rng.choice(list(load("auditor")["asides"].items()))
    examples = [{"text": label, "quote": _any(texts[label], rng)} for label in rng.sample(list(texts), _FEWEST)]
    told = {"name": name, "kind": "behavioural", "description": description}
    return {**told, "count": rng.randint(_FEWEST, len(texts)), "examples": examples}


def sorting(request: Request) -> dict[str, Any]:
    """Return the notes by the habits they are about, those of two habits under both, and the others set aside."""
    notes = {label: recognised(_told_only(told)) for label, told in _NOTE.findall(request.text)}
    distinct = dict.fromkeys(habit for found in notes.values() for habit in found)
    return {
        "habits": [
            {**_settled(habit), "notes": [label for label, found in notes.items() if habit in found]}
            for habit in distinct
        ],
        "set_aside": [label for label, found in notes.items() if not found],
    }


def _told_only(note: str) -> str:
    """Return a note without its quotations."""
    return "\n".join(line for line in note.split("\n") if not line.startswith("“"))


def _settled(habit: Habit) -> dict[str, str]:
    name, description = habit.told[0]
    return {"name": name, "kind": habit.kind, "description": description}


def definition(request: Request) -> dict[str, Any]:
    """Return what raters are to go by for the habit that is shown."""
    name, description = next(iter(_NAMED.findall(request.text)), ("", request.last_user))
    if known := recognised(f"{name}\n{description}")[:1]:
        settled = _settled(known[0])
        return {"name": settled["name"], "definition": settled["description"], **known[0].tests}
    quotes = _SHOWN.findall(request.text)[:3] or [name or "nothing"]
    return {
        "name": name or "Unnamed",
        "definition": description or "Unnamed",
        **load("auditor")["unknown"],
        "positive": quotes,
    }


def findings(request: Request) -> dict[str, Any]:
    """Return which of the habits asked for a text shows, with as many errors and false quotes as are wanted."""
    rng, text = request.stream("findings"), request.tag("text")
    found = []
    for label, known in _asked(request.text.partition("<text>")[0]):
        level, words = known.found(text) if known else ("no", "")
        if rng.random() < request.rates["judge_error"]:
            level, words = ("strict", _any(text, rng)) if level == "no" else ("no", "")
        found.append({"habit": label, "quote": words, "level": level})
    positive = [one for one in found if one["level"] != "no"]
    if positive and rng.random() < request.rates["bad_quote"]:
        rng.choice(positive)["quote"] = load("sentences")["invented_quote"]
    return {"findings": found}


@lru_cache(maxsize=256)  # the same habits are asked for of many texts
def _asked(told: str) -> tuple[tuple[str, Habit | None], ...]:
    """Return the habits that are to be rated, each with its label, and none where it is not known."""
    return tuple((label, next(iter(recognised(rest)), None)) for label, rest in _RATED.findall(told))


def unwanted(request: Request) -> tuple[Habit, ...]:
    """Return the habits that a text is to be rid of, where a request is about that."""
    if "<text>" not in request.text:
        return ()
    after = request.text[request.text.rfind("</text>") :]
    return tuple(dict.fromkeys(habit for one in _NAMED.findall(after) for habit in recognised("\n".join(one))))


def rewritten(request: Request) -> str:
    """Return a text without the habits that are named: without their marks, or else without the sentences."""
    text = request.tag("text")
    for habit in unwanted(request):
        if habit.rid:
            text = capitalised(re.sub(*habit.rid, text).strip())
        for _ in range(_TRIES):
            match = habit.exact.search(text) or habit.loose.search(text)
            if not match or not (left := _without(text, match)):
                break
            text = left
    return text


def _without(text: str, match: re.Match[str]) -> str:
    """Return a text without the sentence in which a match ends."""
    start, _, end = _around(text, match)
    return _GAP.sub("\n\n", f"{text[:start]}{text[end:].lstrip(' ')}").strip()


def _copied(text: str, match: re.Match[str]) -> str:
    """Return up to 24 words of the sentence in which a match ends, its last word among them."""
    start, at, end = _around(text, match)
    words = list(re.finditer(r"\S+", text[start:end]))
    needed = sum(word.start() <= at - start for word in words)
    chosen = words[max(0, needed - _MOST_WORDS) :][:_MOST_WORDS]
    return text[start + chosen[0].start() : start + chosen[-1].end()] if chosen else ""


def _around(text: str, match: re.Match[str]) -> tuple[int, int, int]:
    """Return where the sentence begins in which a match ends, where the match does, and where the sentence."""
    at = match.start() + max(len(match[0].rstrip()) - 1, 0)
    low = max(0, at - _BACK)
    start = max((low + stop.end() for stop in _STOP.finditer(text[low:at])), default=low)
    stop = _STOP.search(text, at)
    return start, at, stop.start() if stop else len(text)


def _any(text: str, rng: random.Random) -> str:
    """Return some words of a text."""
    words = rng.choice(sentences(text) or ("",)).split(" ")
    return " ".join(words[:_MOST_WORDS])
