"""Running evals on an arm: logs into the study, finished samples never paid for twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspect_ai import eval_set

from habitus.errors import UserError
from habitus.evaluate.models import arm_model, open_for_inspect, role_models
from habitus.evaluate.results import read_arm
from habitus.models import Usage
from habitus.models.costs import cost, dollars, price_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inspect_ai import Task
    from inspect_ai.model import Model

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.results import Result
    from habitus.study import Study

AT_ONCE = 32
"""Samples open at a time."""


@dataclass(frozen=True)
class Order:
    """What is to be run on which arm."""

    study: Study
    arm: str
    model: str | None = None
    limit: int | None = None
    epochs: int | None = None
    base: bool = False

    @property
    def folder(self) -> Path:
        """Where the logs of the arm lie."""
        return self.study.root / "evals" / self.arm

    @property
    def baseline(self) -> str:
        """The arm to compare with: of the same toy study or the same seed, where it has logs."""
        name, parts = self.study.config.evaluate.baseline, self.arm.split("/")
        names = ("/".join([name, *parts[1:]]), "/".join([*parts[:-1], name]))
        return next((one for one in names if (self.study.root / "evals" / one).is_dir()), name)

    def task(self, one: Eval) -> Task:
        """Return the task of an eval, made for this study and arm."""
        values: dict[str, Any] = {"study": str(self.study.root), "base": self.base or None}
        subject = self.study.config.subject
        values["subject"] = subject.name if subject else None
        audited = self.study.root / "audit" / "chats" / "patterns.jsonl"
        values["patterns"] = str(audited) if audited.exists() else None
        values["baseline"] = str(self.study.root / "evals" / self.baseline)
        chosen = {name: values[setting] for setting, name in one.options.items() if values[setting] is not None}
        return one.task(**chosen)


@dataclass(frozen=True)
class Plan:
    """What running one eval would take."""

    name: str
    samples: int
    calls: dict[str, float]
    dollars: float | None
    """From the tokens of this arm's own log, or None where there is none or a price is not known."""
    finished: int
    """Samples that a log has already."""
    changed: tuple[str, ...] = ()
    """What that log was made with that is another now: prompts, items, traits."""


def plan(order: Order, one: Eval) -> Plan:
    """Return what running an eval would take, without calling a model."""
    task = order.task(one)
    samples = min(len(task.dataset), order.limit or len(task.dataset)) * (order.epochs or task.epochs or 1)
    before = read_arm(order.folder, order.arm).get(one.name)
    spent = None if before is None else bill(before)
    per_sample = None if before is None or spent is None else spent / max(len(before.rows), 1)
    done = 0 if before is None else sum(row.outcome != "error" for row in before.rows)
    calls = {role: samples * often for role, often in one.calls.items()}
    cost_of_all = None if per_sample is None else per_sample * samples
    return Plan(one.name, samples, calls, cost_of_all, min(done, samples), _changed(before, task))


def _changed(before: Result | None, task: Task) -> tuple[str, ...]:
    """Return what a log was made with that the task would not be made with now."""
    now, was = task.metadata or {}, before.about if before else {}
    return tuple(name for name in ("prompts", "items", "traits") if before and was.get(name) != now.get(name))


def check_budget(order: Order, one: Eval) -> None:
    """See that an eval fits into what the study may spend, by the tokens of its logs.

    Raises:
        UserError: it does not, or the evals so far have used it up.

    """
    budget = order.study.config.budget
    if budget is None:
        return
    arms = [place for place in (order.study.root / "evals").rglob("*") if place.is_dir() and place.name != "rejudged"]
    spent = sum(bill(found) or 0.0 for place in arms for found in read_arm(place, place.name).values())
    ahead = plan(order, one)
    left = 1 - ahead.finished / max(ahead.samples, 1)
    if spent + (ahead.dollars or 0.0) * left > budget or spent >= budget:
        told = f"{dollars(spent)} spent on evals, about {dollars((ahead.dollars or 0.0) * left)} for this one"
        raise UserError(
            f"'{one.name}' does not fit into the budget of {dollars(budget)} ({told}).",
            todo="Raise `budget`, or --limit.",
        )


def bill(result: Result) -> float | None:
    """Return what the calls of an eval cost in US dollars, or None where a price is not known."""
    amounts = [
        0.0 if name.startswith("hf/") else cost(price_of(name.removeprefix("habitus/")), Usage(read, written))
        for name, read, written in result.tokens.values()
    ]
    return None if any(one is None for one in amounts) else sum(one for one in amounts if one is not None)


def run(order: Order, one: Eval, settings: Mapping[str, Any]) -> Result:
    """Run an eval on an arm and return its result; samples that an earlier log has are taken from there.

    Raises:
        UserError: a model can't be opened, no sample came to an end, or the budget does not allow it.

    """
    check_budget(order, one)
    eval_set(
        order.task(one),
        log_dir=str(order.folder),
        log_dir_allow_dirty=True,
        model=arm_target(order),
        model_roles=others(order, one),
        limit=order.limit,
        epochs=order.epochs,
        retry_attempts=0,
        retry_immediate=False,
        retry_cleanup=False,
        continue_on_fail=True,
        fail_on_error=True,
        max_samples=AT_ONCE,
        ctl_server=False,
        acp_server=False,
        log_realtime=False,
        log_level="error",
        tags=["habitus", order.arm],
        **settings,
    )
    found = read_arm(order.folder, order.arm).get(one.name)
    if found is None:
        raise UserError(f"'{one.name}' left no sample in its log.", where=str(order.folder))
    return found


def arm_target(order: Order) -> Model:
    """Return the model of the arm."""
    name, params = arm_model(order.study, order.arm, order.model)
    return open_for_inspect(name, order.study, params, base=order.base)


def others(order: Order, one: Eval) -> dict[str, Any]:
    """Return who plays the other roles: a model each, of judges perhaps several."""
    found = role_models(order.study, one.roles)
    return {role: models if len(models) > 1 else models[0] for role, models in found.items()}
