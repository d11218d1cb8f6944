"""The pace: places in flight, halving on refusals, growing back, limits per minute; no real clock."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.query.pace import Pace


class Clock:
    """A clock that stands still until somebody sleeps."""

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
        numbers = [await pace.enter() for _ in range(10)]
        for number in numbers:
            pace.refused(number)
        assert pace.limit == 32
        pace.refused(await pace.enter())
        assert pace.limit == 16

    asyncio.run(play())


def test_it_grows_back_by_one_a_round_and_never_above_the_most():
    async def play():
        pace = Pace(8)
        pace.refused(await pace.enter())
        assert pace.limit == 4
        for _ in range(4):
            pace.answered()
        assert 4.8 < pace.limit <= 5
        for _ in range(1000):
            pace.answered()
        assert pace.limit == 8

    asyncio.run(play())


def test_a_halved_limit_lets_waiting_ones_in_only_below_it():
    async def play():
        pace = Pace(4)
        numbers = [await pace.enter() for _ in range(4)]
        waiting = asyncio.create_task(pace.enter())
        pace.refused(numbers[0])
        for expected in (False, False, True):
            pace.leave()
            await asyncio.sleep(0)
            assert waiting.done() is expected

    asyncio.run(play())


@given(st.lists(st.sampled_from(["refused", "answered"]), max_size=60), st.integers(1, 50))
def test_the_limit_stays_between_one_and_the_most(events, most):
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
def test_requests_keep_to_the_limits_per_minute(limits, tokens, seconds_each):
    async def play():
        clock = Clock()
        pace = Pace(100, *limits, clock=clock, sleep=clock.sleep)
        for _ in range(5):
            await pace.enter(tokens)
        assert clock.now == pytest.approx(4 * seconds_each)

    asyncio.run(play())


def test_without_limits_nobody_sleeps():
    async def play():
        clock = Clock()
        pace = Pace(100, clock=clock, sleep=clock.sleep)
        for _ in range(50):
            await pace.enter(1000)
        assert clock.slept == []

    asyncio.run(play())
