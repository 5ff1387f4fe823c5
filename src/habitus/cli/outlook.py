"""What `habitus run` has before it: every part of a study with where it stands, and what it will take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from habitus.cli import standing
from habitus.cli.needs import audited, chosen_evals, needed, orders, possible
from habitus.cli.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from habitus.evaluate.runs import Plan
    from habitus.forecast import StepEstimate
    from habitus.generate.kinds import Job
    from habitus.settings_train import Arm
    from habitus.study import Study
    from habitus.train.plan import Run

LATER = "·"
"""In place of a figure that is not known yet."""


@dataclass(frozen=True)
class Part:
    """One line of the plan; what is not known or does not apply is None."""

    step: str
    what: str
    stands: Standing
    calls: float | None = None
    dollars: float | None = None
    optimiser_steps: str = ""
    memory: float | None = None
    seconds: float | None = None


def print_plan(study: Study, arms: tuple[str, ...], skip: tuple[str, ...], *, command: str) -> None:
    """Print where every part of the study stands, and what those that are not done will take."""
    from habitus import show

    runs = _runs(study, arms) if {"train", "evaluate"} - set(skip) else []
    verbs = {"generate": _datasets(study), "audit": _audits(study), "train": _models(study, runs)}
    verbs["evaluate"] = _evals(study, arms, runs)
    parts = [part for verb, found in verbs.items() if verb not in skip for part in found]
    ahead = [part for part in parts if part.stands.state != "done"]
    show.heading(f"the plan of {study.root}")
    asking, training = ([part for part in parts if (part.step == "train") is trains] for trains in (False, True))
    if asking:
        _print_asking(asking)
    if training:
        show.say()
        _print_training(training)
    done = f"{len(parts) - len(ahead):,} of {len(parts):,} done"
    show.say(f"  {done}, which counts for nothing; what stands as · is known once the steps before it are done")
    for part in ahead:
        if part.stands.why:
            show.say(f"  {part.step} {part.what}: {part.stands.words}")
    show.next_command(command)


def _print_asking(parts: Sequence[Part]) -> None:
    """Print the parts that ask models for answers, with the sum of what is ahead."""
    from habitus import show
    from habitus.models.costs import dollars

    def cells(part: Part) -> list[str]:
        figures = [_figure(part.calls, "{:,.0f}".format), _figure(part.dollars, dollars)]
        return [part.what, part.step, part.stands.words, *(["", ""] if part.stands.state == "done" else figures)]

    ahead = [part for part in parts if part.stands.state != "done"]
    sums = [_sum((one.calls for one in ahead), "{:,.0f}".format), _sum((one.dollars for one in ahead), dollars)]
    columns = [("answers of models", "left"), ("step", "left"), ("", "left"), ("calls", "right"), ("cost", "right")]
    show.table(columns, [cells(part) for part in parts], total=["", "", "", *sums])


def _print_training(parts: Sequence[Part]) -> None:
    """Print the runs of training, with the sum of what is ahead."""
    from habitus import show
    from habitus.show_train import size

    def cells(part: Part) -> list[str]:
        figures = [part.optimiser_steps, _figure(part.memory, size), _figure(part.seconds, show.clock)]
        return [part.what, part.stands.words, *(["", "", ""] if part.stands.state == "done" else figures)]

    ahead = [part for part in parts if part.stands.state != "done"]
    columns = [("training", "left"), ("", "left"), ("steps", "right"), ("memory", "right"), ("time", "right")]
    total = ["", "", "", "", _sum((one.seconds for one in ahead), show.clock)]
    show.table(columns, [cells(part) for part in parts], total=total)


def _figure(value: float | None, told: Callable[[float], str]) -> str:
    return LATER if value is None else told(value)


def _sum(values: Iterable[float | None], told: Callable[[float], str]) -> str:
    """Return a sum, with a mark where it is not the whole."""
    known = list(values)
    found = [one for one in known if one is not None]
    return LATER if known and not found else f"{told(sum(found))}{' + ·' if len(found) < len(known) else ''}"


def _summed(rows: Sequence[StepEstimate]) -> tuple[float, float | None]:
    """Return the calls and the dollars of several steps; no dollars where a price is not known."""
    known = [row.dollars for row in rows if row.dollars is not None]
    return sum(row.calls for row in rows), sum(known) if len(known) == len(rows) else None


def _datasets(study: Study) -> Iterator[Part]:
    from habitus.generate.estimate import estimate
    from habitus.recipe import open_engine

    async def taken(job: Job) -> tuple[float, float | None]:
        async with open_engine(study) as engine:
            return _summed(estimate(job, engine, job.usual_count()))

    for job in needed(study):
        if job.kind.is_long:
            job.subject  # noqa: B018  # the mistake of naming none is told now
        stands, what = standing.dataset(job), f"{job.dataset.name}, {job.usual_count():,}"
        calls, cost = (None, None) if stands.state == "done" else asyncio.run(taken(job))
        yield Part("generate", what, stands, calls, cost)


def _audits(study: Study) -> Iterator[Part]:
    for name in audited(study):
        stands, is_there = standing.audit(study, name), study.dataset(name).kept.exists()
        calls, cost = asyncio.run(_audit(study, name)) if stands.state != "done" and is_there else (None, None)
        yield Part("audit", name, stands, calls, cost)


async def _audit(study: Study, name: str) -> tuple[float, float | None]:
    """Return the calls and the dollars of rating every row of a dataset."""
    from habitus.audit.dataset import Reading, View
    from habitus.audit.passes import Passes
    from habitus.cli.run import ALL_ROWS
    from habitus.models.ledger import read_totals
    from habitus.recipe import open_engine
    from habitus.tally import Progress

    settings = study.config.audit.model_copy(update={"sample": ALL_ROWS})
    reading = Reading(str(study.dataset(name).kept), View("assistant", "all"))
    async with open_engine(study, config=study.config.model_copy(update={"audit": settings})) as engine:
        passes = Passes(engine, study.root / "audit" / name, reading, progress=Progress())
        passes.draw()
        return _summed(passes.estimate(read_totals(study.ledger)))


def _runs(study: Study, arms: tuple[str, ...]) -> list[Run]:
    """Return the planned runs; none as long as rows or verdicts are missing from which they can be planned."""
    rows = all(job.dataset.kept.exists() for job in needed(study))
    if rows and all(standing.audit(study, name).state == "done" for name in audited(study)):
        return standing.planned(study).some(arms, ())
    return []


def _models(study: Study, runs: Sequence[Run]) -> Iterator[Part]:
    """Yield every run: as it is planned, or with the optimiser steps that the config sets."""
    from habitus.train.estimate import estimate

    for one in runs:
        stands, steps = standing.model(one, study.root / "models"), " + ".join(f"{job.steps:,}" for job in one.jobs)
        needs = estimate(one) if stands.state != "done" else None
        figures = (steps, needs.memory, needs.seconds) if needs else ("", None, None)
        yield Part("train", f"{one.arm} seed {one.seed}", stands, None, None, *figures)
    if not runs:
        for name, arm in study.config.arms.items():
            for seed in study.config.train.seeds:
                yield Part("train", f"{name} seed {seed}", Standing("to do"), optimiser_steps=_steps(study, arm))


def _steps(study: Study, arm: Arm) -> str:
    stages = [kind for kind in ("midtrain", "sft", "bdpo") if getattr(arm, kind) is not None]
    given = [getattr(study.config.train, kind).steps for kind in stages]
    return " + ".join(LATER if one is None else f"{one:,}" for one in given)


def _evals(study: Study, arms: tuple[str, ...], runs: Sequence[Run]) -> Iterator[Part]:
    """Yield a line for the evals of every model, trained or not yet."""
    from habitus import show

    seeds = study.config.train.seeds
    pairs = [(run.arm, run.seed) for run in runs] or [(name, seed) for name in study.config.arms for seed in seeds]
    evals, told = chosen_evals(study), set()
    for order in orders(study, pairs, arms):
        named, left = possible(order, evals)
        told |= left.items()
        plans = standing.plans(order, named)
        yield _eval(order.arm, standing.evals(order, plans), plans)
    for name, why in sorted(told):
        show.note(f"{name} is left out: {why}")


def _eval(arm: str, stands: Standing, plans: Sequence[Plan]) -> Part:
    missing = [one for one in plans if stands.state == "stale" or one.finished < one.samples]
    calls = sum(sum(one.calls.values()) for one in missing)
    known = [one.dollars for one in missing if one.dollars is not None]
    cost = sum(known) if len(known) == len(missing) else None
    return Part("evaluate", arm.replace("/", " ").replace("seed-", "seed "), stands, calls, cost)
