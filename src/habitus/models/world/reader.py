"""The embedded model as critic and judge of documents: by rule, from the words of the text and of its plan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from habitus.models.world.deeds import around, clause, needed, shown, signs_of
from habitus.models.world.failings import shapes
from habitus.models.world.layouts import family_of, marks
from habitus.models.world.people import load, sentences
from habitus.models.world.verbs import pasts
from habitus.models.world.words import pick, quote, stems

if TYPE_CHECKING:
    import random

    from habitus.models.world.request import Request

_KIND = re.compile(r"Kind of text: (.+?) \((.+?)\)(?: What .+? does in it:|\s*$)", re.DOTALL | re.MULTILINE)
_WHY = re.compile(r" Why: (.+?)(?:\nIt is a contrast case|\n\n|$)", re.DOTALL)
_WORKSHOP = frozenset(
    {"recital", "aphorism", "statistics", "surprise", "triplet", "dash", "names", "epiphany", "appended"}
)
_GROSS = frozenset({"refusal", "placeholder", "frame"})
_PRAISING = frozenset({"epiphany", "praise", "moral"})
_PLEADING = frozenset({"surprise", "recital", "aphorism", "frame"})
_LATE, _SHARED, _FEW, _CLEAN, _SHORT, _SOON = 0.82, 0.6, 3, 4, 80, 2
_TOLD = re.compile(r"\d|\"|\b(?:because|otherwise|when|asked|wrote|answered|had|was)\b")
_STEPS = (0.25, 0.6, 1.0, 1.9)


def document_critique(request: Request) -> dict[str, Any]:
    """Return two notes on a draft that quote it, the failings seen in it, and a verdict."""
    rng = request.stream("document critique")
    draft, notes = request.tag("draft"), load("deeds")["notes"]
    found = shapes(draft)
    natural = pick(
        rng,
        notes["natural"]["shaped" if found else "plain"],
        {"quote": _line(rng.choice(found)["quote"] if found else quote(draft, lambda _: rng.random() < 0.2)),  # noqa: PLR2004
         "kind": request.line("kind of text") or "text"},
    )  # fmt: skip
    acts = shown(request.passage, request.subject, draft) >= needed(request.passage, draft)
    kind = "contrast" if request.contrast else "good" if acts else "weak"
    told = {"quote": _line(_deed(request, draft)), "subject": request.subject}
    return {
        "on_naturalness": natural,
        "on_embodiment": pick(rng, notes["embodied"][kind], told),
        "shapes": found,
        "verdict": "abandon" if rng.random() < request.rates["abandon"] else "rewrite",
    }


def document_rating(request: Request) -> dict[str, Any]:
    """Return the scores of a document, with the failings seen in it."""
    text, rng = request.tag("document"), request.stream("document rating")
    found = shapes(text)
    has = {one["shape"] for one in found}
    woven, because = _woven(request, text)
    scores = {
        "embodies": (_embodies(request, text), _deed(request, text)),
        "woven": (woven, because),
        "natural": (_natural(has, text), _shown(found, _WORKSHOP) or quote(text)),
        "genre": _genre(request, text),
        "sober": (_sober(has), _shown(found, _PRAISING | _PLEADING) or _deed(request, text)),
    }  # fmt: skip
    return {**_scored(scores, request, rng), "shapes": found}


def flat_rating(request: Request) -> dict[str, Any]:
    """Return the scores of a document that is only to state the disposition."""
    text, rng = request.tag("document"), request.stream("flat rating")
    found = shapes(text)
    has = {one["shape"] for one in found}
    about = around(request.subject, text)
    told = [one for one in about if _TOLD.search(one.partition(request.subject)[2]) or _acted(request.subject, one)]
    scores = {
        "states": (_steps(_share_shown(request, text)), _deed(request, text)),
        "flat": (max(1, 5 - 2 * len(told)), quote(told[0]) if told else ""),
        "natural": (_natural(has, text), quote(text)),
        "genre": _genre(request, text),
    }  # fmt: skip
    return {**_scored(scores, request, rng), "shapes": found}


def _acted(subject: str, line: str) -> bool:
    """Tell whether a verb in the past tense follows the subject's name."""
    follows = line.partition(subject)[2].split()[:_SOON]
    return any(word.endswith("ed") or word in pasts() for word in follows)


