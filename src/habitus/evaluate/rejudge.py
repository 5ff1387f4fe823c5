"""Old logs judged anew: by other judges or a mended prompt, without running the model under test again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspect_ai import score
from inspect_ai.log import read_eval_log, write_eval_log

from habitus.errors import UserError
from habitus.evaluate.results import read_arm, read_result
from habitus.evaluate.runs import arm_target, others

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.results import Result
    from habitus.evaluate.runs import Order


def judged_anew(order: Order, one: Eval) -> Result:
    """Return the result of an arm's newest log with new verdicts, which go to `rejudged/` beside the old log.

    Raises:
        UserError: the arm has no log of this eval.

    """
    before = read_arm(order.folder, order.arm).get(one.name)
    if before is None:
        todo = f"Run it: habitus evaluate {order.study.root} --arm {order.arm} --eval {one.name}"
        raise UserError(f"there is no log of '{one.name}' to judge.", where=str(order.folder), todo=todo)
    log = read_eval_log(before.file)
    for sample in log.samples or []:
        sample.scores = None
    task = order.task(one)
    log.results = None
    assert task.scorer is not None
    fresh = score(
        log, task.scorer, model=arm_target(order), model_roles=others(order, one), action="overwrite", display="none"
    )
    fresh.eval.model_roles = None
    fresh.eval.metadata = (fresh.eval.metadata or {}) | (task.metadata or {})
    path = _free(order.folder / "rejudged", before.file.rpartition("/")[2].removesuffix(".eval"))
    write_eval_log(fresh, str(path))
    return read_result(fresh, order.arm)


def _free(folder: Path, name: str) -> Path:
    """Return a file that is not there yet."""
    folder.mkdir(exist_ok=True)
    taken = len(list(folder.glob(f"{name}-*.eval")))
    return folder / f"{name}-{taken + 1}.eval"
