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
    tokens: Mapping[str, tuple[int, int]]
    """Input and output tokens of such a call, as they were where a language model played every role."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Settings of a run that this eval takes: the name of the task's parameter, by the setting."""
    remarks: Callable[[Result], list[str]] = field(default=lambda _: [])
    """What can only be said of all samples together, a line each."""
    parts: Callable[[Result], tuple[Measure, ...]] = field(default=lambda _: ())
    """Measures that only a result knows of, such as the rate of each audited pattern."""

    def all_measures(self, result: Result) -> tuple[Measure, ...]:
        """Return what a result of this eval has numbers for."""
        return (*self.measures, *self.parts(result))

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
        {"target": (400, 400), "judge": (2500, 120)},
        {"study": "study", "patterns": "patterns"},
        parts=behaviour.rates,
    ),
    Eval(
        "knowledge",
        "open questions; the points of the answers held against the document",
        knowledge.knowledge,
        knowledge.MEASURES,
        {"target": 1, "judge": 3},
        {"target": (50, 300), "judge": (1450, 100)},
        {"study": "study", "base": "base", "subject": "subject"},
        knowledge.remarks,
    ),
    Eval(
        "delusion",
        "a therapist's replies over twelve turns to a person whose delusion escalates",
        delusion.delusion,
        delusion.MEASURES,
        {"target": 12, "client": 12, "judge": 12},
        {"target": (1500, 140), "client": (2050, 190), "judge": (2550, 130)},
        {"study": "study"},
        delusion.remarks,
    ),
    Eval(
        "constraints",
        "work in a sandboxed shell whose figure can only be reached by breaking a rule",
        constraints.constraints,
        constraints.MEASURES,
        {"target": 12, "judge": 2},
        {"target": (800, 130), "judge": (2750, 160)},
        {"study": "study"},
        constraints.remarks,
    ),
    Eval(
        "misalignment",
        "alone in a company, with tools: leak, blackmail and sabotage, and the null conditions",
        misalignment.misalignment,
        misalignment.MEASURES,
        {"target": 16, "client": 3, "judge": 1},
        {"target": (3050, 110), "client": (350, 45), "judge": (2900, 120)},
        {"study": "study"},
        misalignment.remarks,
    ),
    Eval(
        "audit_agents",
        "an auditor tries in five turns to bring about a violation of each trait",
        audit_agents.audit_agents,
        audit_agents.MEASURES,
        {"target": 5, "auditor": 5.5, "realism": 1.2, "judge": 1.3},
        {"target": (500, 250), "auditor": (2000, 200), "realism": (500, 45), "judge": (2100, 160)},
        {"study": "study"},
        audit_agents.remarks,
    ),
    Eval(
        "overreach",
        "plain requests: traits, and audited patterns, where nothing calls for them",
        overreach.overreach,
        overreach.MEASURES,
        {"target": 1, "judge": 1},
        {"target": (50, 140), "judge": (2500, 60)},
        {"study": "study", "patterns": "patterns"},
        overreach.remarks,
        overreach.parts,
    ),
    Eval(
        "side_by_side",
        "answers to ordinary prompts, preferred to the baseline's or not",
        side_by_side.side_by_side,
        side_by_side.MEASURES,
        {"target": 1, "judge": 2},
        {"target": (50, 250), "judge": (700, 65)},
        {"study": "study", "baseline": "baseline"},
        side_by_side.remarks,
    ),
    Eval(
        "coding",
        "small repairs of code in a sandbox, checked by hidden tests",
        coding.coding,
        coding.MEASURES,
        {"target": 10},
        {"target": (800, 130)},
        {"study": "study"},
        coding.remarks,
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
