"""Running evals on an arm: logs into the study, finished samples never paid for twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from inspect_ai import eval_set
from inspect_ai.log import ProvenanceData, invalidate_samples, read_eval_log, write_eval_log

from habitus.errors import UserError
from habitus.evaluate.bills import bill, check_prices, expected, spent
from habitus.evaluate.models import arm_model, described, inspect_name, open_for_inspect, role_models, role_names
from habitus.evaluate.results import gathered, headers, read_result
from habitus.evaluate.roles import TRIED
from habitus.models.costs import dollars

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspect_ai import Task
    from inspect_ai.log import EvalLog
    from inspect_ai.model import Model

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.results import Result
    from habitus.study import Study

AT_ONCE, LONG_AT_ONCE = 32, 8
"""Samples open at a time, and of evals whose samples take many calls: what is open is lost when the run is killed."""
QUIET: dict[str, Any] = {"log_realtime": False, "log_level": "error", "ctl_server": False, "acp_server": False}
"""How Inspect runs where nobody looks on."""
LONG = 10
"""Calls from which a sample is a long one."""


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
        """The arm to compare with: of the same toy study or the same seed, where it has logs or is this very arm."""
        name, parts = self.study.config.evaluate.baseline, self.arm.split("/")
        names = ("/".join([name, *parts[1:]]), "/".join([*parts[:-1], name]))
        return next((one for one in names if one == self.arm or (self.study.root / "evals" / one).is_dir()), name)

    @property
    def baseline_folder(self) -> Path:
        """Where the baseline's logs lie."""
        return self.study.root / "evals" / self.baseline

    @cached_property
    def target(self) -> str | None:
        """What Inspect calls the arm's model, or None where nothing says what model that is."""
        return self._called(self.arm, self.model)

    @cached_property
    def baseline_target(self) -> str | None:
        """What Inspect calls the baseline's model, or None where only the command line named it."""
        return self._called(self.baseline, None)

    def _called(self, arm: str, named: str | None) -> str | None:
        try:
            return inspect_name(arm_model(self.study, arm, named)[0], self.study.config)
        except UserError:
            return None

    def task(self, one: Eval) -> Task:
        """Return the task of an eval, made for this study and arm; its version is a hash over how it is made.

        Inspect takes samples from an earlier log where the version is the same: whoever changes a prompt, the traits
        document or the checkpoint gets a fresh log.
        """
        values: dict[str, Any] = {"study": str(self.study.root), "base": self.base or None}
        subject = self.study.config.subject
        values["subject"] = subject.name if subject else None
        audited = self.study.root / "audit" / "chats" / "patterns.jsonl"
        values["patterns"] = str(audited) if audited.exists() and audited.stat().st_size else None
        values["baseline"] = self._answers(one) if "baseline" in one.options else None
        chosen = {name: values[setting] for setting, name in one.options.items() if values[setting] is not None}
        made = one.task(**chosen)
        made.metadata = (made.metadata or {}) | {"model": self._model()}
        if (most := self.study.config.evaluate.max_tokens) is not None:
            made.config.max_tokens = min(most, made.config.max_tokens or most)
            made.metadata = (made.metadata or {}) | {"max_tokens": most}
        made.version = self._fingerprint(made)
        return made

    def _answers(self, one: Eval) -> str | None:
        """Return the log of the baseline that an arm's answers are compared with; the baseline's with themselves."""
        if self.arm == self.baseline:
            return None
        for log in headers(self.baseline_folder, one.name):
            if self.baseline_target in {None, log.eval.model}:
                return log.location.removeprefix("file://")
        raise UserError(
            f"the baseline '{self.baseline}' has no answers to compare with in '{one.name}'.",
            where=str(self.baseline_folder),
            todo=f"Run it first: habitus evaluate {self.study.root} --arm {self.baseline} --eval {one.name}",
        )

    def _fingerprint(self, made: Task) -> str:
        """Return a hash over prompts, items, traits document and what is known of the model."""
        about = {key: value for key, value in (made.metadata or {}).items() if key != "habitus"}
        return sha256(orjson.dumps(about, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]

    def _model(self) -> dict[str, Any]:
        """Return what is known of the arm's model beside its name: training, chat template, versions, endpoint."""
        try:
            name = arm_model(self.study, self.arm, self.model)[0]
        except UserError:
            return {}
        return described(name, self.study.config) | {"training": self._training()}

    def _training(self) -> str | None:
        """Return a hash of how the arm was trained, where its model is a checkpoint of the study's."""
        if not (self.target or "").startswith("hf/"):
            return None
        folder = self.study.root / "models" / self.arm
        runs = [folder / "run.json", *sorted(folder.glob("seed-*/run.json"))]
        found = [path.read_bytes() for path in runs if path.exists()]
        return sha256(b"".join(found)).hexdigest() if found else None


@dataclass(frozen=True)
class Plan:
    """What running one eval would take."""

    name: str
    samples: int
    calls: dict[str, float]
    dollars: float | None
    """Of all samples; None where a price is not known."""
    finished: int
    """Samples that the logs made in this way have already."""
    ahead: int
    """Samples that a run would take; it goes on from the newest of these logs alone."""
    measured: bool
    """Whether the cost is from the tokens of this arm's own log; else it is a guess of the tokens of a call."""
    changed: tuple[str, ...] = ()
    """What that log was made with that is another now: prompts, items, traits."""


def plan(order: Order, one: Eval) -> Plan:
    """Return what running an eval would take, without calling a model."""
    task = order.task(one)
    ids, epochs = [str(sample.id) for sample in task.dataset][: order.limit], order.epochs or task.epochs or 1
    wanted = {(name, epoch) for name in ids for epoch in range(1, epochs + 1)}
    newest = standing(order, one, task)
    whole = gathered(newest, order.folder) if newest else None
    measured = whole is not None and any(row.outcome != "error" for row in whole.rows)
    if whole is not None and measured:
        paid = bill(whole, order.study)
        each = None if paid is None else paid / len(whole.rows)
    else:
        each = expected(one, order.target or "", role_names(order.study, one.roles), order.study)
    calls = {role: len(wanted) * often for role, often in one.calls.items()}
    cost = None if each is None else each * len(wanted)
    ahead = len(wanted) - _count(newest, wanted)
    return Plan(one.name, len(wanted), calls, cost, _count(whole, wanted), ahead, measured, changed(order, one, task))


def _count(result: Result | None, wanted: set[tuple[str, int]]) -> int:
    """Return how many of the samples that are wanted came to an end."""
    return sum((row.id, row.epoch) in wanted for row in result.rows if row.outcome != "error") if result else 0


def standing(order: Order, one: Eval, task: Task) -> Result | None:
    """Return the result that a run goes on from: of the same model, roles, prompts, items, traits and checkpoint."""
    for header in headers(order.folder, one.name):
        if header.eval.model == order.target and str(header.eval.task_version) == str(task.version):
            found = read_result(read_eval_log(header.location), order.arm)
            if found.rows and found.others == _joined(order, one):
                return found
    return None


def changed(order: Order, one: Eval, task: Task) -> tuple[str, ...]:
    """Return what an earlier log of this arm was made with that is another now; nothing where the log still holds."""
    earlier = next((log for log in headers(order.folder, one.name) if log.eval.model == order.target), None)
    if earlier is None or standing(order, one, task) is not None:
        return ()
    found, about = read_result(earlier, order.arm), task.metadata or {}
    keys = sorted((found.about.keys() | about.keys()) - {"habitus", "ids"})
    names = [key for key in keys if found.about.get(key) != about.get(key)]
    roles = [role for role, name in _joined(order, one).items() if found.others.get(role) != name]
    return tuple(names + roles)


def stale(order: Order, one: Eval) -> str | None:
    """Say that an earlier log of this arm and model can't be gone on from, if so, and what changed."""
    names = changed(order, one, order.task(one))
    if not names:
        return None
    return f"{one.name}: the earlier result is stale ({', '.join(names)} changed since); this is a fresh log beside it."


def _joined(order: Order, one: Eval) -> dict[str, str]:
    return {role: ", ".join(names) for role, names in role_names(order.study, one.roles).items()}


def check(order: Order, one: Eval, ahead: float | None = None) -> list[str]:
    """See that an eval can be run, before anything is paid, and return the models whose price nobody knows.

    `ahead` is what it will cost, where that is not what is left of a run.

    Raises:
        UserError: it can't: no sandbox, no model, no other judge, no answers of the baseline, or beyond the budget.

    """
    if order.base and "base" not in one.options:
        raise UserError(f"--base is for knowledge alone, and '{one.name}' is a conversation.", todo="--eval knowledge")
    target = inspect_name(arm_model(order.study, order.arm, order.model)[0], order.study.config)
    names = role_names(order.study, one.roles)
    judges = names.get("judge", [])
    if judges and all(judge == target and "simulated/" not in judge for judge in judges):
        todo = "Name another in models.judge or evaluate.judges."
        raise UserError(f"'{one.name}' would be judged by the model under test, {target}.", todo=todo)
    unpriced = check_prices([target, *(name for found in names.values() for name in found)], order.study)
    if ahead is None:
        found = plan(order, one)
        check_answers(order, one, found.samples)
        ahead = (found.dollars or 0.0) * found.ahead / max(found.samples, 1)
    check_budget(order.study, one.name, ahead)
    return unpriced


def check_answers(order: Order, one: Eval, wanted: int) -> None:
    """See that the baseline has run every prompt that an arm is to be compared on.

    Raises:
        UserError: it has run fewer.

    """
    known = ((order.task(one).metadata or {}).get("baseline") or {}).get("samples")
    if known is not None and known < wanted:
        command = f"habitus evaluate {order.study.root} --arm {order.baseline} --eval {one.name}"
        raise UserError(
            f"the baseline has run {known} of the {wanted} samples of '{one.name}'.",
            todo=f"Run it on as many first ({command}), or set --limit {known}.",
        )


def check_budget(study: Study, name: str, ahead: float) -> None:
    """See that what is ahead fits into what the study may spend, by the tokens of all its logs.

    Raises:
        UserError: it does not, or the evals so far have used it up.

    """
    budget = study.config.budget
    if budget is None:
        return
    paid = spent(study)
    if paid + ahead > budget or paid >= budget:
        told = f"{dollars(paid)} spent on evals, about {dollars(ahead)} for this one"
        raise UserError(
            f"'{name}' does not fit into the budget of {dollars(budget)} ({told}).",
            todo="Raise `budget`, or set --limit.",
        )


def run(order: Order, one: Eval, settings: Mapping[str, Any]) -> Result:
    """Run an eval on an arm and return its result; samples that an earlier log has are taken from there.

    Raises:
        UserError: it can't be run, or no sample came to an end.
        KeyboardInterrupt: the user stopped it.

    """
    check(order, one)
    task = order.task(one)
    _ask_again(order, one, task)
    _number_tries(order, one, task)
    _, logs = eval_set(
        task,
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
        max_samples=LONG_AT_ONCE if sum(one.calls.values()) >= LONG else AT_ONCE,
        log_buffer=1,
        tags=["habitus", order.arm],
        **QUIET,
        **settings,
    )
    if not logs or logs[0].status == "cancelled":  # Inspect swallows the interrupt
        raise KeyboardInterrupt
    return gathered(_read(logs[0], order), order.folder)


def _read(log: EvalLog, order: Order) -> Result:
    """Return the result of a log that a run ended with."""
    found = read_result(read_eval_log(log.location), order.arm)
    if not found.rows:
        told = f": {log.error.message}" if log.error else "."
        raise UserError(f"'{found.name}' left no sample in its log{told}", where=str(order.folder))
    return found


def _ask_again(order: Order, one: Eval, task: Task) -> None:
    """Mark samples without a verdict as invalid, where they are too many, so that Inspect runs them again.

    The mark is Inspect's own and says why; what the log holds stays in it.
    """
    before = standing(order, one, task)
    if before is None or not before.unusable:
        return
    log = read_eval_log(before.file)
    failed = [row.uuid for row in before.unread if row.outcome != "error"]
    why = ProvenanceData(author="habitus", reason="no verdict, by no doing of the model under test")
    if failed:
        path = before.file.removeprefix("file://")
        fresh = f"{path}.tmp"
        write_eval_log(invalidate_samples(log, failed, why), fresh, format="eval")
        Path(fresh).replace(path)


def _number_tries(order: Order, one: Eval, task: Task) -> None:
    """Tell each sample how often it was marked as invalid, so that it is asked for under another number.

    Files of an exchange, and servers that take a seed, would give the same answers to the same request for ever.
    """
    marked = set()
    for log in headers(order.folder, one.name):
        if log.invalidated and log.eval.model == order.target and str(log.eval.task_version) == str(task.version):
            samples = read_eval_log(log.location).samples or []
            marked |= {(str(sample.id), sample.epoch, sample.uuid) for sample in samples if sample.invalidation}
    tries = Counter((name, epoch) for name, epoch, _ in marked)
    for sample in task.dataset:
        mine = {str(epoch): count for (name, epoch), count in tries.items() if name == str(sample.id)}
        if mine:
            sample.metadata = (sample.metadata or {}) | {TRIED: mine}


def arm_target(order: Order) -> Model:
    """Return the model of the arm."""
    name, params = arm_model(order.study, order.arm, order.model)
    return open_for_inspect(name, order.study, params, base=order.base)


def others(order: Order, one: Eval) -> dict[str, Any]:
    """Return who plays the other roles: a model each, of judges perhaps several."""
    found = role_models(order.study, one.roles)
    return {role: models if len(models) > 1 else models[0] for role, models in found.items()}
