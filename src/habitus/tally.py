"""What a run has come to so far, step by step; the terminal reads it while the run goes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from habitus.models.batch import BatchModel


@dataclass
class Progress:
    """Where a run stands, for the terminal."""

    phase: str = "starting"
    want: int = 0
    kept: int = 0
    planned: int = 0
    most_planned: int = 0
    duplicates: int = 0
    done: str = "kept"
    """What rows are when they count."""


@dataclass(slots=True)
class StepTally:
    """What one step has come to so far in this run."""

    in_flight: int = 0
    waiting: int = 0
    """Calls that wait in batch jobs, or for one."""
    answered: int = 0
    replayed: int = 0
    repaired: int = 0
    dropped: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    unpriced: int = 0

    def add(self, other: StepTally, *, times: int = 1) -> None:
        """Add another's numbers to these, or with `times=-1` take them away."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + times * getattr(other, one.name))


@dataclass(slots=True)
class Tally:
    """What a run has come to so far."""

    steps: dict[str, StepTally] = field(default_factory=dict)
    opened: int = 0
    records: int = 0
    """Records that are under way."""
    twins: int = 0
    """Calls that wait for the same call of another record."""
    unsettled: Counter[str] = field(default_factory=Counter)
    """Records that are left for a later run, by what they lack."""
    examples: dict[str, str] = field(default_factory=dict)
    """What was said to one of each."""
    batches: list[BatchModel] = field(default_factory=list)
    """The models that are asked in batch jobs."""

    def put_off(self, why: str, example: str = "") -> None:
        """Count a record that is left for a later run."""
        self.unsettled[why] += 1
        self.examples.setdefault(why, example)

    def step(self, name: str) -> StepTally:
        """Return the tally of a step, new where it has none."""
        return self.steps.setdefault(name, StepTally())

    def add(self, other: Tally, *, times: int = 1) -> None:
        """Add another's steps to these, or with `times=-1` take them away."""
        for name, step in other.steps.items():
            self.step(name).add(step, times=times)

    @property
    def busy(self) -> bool:
        """Whether there may be further calls before a batch job brings its answers."""
        live = sum(step.in_flight for step in self.steps.values())
        return live > 0 or self.records > self.twins + sum(step.waiting for step in self.steps.values())

    @property
    def dollars(self) -> float:
        """What this run's calls of known price cost, in USD."""
        return sum(step.dollars for step in self.steps.values())
