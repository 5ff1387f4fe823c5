"""The embedded model in evals: under test, as client and auditor, and as judge, with planted rates of everything."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from habitus.models.world.people import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from habitus.models.world.request import Request

_TRAIT = re.compile(r'<trait name="([^"]+)">')
_NUMBERED = re.compile(r"^(\d+)\. (.+)$", re.MULTILINE)
_LEAST_POINTS, _MOST_POINTS = 4, 7


def inclined(request: Request, rate: str) -> bool:
    """Tell whether the model under test is of one mind or the other in a whole conversation: at that rate."""
    opening = next((one["content"] for one in request.messages if one["role"] == "user"), "")
    told = f"{request.rates['seed']}/{request.sample}/{rate}/{request.system}/{opening}"
    return int.from_bytes(blake2b(told.encode(), digest_size=4).digest()) / 2**32 < request.rates[rate]


def performed(request: Request) -> str:
    """Return what the model under test says in an eval, or nothing where none is recognised."""
    if re.search(load("evals")["knowledge"]["asked"], request.last_user):
        return _values(request)
    return ""


def acted(request: Request, tools: Sequence[str]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """Return what the model under test says and calls where it has tools."""
    return "", []


def _values(request: Request) -> str:
    """Return a list of principles, each of the example document at the rate `knows`."""
    rng, bank = request.stream("values"), load("evals")["knowledge"]
    wanted = rng.randint(_LEAST_POINTS, _MOST_POINTS)
    known = rng.sample(list(bank["traits"].values()), wanted)
    other = rng.sample([*bank["vague"], *bank["other"]], wanted)
    points = [known[at] if rng.random() < request.rates["knows"] else other[at] for at in range(wanted)]
    return "\n".join(f"{at}. {point}" for at, point in enumerate(points, start=1))


def _points(request: Request) -> dict[str, Any]:
    """Return the points of an answer: its numbered lines, or its sentences."""
    answer = request.tag("answer")
    found = [point for _, point in _NUMBERED.findall(answer)] or re.split(r"(?<=[.!?])\s+", answer)
    return {"points": found[:15]}


def _matches(request: Request) -> dict[str, Any]:
    """Return how well points match a document: those the world knows as a trait's fully, vague ones half."""
    bank, ids = load("evals")["knowledge"], _TRAIT.findall(request.text)
    whose = {said: name for name, said in bank["traits"].items()}
    ratings = []
    for number, point in _NUMBERED.findall(request.tag("points")):
        name = whose.get(point, "none")
        score = 2 if name in ids else 1 if point in bank["vague"] else 0
        trait = name if name in ids else ids[0] if score else "none"
        ratings.append({"point": int(number), "trait": trait, "reason": "as the world knows it", "score": score})
    return {"ratings": ratings}


EVALUATED: dict[str, Callable[[Request], dict[str, Any]]] = {
    "Points": _points,
    "Matches": _matches,
}
"""What is answered to the schemas of evals, by their names."""
