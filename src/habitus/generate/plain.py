"""The plain control: the first messages of kept chats, answered by the same steps without the trait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from habitus.ask import Answer
from habitus.generate.chats import FollowUp, Rating, follow_up
from habitus.generate.checks import spoken, too_low, unsupported, verdicts
from habitus.records import Chat, Drop, Role

if TYPE_CHECKING:
    from habitus.ask import Ask
    from habitus.generate.chats import Prompt
    from habitus.generate.checks import Checks
    from habitus.generate.plan import Seats
    from habitus.models import Message

STEPS: dict[str, Role] = {
    "plain/draft": "author",
    "plain/refine": "refiner",
    "chats/follow_up": "client",
    "plain/rate": "judge",
}
"""The steps in order, each with the role that takes it."""


class PlainRefined(Answer):
    """The reply, written again from scratch in a fresh conversation."""

    on_request: str = Field(
        description="note on the draft: what was asked for, and where it falls short or goes beyond"
    )
    on_naturalness: str = Field(description="note on the draft: where it sounds like a machine or a leaflet")
    answer: str = Field(min_length=1, description="the new reply, whole")


class PlainRating(Rating):
    """The autorater's scores; `embodies` tells how much of the trait shows by itself, and drops nothing."""


SHAPES: tuple[type[Answer], ...] = (PlainRefined, FollowUp, PlainRating)


async def write_plain(
    prompt: Prompt, ask: Ask, *, seats: Seats, checks: Checks, thresholds: dict[str, int]
) -> Chat | Drop:
    """Return the conversation as it goes without the trait, drafted, refined and rated as the chats are."""
    scenario = prompt.scenario
    conversation: list[Message] = [{"role": "user", "content": prompt.prompt}]

    for turn in range(1, scenario.turns + 1):
        draft = await ask.author("plain/draft", history=conversation)
        refined = await ask.refiner("plain/refine", PlainRefined, conversation=conversation, draft=draft)
        if problem := checks.answer(refined.answer):
            return ask.drop("plain/refine", problem, refined.answer)
        conversation = [*conversation, {"role": "assistant", "content": refined.answer}]
        if turn < scenario.turns:
            unplanned = prompt.model_copy(update={"plan": {"what": ""}})
            conversation = [*conversation, await follow_up(unplanned, ask, conversation)]

    said = spoken(conversation)
    rating = await ask.judge(
        "plain/rate", PlainRating, check=lambda found: unsupported(verdicts(found.rows(), said)),
        **seats.passage(scenario), conversation=conversation,
    )  # fmt: skip
    ratings = verdicts(rating.rows(), said)
    if problem := too_low(ratings, thresholds):
        return ask.drop("plain/rate", problem, conversation[-1]["content"], ratings=ratings)

    meta = scenario.model_dump(exclude={"id", "trait"}) | {"ratings": ratings} | ask.provenance(STEPS)
    return Chat(id=prompt.id, trait=prompt.trait, messages=tuple(conversation), meta=meta)
