"""What a study may still spend: what was spent, what calls in flight will take, and what open batch jobs reserve."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from habitus.errors import RunStopped
from habitus.models import Usage
from habitus.models.costs import cost

if TYPE_CHECKING:
    import asyncio

    from habitus.models.costs import Price
    from habitus.models.jobs import Jobs
    from habitus.models.ledger import StepTotal
    from habitus.tally import Tally

LONG_CALL = Usage(input_tokens=4_000, output_tokens=1_500)
"""What a call is taken to need until there has been one."""


class Budget:
    """The bound on spending over all runs of a study; without one, everything is allowed.

    A shard's is lent to it in slices: there calls wait until it is raised, where one machine would stop.
    """

    def __init__(self, most: float | None, before: list[StepTotal], tally: Tally, jobs: Jobs) -> None:
        self.most = most
        """USD that may be spent by now; None for any number."""
        self.prices: dict[str, Price | None] = {}
        """Prices by step, as far as they are known."""
        self.spent = sum(total.dollars for total in before)
        """USD, by this process and by all whose calls are in the ledger."""
        self.in_flight: Counter[str] = Counter()
        """Live calls of this process by step."""
        self.topped_up: asyncio.Event | None = None
        """With shards: set when `most` has moved, for which calls wait."""
        self.needs = 0.0
        """With shards: USD that a waiting call would cost."""
        self._tally, self._jobs = tally, jobs
        self._means_before = {total.step: total.dollars / total.calls for total in before}

    @property
    def committed(self) -> float:
        """What is spent, and what the live calls in flight will cost at their steps' means, in USD."""
        return self.spent + sum(number * self.mean(step) for step, number in self.in_flight.items())

    def room(self) -> float:
        """Return how many dollars may be spent on further calls."""
        return math.inf if self.most is None else self.most * (1 + 1e-9) - self.committed - self._jobs.reserved

    def affords(self, step: str) -> bool:
        """Return whether a call of a step may be made now."""
        return self.most is None or (self.spent < self.most and self.room() >= self.mean(step))

    async def wait_for(self, step: str) -> None:
        """Wait until more may be spent, and say meanwhile what a call of a step needs."""
        assert self.topped_up is not None
        self.needs = self.mean(step)
        self.topped_up.clear()
        await self.topped_up.wait()
        self.needs = 0.0

    def changed(self) -> None:
        """Let calls that wait look again."""
        if self.topped_up is not None:
            self.topped_up.set()

    def mean(self, step: str) -> float:
        """Return what a call of a step costs: in this run, in earlier ones, or at a guess on the high side."""
        tally = self._tally.step(step)
        if tally.answered:
            return tally.dollars / tally.answered
        return self._means_before.get(step) or cost(self.prices.get(step), LONG_CALL) or 0.0


def out_of_money(budget: float, spent: float) -> RunStopped:
    """Return what ends a run at its budget."""
    return RunStopped(
        f"The budget of ${budget:.2f} is reached, or the next call would pass it (${spent:.2f} spent). "
        "Raise `budget` in config.yaml and run the same command to go on."
    )
