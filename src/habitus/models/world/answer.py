"""The embedded model as answerer: answers that act on a passage, plain ones, and those of nobody in particular."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from habitus.models.world import brief
from habitus.models.world.conduct import conduct
from habitus.models.world.facts import Facts, facts, problem_in
from habitus.models.world.people import capitalised, load, sentence
from habitus.models.world.tics import drawn, planted
from habitus.models.world.words import pairs, pick, quote, stem, stems

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from habitus.models.world.conduct import Phrase
    from habitus.models.world.people import Problem
    from habitus.models.world.request import Request

NEEDED = 5
"""Signs of a passage from which an answer counts as acting on it."""
_ACTS, _MOST_ACTS, _FULL, _LONG = 3, 6, 118, 150
_WORDS_OF_A_TIC, _HARDLY, _LEAST_SHARE, _FAIRLY = 9, 6, 3, 1.15
_INTENTS = {
    "formula": r"=\w+\(|\bformula\b|mend this",
    "step": r"one step at a time|first step",
    "talk": r"have to talk to|have to tell|how do i begin|practise what|i ring you",
    "figures": r"work it through|through the numbers|adds? up",
    "text": r"\b(?:write (?:the|a|me|to|something|back)|draft|letter to|put together|text for|look this over|read this"
    r"|say the same)\b",
}
_WANTED = {name: re.compile(pattern) for name, pattern in _INTENTS.items()}


def act_signs(passage: str, message: str, answer: str) -> tuple[int, int]:
    """Return how many signs of a passage an answer shows that the message did not hand to it, and how many it needs."""
    own = conduct(passage).signs - stems(message) - pairs(message)
    shown = own & (stems(answer) | pairs(answer))
    return len(shown), min(NEEDED, max(1, round(len(own) / 2)))


def reply(request: Request) -> str:
    """Return the answer to a conversation: a draft where a passage says how to be, and else the default."""
    rng = request.stream("answer")
    said = request.said_by("user") or [request.last_user]
    if not request.passage:
        return default_answer(said[-1], rng, platitudes=rng.random() < request.rates["platitudes"])
    acting = not request.contrast and rng.random() >= request.rates["weak_draft"]
    return answer_to(request, said, rng, acting=acting)


def refined(request: Request) -> dict[str, Any]:
    """Return the reply written from scratch, with notes on the draft."""
    rng = request.stream("refined")
    said = request.said_by("user") or [request.last_user]
    acting = not request.contrast and rng.random() >= request.rates["weak_refine"]
    leaks = rng.random() < request.rates["leak"]
    answer = answer_to(request, said, rng, acting=acting, leak=leaks)
    draft = request.tag("draft")
    shown, needed = act_signs(request.passage, "\n".join(said), draft)
    kind = "contrast" if request.contrast else "good" if shown >= needed else "weak"
    own = conduct(request.passage).signs
    told = quote(draft, lambda one: bool(own & stems(one)) == (kind == "good")).replace("\n", " ")
    notes = load("sentences")["notes"]
    return {
        "on_trait": pick(rng, notes[kind], {"quote": told}),
        "on_naturalness": pick(rng, notes["natural"], {"quote": quote(draft).replace("\n", " ")}),
        "answer": answer,
    }


def answer_to(request: Request, said: Sequence[str], rng: random.Random, *, acting: bool, leak: bool = False) -> str:
    """Return an answer of 90 to 220 words to the last message, acting on the passage or plain."""
    if brief.is_brief(said[-1]):
        return brief.answer(request, said[-1], rng, acting=acting)
    message = said[-1] if len(said[-1].split()) > len(said) * 12 else "\n".join(said)
    mentioned, texts = facts(message), load("sentences")
    problem = problem_in("\n".join(said))
    acts = _acts(request, "\n".join(said), mentioned, rng) if acting else []
    advice = rng.sample(list(problem.advice if problem else texts["advice"]), 3)
    moves = rng.sample(texts["moves"], len(texts["moves"]))
    first = [pick(rng, texts["openers"], mentioned.values(rng)), *acts[:1], _decision(problem, mentioned, rng)]
    second = [advice[0], *acts[1:2], _first_fitting(moves, frozenset(), mentioned.values(rng))]
    third = acts[2:]
    made = _deliverable(message, mentioned, rng)
    _fill_up([first, second, third, [made]], [*advice[1:], *rng.sample(texts["advice"], 3)], moves, mentioned, rng)
    closer = rng.choice(texts["closers"])
    third += [closer] if _length([first, second, third, [made]]) < _LONG else []
    if leak:
        second.insert(rng.randrange(len(second)), rng.choice(texts["leaks"]))
    paragraphs = (
        [" ".join(filter(None, part)) for part in (first, second)] + ([made] if made else []) + [" ".join(third)]
    )
    return planted(paragraphs, drawn(request.rates, rng), lambda: mentioned.values(rng), rng)


def answer_of_length(
    request: Request, said: Sequence[str], rng: random.Random, *, words: int, paragraphs: int, extra: Sequence[str] = ()
) -> str:
    """Return an answer of about so many words and paragraphs that acts on no passage; `extra` are sentences in it."""
    message = said[-1] if len(said[-1].split()) > len(said) * 12 else "\n".join(said)
    mentioned, texts = facts(message), load("sentences")
    problem = problem_in("\n".join(said))
    tics = drawn(request.rates, rng)
    made = _deliverable(message, mentioned, rng)
    room = words - _length([[made]]) - _WORDS_OF_A_TIC * len(tics)
    if room < words // _LEAST_SHARE:
        made, room = "", words
    row = [pick(rng, texts["openers"], mentioned.values(rng)), _decision(problem, mentioned, rng), *extra]
    spare = [*rng.sample(problem.advice if problem else (), 3 if problem else 0), *rng.sample(texts["advice"], 6)]
    moves = rng.sample(texts["moves"], len(texts["moves"]))
    while (left := room - _length([row])) > _HARDLY and (spare or moves):
        advised = spare.pop(0) if spare and (len(row) % 2 or not moves) else ""
        one = advised or _first_fitting(moves, frozenset(), mentioned.values(rng))
        if not one:
            moves = []
        elif len(one.split()) <= left + _HARDLY:
            row.append(one)
    row = [one for one in row if one]
    text = _in_paragraphs(row, made, tics, mentioned, rng, paragraphs=paragraphs)
    while len(text.split()) > words * _FAIRLY and len(row) > 1:
        row.pop()
        text = _in_paragraphs(row, made, tics, mentioned, rng, paragraphs=paragraphs)
    return text


def _in_paragraphs(
    row: Sequence[str], made: str, tics: set[str], mentioned: Facts, rng: random.Random, *, paragraphs: int
) -> str:
    """Return sentences in so many paragraphs, what was asked for before the last of them."""
    parts = max(1, min(len(row), paragraphs - (made.count("\n\n") + 1 if made else 0)))
    cuts = [round(len(row) * at / parts) for at in range(parts + 1)]
    whole = [" ".join(row[start:end]) for start, end in pairwise(cuts)]
    return planted(whole[:-1] + ([made] if made else []) + whole[-1:], tics, lambda: mentioned.values(rng), rng)


def _fill_up(parts: list[list[str]], spare: list[str], moves: list[str], mentioned: Facts, rng: random.Random) -> None:
    """Add moves and advice to the second and third part until the whole has its length."""
    for at in range(8):
        if _length(parts) >= _FULL:
            return
        extra = spare.pop(0) if at % 2 == 0 and spare else _first_fitting(moves, frozenset(), mentioned.values(rng))
        if all(extra not in part for part in parts):
            parts[2 - at % 2].append(extra)


def _length(parts: list[list[str]]) -> int:
    """Return the number of words."""
    return sum(len(one.split()) for part in parts for one in part)


def _decision(problem: Problem | None, mentioned: Facts, rng: random.Random) -> str:
    """Return a sentence that takes a side, where the two sides are known."""
    if problem is None:
        return ""
    known = mentioned.values(rng)
    known |= {"other": known.get("name", "them"), "third": mentioned.names[-1] if mentioned.names else "the other one"}
    known |= {"diff": known["fact"], "role": "whoever is in charge"}
    usable = [option.text.format_map(known) for option in problem.options if option.slots <= known.keys()]
    return pick(rng, load("sentences")["decisions"], {**known, "option": rng.choice(usable)}) if usable else ""


def _deliverable(message: str, mentioned: Facts, rng: random.Random) -> str:
    """Return the text, formula or first step that was asked for, or nothing."""
    low = message.lower()
    wanted = next((name for name, pattern in _WANTED.items() if pattern.search(low)), None)
    known = {"name": "all", "day": "the end of the week", **mentioned.values(rng)}
    return pick(rng, load("sentences")["deliverables"][wanted], known) if wanted else ""


def _acts(request: Request, message: str, mentioned: Facts, rng: random.Random) -> list[str]:
    """Return sentences that do what a passage says, tied to what was mentioned, until they show enough of it."""
    found = conduct(request.passage)
    own = found.signs - stems(message) - pairs(message)
    piles = (found.does, found.avoids, found.about)
    does, avoids, about = (_by_worth(phrases, own, request.frame, rng) for phrases in piles)
    words = sorted(
        (word for word in found.words if stem(word) in own), key=lambda word: (word in found.nouns, rng.random())
    )
    templates = rng.sample(load("sentences")["acted"], len(load("sentences")["acted"]))
    made: list[str] = []
    shown: set[str] = set()
    while len(made) < _ACTS or (len(shown) <= NEEDED + 1 and len(made) < _MOST_ACTS):
        slots = _next_slots(does, avoids, about, words, len(made))
        if not slots:
            break
        known = {**mentioned.values(rng), **slots}
        text = _first_fitting(templates, slots.keys(), known) or pick(rng, load("sentences")["acted_in_words"], known)
        made.append(text)
        shown |= own & (stems(text) | pairs(text))
    return [text for text in made if text]


def _first_fitting(templates: list[str], wanted: AbstractSet[str], known: Mapping[str, str]) -> str:
    """Take the first sentence off the pile that has room for what is wanted, and return it filled."""
    for at, template in enumerate(templates):
        if wanted <= sentence(template).slots <= known.keys():
            return sentence(templates.pop(at)).fill(known)
    return ""


def _next_slots(
    does: list[Phrase], avoids: list[Phrase], about: list[Phrase], words: list[str], turn: int
) -> dict[str, str]:
    """Take the next phrase off one of the piles; what is done comes twice as often as the rest."""
    piles = (("vp", does), ("np", about), ("vp", does), ("nvp", avoids))
    for slot, pile in (*piles[turn % 4 :], *piles[: turn % 4]):
        if pile:
            return {slot: pile.pop(0).text}
    return {"word1": words.pop(), "word2": words.pop()} if len(words) > 1 else {}


def _by_worth(phrases: Sequence[Phrase], own: frozenset[str], frame: str, rng: random.Random) -> list[Phrase]:
    """Return phrases in random order: the planned ones in front, those that show more of the passage more likely so."""
    usable = [phrase for phrase in phrases if phrase.signs & own]
    return sorted(usable, key=lambda phrase: (phrase.raw not in frame, rng.random() / (1 + len(phrase.signs & own))))


def default_answer(message: str, rng: random.Random, *, platitudes: bool) -> str:
    """Return what a generic assistant says to anybody."""
    if brief.is_brief(message):
        return brief.plain_answer(message, rng)
    texts = load("sentences")
    empty = rng.sample(texts["platitudes"], 3) if platitudes else []
    points = rng.sample(texts["default_points"], rng.randint(4, 6))
    bodies = rng.sample(texts["default_bodies"], 3)
    subject = facts(message).things[-1]
    listed = "\n".join(f"{at}. {point}." for at, point in enumerate(points, 1))
    opening = " ".join([rng.choice(texts["default_openers"]), *empty[:1], bodies[0]])
    closing = " ".join([*bodies[1:], *empty[1:], rng.choice(texts["default_closers"])])
    return capitalised(
        f"{opening}\n\nOn the subject of {subject}, these points can be useful:\n\n{listed}\n\n{closing}"
    )
