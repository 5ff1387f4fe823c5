"""Several servers of the same model: a call goes to the one with the least to do, and not to one that is gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.models.limiter import Limiter

FAILURES = 3
"""Failed tries in a row after which a server is left alone; one that can't be reached is at once."""
AWAY, LONGEST_AWAY = 1.0, 60.0
"""Seconds for which it is left alone: the first time, doubled each time, and at the most."""


class Replica:
    """One of the servers, with a limit of its own and what is known of its health."""

    def __init__(self, base_url: str, limiter: Limiter) -> None:
        self.base_url, self.limiter = base_url, limiter
        self.away_until = 0.0
        self._failures = 0
        self._away = AWAY

    @property
    def is_there(self) -> bool:
        """Whether a call may go there at once: it is not left alone, and does not ask for a pause."""
        return self.away_until <= time.monotonic() and not self.limiter.paused_for

    @property
    def load(self) -> tuple[float, float]:
        """How long a call would wait there: for the pause that it demands, then for those in front."""
        limiter = self.limiter
        return limiter.paused_for, (limiter.in_flight + limiter.waiting) / limiter.limit

    def failed(self, *, unreached: bool) -> None:
        """Note a try that failed for a reason that may be the server's."""
        self._failures += 1
        if unreached or self._failures >= FAILURES:
            self.leave_alone()

    def leave_alone(self) -> None:
        """Keep calls away for a while, longer each time."""
        self.away_until = time.monotonic() + self._away
        self._away = min(2 * self._away, LONGEST_AWAY)

    def answered(self) -> None:
        """Note that it is there."""
        self._failures, self._away, self.away_until = 0, AWAY, 0.0


def chosen(replicas: Sequence[Replica], tried: Sequence[Replica] = ()) -> Replica:
    """Return the server for the next try: the least busy of those that are there, but for those `tried`.

    One that was left alone for its time gets a single call, which tells whether it is back.
    """
    replicas = [one for one in replicas if one not in tried] or replicas
    if len(replicas) == 1:
        return replicas[0]
    now = time.monotonic()
    if (back := next((one for one in replicas if 0 < one.away_until <= now), None)) is not None:
        back.leave_alone()
        return back
    there = [one for one in replicas if one.away_until <= now]
    return min(there or replicas, key=lambda one: one.load)
