"""What a study may still spend: what was spent, what calls in flight will take, and what open batch jobs reserve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from habitus.errors import RunStopped
from habitus.models import Usage
from habitus.models.costs import cost

if TYPE_CHECKING:
    from habitus.models.costs import Price
    from habitus.models.jobs import Jobs
    from habitus.models.ledger import StepTotal
    from habitus.tally import Tally

LONG_CALL = Usage(input_tokens=4_000, output_tokens=1_500)
"""What a call is taken to need until there has been one."""


class Budget:
    """The bound on spending over all runs of a study; without one, everything is allowed."""

    def __init__(self, most: float | None, before: list[StepTotal], tally: Tally, jobs: Jobs) -> None:
        self.most = most
        self.prices: dict[str, Price | None] = {}
        """Prices by step, as far as they are known."""
        self._tally, self._jobs = tally, jobs
        self._spent_before = sum(total.dollars for total in before)
        self._means_before = {total.step: total.dollars / total.calls for total in before}

    @property
    def spent(self) -> float:
        """What was spent, in this run and before."""
        return self._spent_before + self._tally.dollars

    def room(self) -> float:
        """Return how many dollars may be spent on further calls."""
        if self.most is None:
            return math.inf
        flying = sum(step.in_flight * self.mean(name) for name, step in self._tally.steps.items())
        return self.most * (1 + 1e-9) - self.spent - flying - self._jobs.reserved

    def refusal(self, step: str) -> RunStopped | None:
        """Return why a call of a step may not be made now, if it may not."""
        if self.most is None or (self.spent < self.most and self.room() >= self.mean(step)):
            return None
        return RunStopped(
            f"The budget of ${self.most:.2f} is reached, or the next call would pass it (${self.spent:.2f} spent). "
            "Raise `budget` in config.yaml and run the same command to go on."
        )

    def mean(self, step: str) -> float:
        """Return what a call of a step costs: in this run, in earlier ones, or at a guess on the high side."""
        tally = self._tally.step(step)
        if tally.answered:
            return tally.dollars / tally.answered
        return self._means_before.get(step) or cost(self.prices.get(step), LONG_CALL) or 0.0
