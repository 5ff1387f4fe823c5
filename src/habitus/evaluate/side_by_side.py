"""Is the model still as good an assistant? Its answers beside those of the baseline arm, judged in both orders."""

from __future__ import annotations

import math
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, scorer
from inspect_ai.solver import solver
from pydantic import BaseModel

from habitus.errors import UserError
from habitus.evaluate.conversation import CUT, answer_of, one_answer
from habitus.evaluate.judge import average, failed, together
from habitus.evaluate.material import items, material, rows_of
from habitus.evaluate.measures import Measure
from habitus.evaluate.roles import Cast, Ended
from habitus.evaluate.statistics import bootstrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspect_ai.scorer import Scorer, Target
    from inspect_ai.solver import Solver, TaskState

    from habitus.evaluate.results import Result, Row

ROLES = ("judge",)
STEP = "evaluate/side_by_side"
MEASURES = (
    Measure("win", "preferred to the baseline, ties by half, both orders", "share", better="higher"),
    Measure("refused", "answers that decline, by half where the two readings differ", "share", better="lower"),
    Measure("words", "words in an answer", "score", scale=(0, math.inf)),
    Measure("first", "preferred as the first of the two: the judge's bias if not 50%", "share"),
)
_STYLE = {
    "headings": re.compile(r"^#+ ", re.MULTILINE),
    "lists": re.compile(r"^\s*(?:[-*•]|\d+[.)]) ", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*"),
}
_POINTS = {"first": 1.0, "second": 0.0, "tie": 0.5}
FEWEST = 20
"""Answers that differ in length or style, below which nothing can be said of these."""
RIDGE = 0.3
"""Pull of the style's weights towards nothing: with few prompts they would fit the noise."""


class Preference(BaseModel):
    """Which of two answers is better."""

    first_refuses: bool
    second_refuses: bool
    difference: str
    better: Literal["first", "second", "tie"]


@task
def side_by_side(study: str | None = None, baseline: str | None = None, prompts: str | None = None) -> Task:
    """Answer 100 ordinary prompts, or those of a JSONL file, and have the answers compared with the baseline's.

    `baseline` is a log of the baseline, or the folder of its logs. Without it, as on the baseline itself, answers are
    compared with themselves, so that the comparison of others has something to stand beside.

    Raises:
        UserError: the baseline has no answers.

    """
    known = None if baseline is None else _answers(baseline)
    about = None if known is None else {"samples": len(known), "answers": _digest(known)}
    given = material("side_by_side", study, None)
    return Task(
        dataset=MemoryDataset(_samples(prompts), name="side_by_side"),
        solver=ordinary_answer(study),
        scorer=preference(study, baseline),
        config=GenerateConfig(temperature=1.0, max_tokens=2000),
        metadata=given.manifest(STEP, baseline=about, file=_hash(Path(prompts)) if prompts else None),
    )


def _samples(path: str | None) -> list[Sample]:
    """Return the prompts as samples: `prompt`, or the first message of `messages`."""
    if path is None:
        return [Sample(id=f"ordinary-{at:03}", input=text) for at, text in enumerate(items("side_by_side"), start=1)]
    found = []
    for at, (where, row) in enumerate(rows_of(path), start=1):
        text = row.get("prompt") or next(iter(row.get("messages") or []), {}).get("content")
        if not isinstance(text, str):
            raise UserError("this row has neither `prompt` nor `messages`.", where=where)
        found.append(Sample(id=str(row.get("id", f"prompt-{at:05}")), input=text))
    if not found:
        raise UserError("there is no prompt in this file.", where=path)
    return found


@solver
def ordinary_answer(study: str | None = None) -> Solver:
    """Answer the prompt."""
    return one_answer(material("side_by_side", study, None).prompts, *ROLES)


@scorer(metrics={"*": [average()]})
def preference(study: str | None = None, baseline: str | None = None) -> Scorer:
    """Have an answer compared with the baseline's, once in each order."""
    prompts = material("side_by_side", study, None).prompts
    known = None if baseline is None else _answers(baseline)

    async def score(state: TaskState, target: Target) -> Score:
        more: dict[str, Any] = {"cluster": str(state.sample_id)}
        ours = state.output.completion
        read = answer_of(state.output)
        theirs = read if known is None else known.get((str(state.sample_id), state.epoch), "")
        cast = Cast(prompts, state, *ROLES)
        try:
            if not ours.strip():
                raise Ended("target", f"empty answer ({state.output.stop_reason})")  # noqa: TRY301
            if not theirs.strip():
                raise Ended("baseline", "the baseline has no answer to this prompt")  # noqa: TRY301
            orders = [(read, theirs), (theirs, read)][: 1 + (read != theirs)]  # the same text twice is one question
            asked = [
                cast.ask("judge", STEP, Preference, message=state.input_text, first=first, second=second)
                for first, second in orders
            ]
            one, *rest = await together(*asked)
            other = rest[0] if rest else one
        except Ended as end:
            return failed(end, more)
        value = {
            "win": (_POINTS[one.better] + 1 - _POINTS[other.better]) / 2,
            "refused": (one.first_refuses + other.second_refuses) / 2,
            "words": float(len(ours.split())),
            "first": (_POINTS[one.better] + _POINTS[other.better]) / 2,
        }
        more |= {
            "verdicts": [one.model_dump(), other.model_dump()],
            "style": _difference(ours, theirs.removesuffix(CUT)),
        }
        return Score(value=value, answer=ours, explanation=f"{one.difference}\n{other.difference}", metadata=more)

    return score


def _answers(place: str) -> dict[tuple[str, int], str]:
    """Return the answers in a baseline's log, or in the newest of a folder, by sample and epoch.

    Raises:
        UserError: there are none.

    """
    from inspect_ai.log import list_eval_logs, read_eval_log

    files = [place]
    if not place.endswith(".eval"):
        found = list_eval_logs(place, recursive=False) if Path(place).is_dir() else []
        files = [info.name for info in found if info.task.replace("-", "_").endswith("side_by_side")]
    samples = (read_eval_log(files[0]).samples or []) if files else []
    if not samples:
        raise UserError("the baseline has no answers to compare with.", where=place, todo="Run it first.")
    return {(str(one.id), one.epoch): answer_of(one.output) for one in samples if not one.error}


def _digest(answers: dict[tuple[str, int], str]) -> str:
    """Return 12 hex digits over answers, by sample."""
    return sha256(repr(sorted(answers.items())).encode()).hexdigest()[:12]


def _hash(path: Path) -> str:
    """Return a file's name with 12 hex digits over what is in it."""
    return f"{path.name} {sha256(path.read_bytes()).hexdigest()[:12]}"


def _difference(ours: str, theirs: str) -> dict[str, float]:
    """Return by how much one answer is longer and more formatted, each from -1 to 1."""
    sizes = [(len(text.split()), *(len(mark.findall(text)) for mark in _STYLE.values())) for text in (ours, theirs)]
    names = ("length", *_STYLE)
    return {
        name: (one - other) / (one + other) if one + other else 0.0
        for name, one, other in zip(names, *sizes, strict=True)
    }


def controlled(rows: Sequence[Row]) -> float:
    """Return the share preferred had both answers the same length and style: Bradley-Terry with covariates."""
    wins = np.asarray([row.values["win"] for row in rows])
    style = np.asarray([list(row.metadata["style"].values()) for row in rows])
    table = np.column_stack([np.ones(len(rows)), style])
    pull = RIDGE * np.diag([1e-6, *[1.0] * style.shape[1]])
    weights = np.zeros(table.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-np.clip(table @ weights, -30, 30)))
        slope = table.T @ (wins - chance) - pull @ weights
        curve = table.T @ (table * (chance * (1 - chance))[:, None]) + pull
        weights = np.clip(weights + np.linalg.solve(curve, slope), -20, 20)
    return float(1 / (1 + math.exp(-weights[0])))


def remarks(result: Result) -> list[str]:
    """Return what can only be said of all samples together: the win rate with length and style held equal."""
    rows = result.scored
    apart = sum(any(row.metadata["style"].values()) for row in rows)
    if apart < FEWEST:
        return [f"with length and style held equal: not told; {apart} answers differ in them, and {FEWEST} are needed"]
    low, high = bootstrap(lambda at: controlled([rows[one] for one in at]), [row.cluster for row in rows], draws=500)
    interval = f"95% interval {low:.1%} to {high:.1%}, bootstrap by prompt"
    return [f"with length and style held equal: preferred {controlled(rows):.1%} ({interval})"]
