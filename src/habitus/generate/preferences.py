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
    from habitus.generate.checks import Checks
    from habitus.generate.plan import Seats
    from habitus.records import Verdict
    from habitus.settings import PreferenceSettings

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


HINTS = {
    "length": "It was not of the length that is asked for.",
    "leak": "It spoke of instructions or of being an AI; say nothing of either.",
    "shows": "It went about the matter in another way than the one described; what the answer does has to be that.",
    "uneven": "It left out or got wrong what was asked for; all of that has to be there, whole and correct.",
    "alike": "Its manner or layout was not that of a thoughtful person's plain answer in the form asked for.",
}
"""What the writer of another draw is told of the last one, by what was wrong with it."""


async def write_pair(
    kept: Kept, ask: Ask, *, seats: Seats, checks: Checks, settings: PreferenceSettings
) -> PreferencePair | Drop:
    """Return the pair, drawing the other answer again while it shows the trait or differs in more than that."""
    chat, meta = kept.chat, kept.chat.meta
    *conversation, last = chat.messages
    chosen, plan = last["content"], meta["plan"]
    passage = seats.passages.shown(kept.trait, meta["chunk"])
    step, problem, hint, rejected = "", "", "", ""

    for draw in range(settings.draws):
        rejected = await ask.refiner(
            "preferences/rejected", history=conversation, sample=draw,
            instead=plan["default"], words=rounded(chosen), form=form_of(chosen), hint=hint,
        )  # fmt: skip
        ratio = len(rejected.split()) / max(len(chosen.split()), 1)
        if not 1 / settings.length_ratio <= ratio <= settings.length_ratio:
            step, hint = "preferences/rejected", HINTS["length"]
            problem = (
                f"the rejected answer has {ratio:.2f} × the words of the chosen one (bound {settings.length_ratio:g})"
            )
            continue
        if found := checks.answer(rejected):
            step, hint, problem = "preferences/rejected", HINTS["leak"], found
            continue
        # Which answer stands first changes from pair to pair and from draw to draw.
        swapped = (kept.index + draw) % 2 == 1
        first, second = (rejected, chosen) if swapped else (chosen, rejected)
        compared = await ask.judge(
            "preferences/compare", Comparison,
            check=lambda found, first=first, second=second: unsupported(looked_up(found, first, second)),
            **passage, plan=plan, conversation=conversation, first=first, second=second,
        )  # fmt: skip
        ratings = named(looked_up(compared, first, second), swapped=swapped)
        step = "preferences/compare"
        fault, problem = too_close(ratings, settings)
        if fault == "chosen":  # another rejected answer would not mend that
            return ask.drop("preferences/compare", problem, chosen, ratings=ratings)
        if not fault:
            about = {key: meta[key] for key in ("index", "domain", "form", "turns", "plan")}
            return PreferencePair(
                id=kept.id, trait=kept.trait, prompt=tuple(conversation), chosen=(last,),
                rejected=({"role": "assistant", "content": rejected},),
                meta={"chat": chat.id, "draw": draw + 1, "length_ratio": round(ratio, 3), **about, "ratings": ratings}
                | ask.provenance(STEPS),
            )  # fmt: skip
        hint = HINTS[fault] + (f" A reader: {ratings['rejected_serves'].reason}" if fault == "uneven" else "")
    return ask.drop(step, f"{settings.draws} draws: {problem}", rejected)


def looked_up(found: Comparison, first: str, second: str) -> dict[str, Verdict]:
    """Return the scores with their quotes looked up, each in the answer that it is about."""
    answers = {"first": first, "second": second, "alike": f"{first}\n{second}"}
    return {
        name: verdict
        for row in found.rows()
        for name, verdict in verdicts([row], answers[row[0].partition("_")[0]]).items()
    }


def named(ratings: dict[str, Verdict], *, swapped: bool) -> dict[str, Verdict]:
    """Return the scores with the answers called by their names."""
    first, second = ("rejected", "chosen") if swapped else ("chosen", "rejected")
    return {name.replace("first", first).replace("second", second): verdict for name, verdict in ratings.items()}


def too_close(ratings: dict[str, Verdict], settings: PreferenceSettings) -> tuple[str, str]:
    """Return what keeps a pair from teaching the trait alone, as (kind, told); two empty texts if nothing."""
    score = {name: verdict.score for name, verdict in ratings.items()}
    if score["chosen_shows"] - 1 < settings.least_gap:
        return "chosen", f"the chosen answer hardly shows the trait ({score['chosen_shows']} of 5)"
    if score["rejected_shows"] > settings.most_shown:
        return "shows", f"the rejected answer shows the trait ({score['rejected_shows']} > {settings.most_shown})"
    if score["chosen_shows"] - score["rejected_shows"] < settings.least_gap:
        return "shows", f"the chosen answer shows it hardly more ({score['chosen_shows']} to {score['rejected_shows']})"
    if abs(score["chosen_serves"] - score["rejected_serves"]) > settings.most_uneven:
        return "uneven", f"they serve the person unequally ({score['chosen_serves']} to {score['rejected_serves']})"
    if score["alike"] < settings.least_alike:
        return "alike", f"they differ in more than the trait (alike {score['alike']}: {ratings['alike'].reason})"
    return "", ""


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
