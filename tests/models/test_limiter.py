from __future__ import annotations

import asyncio
import random

import pytest

from habitus.models.limiter import CUT, LONGEST_PAUSE, START, Limiter, Ticket, demanded_pause


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def fill(limiter: Limiter) -> list[Ticket]:
    """Take every free slot; return the tickets."""
    return [await limiter.enter() for _ in range(int(limiter.limit) - limiter.in_flight)]


def overload(limiter: Limiter, tickets: list[Ticket]) -> None:
    """Refuse as many of these calls as it takes to cut the limit; all stay in flight."""
    assert any(limiter.refused(ticket) for ticket in tickets)


async def test_calls_are_let_in_in_the_order_they_came() -> None:
    limiter = Limiter(1)
    await limiter.enter()
    order: list[str] = []

    async def call(name: str) -> None:
        await limiter.enter()
        order.append(name)

    names = ["Ada", "Ben", "Cleo", "Dai", "Eve"]
    tasks = [asyncio.create_task(call(name)) for name in names]
    await settle()
    assert order == []
    assert limiter.waiting == 5
    for served in range(1, 6):
        limiter.leave()
        await settle()
        assert order == names[:served]
    await asyncio.gather(*tasks)


async def test_a_newcomer_does_not_overtake_those_who_waited_out_a_pause() -> None:
    clock = Clock()
    limiter = Limiter(2, clock=clock)
    limiter.pause(5)
    early = [asyncio.create_task(limiter.enter()) for _ in range(2)]
    await settle()
    clock.now += 6
    late = asyncio.create_task(limiter.enter())
    await settle()
    assert all(call.done() for call in early)
    assert not late.done()
    limiter.leave()
    await asyncio.wait_for(late, 1)
    limiter.close()


async def test_the_first_limit_is_64_or_what_the_user_allows() -> None:
    assert Limiter(256).limit == START == 64
    assert Limiter(10).limit == 10


async def test_before_any_overload_each_success_widens_the_gate_by_one_up_to_the_maximum() -> None:
    limiter = Limiter(70)
    for expected in (65, 66, 67, 68, 69, 70, 70, 70):
        await fill(limiter)
        limiter.succeeded(Ticket(limiter.cuts, limiter.in_flight))
        limiter.leave()
        assert limiter.limit == expected
        assert limiter.cuts == 0


async def test_successes_at_a_half_empty_gate_say_nothing_about_the_limit() -> None:
    limiter = Limiter(256)
    for _ in range(100):
        ticket = await limiter.enter()
        limiter.succeeded(ticket)
        limiter.leave()
    assert limiter.limit == START


async def test_one_episode_of_overload_cuts_once_however_many_calls_it_hits() -> None:
    limiter = Limiter(64)
    overloaded = 0
    for ticket in await fill(limiter):
        overloaded += limiter.refused(ticket)
        limiter.leave()
    assert limiter.cuts == 1
    assert overloaded > 50
    assert limiter.limit == pytest.approx(overloaded * CUT)
    assert limiter.in_flight == 0


async def test_an_overload_of_calls_let_in_after_the_cut_cuts_again() -> None:
    limiter = Limiter(64)
    first = await fill(limiter)
    overload(limiter, first)
    for _ in range(64):
        limiter.leave()
    overload(limiter, await fill(limiter))
    overload(limiter, first)
    assert limiter.cuts == 2
    assert limiter.limit == pytest.approx(int(64 * CUT) * CUT)


async def test_calls_in_flight_at_the_cut_do_not_widen_the_new_limit() -> None:
    limiter = Limiter(64)
    tickets = await fill(limiter)
    overload(limiter, tickets)
    for ticket in tickets:
        limiter.succeeded(ticket)
        limiter.leave()
    assert limiter.limit == pytest.approx(64 * CUT)


async def test_the_cut_starts_from_the_calls_in_flight_where_the_limit_was_not_reached() -> None:
    limiter = Limiter(256)
    overload(limiter, [await limiter.enter() for _ in range(10)])
    assert limiter.limit == pytest.approx(10 * CUT)


async def test_after_a_cut_the_limit_grows_by_about_one_per_round_trip() -> None:
    limiter = Limiter(64)
    overload(limiter, await fill(limiter))
    for _ in range(64):
        limiter.leave()
    before = limiter.limit
    tickets = await fill(limiter)
    for ticket in tickets:
        limiter.succeeded(ticket)
        limiter.leave()
        await fill(limiter)
    assert before + 0.9 < limiter.limit <= before + 1


async def test_close_to_the_last_overload_the_limit_creeps() -> None:
    limiter = Limiter(64)
    overload(limiter, await fill(limiter))
    for _ in range(64):
        limiter.leave()
    limiter.limit = 60.0
    ticket = (await fill(limiter))[0]
    limiter.succeeded(ticket)
    assert limiter.limit == pytest.approx(60 + 0.1 / 60)


async def test_the_limit_never_falls_below_one() -> None:
    limiter = Limiter(4)
    for _ in range(20):
        limiter.refused(await limiter.enter())
        limiter.leave()
    assert limiter.limit == 1
    await asyncio.wait_for(limiter.enter(), 1)


async def test_a_cut_holds_back_the_queue_until_enough_calls_have_left() -> None:
    limiter = Limiter(10)
    tickets = await fill(limiter)
    queued = asyncio.create_task(limiter.enter())
    await settle()
    overload(limiter, tickets)
    for _ in range(3):
        limiter.leave()
    await settle()
    assert not queued.done()
    limiter.leave()
    assert (await queued).cuts == 1
    assert limiter.in_flight == 7


