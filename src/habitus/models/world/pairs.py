"""The embedded model in the preferences recipe and the plain control: answers without a passage, and two compared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from habitus.models.world import brief
from habitus.models.world.answer import act_signs, answer_of_length, answer_to
from habitus.models.world.conduct import conduct
from habitus.models.world.judge import habits, helpful
from habitus.models.world.people import load
from habitus.models.world.tics import TICS
from habitus.models.world.words import pick, quote, stems

if TYPE_CHECKING:
    from habitus.models.world.request import Request

_ASKED = re.compile(r"\babout (\d+)(?:\.\d+)? words(?: in (\d+) paragraph)?")
_FAR_OFF = (0.45, 1.9)
_EVEN, _UNEVEN, _FAR = 1.25, 1.5, 1.8
_SIGNS_OF_A_VIRTUE = 1
_SHOWN = (0.25, 0.6, 1.0, 1.8)


def asked_length(request: Request) -> tuple[int, int] | None:
    """Return the words and paragraphs that an answer to a message is to have, or nothing where none are named."""
    found = _ASKED.search(request.system)
    return (int(found[1]), int(found[2] or 3)) if found and "<trait" not in request.system else None


def rejected(request: Request, words: int, paragraphs: int) -> str:
    """Return an answer to the last message by somebody without the disposition, of about that length and form."""
    rng = request.stream("rejected")
    said = request.said_by("user") or [request.last_user]
    if brief.is_brief(said[-1]):
        return brief.plain_answer(said[-1], rng)
    shows = rng.random() < request.rates["weak_rejected"]
    factor = rng.choice(_FAR_OFF) if rng.random() < request.rates["uneven"] else rng.uniform(0.88, 1.12)
    virtues = rng.sample(load("pairs")["virtues"], 4) if shows else []
    return answer_of_length(request, said, rng, words=round(words * factor), paragraphs=paragraphs, extra=virtues)


def plain_refined(request: Request) -> dict[str, Any]:
    """Return the reply written from scratch where no disposition is asked for, with notes on the draft."""
    rng = request.stream("plain refined")
    said = request.said_by("user") or [request.last_user]
    draft, texts = request.tag("draft"), load("pairs")
    leak = rng.random() < request.rates["leak"]
    told = _line(quote(draft, lambda _: rng.random() < 0.3))  # noqa: PLR2004 (any sentence)
    return {
        "on_request": pick(rng, texts["on_request"], {"quote": told}),
        "on_naturalness": pick(rng, load("sentences")["notes"]["natural"], {"quote": _line(quote(draft))}),
        "answer": answer_to(request, said, rng, acting=False, leak=leak),
    }


def comparison(request: Request) -> dict[str, Any]:
    """Return what two answers do for the person, and how alike they are in all but the disposition."""
    rng, texts = request.stream("comparison"), load("pairs")
    asked = "\n\n".join(request.said_by("user"))
    first, second = request.tag("first_answer"), request.tag("second_answer")
    own = conduct(request.passage).signs
    found: dict[str, Any] = {}
    for name, answer in (("first", first), ("second", second)):
        shows = _shows(request.passage, asked, answer)
        found[f"{name}_shows"] = _score(
            "shows", shows, quote(answer, lambda one: bool(own & stems(one))) if shows > 1 else ""
        )
        found[f"{name}_serves"] = _score(
            "serves", helpful(asked, [answer]), quote(answer, lambda one: bool(stems(one) & stems(asked)))
        )
    alike = _alike(first, second)
    found["alike"] = _score("alike", alike, quote(max(first, second, key=len)) if alike < 5 else "")  # noqa: PLR2004
    for one in found.values():
        if rng.random() < request.rates["judge_error"]:
            one["score"] = rng.randint(1, 5)
    if rng.random() < request.rates["bad_quote"]:
        found[rng.choice(list(found))]["quote"] = texts["invented_quote"]
    return found


def _score(name: str, score: int, quoted: str) -> dict[str, Any]:
    reasons = load("pairs")["verdicts"][name]
    return {"reason": reasons["high" if score > 3 else "mid" if score == 3 else "low"], "quote": quoted, "score": score}  # noqa: PLR2004


def _shows(passage: str, asked: str, answer: str) -> int:
    """Return how much an answer shows: signs of the passage, and sentences that most dispositions would prompt."""
    signs, wanted = act_signs(passage, asked, answer)
    signs += _SIGNS_OF_A_VIRTUE * sum(one in answer for one in load("pairs")["virtues"])
    return 1 + sum(signs / wanted >= step for step in _SHOWN)


def _alike(first: str, second: str) -> int:
    """Return 5 for answers of one length, layout and manner, and less for every difference in these."""
    counts = sorted((len(first.split()), len(second.split())))
    ratio = counts[1] / max(counts[0], 1)
    length = (ratio > _EVEN) + (ratio > _UNEVEN) + (ratio > _FAR)
    layout = abs(first.count("\n\n") - second.count("\n\n")) > 1
    manner = sum(tic.detect(first) != tic.detect(second) for tic in TICS.values())
    stock = abs(habits(first) - habits(second)) > 1
    return max(1, 5 - length - layout - (manner > 1) - (manner > 3) - stock)  # noqa: PLR2004


def _line(quoted: str) -> str:
    return quoted.replace("\n", " ")
