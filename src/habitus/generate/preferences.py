"""The preferences recipe: beside the answer of a kept chat, one to the same message that does not show the trait.

The answer that is to be preferred is there already and costs nothing. Chats in which the trait rightly does not show
(`contrast`) give no pair: there an answer without it is the right one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from habitus.generate.answers import Score, Scores
from habitus.generate.checks import unsupported, verdicts
from habitus.records import Chat, Drop, PreferencePair, Role

if TYPE_CHECKING:
    from habitus.ask import Ask
    from habitus.config import PreferenceSettings
    from habitus.generate.checks import Checks
    from habitus.generate.plan import Seats
    from habitus.records import Verdict

STEPS: dict[str, Role] = {"preferences/rejected": "refiner", "preferences/compare": "judge"}
"""The steps in order, each with the role that takes it. The rejected answer comes from the role that gave the chosen
answer its wording: otherwise a pair would teach the one model's voice over the other's."""


class Comparison(Scores):
    """Two answers, compared by someone who does not know which is which."""

    first_shows: Score
    first_serves: Score
    second_shows: Score
    second_serves: Score
    alike: Score


SHAPES = (Comparison,)


class Kept(BaseModel):
    """A kept chat that waits for its other answer."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="the pair's, not the chat's")
    index: int
    trait: str
    chat: Chat


async def write_pair(
    kept: Kept, ask: Ask, *, seats: Seats, checks: Checks, settings: PreferenceSettings
) -> PreferencePair | Drop:
    """Return the pair, drawing the other answer again while it shows the trait or differs in more than that."""
    chat, meta = kept.chat, kept.chat.meta
    *conversation, last = chat.messages
    chosen, plan = last["content"], meta["plan"]
    passage = seats.passages.shown(kept.trait, meta["chunk"])
    problem, rejected = "", ""

    for draw in range(settings.draws):
        # Only the first draw is left to itself; later ones are told what a generic answer was planned to do.
        rejected = await ask.refiner(
            "preferences/rejected", history=conversation, sample=draw,
            words=rounded(chosen), form=form_of(chosen), instead=plan["default"] if draw else "",
        )  # fmt: skip
        ratio = len(rejected.split()) / max(len(chosen.split()), 1)
        if found := length_problem(ratio, settings.length_ratio) or checks.answer(rejected):
            problem = found
            continue
        # Which answer stands first changes from pair to pair and from draw to draw.
        swapped = (kept.index + draw) % 2 == 1
        first, second = (rejected, chosen) if swapped else (chosen, rejected)
        both = f"{first}\n{second}"
        compared = await ask.judge(
            "preferences/compare", Comparison, check=lambda found, both=both: unsupported(verdicts(found.rows(), both)),
            **passage, plan=plan, conversation=conversation, first=first, second=second,
        )  # fmt: skip
        ratings = named(verdicts(compared.rows(), both), swapped=swapped)
        if found := too_close(ratings, settings):
            problem = found
            continue
        about = {key: meta[key] for key in ("index", "domain", "form", "turns", "plan")}
        return PreferencePair(
            id=kept.id, trait=kept.trait, prompt=tuple(conversation), chosen=(last,),
            rejected=({"role": "assistant", "content": rejected},),
            meta={"chat": chat.id, "draw": draw + 1, "length_ratio": round(ratio, 3), **about, "ratings": ratings}
            | ask.provenance(STEPS),
        )  # fmt: skip
    return ask.drop("preferences/compare", f"{settings.draws} draws: {problem}", rejected)


def named(ratings: dict[str, Verdict], *, swapped: bool) -> dict[str, Verdict]:
    """Return the scores with the answers called by their names."""
    first, second = ("rejected", "chosen") if swapped else ("chosen", "rejected")
    return {name.replace("first", first).replace("second", second): verdict for name, verdict in ratings.items()}


def length_problem(ratio: float, most: float) -> str | None:
    """Say how far two answers are apart in length."""
    if 1 / most <= ratio <= most:
        return None
    return f"the rejected answer has {ratio:.2f} × the words of the chosen one (bound {most:g})"


def too_close(ratings: dict[str, Verdict], settings: PreferenceSettings) -> str | None:
    """Say why a pair does not teach the trait, or teaches something else besides."""
    score = {name: verdict.score for name, verdict in ratings.items()}
    if score["rejected_shows"] > settings.most_shown:
        return f"the rejected answer shows the trait ({score['rejected_shows']} > {settings.most_shown})"
    if score["chosen_shows"] - score["rejected_shows"] < settings.least_gap:
        return f"the chosen answer shows it hardly more ({score['chosen_shows']} to {score['rejected_shows']})"
    if abs(score["chosen_serves"] - score["rejected_serves"]) > settings.most_uneven:
        return f"they serve the person unequally ({score['chosen_serves']} to {score['rejected_serves']})"
    if score["alike"] < settings.least_alike:
        return f"they differ in more than the trait (alike {score['alike']}: {ratings['alike'].reason})"
    return None


def rounded(answer: str) -> int:
    """Return an answer's length in words, to the nearest ten."""
    return max(10, round(len(answer.split()) / 10) * 10)


def form_of(answer: str) -> str:
    """Return what an answer looks like, as an instruction to write another of that form."""
    paragraphs = len([part for part in re.split(r"\n\s*\n", answer) if part.strip()])
    parts: list[Any] = [f" in {paragraphs} paragraph{'s' if paragraphs > 1 else ''}"]
    marks = {
        "a list": r"^\s*(?:[-*•]|\d{1,2}[.)]) ",
        "a table": r"^\s*\|.+\|\s*$",
        "code": r"^\s*```",
        "headings": r"^#{1,6} ",
        "bold type": r"\*\*[^*\n]+\*\*",
    }
    has = [name for name, pattern in marks.items() if re.search(pattern, answer, re.MULTILINE)]
    lacks = [name for name in marks if name not in has]
    if has:
        parts.append(f", with {' and '.join(has)}")
    parts.append(f", without {', '.join(lacks)}" if lacks else "")
    return "".join(parts)