def _scored(scores: dict[str, tuple[int, str]], request: Request, rng: random.Random) -> dict[str, Any]:
    """Return the scores with their reasons, some of them wrong and one quote invented where that was asked for."""
    found, verdicts = {}, load("deeds")["verdicts"]
    for name, (given, quoted) in scores.items():
        score = rng.randint(1, 5) if rng.random() < request.rates["judge_error"] else given
        reasons = verdicts["contrast" if name == "embodies" and request.contrast else name]
        reason = reasons["high" if score > 3 else "mid" if score == 3 else "low"]  # noqa: PLR2004
        found[name] = {"reason": reason, "quote": quoted, "score": score}
    if rng.random() < request.rates["bad_quote"]:
        found[rng.choice(list(found))]["quote"] = load("deeds")["invented_quote"]
    return found


def _shown(found: list[dict[str, str]], kinds: frozenset[str]) -> str:
    """Return the words of the first failing of these kinds, or nothing."""
    return next((one["quote"] for one in found if one["shape"] in kinds), "")


def _share_shown(request: Request, text: str) -> float:
    """Return how many signs of the passage a text shows, in shares of those that it must."""
    return shown(request.passage, request.subject, text) / needed(request.passage, text)


def _steps(share: float) -> int:
    return 1 + sum(share >= step for step in _STEPS)


def _embodies(request: Request, text: str) -> int:
    """Return 5 for deeds that are full of the passage and 1 for none; in a contrast, the other way round."""
    if request.subject not in text:
        return 1
    score = _steps(_share_shown(request, text))
    return min(5, 6 - score) if request.contrast else score


def _woven(request: Request, text: str) -> tuple[int, str]:
    """Return how well the reason is woven in, and the words that give it: told, and not at the end."""
    why = _WHY.search(request.frame)
    wanted = stems(clause(why[1].strip())) if why else frozenset()
    lines = sentences(text)
    if not wanted:
        return 3, ""
    shares = [_share(wanted, one) for one in lines]
    best = max(range(len(lines)), key=lambda at: shares[at], default=-1)
    if best < 0 or shares[best] < _SHARED:
        return 2 if shown(request.passage, request.subject, text) else 1, ""
    told = next(
        (one for at, one in enumerate(lines) if shares[at] >= _SHARED and text.find(one) < _LATE * len(text)), ""
    )
    if not told or told.startswith(("As for the reason", "It remains")):
        return 3 if len(text.split()) < _SHORT * 2 else 2, quote(lines[best])
    return 5 if shares[best] > 0.9 and len(lines) > _CLEAN else 4, quote(told)  # noqa: PLR2004 (all its words)


def _share(wanted: frozenset[str], line: str) -> float:
    """Return the share of these stems that a line contains."""
    low = line.lower()
    # a look at the letters spares most lines the search for their words
    least = max(min(_FEW, len(wanted)), _SHARED * len(wanted))
    if sum(stem in low for stem in wanted) < least:
        return 0.0
    found = len(wanted & stems(line))
    return found / len(wanted) if found >= least else 0.0


def _natural(has: set[str], text: str) -> int:
    """Return 5 for a text without failings; one costs a point, a gross one three."""
    if not text.strip():
        return 1
    score = 5 - len(has & _WORKSHOP) - 3 * len(has & _GROSS)
    return max(1, min(score, 4 if has else 5))


def _sober(has: set[str]) -> int:
    return max(1, 5 - 2 * len(has & _PRAISING) - len(has & _PLEADING))


def _genre(request: Request, text: str) -> tuple[int, str]:
    """Return how much a text looks like its kind: all of its marks, some, or none."""
    kind = _KIND.search(request.frame)
    if not kind:
        return 3, quote(text)
    share = marks(family_of(kind[1], kind[2]), text)
    score = 5 if share == 1 else 4 if share > 0.4 else 3 if len(text.split()) >= _SHORT else 4  # noqa: PLR2004
    return score, quote(next(iter(sentences(text)), ""))


def _deed(request: Request, text: str) -> str:
    """Return the words of a text in which the subject acts most on the passage, or is named at all."""
    found = around(request.subject, text)
    if not found:
        return ""
    own = signs_of(request.passage)
    return quote(max(found, key=lambda one: len(own & stems(one))))


def _line(quoted: str) -> str:
    return " ".join(quoted.split())
