"""Verdicts: each with a quote that must occur in what was judged; by one judge, or by a panel without the judged."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from inspect_ai.scorer import SampleScore, Score, metric  # Inspect reads the annotations
from inspect_ai.util import collect

from habitus.evaluate.roles import Ended
from habitus.quotes import occurs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inspect_ai.model import Model
    from inspect_ai.scorer import Metric
    from inspect_ai.solver import TaskState
    from pydantic import BaseModel

    from habitus.evaluate.roles import Cast

    Shape = TypeVar("Shape", bound=BaseModel)

Found = TypeVar("Found")


def misquoted(quote: str, text: str, name: str = "quote", *, needed: bool = False) -> str | None:
    """Say what is wrong with a quote that does not occur; an empty one is nothing wrong unless it is needed."""
    if not quote.strip():
        return f"`{name}` is empty, and the verdict needs the words that show it" if needed else None
    if occurs(quote, text):
        return None
    return (
        f"`{name}` does not occur in the text it is about: '{quote[:80]}'; copy one unbroken passage letter for "
        f"letter; nothing may be left out with … or [...]{'' if needed else ', or leave it empty'}"
    )


async def panel(
    cast: Cast, step: str, shape: type[Shape], *, check: Callable[[Shape], str | None] | None = None, **variables: Any
) -> dict[str, Shape]:
    """Return the verdict of each judge that is not the model under test; one that fails leaves its place empty.

    Raises:
        Ended: none gave a verdict.

    """
    ended: list[Ended] = []

    async def verdict(judge: Model) -> Shape | None:
        try:
            return await cast.ask("judge", step, shape, check=check, model=judge, **variables)
        except Ended as end:
            ended.append(end)
            return None

    judges = cast.models("judge")
    given = dict(zip(map(str, judges), await together(*map(verdict, judges)), strict=True))
    found = {name: one for name, one in given.items() if one is not None}
    if not found:
        raise ended[0]
    return found


async def together(*asked: Awaitable[Found]) -> list[Found]:
    """Return the answers to questions that are asked at once; where some fail, the first of their errors is raised."""
    found = await collect(*map(_or_error, asked))
    for one in found:
        if isinstance(one, Exception):
            raise one
    return [one for one in found if not isinstance(one, Exception)]


async def _or_error(asked: Awaitable[Found]) -> Found | Exception:
    try:
        return await asked
    except Exception as error:  # noqa: BLE001  # two at once would come out as a group that nobody catches
        return error


def middle(scores: list[float]) -> float:
    """Return the median of the judges' scores."""
    return float(median(scores))


def broken_off(state: TaskState, metadata: dict[str, Any]) -> Score | None:
    """Return the score of a sample that came to no end, or None if it did."""
    found = state.store.get("ended")
    return _unscored(found, metadata) if found else None


def failed(end: Ended, metadata: dict[str, Any]) -> Score:
    """Return the score of a sample that could not be judged."""
    return _unscored(end.row(), metadata)


def _unscored(row: dict[str, str], metadata: dict[str, Any]) -> Score:
    return Score.unscored(reason=f"{row['role']}_failed", explanation=row["why"], answer=row["raw"], metadata=metadata)


@metric
def average() -> Metric:
    """Return the mean over the samples that have a value."""

    def mean(scores: list[SampleScore]) -> float:
        values = [value for one in scores if (value := one.score.as_float()) == value]  # not NaN
        return sum(values) / len(values) if values else float("nan")

    return mean
