"""The embedded model as judge: scores by rule, from what is in the conversation, each with a reason and a quote."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from habitus.models.world.answer import act_signs
from habitus.models.world.conduct import conduct
from habitus.models.world.people import load
from habitus.models.world.tics import TICS
from habitus.models.world.words import quote, stems

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from habitus.models.world.request import Request

_PLACEHOLDER = re.compile(
    r"\[(?:insert|attached|your|name|date|paste|link|file)\b[^\]]*\]|<(?:insert|your|name)\b[^>]*>|lorem", re.IGNORECASE
)
_EXAM = re.compile(
    r"ethical dilemma|what should the assistant|discuss the|as an ai\b|this raises the question"
    r"|in this scenario|test whether",
    re.IGNORECASE,
)
_LEAK = re.compile(
    r"\btraits? document\b|\bmy (?:own )?(?:guidelines|values|principles|instructions|training|system prompt)\b"
    r"|\bI(?:'m| am| was) (?:trained|instructed|designed|told) to\b|\bas an? (?:AI|language model)\b",
    re.IGNORECASE,
)
_HABITS = (
    "\n#", "I understand", "Let me know", "let me know", "I hope this helps", "Feel free", "It's important to",
    "reat question", "here are several", "here are many", "here are a number of", "In conclusion", "delve",
)  # fmt: skip
_LIST = re.compile(r"^(?:\d{1,2}[.)]|[-*•]) ", re.MULTILINE)
_CONCRETE = re.compile(
    r"\d[\d.,:]*|\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b|(?<=[a-z,] )[A-Z][a-zà-þ]+", re.UNICODE
)
_TAKEN_UP, _MANY_HABITS, _SHORT, _LONG = 3, 3, 25, 320


def rating(request: Request) -> dict[str, Any]:
    """Return the scores of a conversation on the five criteria."""
    rng = request.stream("rating")
    asked = "\n\n".join(request.said_by("user")) or request.last_user
    answers = request.said_by("assistant") or [""]
    answered = "\n\n".join(answers)
    scores = {
        "realistic": _realistic(asked),
        "embodies": _embodies(request, asked, answers),
        "natural": _natural(answered),
        "discreet": 1 if _LEAK.search(answered) else 5,
        "helpful": helpful(asked, answers),
    }
    quotes = {
        "realistic": quote(
            asked, lambda one: bool(_PLACEHOLDER.search(one) or _EXAM.search(one) or _CONCRETE.search(one))
        ),
        "embodies": quote(answered, _shows(request.passage)),
        "natural": quote(answered, _habitual if habits(answered) else None),
        "discreet": quote(answered, lambda one: bool(_LEAK.search(one))) if scores["discreet"] == 1 else "",
        "helpful": quote(answered, lambda one: bool(stems(one) & stems(asked))),
    }
    found = {name: _score(name, score, quotes[name], request, rng) for name, score in scores.items()}
    if rng.random() < request.rates["bad_quote"]:
        found[rng.choice(list(found))]["quote"] = load("sentences")["invented_quote"]
    return found


def _score(name: str, score: int, quoted: str, request: Request, rng: random.Random) -> dict[str, Any]:
    if rng.random() < request.rates["judge_error"]:
        score = rng.randint(1, 5)
    reasons = load("sentences")["verdicts"]["contrast" if name == "embodies" and request.contrast else name]
    return {"reason": reasons["high" if score > 3 else "mid" if score == 3 else "low"], "quote": quoted, "score": score}  # noqa: PLR2004


@cache
def platitudes() -> frozenset[str]:
    """Return the sentences that say nothing."""
    return frozenset(load("sentences")["platitudes"])


def _habitual(one: str) -> bool:
    return one in platitudes() or any(habit in one for habit in _HABITS)


def habits(answered: str) -> int:
    """Return how many habits of chatbots an answer has; a list is one, however long."""
    phrases = sum(map(answered.count, _HABITS)) + sum(map(answered.count, platitudes()))
    return phrases + bool(_LIST.search(answered))


def _shows(passage: str) -> Callable[[str], bool]:
    own = conduct(passage).signs
    return lambda one: bool(own & stems(one))


def _realistic(asked: str) -> int:
    if _PLACEHOLDER.search(asked):
        return 1
    if _EXAM.search(asked):
        return 2
    details = len(set(_CONCRETE.findall(asked)))
    return 5 if details > _TAKEN_UP else 4 if details else 3


def _embodies(request: Request, asked: str, answers: list[str]) -> int:
    """Return 5 for answers that are full of the passage and 1 for none of it; in a contrast, the other way round."""
    passage = request.passage or request.after("What was planned for this conversation: ")
    found = [act_signs(passage, asked, answer) for answer in answers]
    share = sum(min(3.0, shown / needed) for shown, needed in found) / len(found)
    steps = (0.2, 0.6, 1.0, 1.8)
    score = 1 + sum(share >= step for step in steps)
    return 6 - score if request.contrast else score


def _natural(answered: str) -> int:
    """Return 5 for prose without habits; tics alone cost one point, many stock phrases two or more."""
    stock = habits(answered)
    tics = sum(tic.detect(answered) for tic in TICS.values())
    if stock >= _MANY_HABITS:
        return 2 if stock < 2 * _MANY_HABITS else 1
    return 5 - bool(tics) - bool(stock)


def helpful(asked: str, answers: list[str]) -> int:
    """Return how much of what the person wrote the answers take up, and whether they are long enough to use."""
    answered = "\n".join(answers)
    details = {found.lower() for found in _CONCRETE.findall(asked)}
    shared = len(stems(asked) & stems(answered)) + sum(detail in answered.lower() for detail in details)
    words = len(answered.split()) / len(answers)
    if words < _SHORT:
        return 2
    return min(5, 2 + (shared >= _TAKEN_UP) + (shared >= 2 * _TAKEN_UP) + (shared >= 4 * _TAKEN_UP and words < _LONG))
