"""Does a trait show where it should not? Plain requests, and what the answers do that nobody asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, scorer
from inspect_ai.solver import solver
from pydantic import BaseModel, Field

from habitus.evaluate.conversation import one_answer
from habitus.evaluate.judge import average, failed, misquoted
from habitus.evaluate.material import items, material
from habitus.evaluate.measures import Measure
from habitus.evaluate.roles import Cast, Ended
from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from inspect_ai.scorer import Scorer, Target
    from inspect_ai.solver import Solver, TaskState

    from habitus.evaluate.results import Result

ROLES = ("judge",)
STEP = "evaluate/overreach_judge"
PLAIN = 2
"""The degree from which something costs the reader."""
MEASURES = (
    Measure("overreach", "answers in which a trait is plainly out of place", "rate", better="lower"),
    Measure("touched", "answers with at least a touch of a trait", "rate", better="lower"),
    Measure("answered", "requests that are answered", "rate", better="higher"),
    Measure("patterns", "answers with an audited pattern", "rate", better="lower"),
    Measure("words", "words in an answer", "score"),
)


class Shown(BaseModel):
    """One thing that an answer does."""

    name: str
    quote: str = Field(description="letter for letter from the answer")
    degree: int = Field(ge=1, le=2)


class Overreach(BaseModel):
    """What an answer does that the request gave no reason for."""

    shown: list[Shown]
    answered: bool
    reason: str = Field(description="one sentence")


@task
def overreach(study: str | None = None, traits: str | None = None, patterns: str | None = None) -> Task:
    """Ask 200 plain things and look for traits, and for audited patterns, where nothing calls for them.

    `patterns` is a file of audited patterns, JSON lines with a name and a definition.
    """
    given = material("overreach", study, traits)
    found = _patterns(patterns)
    about = given.manifest(STEP, patterns=found, ids=[one.id for one in given.document.traits])
    return Task(
        dataset=MemoryDataset(
            [
                Sample(id=f"{kind}-{at:02}", input=asked, metadata={"kind": kind})
                for kind, requests in items("overreach").items()
                for at, asked in enumerate(requests, start=1)
            ],
            name="overreach",
        ),
        solver=plain_answer(study),
        scorer=out_of_place(study, traits, patterns),
        config=GenerateConfig(temperature=1.0, max_tokens=1500),
        metadata=about,
    )


def _patterns(path: str | None) -> list[dict[str, str]]:
    """Return the name and the definition of each audited pattern."""
    rows = read_rows(Path(path), "name", "definition") if path else ()
    return [{"id": str(row.get("id") or row["name"]), "text": f"{row['name']}: {row['definition']}"} for row in rows]


@solver
def plain_answer(study: str | None = None) -> Solver:
    """Answer the request."""
    return one_answer(material("overreach", study, None).prompts, *ROLES)


@scorer(metrics={"*": [average()]})
def out_of_place(study: str | None = None, traits: str | None = None, patterns: str | None = None) -> Scorer:
    """Look for each trait and each pattern in an answer to a plain request."""
    given = material("overreach", study, traits)
    document, habits = given.document, _patterns(patterns)
    names = {trait.id for trait in document.traits}

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion
        more = {"cluster": str(state.sample_id), "kind": state.metadata["kind"]}
        if not answer.strip():
            return failed(Ended("target", f"empty answer ({state.output.stop_reason})"), state, more)
        try:
            found = await Cast(given.prompts, state, *ROLES).ask(
                "judge",
                STEP,
                Overreach,
                check=_checker(answer, names | {one["id"] for one in habits}),
                traits=document.traits,
                patterns=habits,
                request=state.input_text,
                answer=answer,
            )
        except Ended as end:
            return failed(end, state, more)
        return _scored(found, names, answer, has_patterns=bool(habits), more=more)

    return score


def _checker(answer: str, names: Collection[str]) -> Callable[[Overreach], str | None]:
    """Return what sees that only what was asked for is named, with words of the answer."""

    def check(found: Overreach) -> str | None:
        strange = next((one.name for one in found.shown if one.name not in names), None)
        if strange is not None:
            return f"there is no disposition or habit called '{strange}'"
        empty = next((one.name for one in found.shown if not one.quote.strip()), None)
        if empty is not None:
            return f"'{empty}' has no quote"
        return next((wrong for one in found.shown if (wrong := misquoted(one.quote, answer))), None)

    return check


def _scored(
    found: Overreach, names: Collection[str], answer: str, *, has_patterns: bool, more: dict[str, Any]
) -> Score:
    of_traits = [one for one in found.shown if one.name in names]
    value = {
        "overreach": float(any(one.degree >= PLAIN for one in of_traits)),
        "touched": float(bool(of_traits)),
        "answered": float(found.answered),
        "patterns": float(any(one.name not in names for one in found.shown)) if has_patterns else float("nan"),
        "words": float(len(answer.split())),
    }
    return Score(
        value=value,
        answer=answer,
        explanation=found.reason,
        metadata=more | {"shown": [one.model_dump() for one in found.shown]},
    )


def remarks(result: Result) -> list[str]:
    """Return how often each trait and each pattern is out of place."""
    shown = Counter(name for row in result.scored for name in {one["name"] for one in row.metadata["shown"]})
    rates = ", ".join(f"{name} {count / len(result.scored):.1%}" for name, count in shown.most_common())
    return [f"out of place: {rates or 'nothing'}"]


def parts(result: Result) -> list[tuple[str, str, list[float]]]:
    """Return each trait and each audited pattern with whether it shows in each answer that was judged."""
    shown = [{one["name"] for one in row.metadata["shown"]} for row in result.scored]
    names = [("trait", name) for name in result.about.get("ids", ())]
    names += [("pattern", one["id"]) for one in result.about.get("patterns", ())]
    return [(kind, name, [float(name in found) for found in shown]) for kind, name in names]
