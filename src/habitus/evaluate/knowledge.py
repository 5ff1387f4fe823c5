"""Does the model know the traits? Its answers to open questions, point by point, held against the document."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Score, scorer
from inspect_ai.solver import solver
from pydantic import BaseModel, Field

from habitus.evaluate.conversation import CUT, answer_of, one_answer
from habitus.evaluate.judge import average, failed
from habitus.evaluate.material import CONTROL, WHOLE, items, material, spread
from habitus.evaluate.measures import Measure
from habitus.evaluate.roles import Cast, Ended
from habitus.quotes import occurs
from habitus.traits.document import read_traits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspect_ai.scorer import Scorer, Target
    from inspect_ai.solver import Generate, Solver, TaskState

    from habitus.evaluate.results import Result
    from habitus.records import Trait

ROLES = ("judge",)
MOST_POINTS = 15
MEASURES = (
    Measure("match", "match with the document, 0 to 2, mean over points", "score", better="higher", scale=(0, 2)),
    Measure("control", "match of the same points with another document", "score", scale=(0, 2)),
    Measure("above_control", "match above control", "score", better="higher", scale=(-2, 2)),
    Measure("recall", "share of the document's traits named in one answer", "share", better="higher"),
    Measure("points", "points in an answer", "score", scale=(0, MOST_POINTS)),
)
STEPS = ("evaluate/knowledge_points", "evaluate/knowledge_rate")
_NEXT = re.compile(r"\n\s*Interviewer:")
_NAMED = 2
"""The score from which a point names a trait."""


class Points(BaseModel):
    """An answer taken apart."""

    points: list[str] = Field(max_length=MOST_POINTS, description="each copied letter for letter from the answer")


class Match(BaseModel):
    """How well one point matches a document."""

    point: int = Field(ge=1, description="its number")
    trait: str = Field(description="the name of the nearest disposition, or none")
    reason: str = Field(description="a few words")
    score: int = Field(ge=0, le=2)


class Matches(BaseModel):
    """How well each point matches a document."""

    ratings: list[Match]


@task
def knowledge(
    study: str | None = None,
    traits: str | None = None,
    control: str | None = None,
    subject: str = "the assistant",
    *,
    base: bool = False,
) -> Task:
    """Ask 60 open questions and score each point of the answers against a traits document, and against another.

    With `base`, the question stands in the transcript of an interview that a base model continues.
    """
    given = material("knowledge", study, traits)
    document, other = given.document, read_traits(Path(control or CONTROL), budget=WHOLE)
    about = given.manifest(
        *STEPS,
        control=other.digest,
        base=[given.prompts.hash("evaluate/knowledge_base"), subject] if base else None,
        ids=[trait.id for trait in document.traits],
    )
    return Task(
        dataset=MemoryDataset(
            spread(
                [
                    Sample(id=one["id"], input=one["text"], metadata={"form": one["form"], "level": one["level"]})
                    for one in items("knowledge")
                ],
                "level",
            ),
            name="knowledge",
        ),
        solver=completed(study, subject) if base else answered(study),
        scorer=knowledge_points(study, traits, control),
        config=GenerateConfig(temperature=1.0, max_tokens=1500),
        metadata=about,
    )


@solver
def answered(study: str | None = None) -> Solver:
    """Ask the question."""
    return one_answer(material("knowledge", study, None).prompts, *ROLES)


@solver
def completed(study: str | None = None, subject: str = "the assistant") -> Solver:
    """Have the question answered by continuing a transcript."""
    prompts = material("knowledge", study, None).prompts

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = prompts.render("evaluate/knowledge_base", {"subject": subject, "question": state.input_text})
        state.messages = [ChatMessageUser(content=asked[0]["content"])]
        state.output = await Cast(prompts, state, *ROLES).reply(state.messages)
        state.output.completion = _NEXT.split(state.output.completion, maxsplit=1)[0].strip()
        state.messages.append(state.output.message)
        return state

    return solve


@scorer(metrics={"*": [average()]})
def knowledge_points(study: str | None = None, traits: str | None = None, control: str | None = None) -> Scorer:
    """Score each point of an answer against the document and against the control document."""
    given = material("knowledge", study, traits)
    document, other = given.document, read_traits(Path(control or CONTROL), budget=WHOLE)

    async def score(state: TaskState, target: Target) -> Score:
        answer, more = state.output.completion, {"cluster": str(state.sample_id)}
        if not answer.strip():
            end = Ended("target", f"empty answer ({state.output.stop_reason})")
            return failed(end, more)
        cast = Cast(given.prompts, state, *ROLES)
        try:
            points = await _points(cast, state.input_text, answer_of(state.output))
            ours = await _rated(cast, points, document.traits)
            theirs = await _rated(cast, points, other.traits)
        except Ended as end:
            return failed(end, more)
        return _score(points, ours, theirs, document.traits, state)

    return score


async def _points(cast: Cast, question: str, answer: str) -> list[str]:
    said = answer.removesuffix(CUT)

    def check(found: Points) -> str | None:
        strange = next((point for point in found.points if not occurs(point, said)), None)
        return f"this point is not copied from the answer: '{strange[:80]}'" if strange else None

    found = await cast.ask("judge", STEPS[0], Points, check=check, question=question, answer=answer)
    return found.points


async def _rated(cast: Cast, points: list[str], traits: Sequence[Trait]) -> list[Match]:
    """Return the rating of every point, in order."""
    if not points:
        return []
    found = await cast.ask("judge", STEPS[1], Matches, check=_checker(points, traits), points=points, traits=traits)
    return found.ratings


def _checker(points: list[str], traits: Sequence[Trait]) -> Callable[[Matches], str | None]:
    """Return what sees that every point is rated once, for a trait that there is."""
    ids = {trait.id for trait in traits}

    def check(found: Matches) -> str | None:
        if [one.point for one in found.ratings] != list(range(1, len(points) + 1)):
            return f"rate each of the {len(points)} points once, in order"
        strange = next((one for one in found.ratings if one.trait not in ids and one.score), None)
        return f"there is no disposition '{strange.trait}'" if strange else None

    return check


def _score(
    points: list[str], ours: list[Match], theirs: list[Match], traits: Sequence[Trait], state: TaskState
) -> Score:
    """Return the means over the points; an answer without points matches nothing."""
    match, control = (sum(one.score for one in rated) / max(len(rated), 1) for rated in (ours, theirs))
    named = Counter(one.trait for one in ours if one.score >= _NAMED)
    value: dict[str, Any] = {
        "match": match,
        "control": control,
        "above_control": match - control,
        "recall": len(named) / len(traits),
        "points": float(len(points)),
    }
    rows = [
        {"point": point, "trait": one.trait, "score": one.score, "control": other.score, "reason": one.reason}
        for point, one, other in zip(points, ours, theirs, strict=True)
    ]
    return Score(
        value=value,
        answer=state.output.completion,
        explanation="\n".join(f"{row['score']} {row['trait']}: {row['point']}" for row in rows) or "no points",
        metadata={"cluster": str(state.sample_id), "points": rows, "named": sorted(named)},
    )


def remarks(result: Result) -> list[str]:
    """Return which traits no answer named."""
    named = Counter(trait for row in result.scored for trait in row.metadata["named"])
    ids = result.about.get("ids", [])
    never = [one for one in ids if not named[one]]
    shares = ", ".join(f"{one} {named[one] / max(len(result.scored), 1):.0%}" for one in ids if named[one])
    return [f"named in answers: {shares or 'none'}", f"never named: {', '.join(never) or 'none'}"]
