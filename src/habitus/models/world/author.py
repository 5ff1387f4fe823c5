"""The embedded model as author and critic: plans, people, first messages, criticism of them, later messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from habitus.models.world import brief
from habitus.models.world.conduct import conduct
from habitus.models.world.facts import facts
from habitus.models.world.people import ask, capitalised, load, problems, sentence, sentences, values
from habitus.models.world.voice import Told, in_voice
from habitus.models.world.words import pick, quote

if TYPE_CHECKING:
    import random

    from habitus.models.world.people import Problem
    from habitus.models.world.request import Request

_SEAT = re.compile(r"Seat \d+\. Field: (.+?)\. Kind of request: (.+?)\.\s(.*?)(?=Seat \d+\. Field: |\Z)", re.DOTALL)
_OWN_WORDS = "In their own words: "
_PASTED = "They paste:"
_NEEDS_PASTE = re.compile(r"looked over|summaris|received|interpret|translat|tone|paste|quote", re.IGNORECASE)
_ROLE = re.compile(r"\. (The [^,.]+ near [^,.]+),")
_CALLED = re.compile(r" Called ([^.]+)\.")
_FIELD = re.compile(r"What they do all day: (.+?)\. ")


def plans(request: Request) -> dict[str, Any]:
    """Return one plan for each seat that the request lists."""
    rng = request.stream("plans")
    seats = _SEAT.findall(request.frame) or [("everyday life", "advice", "")]
    pool = problems()
    chosen = rng.sample(pool, len(seats)) if len(seats) <= len(pool) else rng.choices(pool, k=len(seats))
    return {
        "plans": [
            _plan(rng, request.passage, field, problem, contrast="*contrast*" in rest)
            for (field, _, rest), problem in zip(seats, chosen, strict=True)
        ]
    }


def _plan(rng: random.Random, passage: str, field: str, problem: Problem, *, contrast: bool) -> dict[str, str]:
    wordings = load("sentences")["plans"]
    known = {
        "domain": field,
        "label": problem.label,
        "cost": problem.cost,
        "ordinal": rng.choice(load("sentences")["ordinals"]),
    }
    known |= _aspect(rng, passage)
    parts = {"what": "contrast", "how": "contrast_how", "why": "contrast_why"} if contrast else {}
    return {part: pick(rng, wordings[parts.get(part, part)], known) for part in ("what", "how", "why", "default")}


def _aspect(rng: random.Random, passage: str) -> dict[str, str]:
    """Return one aspect of the passage, as far as it can be put into words."""
    found = conduct(passage)
    known = {}
    if found.does:
        known["raw"] = rng.choice(found.does).raw
    if found.avoids:
        known["rawnot"] = rng.choice(found.avoids).raw
    words = found.nouns if len(found.nouns) > 1 else found.words
    if found.about:
        known["np"] = max(rng.choices(found.about, k=2), key=lambda phrase: len(phrase.signs)).raw
    else:
        known["np"] = rng.choice(words or ("the plain answer",))
    if len(found.nouns) > 1 or not found.does:
        known |= dict(zip(("word1", "word2"), rng.sample(words, min(2, len(words))), strict=False))
    return known


def sketch(request: Request) -> dict[str, Any]:
    """Return the person behind a planned message, and what happened to them."""
    rng = request.stream("sketch")
    field = request.after("It takes place in this field: ").split(". The person wants: ")[0] or "everyday life"
    form = request.after("The person wants: ").split(". They write like this: ")[0]
    voice = request.after("They write like this: ").split(";")[0]
    problem = _planned(request.line("what"), rng)
    known = values(rng, field)
    happened, asked = _brief(request)
    story = [rng.choice(problem.scenes).fill(known)]
    story += [sentence(turn).fill(known) for turn in rng.sample(load("people")["turns"], 2)]
    wanted = _OWN_WORDS + ask(rng, form, problem, known)
    if _NEEDS_PASTE.search(form) or "pasted" in voice:
        wanted += f" {_PASTED}\n{rng.choice(load('people')['pastes']).format_map(known)}"
    who = "{role} at {place} near {town}, {years} years of it; {habit}.".format_map(known)
    name = request.after("Their name, should it ever come up, is ").split(";")[0]
    called = f" Called {name}." if name else ""
    return {
        "person": f"What they do all day: {field}. {who[0].upper()}{who[1:]}{called}",
        "situation": _OWN_WORDS + (happened or " ".join(story)),
        "request": _OWN_WORDS + asked if asked else wanted,
        "unsaid": _OWN_WORDS + sentence(problem.unsaid).fill(known),
    }


def _brief(request: Request) -> tuple[str, str]:
    """Return what happened and what is asked where the person is of the world's brief corner, or nothing."""
    rng = request.stream("brief")
    return brief.situation(rng, contrast=request.contrast) if rng.random() < request.rates["brief"] else ("", "")


