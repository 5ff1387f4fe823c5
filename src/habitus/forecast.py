"""What a step will take: calls, tokens and dollars, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from habitus.models import Usage
from habitus.models.costs import cost

if TYPE_CHECKING:
    from habitus.models.ledger import StepTotal
    from habitus.recipe import Engine
    from habitus.records import Role

ENOUGH = 20
"""Calls of a step after which its own mean is the better estimate."""


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
    batch: bool = False
    """In batch jobs, at their price."""


def forecast(
    engine: Engine, step: str, role: Role, *, calls: float, each: tuple[float, float], known: list[StepTotal]
) -> StepEstimate:
    """Return what so many calls of a step take.

    `each` are the tokens in and out of one call as they may be guessed; the means of what is known come first.
    """
    bound, number = engine.bind(step, role), round(calls)
    total = next((one for one in known if (one.step, one.model) == (step, bound.model.name)), None)
    measured = total is not None and total.calls >= ENOUGH and total.output_tokens > 0
    if total is not None and measured:
        each = (total.input_tokens / total.calls, total.output_tokens / total.calls)
    used = Usage(round(number * each[0]), round(number * each[1]))
    prompt = engine.prompts.hash(step) + (" (yours)" if engine.prompts.is_overridden(step) else "")
    return StepEstimate(
        step, role, bound.model.name, engine.config.place(role, step), prompt,
        number, used.input_tokens, used.output_tokens, cost(bound.price, used), measured,
        bool(engine.config.choice(role, step).batch),
    )  # fmt: skip
