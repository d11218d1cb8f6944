"""Rate control: the number of requests in flight, and requests and tokens per minute.

The number in flight starts at its maximum. It is halved when more than a third of a round of replies are
refusals with status 429, and once per burst: refusals of requests that were in flight at the last halving
don't count. With each round of replies it grows back by one plus an eighth of itself.

Halving at every refusal, as in network congestion control, would be too slow: shared endpoints refuse a few
requests at random whatever the rate, and refusals of 1% would keep 64 in flight down to 15, of 10% to 5.
The share of refusals shows an endpoint's capacity just as well, since the client retries them later.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

SECONDS_PER_MINUTE = 60.0
#: A larger share of refusals in a round halves the number in flight.
TOLERATED = 0.35
#: A round has as many replies as requests may be in flight, but at least this many, to limit chance.
LEAST_ROUND = 32
#: The number in flight grows per round by one plus this share of itself.
GROWTH = 0.125


class Pace:
    """Admits requests at a rate that the endpoint accepts.

    Parameters
    ----------
    most
        The maximum number of requests in flight.
    requests_per_minute, tokens_per_minute
        Limits; None for no limit.
    clock, sleep
        Time in seconds, and a function that waits; replaced in tests.
    """

    def __init__(
        self,
        most: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self._per_request = SECONDS_PER_MINUTE / requests_per_minute if requests_per_minute else 0.0
        self._per_token = SECONDS_PER_MINUTE / tokens_per_minute if tokens_per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._started = 0
        self._halved_at = 0
        self._replies = self._refusals = 0

    async def enter(self, tokens: float = 0) -> int:
        """Wait for a free slot; returns the request's number, which `refused` needs."""
        while self.in_flight >= max(1, int(self.limit)):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        self.in_flight += 1
        self._started += 1
        number = self._started
        cost = max(self._per_request, tokens * self._per_token)
        if cost:
            now = self._clock()
            start = max(now, self._next)
            self._next = start + cost
            if start > now:
                await self._sleep(start - now)
        return number

    def leave(self) -> None:
        """Free a slot."""
        self.in_flight -= 1
        self._wake()

    def refused(self, number: int) -> None:
        """Record a 429 refusal of the request with this number."""
        if number <= self._halved_at:
            return
        self._refusals += 1
        if self._refusals > TOLERATED * self._round:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = self._started
            self._replies = self._refusals = 0
        else:
            self._count()

    def answered(self) -> None:
        """Record a reply."""
        self._count()
        if self.limit < self.most:
            self.limit = min(float(self.most), self.limit + 1 / self.limit + GROWTH)

    @property
    def _round(self) -> float:
        return max(self.limit, LEAST_ROUND)

    def _count(self) -> None:
        self._replies += 1
        if self._replies >= self._round:
            self._replies = self._refusals = 0

    def _wake(self) -> None:
        free = max(1, int(self.limit)) - self.in_flight
        while self._waiting and free > 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                free -= 1
