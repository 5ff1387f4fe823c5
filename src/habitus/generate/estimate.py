"""What a dataset will take: calls, tokens and dollars by step, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from habitus.generate.chats import STEPS
from habitus.generate.plan import BLOCK, USUAL_SHARE
from habitus.models import Usage
from habitus.models.costs import cost
from habitus.models.ledger import read_totals
from habitus.traits.sentences import tokens

if TYPE_CHECKING:
    from habitus.generate.plan import Seats
    from habitus.recipe import Engine
    from habitus.records import Role
    from habitus.study import Study

ENOUGH = 20
"""Calls of a step after which its own mean is the better estimate."""
# Tokens of an answer, and of earlier answers that its question carries, as the prompts ask for them.
_ANSWER = {"plan": 900, "scenario": 350, "prompt": 200, "default": 450, "critique": 300, "draft": 400, "refine": 650,
           "follow_up": 80, "rate": 350}  # fmt: skip
_CARRIED = {"plan": 500, "scenario": 200, "prompt": 400, "default": 200, "critique": 850, "draft": 380, "refine": 800,
            "follow_up": 1000, "rate": 900}  # fmt: skip
_SCHEMA = 150


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """What one step is expected to take."""

    step: str
    role: Role
    model: str
    place: str
    prompt: str
    """The hash of its prompt, and whether it is the user's own."""
    calls: int
    input_tokens: int
    output_tokens: int
    dollars: float | None
    """None where the price is unknown."""
    measured: bool
    """From this study's own calls, and not from what the prompts ask for."""


def estimate(study: Study, engine: Engine, seats: Seats, count: int) -> list[StepEstimate]:
    """Return what it takes to keep `count` chats from nothing, step by step."""
    turns = study.config.chats.turns
    mean_turns = sum(number * share for number, share in turns.items()) / sum(turns.values())
    answered = count / USUAL_SHARE
    planned = answered / USUAL_SHARE
    calls = dict.fromkeys(STEPS, planned) | {
        "chats/plan": planned / BLOCK,
        "chats/draft": answered * mean_turns,
        "chats/refine": answered * mean_turns,
        "chats/follow_up": answered * (mean_turns - 1),
        "chats/rate": answered,
    }
    known = {(total.step, total.model): total for total in read_totals(study.ledger)}
    rows = []
    for step, role in STEPS.items():
        bound, number = engine.bind(step, role), round(calls[step])
        total = known.get((step, bound.model.name))
        if total is not None and total.calls >= ENOUGH and total.output_tokens:
            each = (total.input_tokens / total.calls, total.output_tokens / total.calls)
        else:
            each = (_question(step, engine, seats), _ANSWER[step.rpartition("/")[2]])
        used = Usage(round(number * each[0]), round(number * each[1]))
        measured = total is not None and total.calls >= ENOUGH and total.output_tokens > 0
        rows.append(StepEstimate(
            step, role, bound.model.name, study.config.place(role, step), _prompt(step, engine),
            number, used.input_tokens, used.output_tokens, cost(bound.price, used), measured,
        ))  # fmt: skip
    return rows


def _question(step: str, engine: Engine, seats: Seats) -> float:
    """Return the tokens that a step's question is likely to have."""
    source = engine.prompts.path(step).read_text(encoding="utf-8")
    chunks = [chunk for trait in seats.document.traits for chunk in trait.chunks]
    passage = sum(map(tokens, chunks)) / len(chunks) + tokens(seats.context) if "_trait" in source else 0
    return tokens(source) + passage + _CARRIED[step.rpartition("/")[2]] + _SCHEMA


def _prompt(step: str, engine: Engine) -> str:
    return engine.prompts.hash(step) + (" (yours)" if engine.prompts.is_overridden(step) else "")
