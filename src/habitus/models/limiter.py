"""How many calls may be in flight at one endpoint: found by trying, cut on overload, paused when told to."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import deque
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from habitus.errors import CallExhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START = 64
"""Calls in flight that any endpoint is first asked to bear."""
CUT = 0.7
"""What an overload leaves of the limit. In simulation, halving idles a slow endpoint for the many round trips that it
takes to grow back, and 0.8 draws nearly half as many refusals again, each of which costs the pause it demands."""
TOLERATED = 0.1
"""Share of refusals that an endpoint may answer whatever it is sent. A cut for each of 5% random refusals leaves five
calls in flight of sixty-four."""
SURE = 3
"""Refusals beyond what is tolerated, or beyond any level that was borne, before they count as an overload."""
NEAR = 0.9
"""From this share of the level that last proved too much, or two calls below it, growth is a tenth as fast: a third of
the cuts remain."""
WINDOW = 200
"""Calls after which older ones count half, or four times the limit where that is more."""
LONGEST_PAUSE = 3600.0
"""Seconds; a longer demand (a daily quota, a clock gone wrong) is asked again after an hour."""
ENDED = "the run has ended"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Ticket(NamedTuple):
    """What was known when a call was let in."""

    cuts: int
    level: int
    """Calls in flight, this one included."""


class Limiter:
    """A first-in-first-out gate of one endpoint and model, as wide as the endpoint bears.

    The limit starts at `START` and grows by one per success, so it doubles every round trip, until the first cut.
    From then on it grows by about one per round trip. Only calls made at a full gate widen it. Two things narrow it:
    refusals of many of the calls sent since the last cut are an overload, and refusals of most that went out above the
    highest level at which a call was answered show where the endpoint's limit is. A few refusals here and there do not:
    they would come at any level. Calls that were in flight at a cut say nothing about the new limit and are not heard.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = float(min(START, most))
        self.in_flight = 0
        self.cuts = 0
        self._most = most
        self._clock = clock
        self._strained = math.inf
        self._paused_until = 0.0
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._stirred = asyncio.Event()
        self._sent = self._refused = 0
        self._borne = 0
        """The highest level at which a call was answered since the last overload."""
        self._sent_beyond = self._refused_beyond = 0

    @property
    def waiting(self) -> int:
        """How many calls stand in the queue."""
        return sum(not waiter.done() for waiter in self._waiting)

    @property
    def paused_for(self) -> float:
        """Seconds until the endpoint may be asked again, 0 when it may be now."""
        return max(0.0, self._paused_until - self._clock())

    async def rest(self, seconds: float, *, or_stirred: bool = False) -> bool:
        """Wait outside the queue for so long, or until `refuse` or, if so wanted, `stir` is called; True if one was."""
        if seconds <= 0:
            return False
        event = self._stirred if or_stirred else self._ended
        with suppress(TimeoutError):
            return await asyncio.wait_for(event.wait(), min(seconds, LONGEST_PAUSE))
        return False

    def stir(self) -> None:
        """Wake those who rest until somebody is answered."""
        self._stirred.set()
        if not self._ended.is_set():
            self._stirred.clear()

    async def enter(self) -> Ticket:
        """Wait for a slot, first come first served, and return the ticket to report the outcome with.

        Raises:
            CallExhausted: `refuse` was called.

        """
        if self._ended.is_set():
            raise CallExhausted(ENDED)
        if self._waiting or self.in_flight + 1 > self.limit or self._clock() < self._paused_until:
            level = await self._turn()
        else:
            level = self._let_in()
        return Ticket(self.cuts, level)

    def leave(self) -> None:
        """Give the slot back; report the outcome first, so that the next call is let in under the new limit."""
        self.in_flight -= 1
        if self._waiting:
            self.wake()

    def succeeded(self, ticket: Ticket) -> None:
        """Widen the gate a little if this call was let in since the last cut and the gate is full."""
        if ticket.cuts != self.cuts:
            return
        if ticket.level > self._borne:
            self._borne = ticket.level
            self._sent_beyond = self._refused_beyond = 0
        if self.in_flight + 1 <= self.limit:
            return
        step = 1.0 if self.cuts == 0 else 1.0 / self.limit
        if min(NEAR * self._strained, self._strained - 2) < self.limit < self._strained:
            step *= 0.1
        self.limit = min(self._most, self.limit + step)

    def refused(self, ticket: Ticket) -> bool:
        """Narrow the gate if the endpoint was sent too much; True where the refusal is part of such an overload."""
        if ticket.cuts != self.cuts:
            return True
        self._refused += 1
        if self._refused >= self._sent / 2 or self._refused >= SURE + TOLERATED * self._sent:
            self._strained = min(self.limit, self.in_flight)
            self._cut(self._strained * CUT)
            self._borne = 0
            return True
        if ticket.level > self._borne > 0:
            self._refused_beyond += 1
            if self._refused_beyond >= max(SURE, self._sent_beyond / 2):
                self._strained = self._borne + 1
                self._cut(self._borne)
        return False

    def _cut(self, limit: float) -> None:
        self.limit = max(1.0, limit)
        self.cuts += 1
        self._sent = self._refused = self._sent_beyond = self._refused_beyond = 0

    def pause(self, seconds: float) -> None:
        """Let nobody in for so long; calls in flight go on, and a longer pause already running stays."""
        self._paused_until = max(self._paused_until, self._clock() + min(seconds, LONGEST_PAUSE))

    def wake(self) -> None:
        """Let in those who stand in front, as far as there is room and no pause."""
        remaining = self._paused_until - self._clock()
        if remaining > 0:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(remaining, self._ring)
            return
        while self._waiting and self.in_flight + 1 <= self.limit:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(self._let_in())

    def _let_in(self) -> int:
        """Count a call in and return the level at which it goes out."""
        self.in_flight += 1
        self._sent += 1
        self._sent_beyond += self.in_flight > self._borne > 0
        if self._sent > max(WINDOW, 4 * self.limit):
            self._sent, self._refused = self._sent // 2, self._refused // 2
        return self.in_flight

    def refuse(self) -> None:
        """Turn away whoever waits, and whoever comes."""
        self._ended.set()
        self.stir()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(CallExhausted(ENDED))

    def close(self) -> None:
        """Drop the timer, which belongs to the event loop that is about to end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _turn(self) -> int:
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self.wake()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.leave()  # let in and called off in the same breath
            raise

    def _ring(self) -> None:
        self._timer = None
        self.wake()


def demanded_pause(status: int, headers: Mapping[str, str]) -> float:
    """Return the seconds for which the endpoint wants to be left alone, 0 if it does not say.

    Read are `retry-after-ms` and `Retry-After` of a failure, and on any reply the request budget that is used up.
    """
    pause = 0.0
    if status >= HTTPStatus.BAD_REQUEST:
        pause = _number(headers.get("retry-after-ms", "")) / 1000 or _retry_after(headers)
    if headers.get("x-ratelimit-remaining-requests") == "0":
        pause = max(pause, _duration(headers.get("x-ratelimit-reset-requests", "")))
    return pause


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds, or a date that is measured against the endpoint's own clock where it tells it."""
    text = headers.get("Retry-After", "")
    until = _moment(text)
    if until is None:
        return _number(text)
    now = _moment(headers.get("Date", ""))
    return max(0.0, until - (time.time() if now is None else now))


def _moment(text: str) -> float | None:
    """Return an HTTP date in Unix seconds, or None if it is no date."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


def _number(text: str) -> float:
    """Return what a header says in digits; 0 for words, negatives and infinities, which no pause can follow."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _duration(text: str) -> float:
    """Return the seconds of `6m0s`, `120ms` or a bare `7.5`."""
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _DURATION.findall(text)) or _number(text)
