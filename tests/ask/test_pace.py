"""The pace: requests in flight, halving on refusals, growing back, limits per minute; no real clock."""

import asyncio
import heapq
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask.pace import Pace


class Clock:
    """A clock that advances only by sleeping."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def test_no_more_than_the_limit_are_in_flight():
    async def play():
        pace = Pace(2)
        await pace.enter()
        await pace.enter()
        third = asyncio.create_task(pace.enter())
        await asyncio.sleep(0)
        assert not third.done()
        pace.leave()
        await third
        assert pace.in_flight == 2

    asyncio.run(play())


def test_a_burst_of_refusals_halves_once():
    async def play():
        pace = Pace(64)
        numbers = [await pace.enter() for _ in range(64)]
        for number in numbers[:22]:
            pace.refused(number)
        assert pace.limit == 64, "about a third is chance"
        for number in numbers[22:]:
            pace.refused(number)
        assert pace.limit == 32
        for _ in numbers:
            pace.leave()
        for number in [await pace.enter() for _ in range(32)]:
            pace.refused(number)
        assert pace.limit == 16

    asyncio.run(play())


def test_with_few_in_flight_single_refusals_do_not_matter():
    async def play():
        pace = Pace(4)
        for _ in range(11):
            pace.refused(await pace.enter())
            pace.leave()
        assert pace.limit == 4
        pace.refused(await pace.enter())
        assert pace.limit == 2

    asyncio.run(play())


def test_refusals_of_an_earlier_round_are_forgotten():
    async def play():
        pace = Pace(64)
        for _ in range(10):
            for number in [await pace.enter() for _ in range(20)]:
                pace.refused(number)
                pace.leave()
            for _ in range(44):
                pace.answered()
        assert pace.limit == 64

    asyncio.run(play())


async def halve(pace):
    """Refuse until the limit has been halved."""
    before = pace.limit
    while pace.limit == before:
        pace.refused(await pace.enter())
        pace.leave()


def test_it_grows_back_by_one_and_an_eighth_per_round_up_to_the_maximum():
    async def play():
        pace = Pace(16)
        await halve(pace)
        assert pace.limit == 8
        for _ in range(8):
            pace.answered()
        assert 9.8 < pace.limit <= 10
        for _ in range(1000):
            pace.answered()
        assert pace.limit == 16

    asyncio.run(play())


def endure(most, refuses, seconds=120, seed=1):
    """Keep an endpoint busy that takes a second per answer, and by a rule refuses immediately.

    The rule gets the number of requests that the endpoint is at and a random generator. A refused request
    is tried again after .5, 1, 2, 4 and 8 seconds, as the client does. Gives the answers per second, and
    the refusals for each.
    """
    rng, pace, order = random.Random(seed), Pace(most), itertools.count()
    events = []
    answers = refusals = at_work = 0

    async def play():
        nonlocal answers, refusals, at_work
        now = 0.0
        while now < seconds:
            while pace.in_flight < max(1, int(pace.limit)):
                heapq.heappush(events, (now + 0.01, next(order), "ask", await pace.enter(), 0))
            now, _, kind, number, tries = heapq.heappop(events)
            if kind == "answer":
                at_work -= 1
                answers += 1
                pace.leave()
                pace.answered()
            elif not refuses(at_work, rng):
                at_work += 1
                heapq.heappush(events, (now + rng.uniform(0.8, 1.2), next(order), "answer", number, tries))
            else:
                refusals += 1
                pace.refused(number)
                if tries == 5:
                    pace.leave()
                else:
                    later = now + 0.5 * 2**tries * rng.uniform(0.75, 1)
                    heapq.heappush(events, (later, next(order), "ask", number, tries + 1))

    asyncio.run(play())
    return answers / seconds, refusals / answers


@pytest.mark.parametrize(("share", "least"), [(0.0, 62), (0.01, 60), (0.1, 55), (0.3, 20)])
def test_random_refusals_do_not_lower_the_pace(share, least):
    rate, _ = endure(64, lambda _, rng: rng.random() < share)
    assert rate > least, "of 64 in flight, a second each"


@pytest.mark.parametrize("bears", [8, 20, 40])
def test_an_endpoints_capacity_is_found(bears):
    rate, refusals = endure(64, lambda at_work, _: at_work >= bears)
    assert rate > 0.85 * bears
    assert refusals < 1, "most requests are not refused"


def test_a_halved_limit_admits_waiting_requests_only_below_it():
    async def play():
        pace = Pace(4)
        numbers = [await pace.enter() for _ in range(4)]
        waiting = asyncio.create_task(pace.enter())
        for _ in range(12):
            pace.refused(numbers[0])
        for expected in (False, False, True):
            pace.leave()
            await asyncio.sleep(0)
            assert waiting.done() is expected

    asyncio.run(play())


@given(st.lists(st.sampled_from(["refused", "answered"]), max_size=60), st.integers(1, 50))
def test_the_limit_stays_between_one_and_the_maximum(events, most):
    async def play():
        pace = Pace(most)
        for event in events:
            number = await pace.enter()
            pace.refused(number) if event == "refused" else pace.answered()
            pace.leave()
            assert 1 <= pace.limit <= most

    asyncio.run(play())


@pytest.mark.parametrize(
    ("limits", "tokens", "seconds_each"), [((60, None), 0, 1.0), ((None, 600), 20, 2.0), ((60, 600), 20, 2.0)]
)
def test_requests_respect_the_limits_per_minute(limits, tokens, seconds_each):
    async def play():
        clock = Clock()
        pace = Pace(100, *limits, clock=clock, sleep=clock.sleep)
        for _ in range(5):
            await pace.enter(tokens)
        assert clock.now == pytest.approx(4 * seconds_each)

    asyncio.run(play())


def test_without_limits_there_is_no_waiting():
    async def play():
        clock = Clock()
        pace = Pace(100, clock=clock, sleep=clock.sleep)
        for _ in range(50):
            await pace.enter(1000)
        assert clock.slept == []

    asyncio.run(play())
