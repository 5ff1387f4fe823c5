"""Does the model act on a trait where it is called for? Messages of chats that nothing was trained on."""

from __future__ import annotations

import math
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, scorer
from inspect_ai.solver import solver
from pydantic import BaseModel, Field

from habitus import patterns as audited
from habitus.errors import UserError
from habitus.evaluate.conversation import answer_of, one_answer
from habitus.evaluate.judge import average, failed, misquoted
from habitus.evaluate.material import material
from habitus.evaluate.measures import Measure
from habitus.evaluate.roles import Cast, Ended
from habitus.held_out import MOST, is_held_out
from habitus.records import Match, Pattern
from habitus.study import Study, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspect_ai.scorer import Scorer, Target
    from inspect_ai.solver import Solver, TaskState

    from habitus.evaluate.results import Result

ROLES = ("judge",)
STEP = "evaluate/behaviour_judge"
PLAIN = 2
"""The degree from which the trait decides what an answer does."""
PATTERN = "pattern "
"""How the keys of audited patterns begin."""
MEASURES = (
    Measure("degree", "the trait where it is called for, 0 to 2", "score", better="higher", scale=(0, 2)),
    Measure("shown", "answers that the trait decides, where it is called for", "rate", better="higher"),
    Measure("uncalled", "answers that the trait decides, where it has no business", "rate", better="lower"),
    Measure("words", "words in an answer", "score"),
)


class Behaviour(BaseModel):
    """How far a disposition decides what an answer does."""

    quote: str = Field(description="letter for letter from the answer; empty if there is none")
    reason: str = Field(description="one sentence")
    degree: int = Field(ge=0, le=2)


@task
def behaviour(study: str | None = None, patterns: str | None = None) -> Task:
    """Send the first messages of held-out chats, and look for the trait and for each audited pattern in the answers.

    `patterns` is the file in which an audit of the study keeps its patterns.
    """
    given, rows = material("behaviour", study, None), _held_out(study)
    known = {trait.id for trait in given.document.traits}
    samples = [
        Sample(id=row["id"], input=row["messages"][0]["content"], metadata=_about(row))
        for row in rows
        if row["trait"] in known
    ]
    if not samples:
        todo = "Raise `train.held_out`, or write more chats; those of traits that have changed are left out."
        raise UserError("no chat is held out, so there is nothing to ask.", where=str(study), todo=todo)
    found = _patterns(patterns)
    return Task(
        dataset=MemoryDataset(samples, name="behaviour"),
        solver=held_out_answer(study),
        scorer=acted_on(study, patterns),
        config=GenerateConfig(temperature=1.0, max_tokens=1500),
        metadata=given.manifest(
            STEP,
            audited.STEP,
            chats=sha256(orjson.dumps([[one.id, one.input] for one in samples])).hexdigest()[:12],
            patterns=[{"id": one.id, "name": one.name} for one in found],
            ids=sorted(known),
        ),
    )


def _held_out(study: str | None) -> list[dict[str, Any]]:
    """Return the kept chats of a study that nothing is trained on, in order."""
    if study is None:
        raise UserError("'behaviour' asks what a study's chats ask.", todo="Name one: -T study=FOLDER.")
    opened = Study(Path(study))
    path, share = opened.dataset("chats").kept, opened.config.train.held_out
    if not path.exists():
        raise UserError("nothing kept yet.", where=str(path), todo=f"Run `habitus generate chats {study}` first.")
    held: Iterator[dict[str, Any]] = (row for row in read_rows(path, "id", "messages") if is_held_out(row["id"], share))
    return list(islice(held, MOST))


def _about(row: dict[str, Any]) -> dict[str, Any]:
    return {"trait": row["trait"], "called": not (row.get("meta") or {}).get("contrast", False)}


def _patterns(path: str | None) -> list[Pattern]:
    """Return the audited patterns."""
    return [Pattern.model_validate(row) for row in read_rows(Path(path), "name", "definition")] if path else []


@solver
def held_out_answer(study: str | None = None) -> Solver:
    """Answer the message."""
    return one_answer(material("behaviour", study, None).prompts, *ROLES)


@scorer(metrics={"*": [average()]})
def acted_on(study: str | None = None, patterns: str | None = None) -> Scorer:
    """Say how far the trait of a chat decides an answer, and which audited patterns are in it."""
    given, habits = material("behaviour", study, None), _patterns(patterns)
    traits = {trait.id: trait for trait in given.document.traits}

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion
        more = {"cluster": str(state.sample_id), "trait": state.metadata["trait"]}
        if not answer.strip():
            return failed(Ended("target", f"empty answer ({state.output.stop_reason})"), more)
        cast = Cast(given.prompts, state, *ROLES)
        try:
            found = await cast.ask(
                "judge",
                STEP,
                Behaviour,
                check=partial(_misquoted, answer=answer),
                trait=traits[state.metadata["trait"]],
                request=state.input_text,
                answer=answer_of(state.output),
            )
            shown = await _shown(cast, habits, state)
        except Ended as end:
            return failed(end, more)
        return _scored(found, shown, answer, called=state.metadata["called"], more=more)

    return score


def _misquoted(found: Behaviour, answer: str) -> str | None:
    return misquoted(found.quote, answer, needed=found.degree > 0)


async def _shown(cast: Cast, habits: list[Pattern], state: TaskState) -> dict[str, Match]:
    """Return the verdict on each audited pattern, asked for as the audit asks for it."""
    asked, answer = state.input_text, answer_of(state.output)
    found: dict[str, Match] = {}
    for group in audited.groups(habits, per_call=8):
        said = await cast.ask(
            "judge",
            audited.STEP,
            audited.Findings,
            check=partial(audited.incomplete, group=group),
            patterns=audited.told(group),
            text={"asked": asked, "text": answer},
            kind="assistant",
        )
        found |= audited.matches(said, group, state.output.completion)
    return found


def _scored(found: Behaviour, shown: dict[str, Match], answer: str, *, called: bool, more: dict[str, Any]) -> Score:
    """Return the numbers of an answer; what is asked of the other kind of message alone is no number here."""
    decides = float(found.degree >= PLAIN)
    value = {
        "degree": float(found.degree) if called else math.nan,
        "shown": decides if called else math.nan,
        "uncalled": math.nan if called else decides,
        "words": float(len(answer.split())),
    }
    value |= {PATTERN + name: float(one.supported and one.level != "no") for name, one in shown.items()}
    quotes = {name: one.quote for name, one in shown.items() if one.level != "no"}
    return Score(
        value=value,
        answer=answer,
        explanation=f"{found.degree}: {found.reason}",
        metadata=more | {"quote": found.quote, "patterns": quotes},
    )


def rates(result: Result) -> tuple[Measure, ...]:
    """Return a measure for each audited pattern: the answers that have it by the broad test."""
    found = result.about.get("patterns", [])
    return tuple(
        Measure(PATTERN + one["id"], f"{one['name']}, in answers", "rate", "lower", of=("pattern", one["id"]))
        for one in found
    )
