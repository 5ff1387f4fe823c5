"""Old logs judged anew: by other judges or a mended prompt, without running the model under test again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inspect_ai import score
from inspect_ai.event import ModelEvent
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ModelUsage
from inspect_ai.model._model_config import model_roles_to_model_roles_config
from inspect_ai.model._util import resolve_model_roles

from habitus.errors import UserError
from habitus.evaluate.bills import expected
from habitus.evaluate.models import role_names
from habitus.evaluate.results import read_arm, read_result
from habitus.evaluate.runs import arm_target, check, others

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from inspect_ai.log import EvalLog, EvalSample

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.results import Result
    from habitus.evaluate.runs import Order

_OF_THE_RUN = frozenset({"items", "model", "baseline", "base"})
"""What a log keeps of how the conversations in it were made, whoever judges them."""


def judged_anew(order: Order, one: Eval) -> Result:
    """Return the result of an arm's newest log with new verdicts, which go to `rejudged/` beside the old log.

    Raises:
        UserError: the arm has no log of this eval, or the budget does not allow it.

    """
    before = read_arm(order.folder, order.arm, order.target).get(one.name)
    if before is None:
        todo = f"Run it: habitus evaluate {order.study.root} --arm {order.arm} --eval {one.name}"
        raise UserError(f"there is no log of '{one.name}' to judge.", where=str(order.folder), todo=todo)
    if "judge" not in one.calls:
        raise UserError(f"'{one.name}' is checked by tests, and no judge takes part in it.")
    judge = {"judge": one.calls["judge"]}
    each = expected(replace(one, calls=judge), "", role_names(order.study, ("judge",)), order.study)
    check(order, one, (each or 0.0) * min(order.limit or len(before.rows), len(before.rows)))
    log, task, roles = read_eval_log(before.file), order.task(one), others(order, one)
    known = [str(sample.id) for sample in task.dataset][: order.limit]
    log.samples = [sample for sample in log.samples or [] if str(sample.id) in known]
    seen = {event.uuid for sample in log.samples for event in sample.events}
    for sample in log.samples:
        sample.scores = None
    played, log.eval.model_roles, log.results = log.eval.model_roles, None, None
    assert task.scorer is not None
    fresh = score(log, task.scorer, model=arm_target(order), model_roles=roles, action="overwrite", display="none")
    judging = model_roles_to_model_roles_config(resolve_model_roles({"judge": roles["judge"]})) or {}
    fresh.eval.model_roles = (played or {}) | judging
    old = {key: found for key, found in (fresh.eval.metadata or {}).items() if key in _OF_THE_RUN}
    fresh.eval.metadata = (task.metadata or {}) | old | {"rejudged": before.file}
    fresh.eval.task_version = task.version
    _count(fresh, seen)
    path = _free(order.folder / "rejudged", before.file.rpartition("/")[2].removesuffix(".eval"))
    write_eval_log(fresh, str(path))
    return read_result(read_eval_log(str(path)), order.arm)


def _count(log: EvalLog, seen: set[str | None]) -> None:
    """Put the tokens of the new verdicts alone into a log, by model and by role."""
    for sample in log.samples or []:
        calls = _calls(sample, seen)
        sample.model_usage = _totals((event.model, event.output.usage) for event in calls)
        sample.role_usage = _totals(("judge", event.output.usage) for event in calls)
    log.stats.model_usage = _totals(item for sample in log.samples or [] for item in sample.model_usage.items())
    log.stats.role_usage = _totals(item for sample in log.samples or [] for item in sample.role_usage.items())


def _calls(sample: EvalSample, seen: set[str | None]) -> list[ModelEvent]:
    return [event for event in sample.events if isinstance(event, ModelEvent) and event.uuid not in seen]


def _totals(used: Iterable[tuple[str, Any]]) -> dict[str, ModelUsage]:
    found: dict[str, ModelUsage] = {}
    for name, usage in used:
        if usage is not None:
            found[name] = found.get(name, ModelUsage()) + usage
    return found


def _free(folder: Path, name: str) -> Path:
    """Return a file that is not there yet."""
    folder.mkdir(exist_ok=True)
    taken = len(list(folder.glob(f"{name}-*.eval")))
    return folder / f"{name}-{taken + 1}.eval"
