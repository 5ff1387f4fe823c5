"""What the arms of a study need: datasets, audits, evals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.runs import Order
    from habitus.generate.kinds import Job
    from habitus.settings_train import Selection
    from habitus.study import Study


def needed(study: Study) -> list[Job]:
    """Return the datasets that the arms of a study are trained on, and those that they are made from."""
    from habitus.generate.dataset import jobs
    from habitus.generate.kinds import PLAIN

    names = {one.data for one in _selections(study)}
    if not study.config.arms:
        names = {"chats", *(["documents"] if study.config.subject else [])}
    found = [job for job in jobs(study) if job.dataset.name in names]
    sources = {job.chats.dataset.name for job in found if job.kind is PLAIN}
    return [job for job in jobs(study) if job.dataset.name in names | sources]


def audited(study: Study) -> list[str]:
    """Return the datasets of whose rows the arms leave some out by a pattern."""
    made = {job.dataset.name for job in needed(study)}
    return [name for name in dict.fromkeys(one.data for one in _selections(study) if one.without) if name in made]


def _selections(study: Study) -> Iterator[Selection]:
    for arm in study.config.arms.values():
        yield from (one for one in (arm.midtrain, arm.sft, arm.bdpo) if one is not None and one.data)


def chosen_evals(study: Study) -> list[Eval]:
    """Return the evals that the config names; without any, all that there are."""
    try:
        from habitus.evaluate.catalogue import find
    except ImportError as missing:
        todo = 'Run: pip install "habitus[evaluate]"'
        raise UserError(f"evals need {missing.name}, which is not installed.", todo=todo) from missing
    return list(find(tuple(study.config.evaluate.evals)))


def orders(study: Study, runs: Iterable[tuple[str, int]], arms: tuple[str, ...]) -> list[Order]:
    """Return an order of evals for every run's model and every declared one, the baseline's first."""
    from habitus.evaluate.runs import Order

    settings = study.config.evaluate
    names = [*(f"{arm}/seed-{seed}" for arm, seed in runs), *settings.arms]
    wanted = [name for name in names if name.partition("/")[0] in (arms or {name.partition("/")[0]})]
    wanted.sort(key=lambda name: name.partition("/")[0] != settings.baseline)
    return [Order(study, name, limit=settings.limit) for name in wanted]


def possible(order: Order, evals: list[Eval]) -> tuple[list[Eval], dict[str, str]]:
    """Return the evals that can be run on an arm here, and why the others can't; those that are named must be."""
    left: dict[str, str] = {}
    for one in evals:
        try:
            order.task(one)
        except UserError as error:
            if not _comes(order.study, error):
                left[one.name] = error.what
    if left and order.study.config.evaluate.evals:
        name, why = next(iter(left.items()))
        raise UserError(f"'{name}' can't be run: {why}", where="config.yaml, evaluate.evals", todo="Leave it out.")
    return [one for one in evals if one.name not in left], left


def _comes(study: Study, error: UserError) -> bool:
    """Tell whether what an eval lacks will be there by then: the baseline's answers, or the chats."""
    if "no answers to compare with" in error.what:  # the baseline's evals come first
        return True
    return "nothing kept yet" in error.what and any(job.dataset.name == "chats" for job in needed(study))