def _planned(what: str, rng: random.Random) -> Problem:
    """Return the problem that a plan names, or any."""
    low = what.lower()
    return next((one for one in problems() if one.label in low), None) or rng.choice(problems())


def user_prompt(request: Request) -> dict[str, Any]:
    """Return the first message of the person in the request, or a near copy of a stock message."""
    rng = request.stream("prompt")
    if rng.random() < request.rates["near_duplicate"]:
        return {"prompt": sentence(rng.choice(load("people")["stock"])).text.format_map(values(rng, "everyday life"))}
    told = _told(request, rng)
    if told.request in {brief.NOW, brief.COLOUR}:
        return {"prompt": brief.message(rng, told.story[0], told.request)}
    return {"prompt": in_voice(request.line("how they write"), told, rng)}


def _told(request: Request, rng: random.Random) -> Told:
    person = request.line("person", "who you are")
    story = sentences(request.line("situation", "what happened").removeprefix(_OWN_WORDS)) or (request.last_user,)
    wanted = request.line("what they ask for", "what you came for").removeprefix(_OWN_WORDS)
    wanted, _, paste = (part.strip() for part in wanted.partition(_PASTED))
    # one half says a little of what it would rather keep back
    if rng.random() < 0.5:  # noqa: PLR2004
        unsaid = request.line("what they leave unsaid, or let slip only sideways").removeprefix(_OWN_WORDS)
        story += sentences(unsaid)
    role, field = _ROLE.search(person), _FIELD.search(person)
    who = role[1][0].lower() + role[1][1:] if role else ""
    if "pasted" in request.line("how they write") and not paste:
        paste = rng.choice(load("people")["pastes"]).format_map(values(rng, "everyday life"))
    called = _CALLED.search(person)
    return Told(
        field=field[1] if field else "this",
        who=who,
        name=called[1] if called else "",
        story=story,
        request=wanted or "what would you do?",
        paste=paste,
    )


def critique(request: Request) -> dict[str, Any]:
    """Return an editor's opinion of a message, and a new message where it is to be rewritten."""
    rng = request.stream("critique")
    message = request.tag("message")
    known = facts(message).values(rng)
    drawn = 1.0 if brief.is_brief(message) else rng.random()
    abandon, rewrite = request.rates["abandon"], request.rates["rewrite"]
    verdict = "abandon" if drawn < abandon else "rewrite" if drawn < abandon + rewrite else "keep"
    texts = load("sentences")
    quoted = quote(message, lambda _: rng.random() < 0.5).replace("\n", " ")  # noqa: PLR2004
    return {
        "realism": pick(rng, texts["realism"], {"quote": quoted}),
        "gap": pick(rng, texts["gap_missing" if verdict == "abandon" else "gap"], known),
        "verdict": verdict,
        "prompt": _rewritten(message, rng) if verdict == "rewrite" else "",
    }


def _rewritten(message: str, rng: random.Random) -> str:
    """Return a message with its facts told in other words and another order."""
    first, *rest = message.split("\n\n")
    lines = list(sentences(first)) if "\n" not in first else [first]
    if len(lines) > 2:  # noqa: PLR2004 (two sentences have one sensible order)
        head, middle, tail = lines[:1], lines[1:-2], lines[-2:]
        rng.shuffle(middle)
        lines = [*tail, *head, *middle] if rng.random() < 0.5 else [*head, *middle, *tail]  # noqa: PLR2004
    text = " ".join(lines)
    for old, new in load("sentences")["swaps"].items():
        if old in text and rng.random() < 0.8:  # noqa: PLR2004
            text = text.replace(old, new)
    opening = rng.choice(load("sentences")["fresh_openings"])
    if text != first and rng.random() < 0.5:  # noqa: PLR2004 (as many people come to the point at once)
        return "\n\n".join([text, *rest])
    text = f"{opening.lower().rstrip('.')}, {text}" if text[:1].islower() else f"{opening} {text}"
    return "\n\n".join([text, *rest])


def follow_up(request: Request) -> dict[str, Any]:
    """Return the person's next message, with something in it that was not on the table."""
    rng = request.stream("follow-up")
    said = facts("\n".join(request.said_by("user"))).values(rng)
    slip = request.line("what you have not said").removeprefix(_OWN_WORDS)
    field = _FIELD.search(request.line("who you are", "person"))
    turn = sentence(rng.choice(load("people")["turns"])).fill(values(rng, field[1] if field else "everyday life"))
    known = {**said, "turn": turn}
    if slip and slip not in " ".join(request.said_by("user")):
        known["slip"] = slip
    text = pick(rng, load("sentences")["follow_ups"], known)
    return {"message": _softly(text, request.line("how you write"))}


def _softly(text: str, voice: str) -> str:
    """Return a follow-up with the plainest marks of the person's voice."""
    if any(mark in voice for mark in ("lower case", "unpunctuated", "dictated")):
        return text.lower().rstrip(".")
    return capitalised(text)
