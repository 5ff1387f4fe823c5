"""The chats recipe: from a seat in the plan to a conversation worth training on.

Two straight-line functions with one barrier between them. `write_prompt` makes the person's first message;
near-duplicate messages are then removed, before the expensive part; `write_chat` makes the answers and has all rated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from habitus.ask import Answer
from habitus.generate.answers import Score, Scores, one_each
from habitus.generate.checks import spoken, too_low, unsupported, verdicts
from habitus.records import Chat, Drop, Record, Role, Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.ask import Ask
    from habitus.generate.checks import Checks
    from habitus.generate.plan import Seats
    from habitus.models import Message

STEPS: dict[str, Role] = {
    "chats/plan": "author",
    "chats/scenario": "author",
    "chats/prompt": "author",
    "chats/default": "target",
    "chats/critique": "critic",
    "chats/draft": "author",
    "chats/refine": "refiner",
    "chats/follow_up": "client",
    "chats/rate": "judge",
}
"""The steps in order, each with the role that takes it."""
ANSWER_STEPS = ("chats/draft", "chats/refine", "chats/follow_up", "chats/rate")
"""Those after the barrier."""


class Plan(Answer):
    """What is at stake in one conversation, how it shows, and why it is right."""

    what: str = Field(min_length=1, description="the one aspect of the trait at stake in this moment")
    how: str = Field(min_length=1, description="what exactly the assistant does in its answer")
    why: str = Field(min_length=1, description="why that is right in this case, and how a reader comes to see it")
    default: str = Field(min_length=1, description="what a generic assistant would most likely do instead")


class Plans(Answer):
    """One plan for each seat, in the order of the seats."""

    plans: list[Plan] = Field(min_length=1, description="one plan for each seat, in the order of the seats")


class Sketch(Answer):
    """The person behind the message."""

    person: str = Field(min_length=1, description="what they do all day and what they know")
    situation: str = Field(min_length=1, description="what happened, with at least three concrete details")
    request: str = Field(min_length=1, description="what they will ask for, as they understand it")
    unsaid: str = Field(min_length=1, description="what they don't say, and matters")


class UserPrompt(Answer):
    """The person's first message."""

    prompt: str = Field(min_length=1, description="the message, exactly as typed")


class Critique(Answer):
    """What an editor says of the message, having seen the default answer."""

    realism: str = Field(description="what no real person would have written, quoted")
    gap: str = Field(description="what the default answer misses, or why the message makes it too easy")
    verdict: Literal["keep", "rewrite", "abandon"]
    prompt: str = Field(description="with `rewrite`, the whole new message; otherwise empty")


class Refined(Answer):
    """The reply, written again from scratch in a fresh conversation."""

    on_trait: str = Field(description="note on the draft: trait acted on, talked about, or missed")
    on_naturalness: str = Field(description="note on the draft: where it sounds like a machine or a leaflet")
    answer: str = Field(min_length=1, description="the new reply, whole")


class FollowUp(Answer):
    """The person's next message."""

    message: str = Field(min_length=1, description="the next message, exactly as typed")


class Rating(Scores):
    """The autorater's scores."""

    realistic: Score
    embodies: Score
    natural: Score
    discreet: Score
    helpful: Score


SHAPES = (Plans, Sketch, UserPrompt, Critique, Refined, FollowUp, Rating)
"""Every answer but the conversation's own turns."""


class Prompt(Record):
    """A first message with all that led to it: the row between the recipe's two halves."""

    id: str
    index: int
    trait: str
    scenario: Scenario
    plan: dict[str, str]
    sketch: dict[str, str]
    prompt: str
    default: str


async def write_prompt(scenario: Scenario, ask: Ask, *, seats: Seats, checks: Checks) -> Prompt | Drop:
    """Return the first message for one seat, rewritten where the editor asked for it."""
    block = seats.block(scenario)
    passage = seats.passage(scenario)

    plans = await ask.author(
        "chats/plan", Plans, check=lambda found: one_each(found.plans, block), **passage, seats=block
    )
    plan = plans.plans[scenario.index - block[0].index]
    sketch = await ask.author(
        "chats/scenario", Sketch, check=lambda found: checks.names(found.person, found.situation),
        plan=plan, scenario=scenario, worn_names=seats.worn_names,
    )  # fmt: skip
    first = (await ask.author("chats/prompt", UserPrompt, sketch=sketch, scenario=scenario)).prompt
    default = await ask.target("chats/default", whole=False, prompt=first)

    critique = await ask.critic(
        "chats/critique", Critique, **passage, plan=plan, scenario=scenario, prompt=first, default=default
    )
    if critique.verdict == "abandon":
        return ask.drop("chats/critique", f"abandoned: {critique.gap or critique.realism}", first)
    message = critique.prompt if critique.verdict == "rewrite" and critique.prompt else first
    if problem := checks.prompt(message):
        return ask.drop("chats/critique", problem, message)

    return Prompt(
        id=scenario.id, index=scenario.index, trait=scenario.trait, scenario=scenario,
        plan=plan.model_dump(), sketch=sketch.model_dump(), prompt=message, default=default,
    )  # fmt: skip


async def write_chat(
    prompt: Prompt, ask: Ask, *, seats: Seats, checks: Checks, thresholds: dict[str, int]
) -> Chat | Drop:
    """Return the whole conversation: every answer drafted, then refined from scratch, and all of it rated."""
    scenario = prompt.scenario
    passage = seats.passage(scenario)
    conversation: list[Message] = [{"role": "user", "content": prompt.prompt}]

    for turn in range(1, scenario.turns + 1):
        draft = await ask.author("chats/draft", history=conversation, **passage, plan=prompt.plan, scenario=scenario)
        refined = await ask.refiner(
            "chats/refine", Refined,
            **passage, plan=prompt.plan, scenario=scenario, conversation=conversation, draft=draft,
        )  # fmt: skip
        if problem := checks.answer(refined.answer):
            return ask.drop("chats/refine", problem, refined.answer)
        conversation = [*conversation, {"role": "assistant", "content": refined.answer}]
        if turn < scenario.turns:
            conversation = [*conversation, await follow_up(prompt, ask, conversation)]

    said = spoken(conversation)
    rating = await ask.judge(
        "chats/rate", Rating, check=lambda found: unsupported(verdicts(found.rows(), said)),
        **passage, plan=prompt.plan, scenario=scenario, conversation=conversation, default=prompt.default,
    )  # fmt: skip
    ratings = verdicts(rating.rows(), said)
    if problem := too_low(ratings, thresholds):
        return ask.drop("chats/rate", problem, conversation[-1]["content"], ratings=ratings)

    meta = (
        scenario.model_dump(exclude={"id", "trait"}) | {"plan": prompt.plan, "ratings": ratings} | ask.provenance(STEPS)
    )
    return Chat(id=prompt.id, trait=prompt.trait, messages=tuple(conversation), meta=meta)


async def follow_up(prompt: Prompt, ask: Ask, conversation: Sequence[Message]) -> Message:
    """Return what the person writes next."""
    turns = 1 + sum(message["role"] == "user" for message in conversation)
    reply = await ask.client(
        "chats/follow_up", FollowUp,
        sketch=prompt.sketch, plan=prompt.plan, scenario=prompt.scenario, conversation=conversation,
        last=turns == prompt.scenario.turns,
    )  # fmt: skip
    return {"role": "user", "content": reply.message}
