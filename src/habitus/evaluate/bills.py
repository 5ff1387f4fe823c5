"""What evals cost: billed by model from their logs, estimated before there is one, and held to the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspect_ai.log import read_eval_log_sample_summaries

from habitus.errors import UserError
from habitus.evaluate.models import LOCAL, inspect_name
from habitus.models import Usage
from habitus.models.costs import cost, price_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inspect_ai.model import ModelUsage

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.results import Result
    from habitus.models.costs import Price
    from habitus.settings import ModelChoice
    from habitus.study import Study


_EXCHANGE = "habitus/exchange/"


def price(name: str, study: Study) -> Price | None:
    """Return what a model costs, by Inspect's name: as the config declares it, or by the price list."""
    if name.partition("/")[0] in LOCAL:
        return price_of("simulated/world")
    choices = [getattr(study.config.models, role) for role in type(study.config.models).model_fields]
    known: list[ModelChoice] = [one for one in choices if one] + [
        *study.config.evaluate.judges,
        *study.config.evaluate.arms.values(),
    ]
    declared = next(
        (one.price for one in known if one.price and inspect_name(str(one.model), study.config) == name), None
    )
    return price_of(
        name.removeprefix("habitus/").removeprefix("openai-api/"), declared.model_dump() if declared else None
    )


def bill(result: Result, study: Study) -> float | None:
    """Return what the samples of a result cost in US dollars, or None where a price is not known.

    Files of an exchange tell no tokens, and what costs nothing is not what nobody knows the cost of.
    """
    names = [result.model, *", ".join(result.others.values()).split(", ")]
    if any(name.startswith(_EXCHANGE) and price(name, study) is None for name in names):
        return None
    return _sum(_dollars(one.usage, study) for one in result.rows)


def spent(study: Study) -> float:
    """Return what all evals of a study cost so far in US dollars, each sample once.

    Raises:
        UserError: a price is not known, so that nobody can tell.

    """
    used: dict[tuple[str, str], Mapping[str, ModelUsage]] = {}
    for path in sorted((study.root / "evals").rglob("*.eval")):
        for one in read_eval_log_sample_summaries(str(path)):
            # a log that goes on from another has its samples too; one that was judged anew has calls of its own
            anew = str(path) if path.parent.name == "rejudged" else ""
            used[anew, one.uuid or f"{path} {one.id} {one.epoch}"] = one.model_usage
    check_prices([name for usage in used.values() for name in usage], study)
    return sum(_dollars(usage, study) or 0.0 for usage in used.values())


def expected(one: Eval, target: str, others: Mapping[str, list[str]], study: Study) -> float | None:
    """Return about what a sample costs before there is a log: its calls, of a panel all, at what their tokens were."""
    players = dict(others) | {"target": [target]}
    amounts = [
        (often, cost(price(name, study), Usage(*one.tokens[role])))
        for role, often in one.calls.items()
        for name in players[role]
    ]
    return _sum(None if amount is None else often * amount for often, amount in amounts)


def check_prices(names: list[str], study: Study) -> list[str]:
    """Return the models whose price nobody knows.

    Raises:
        UserError: there is one, and a budget that could not be held.

    """
    found = [name for name in dict.fromkeys(names) if price(name, study) is None]
    asked = [name for name in found if not name.startswith(_EXCHANGE)]
    if asked and study.config.budget is not None:
        raise UserError(
            f"the price of {asked[0]} is unknown, so a budget can't be held.",
            where="config.yaml",
            todo="Give its `price: {input: …, output: …}` in USD per million tokens, or remove `budget`.",
        )
    return found


def _dollars(usage: Mapping[str, ModelUsage], study: Study) -> float | None:
    amounts = []
    for name, used in usage.items():
        cached = used.input_tokens_cache_read or 0
        read = used.input_tokens + cached + (used.input_tokens_cache_write or 0)
        amounts.append(cost(price(name, study), Usage(read, used.output_tokens, cached)))
    return _sum(amounts)


def _sum(amounts: Iterable[float | None]) -> float | None:
    """Return the sum, or None where a part of it is not known."""
    found = list(amounts)
    known = [one for one in found if one is not None]
    return sum(known) if len(known) == len(found) else None
