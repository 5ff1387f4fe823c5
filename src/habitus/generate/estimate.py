"""What a dataset will take: calls, tokens and dollars by step, before anything is spent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from habitus.forecast import forecast
from habitus.generate.kinds import FLAT, PLAIN, PREFERENCES
from habitus.generate.spread import USUAL_SHARE
from habitus.models.ledger import read_totals
from habitus.records import BLOCK
from habitus.traits.sentences import tokens

if TYPE_CHECKING:
    from habitus.forecast import StepEstimate
    from habitus.generate.briefs import Briefs
    from habitus.generate.kinds import Job
    from habitus.generate.plan import Seats
    from habitus.recipe import Engine

# Tokens of an answer, and of earlier answers that its question carries, as the prompts ask for them.
_ANSWER = {
    "chats/plan": 900, "chats/scenario": 350, "chats/prompt": 200, "chats/default": 450, "chats/critique": 300,
    "chats/draft": 400, "chats/refine": 650, "chats/follow_up": 80, "chats/rate": 350,
    "documents/genres": 900, "documents/plan": 1500, "documents/draft": 900, "documents/critique": 400,
    "documents/refine": 900, "documents/rate": 450,
    "flat/draft": 900, "flat/refine": 900, "flat/rate": 350,
    "preferences/rejected": 250, "preferences/compare": 350,
    "plain/draft": 400, "plain/refine": 500, "plain/rate": 350,
}  # fmt: skip
_CARRIED = {
    "chats/plan": 500, "chats/scenario": 200, "chats/prompt": 400, "chats/default": 200, "chats/critique": 850,
    "chats/draft": 380, "chats/refine": 800, "chats/follow_up": 1000, "chats/rate": 900,
    "documents/genres": 500, "documents/plan": 900, "documents/draft": 500, "documents/critique": 1900,
    "documents/refine": 1900, "documents/rate": 1800,
    "flat/draft": 200, "flat/refine": 1100, "flat/rate": 1500,
    "preferences/rejected": 300, "preferences/compare": 900,
    "plain/draft": 200, "plain/refine": 700, "plain/rate": 700,
}  # fmt: skip
_PAIRS_KEPT, _DRAWS = 0.8, 1.5
_SCHEMA = 150


def calls_of(job: Job, count: int) -> dict[str, float]:
    """Return how many calls of each step it takes to keep `count` rows from nothing."""
    turns = job.study.config.chats.turns
    mean_turns = sum(number * share for number, share in turns.items()) / sum(turns.values())
    if job.kind is PREFERENCES:
        return dict.fromkeys(job.kind.steps, count / _PAIRS_KEPT * _DRAWS)
    answered = count / USUAL_SHARE
    planned = answered / USUAL_SHARE
    calls = dict.fromkeys(job.kind.steps, planned if job.kind is not PLAIN else answered)
    if job.kind.is_long:
        fields = min(len(job.seats.axes["domain"]), planned)
        return calls | {"documents/genres": fields} | ({} if job.kind is FLAT else {"documents/plan": planned / BLOCK})
    each_turn = {step: answered * mean_turns for step in calls if step.endswith(("/draft", "/refine"))}
    rare = {"chats/plan": planned / BLOCK, "chats/follow_up": answered * (mean_turns - 1), "chats/rate": answered}
    return calls | each_turn | {step: number for step, number in rare.items() if step in calls}


def chats_for(job: Job, count: int) -> int:
    """Return how many kept chats so many pairs are likely to take."""
    return math.ceil(count / _PAIRS_KEPT / max(1 - job.study.config.chats.contrast, 0.05))


def estimate(job: Job, engine: Engine, count: int) -> list[StepEstimate]:
    """Return what it takes to keep `count` rows from nothing, step by step; for pairs, without the chats."""
    calls, known = calls_of(job, count), read_totals(job.study.ledger)
    return [
        forecast(
            engine, step, role, calls=calls[step], each=(_question(step, engine, job.seats), _ANSWER[step]), known=known
        )
        for step, role in job.kind.steps.items()
    ]


def _question(step: str, engine: Engine, seats: Seats | Briefs) -> float:
    """Return the tokens that a step's question is likely to have."""
    source = engine.prompts.path(step).read_text(encoding="utf-8")
    chunks = [chunk for trait in seats.document.traits for chunk in trait.chunks]
    passage = sum(map(tokens, chunks)) / len(chunks) + tokens(seats.passages.context) if "_trait" in source else 0
    return tokens(source) + passage + _CARRIED[step] + _SCHEMA