async def test_a_pause_lets_nobody_in_until_it_is_over() -> None:
    clock = Clock()
    limiter = Limiter(8, clock=clock)
    limiter.pause(30)
    call = asyncio.create_task(limiter.enter())
    await settle()
    clock.now += 29.9
    limiter.wake()
    await settle()
    assert not call.done()
    assert limiter.paused_for == pytest.approx(0.1)
    clock.now += 0.2
    limiter.wake()
    await asyncio.wait_for(call, 1)
    assert limiter.paused_for == 0
    limiter.close()


async def test_a_shorter_pause_does_not_end_a_longer_one_and_none_lasts_for_ever() -> None:
    clock = Clock()
    limiter = Limiter(8, clock=clock)
    limiter.pause(30)
    limiter.pause(1)
    assert limiter.paused_for == 30
    limiter.pause(10**9)
    assert limiter.paused_for == LONGEST_PAUSE


async def test_a_pause_ends_by_itself() -> None:
    limiter = Limiter(8)
    limiter.pause(0.01)
    limiter.pause(0.03)
    await asyncio.wait_for(asyncio.gather(limiter.enter(), limiter.enter()), 10)
    assert limiter.in_flight == 2


async def test_a_cancelled_call_gives_up_its_place_in_the_queue() -> None:
    limiter = Limiter(1)
    await limiter.enter()
    impatient, patient = asyncio.create_task(limiter.enter()), asyncio.create_task(limiter.enter())
    await settle()
    impatient.cancel()
    await settle()
    assert limiter.waiting == 1
    limiter.leave()
    await asyncio.wait_for(patient, 1)
    assert limiter.in_flight == 1


async def test_a_call_cancelled_in_the_moment_it_is_let_in_passes_its_slot_on() -> None:
    limiter = Limiter(1)
    await limiter.enter()
    unlucky, following = asyncio.create_task(limiter.enter()), asyncio.create_task(limiter.enter())
    await settle()
    limiter.leave()
    unlucky.cancel()
    await asyncio.wait_for(following, 1)
    assert unlucky.cancelled()
    assert limiter.in_flight == 1


async def test_however_calls_end_no_more_than_the_limit_are_ever_let_in() -> None:
    rng = random.Random(7)
    limiter = Limiter(20)
    finished = 0

    async def call() -> None:
        nonlocal finished
        ticket = await limiter.enter()
        assert limiter.in_flight <= 20
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            limiter.refused(ticket)
        else:
            limiter.succeeded(ticket)
        limiter.leave()
        finished += 1

    await asyncio.gather(*(call() for _ in range(1_000)))
    assert finished == 1_000
    assert limiter.in_flight == limiter.waiting == 0
    assert 1 <= limiter.limit < 20


async def test_a_few_refusals_at_any_level_narrow_nothing() -> None:
    rng = random.Random(3)
    limiter = Limiter(128)
    queued: list[Ticket] = []
    for _ in range(20_000):
        queued += await fill(limiter)
        ticket = queued.pop(rng.randrange(len(queued)))
        if rng.random() < 0.05:
            limiter.refused(ticket)
        else:
            limiter.succeeded(ticket)
        limiter.leave()
    assert limiter.limit > 100


@pytest.mark.parametrize("allowed", [1, 5, 20, 50])
async def test_an_endpoint_that_takes_so_many_at_once_is_sent_hardly_more(allowed: int) -> None:
    """The server answers the oldest call it took, or refuses at once what is beyond its limit."""
    limiter, taken, refused, sent = Limiter(256), list[Ticket](), 0, 0
    most = 0
    for _ in range(5_000):
        while limiter.in_flight + 1 <= limiter.limit:
            ticket = await limiter.enter()
            sent += 1
            if limiter.in_flight > allowed:
                most = max(most, limiter.in_flight)
                refused += 1
                limiter.refused(ticket)
                limiter.leave()
            else:
                taken.append(ticket)
        limiter.succeeded(taken.pop(0))
        limiter.leave()
    assert most <= allowed + 1
    assert refused < 0.2 * sent
    assert limiter.limit > 0.6 * allowed


async def test_a_call_that_rests_outside_the_queue_ends_with_the_run() -> None:
    limiter = Limiter(4)
    resting = asyncio.create_task(limiter.rest(1_000))
    await settle()
    assert not resting.done()
    limiter.refuse()
    await asyncio.wait_for(resting, 1)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {}, 0),
        (429, {"Retry-After": "7"}, 7),
        (503, {"Retry-After": "0.25"}, 0.25),
        (429, {"Retry-After": "7", "retry-after-ms": "1500"}, 1.5),
        (429, {"Retry-After": "soon"}, 0),
        (429, {"Retry-After": "-3"}, 0),
        (429, {"Retry-After": "inf"}, 0),
        (429, {"Retry-After": "nan"}, 0),
        (429, {"Date": "Wed, 21 Oct 2026 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30),
        (429, {"Date": "Wed, 21 Oct 2026 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2026 07:00:00 GMT"}, 0),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        (200, {"Retry-After": "7"}, 0),
        (200, {"x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "6m0s"}, 0),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms"}, 0.12),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7.5"}, 7.5),
        (200, {"x-ratelimit-remaining-requests": "0"}, 0),
        (429, {"Retry-After": "2", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}, 9),
    ],
)
def test_the_pause_an_endpoint_demands_is_read_from_its_headers(
    status: int, headers: dict[str, str], seconds: float
) -> None:
    assert demanded_pause(status, headers) == pytest.approx(seconds)
