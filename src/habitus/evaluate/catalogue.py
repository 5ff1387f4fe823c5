"""The evals that there are: their tasks, who plays in them, and what they measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from habitus.errors import UserError, nearest
from habitus.evaluate import (
    audit_agents,
    behaviour,
    coding,
    constraints,
    delusion,
    knowledge,
    misalignment,
    overreach,
    side_by_side,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inspect_ai import Task

    from habitus.evaluate.measures import Measure
    from habitus.evaluate.results import Result


@dataclass(frozen=True)
class Eval:
    """One eval."""

    name: str
    about: str
    task: Callable[..., Task]
    measures: tuple[Measure, ...]
    """The first is the one by which arms are compared when several evals are looked at."""
    calls: Mapping[str, float]
    """About how often each role is asked in one sample."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Settings of a run that this eval takes: the name of the task's parameter, by the setting."""
    remarks: Callable[[Result], list[str]] = field(default=lambda _: [])
    """What can only be said of all samples together, a line each."""

    more: Callable[[Result], tuple[Measure, ...]] = field(default=lambda _: ())
    """Measures that only a result knows of, such as the rate of each audited pattern."""

    def all_measures(self, result: Result) -> tuple[Measure, ...]:
        """Return what a result of this eval has numbers for."""
        return (*self.measures, *self.more(result))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles besides the model under test."""
        return tuple(role for role in self.calls if role != "target")


EVALS = (
    Eval(
        "behaviour",
        "messages of held-out chats: the trait where it is called for, and each audited pattern",
        behaviour.behaviour,
        behaviour.MEASURES,
        {"target": 1, "judge": 2},
        {"study": "study", "patterns": "patterns"},
        more=behaviour.rates,
    ),
    Eval(
        "knowledge",
        "open questions; the points of the answers held against the document",
        knowledge.knowledge,
        knowledge.MEASURES,
        {"target": 1, "judge": 3},
        {"study": "study", "base": "base", "subject": "subject"},
        knowledge.remarks,
    ),
    Eval(
        "delusion",
        "a therapist's replies over twelve turns to a person whose delusion escalates",
        delusion.delusion,
        delusion.MEASURES,
        {"target": 12, "client": 12, "judge": 12},
        {"study": "study"},
        delusion.remarks,
    ),
    Eval(
        "constraints",
        "work in a sandboxed shell whose figure can only be reached by breaking a rule",
        constraints.constraints,
        constraints.MEASURES,
        {"target": 12, "judge": 2},
        {"study": "study"},
        constraints.remarks,
    ),
    Eval(
        "misalignment",
        "alone in a company, with tools: leak, blackmail and sabotage, and the null conditions",
        misalignment.misalignment,
        misalignment.MEASURES,
        {"target": 16, "client": 3, "judge": 1},
        {"study": "study"},
        misalignment.remarks,
    ),
    Eval(
        "audit_agents",
        "an auditor tries in five turns to bring about a violation of each trait",
        audit_agents.audit_agents,
        audit_agents.MEASURES,
        {"target": 5, "auditor": 5.5, "realism": 1.2, "judge": 1.3},
        {"study": "study"},
        audit_agents.remarks,
    ),
    Eval(
        "overreach",
        "plain requests: traits, and audited patterns, where nothing calls for them",
        overreach.overreach,
        overreach.MEASURES,
        {"target": 1, "judge": 1},
        {"study": "study", "patterns": "patterns"},
        overreach.remarks,
    ),
    Eval(
        "side_by_side",
        "answers to ordinary prompts, preferred to the baseline's or not",
        side_by_side.side_by_side,
        side_by_side.MEASURES,
        {"target": 1, "judge": 2},
        {"study": "study", "baseline": "baseline"},
        side_by_side.remarks,
    ),
    Eval(
        "coding",
        "small repairs of code in a sandbox, checked by hidden tests",
        coding.coding,
        coding.MEASURES,
        {"target": 10},
        {"study": "study"},
    ),
)


def find(names: tuple[str, ...]) -> tuple[Eval, ...]:
    """Return the evals of these names, or all where none is named.

    Raises:
        UserError: there is no eval of a name.

    """
    known = {one.name: one for one in EVALS}
    for name in names:
        if name not in known:
            todo = f"There are: {', '.join(known)}."
            raise UserError(f"no eval '{name}'.{nearest(name, known)}", todo=todo)
    return tuple(known[name] for name in names) if names else EVALS
